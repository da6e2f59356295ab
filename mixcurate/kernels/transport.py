"""Entropic optimal transport to places that hold only so much, by Sinkhorn's scalings.

The plan T >= 0 from sources (mass a, which must all be sent) to places (prior q) that is least in

    sum T C + epsilon KL(T | a q')    with    T 1 = a  and  T' 1 <= limit.

Scalings to one set of marginals and then to the other, each the nearest plan in the sense of KL,
converge to it (Cuturi 2013, arXiv 1306.0895); where a marginal has a bound, a place is scaled down
only if it is above (Dykstra's projections of Benamou et al. 2015, arXiv 1412.5154, for partial
transport). In logarithms, so that a small epsilon does not underflow.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

Float64Array = npt.NDArray[np.float64]

#: Rounds at most; each reads all costs twice.
_ROUNDS = 5_000


@dataclasses.dataclass(frozen=True)
class Transported:
    """What arrives where.

    Attributes:
        arrives: float64 ``[n]``, mass at each place; its sum is that of the sources.
        excess: most that a place is above its limit: what the rounds have left.
        rounds: that were made.
    """

    arrives: Float64Array
    excess: float
    rounds: int


def transport(
    cost: Float64Array,
    mass: Float64Array,
    prior: Float64Array,
    limit: Float64Array,
    *,
    epsilon: float,
    tolerance: float = 1e-9,
) -> Transported:
    """Send all mass at the least cost with an entropy term.

    Args:
        cost: float64 ``[m, n]``.
        mass: of sources, float64 ``[m]``, positive.
        prior: of places, float64 ``[n]``, adds up to one; a place with zero gets nothing.
        limit: most that a place takes, float64 ``[n]``; they must add up to more than the mass, or
            the rounds end with places above their limits.
        epsilon: positive; towards zero the plan goes to the cheapest, with a large one to the
            prior.
        tolerance: of what is above a limit, as a part of all mass.
    """
    with np.errstate(divide="ignore"):
        kernel = np.log(prior) - cost / epsilon
        log_mass, log_limit = np.log(mass), np.log(limit)
    price = np.zeros(len(prior))  # of a place, never positive
    allowed, rounds = tolerance * float(mass.sum()), 0
    while True:
        rounds += 1
        sent = log_mass - _log_sum(kernel + price, axis=1)
        unpriced = _log_sum(kernel + sent[:, None], axis=0)
        arrives = np.exp(unpriced + price)
        excess = float((arrives - limit).max())
        with np.errstate(invalid="ignore"):
            new = np.where(limit > 0, np.minimum(0.0, log_limit - unpriced), -np.inf)
        new[np.isneginf(unpriced)] = 0.0
        moved = np.abs(np.exp(unpriced + new) - arrives).sum()
        if (excess <= allowed and moved <= allowed * len(prior)) or rounds == _ROUNDS:
            return Transported(arrives, max(excess, 0.0), rounds)
        price = new


def _log_sum(values: Float64Array, axis: int) -> Float64Array:
    """Logarithm of the sum of exponentials along an axis; -inf where there is nothing."""
    most = values.max(axis=axis, keepdims=True)
    most = np.where(np.isfinite(most), most, 0.0)
    with np.errstate(divide="ignore"):
        total: Float64Array = np.log(np.exp(values - most).sum(axis=axis))
    return total + most.squeeze(axis)
