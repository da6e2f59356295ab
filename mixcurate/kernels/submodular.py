"""Greedy maximisation of submodular functions of a set: the gain of each element as it is taken.

The functions of SMART (arXiv 2403.08370, section 3.2; as in submodlib) over a matrix of likeness S:

- graph cut: sum of S[i, j] over all i and taken j, less penalty x the sum over pairs of taken ones;
- facility location: sum over all i of the greatest S[i, j] of a taken j, at least 0;
- log-determinant: of S + penalty x identity, of the taken rows and columns.

Gains are compared without the last bits, in which processors may differ; of equal ones the element
with the lower number is taken first.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
import numpy.typing as npt

from mixcurate.kernels.semantic import unit_grid

Float64Array = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.intp]

Function = Literal["graph_cut", "facility_location", "log_determinant"]

#: Elements whose gains are computed anew at once, where gains only fall.
_BLOCK = 32

#: Bits of a gain that may differ between processors.
_UNSURE_BITS = np.uint64(20)

#: Least conditional variance, so that the logarithm of a singular matrix is finite.
_LEAST = 1e-12


def likeness(vectors: npt.NDArray[np.float32]) -> Float64Array:
    """Cosine of each pair, exact to the grid of ``unit_grid``, so the same on any machine.

    Args:
        vectors: float32 ``[n, d]``; a zero row is like nothing.

    Returns:
        float64 ``[n, n]``.
    """
    rows = unit_grid(vectors).astype(np.float64)
    return rows @ rows.T


def greedy_gains(similarity: Float64Array, function: Function, penalty: float) -> Float64Array:
    """What each element adds to the function when the greedy takes it; all are taken in the end.

    Args:
        similarity: float64 ``[n, n]``, symmetric.
        function: see the top of this module.
        penalty: of graph_cut and log_determinant, not negative.

    Returns:
        float64 ``[n]``, by element. Time goes with n ** 2 for graph_cut and n ** 3 at worst for
        the others.
    """
    match function:
        case "graph_cut":
            return _graph_cut(similarity, penalty)
        case "facility_location":
            return _facility_location(similarity)
        case "log_determinant":
            return _log_determinant(similarity, penalty)


def steady(gains: Float64Array) -> Float64Array:
    """Gains without the bits in which processors may differ."""
    bits = np.ascontiguousarray(gains).view(np.uint64) >> _UNSURE_BITS << _UNSURE_BITS
    return bits.view(np.float64)


def best_of_bounds(
    bounds: Float64Array, exact: Callable[[IntArray], Float64Array]
) -> tuple[int, float]:
    """The element with the greatest gain, where old gains are bounds (lazy greedy, Minoux 1978).

    Args:
        bounds: float64 ``[n]``, not below the gains; -inf where an element cannot be taken. They
            are replaced by the gains that were computed.
        exact: gains of some elements.

    Returns:
        its number and gain.
    """
    fresh = np.zeros(len(bounds), bool)
    size = 1
    while True:
        best = int(bounds.argmax())
        if fresh[best]:
            return best, float(bounds[best])
        block = np.array([best])
        if size > 1:  # its bound was much too high, and so may be others
            top = np.argpartition(bounds, -size)[-size:]
            top[0] = best  # among equal ones it may not be there
            block = top[~fresh[top] & np.isfinite(bounds[top])]
        bounds[block] = steady(exact(block))
        fresh[block] = True
        size = min(4 * size, _BLOCK, len(bounds))


def _graph_cut(similarity: Float64Array, penalty: float) -> Float64Array:
    own = np.diagonal(similarity)
    current = similarity.sum(axis=0) - penalty * own
    gains, is_open = np.empty(len(own)), np.ones(len(own), bool)
    for _ in range(len(own)):
        best = int(np.where(is_open, steady(current), -np.inf).argmax())
        gains[best], is_open[best] = current[best], False
        current -= 2 * penalty * similarity[best]
    return gains


def _facility_location(similarity: Float64Array) -> Float64Array:
    covered = np.zeros(len(similarity))

    def exact(rows: IntArray) -> Float64Array:
        added: Float64Array = np.maximum(similarity[rows] - covered, 0).sum(axis=1)
        return added

    gains = np.empty(len(similarity))
    bounds = np.full(len(similarity), np.finfo(np.float64).max)
    for _ in range(len(similarity)):
        best, gains_of_best = best_of_bounds(bounds, exact)
        gains[best], bounds[best] = gains_of_best, -np.inf
        np.maximum(covered, similarity[best], out=covered)
    return gains


def _log_determinant(similarity: Float64Array, penalty: float) -> Float64Array:
    """By the rows of a Cholesky factor that grows with the set (Chen et al. 2018, 1709.05135)."""
    n = len(similarity)
    variance = np.diagonal(similarity) + penalty
    factor, gains, is_open = np.zeros((n, n)), np.empty(n), np.ones(n, bool)
    for step in range(n):
        best = int(np.where(is_open, steady(variance), -np.inf).argmax())
        least = max(float(variance[best]), _LEAST)
        gains[best], is_open[best] = np.log(least), False
        row = (similarity[best] - factor[:step, best] @ factor[:step]) / np.sqrt(least)
        row[~is_open] = 0.0
        factor[step] = row
        variance = variance - np.square(row)
    return gains
