"""Documents that nearly repeat another one of their cluster, by their embeddings.

SemDeDup (arXiv 2303.09540, section 3 and algorithm A7) orders the documents of a cluster and drops
each one whose cosine to an earlier one is above 1 - epsilon. Two rules are here. ``earlier`` is the
paper's: the earlier document may be one that is itself dropped, so that of a chain of small changes
one document is left, however far its ends are apart. ``kept`` compares with kept documents only:
every dropped document then has a kept one within epsilon, no two kept ones are as near as that, and
more is kept.

Matrix products in float32 differ in their last digits with their shape, the threads and the
processor. Here they only sort out what is clear. Vectors are rounded to multiples of 2 ** -24,
so that a product in float64 is exact in any order of summation, and it decides what lies near the
threshold: the result is a function of the vectors alone.
"""

from __future__ import annotations

import dataclasses
from typing import Literal

import numpy as np
import numpy.typing as npt

from mixcurate.kernels.hashing import UInt64Array

Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]
Int64Array = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

#: Which earlier documents one is compared with.
Rule = Literal["earlier", "kept"]

#: Documents whose cosines to others are computed at once, and those others: 16 MB.
_ROWS = 1_024
_COLUMNS = 4_096

#: Vectors are rounded to multiples of its inverse: as fine as float32 is just below one.
_GRID = 2.0**24

#: Rows that are turned into float64 at once.
_EXACT_ROWS = 4_096


@dataclasses.dataclass(frozen=True)
class Repeats:
    """Documents that are dropped, and what they repeat.

    Attributes:
        row: int64 ``[m]``, rising.
        of: the first document of the order that the rule holds for, int64 ``[m]``.
        kept: the kept document that a chain of such steps ends at, int64 ``[m]``; by the rule
            ``kept`` the same as ``of``.
        cosine: of ``row`` and ``kept``, float64 ``[m]``, exact; it may be below 1 - epsilon by the
            rule ``earlier`` alone.
    """

    row: Int64Array
    of: Int64Array
    kept: Int64Array
    cosine: Float64Array


def unit_grid(vectors: npt.NDArray[np.floating]) -> Float32Array:
    """Unit rows whose numbers are multiples of 2 ** -24: products of two are exact in float64.

    A product of two such numbers is a multiple of 2 ** -48, and no partial sum reaches 2, so all
    fit the 53 bits of a float64. Rounding moves a cosine by less than 1e-6.

    Args:
        vectors: float ``[n, d]``, finite; a zero row stays zero.

    Returns:
        float32 ``[n, d]``.
    """
    grid = np.empty(vectors.shape, np.float32)
    for start in range(0, len(vectors), _EXACT_ROWS):
        rows = vectors[start : start + _EXACT_ROWS].astype(np.float64)
        length = np.sqrt(np.square(rows).sum(axis=1, keepdims=True))
        rows /= np.where(length > 0, length, 1.0)
        grid[start : start + _EXACT_ROWS] = np.rint(rows * _GRID) / _GRID
    return grid


def squared_distances(
    vectors: npt.NDArray[np.floating],
    centroids: Float32Array,
    cluster: npt.NDArray[np.int32],
    metric: Literal["cosine", "euclidean"],
) -> Float64Array:
    """Squared distance of each document to its centroid, the same in whatever batch it comes.

    Args:
        vectors: float ``[n, d]`` as stored.
        centroids: float32 ``[k, d]``.
        cluster: int32 ``[n]`` in [0, k).
        metric: ``cosine`` is the Euclidean distance of unit vectors.

    Returns:
        float64 ``[n]``.
    """
    found = np.empty(len(vectors), np.float64)
    if metric == "cosine":
        centroids = unit_grid(centroids)
    for start in range(0, len(vectors), _EXACT_ROWS):
        space = slice(start, start + _EXACT_ROWS)
        rows, centres = vectors[space], centroids[cluster[space]]
        if metric == "cosine":
            found[space] = 2 - 2 * _cosines(unit_grid(rows), centres)
        else:
            # row by row and in one order: numpy adds along contiguous rows, each by itself
            found[space] = np.square(rows.astype(np.float64) - centres).sum(axis=1)
    return found


def find_repeats(
    vectors: Float32Array,
    priority: Float64Array,
    key: UInt64Array,
    *,
    epsilon: float,
    rule: Rule,
) -> Repeats:
    """The documents of one cluster that repeat an earlier one.

    Besides its result this takes a copy of the vectors and some 40 MB.

    Args:
        vectors: float32 ``[n, d]`` of ``unit_grid``.
        priority: float64 ``[n]``; the largest comes first, NaN last.
        key: uint64 ``[n]``, a hash of each id: settles ties, so that rows may come in any order.
        epsilon: a cosine above 1 - epsilon is a repetition.
        rule: see the top of this module.
    """
    order = np.lexsort((key, -priority)).astype(np.int64)
    first = _first_repeated(vectors[order], 1.0 - epsilon, rule)
    dropped = np.flatnonzero(first >= 0)
    kept = _roots(first)[dropped]
    of = first[dropped]
    cosine = _cosines_of_pairs(vectors, order[dropped], order[kept])
    by_row = np.argsort(order[dropped])
    return Repeats(
        row=order[dropped][by_row],
        of=order[of][by_row],
        kept=order[kept][by_row],
        cosine=cosine[by_row],
    )


def _first_repeated(ranked: Float32Array, limit: float, rule: Rule) -> Int64Array:
    """The first earlier row that each row repeats, -1 for none: int64 ``[n]``.

    ``ranked`` is overwritten: its first rows become those that later ones are compared with.
    """
    n = len(ranked)
    first = np.full(n, -1, np.int64)
    ranks = np.empty(n, np.int64)  # of the rows that have moved to the front
    held = 0
    for start in range(0, n, _ROWS):
        rows, found = ranked[start : start + _ROWS], first[start : start + _ROWS]
        for begin in range(0, held, _COLUMNS):
            pending = np.flatnonzero(found < 0)
            if len(pending) == 0:
                break
            columns = slice(begin, min(begin + _COLUMNS, held))
            hit = _first_true(_above(rows[pending], ranked[columns], limit))
            found[pending] = np.where(hit >= 0, ranks[columns][hit], -1)
        _within(rows, found, start, limit, rule)
        stays = np.flatnonzero(found < 0) if rule == "kept" else np.arange(len(rows))
        ranked[held : held + len(stays)] = rows[stays]
        ranks[held : held + len(stays)] = start + stays
        held += len(stays)
    return first


def _within(rows: Float32Array, found: Int64Array, start: int, limit: float, rule: Rule) -> None:
    """Fill in what rows repeat within their own block."""
    above = np.tril(_above(rows, rows, limit), -1)
    if rule == "kept":
        for row in np.flatnonzero((found < 0) & above.any(axis=1)).tolist():
            hits = above[row] & (found < 0)
            if hits.any():
                found[row] = start + int(hits.argmax())
        return
    hit = _first_true(above)
    found[:] = np.where((found < 0) & (hit >= 0), start + hit, found)


def _first_true(table: BoolArray) -> npt.NDArray[np.intp]:
    """The first true column of each row, -1 for none: intp ``[n]``."""
    return np.where(table.any(axis=1), table.argmax(axis=1), -1)


def _above(left: Float32Array, right: Float32Array, limit: float) -> BoolArray:
    """Whether the exact cosine of each pair is above the limit: bool ``[n, m]``.

    A float32 product of d numbers is off by at most d 2 ** -24 times the sum of the products'
    sizes (Higham 2002, section 3.1), here at most 1. What is nearer to the limit is computed again.
    """
    margin = (left.shape[1] + 8) * 2.0**-24
    near = left @ right.T
    above: BoolArray = near > limit + margin
    unsure = np.flatnonzero(near.max(axis=1, initial=-2) > limit - margin)
    open_pairs = (near[unsure] > limit - margin) & ~above[unsure]
    rows, columns = np.flatnonzero(open_pairs.any(axis=1)), np.flatnonzero(open_pairs.any(axis=0))
    if len(rows):
        exact = left[unsure[rows]].astype(np.float64) @ right[columns].astype(np.float64).T
        above[np.ix_(unsure[rows], columns)] = exact > limit
    return above


def _cosines(left: Float32Array, right: Float32Array) -> Float64Array:
    """Exact cosine of each row of one with the same row of the other: float64 ``[n]``."""
    found: Float64Array = np.einsum("ij,ij->i", left.astype(np.float64), right.astype(np.float64))
    return found


def _cosines_of_pairs(vectors: Float32Array, one: Int64Array, other: Int64Array) -> Float64Array:
    """Exact cosine of each pair of rows: float64 ``[m]``."""
    found = np.empty(len(one), np.float64)
    for start in range(0, len(one), _EXACT_ROWS):
        pairs = slice(start, start + _EXACT_ROWS)
        found[pairs] = _cosines(vectors[one[pairs]], vectors[other[pairs]])
    return found


def _roots(first: Int64Array) -> Int64Array:
    """Where the steps from each rank end: int64 ``[n]``, found by doubling the steps."""
    roots = np.where(first >= 0, first, np.arange(len(first)))
    while True:
        further = roots[roots]
        if np.array_equal(further, roots):
            return roots
        roots = further
