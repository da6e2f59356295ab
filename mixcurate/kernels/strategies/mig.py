"""Units by the information they add (MIG, arXiv 2504.13835, section 3; as in the authors' code).

The paper's labels are our units. A piece of a unit brings its mean quality as information, of which
a part passes on to units whose centroids are near; what a unit holds counts as x ** power, so that
more of the same is worth less and less. A greedy takes the piece that adds the most, over and over.
Columns of the graph are scaled to one, not rows: a unit that is near to many stands for all of
them, and takes their shares until it is full.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mixcurate.kernels.mixture import MigParams, MixtureParams
from mixcurate.kernels.strategies.facts import Facts, Float64Array, Int64Array, Shares
from mixcurate.kernels.submodular import best_of_bounds, likeness

#: Pieces that the budget is cut into, for each unit, and in all at least and at most.
_PIECES, _LEAST, _MOST = 32, 4_096, 65_536

#: The authors' code adds it to what a unit holds before the power of the derivative.
_SHIFT = 1e-6


def shares(facts: Facts, params: MixtureParams) -> Shares:
    """The share of equal pieces of the budget that the greedy takes of each unit.

    A unit is full where it has no further piece, at ``max_epochs``. Where all are, the shares are
    what there is. Without information (no quality at all) units are alike.
    """
    assert facts.centroids is not None
    assert facts.quality is not None
    have = np.flatnonzero(facts.tokens > 0)
    limit = facts.tokens[have] * facts.max_epochs
    found = np.zeros(len(facts.tokens))
    if facts.budget >= limit.sum():
        found[have] = limit / limit.sum()
        return Shares(found)
    quality = facts.quality[have]
    quality = quality if quality.max() > 0 else np.ones(len(have))
    passes = propagation(likeness(facts.centroids[have]), params.mig)
    n = int(np.clip(_PIECES * len(have), _LEAST, _MOST))
    room = np.floor(limit / facts.budget * n).astype(np.int64)
    taken = greedy_pieces(passes * quality[:, None], n, room, params.mig.power)
    found[have] = taken / taken.sum()
    notes = [
        f"mig: {int((room == 0).sum()):,} units have less than a piece of the budget: 1/{n:,}; "
        "they get nothing"
    ] * bool((room == 0).any())
    return Shares(found, notes)


def propagation(similarity: Float64Array, params: MigParams) -> Float64Array:
    """How much of the information of one unit (row) arrives at another (column).

    Equation 2 of the paper: likeness from the threshold on, of different units times
    ``propagation``, in columns that add up to one. Likeness below zero passes nothing, so that no
    gain ever rises.

    Args:
        similarity: cosines, float64 ``[n, n]``.
        params: of the method.
    """
    passes = np.where(similarity >= params.threshold, np.maximum(similarity, 0.0), 0.0)
    passes *= params.propagation
    np.fill_diagonal(passes, 1.0)
    scaled: Float64Array = passes / passes.sum(axis=0)
    return scaled


def greedy_pieces(brings: Float64Array, n: int, room: Int64Array, power: float) -> Int64Array:
    """How many of ``n`` pieces are of each unit.

    The gain of a piece is the derivative of the information, as in the paper's equation 6. Gains
    only fall, so old ones are bounds, and few are computed anew at each step (lazy greedy).

    Args:
        brings: information that arrives at each unit (column) with a piece of one (row), float64
            ``[n_units, n_units]``, not negative.
        n: pieces to take.
        room: most pieces of each unit, int64 ``[n_units]``.
        power: of what a unit holds, in (0, 1].

    Returns:
        int64 ``[n_units]``; they add up to n unless there is less room.
    """
    arrives = [np.flatnonzero(row) for row in brings]
    holds, taken = np.zeros(len(brings)), np.zeros(len(brings), np.int64)
    slope = _slope(holds, power)
    bounds = np.where(room > 0, np.finfo(np.float64).max, -np.inf)

    def exact(units: npt.NDArray[np.intp]) -> Float64Array:
        gains: Float64Array = (brings[units] * slope).sum(axis=1)
        return gains

    for _ in range(min(n, int(room.sum()))):
        best, _ = best_of_bounds(bounds, exact)
        taken[best] += 1
        if taken[best] == room[best]:
            bounds[best] = -np.inf
        where = arrives[best]
        holds[where] += brings[best, where]
        slope[where] = _slope(holds[where], power)
    return taken


def _slope(holds: Float64Array, power: float) -> Float64Array:
    """Derivative of the information of units by what they hold."""
    slope: Float64Array = power * (holds + _SHIFT) ** (power - 1)
    return slope
