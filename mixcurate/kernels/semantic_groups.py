"""Which documents are compared with each other: whole clusters, or parts of very large ones.

The cost of a comparison goes with the square of a group. A cluster above the limit is cut by random
hyperplanes through its centroid (Charikar 2002, doi:10.1145/509907.509965), so that each part of
the corpus knows the group of its documents by itself. Two near documents are parted by one cut with
the chance of their angle, seen from the centroid, over pi: about one in ten pairs of cosine 0.97 in
a cluster of usual width. That is the price of ``max_group``; a larger k, or ``balance``, has a
lower one.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mixcurate.kernels.hashing import UInt64Array, uniform_keys
from mixcurate.kernels.semantic import Float32Array, Int64Array, unit_grid

#: Hyperplanes of ``divide`` are numbered from here on: never those that made the group.
_MORE_CUTS = 64

#: Vectors that are turned into float64 at once.
_ROWS = 4_096


@dataclasses.dataclass(frozen=True)
class Groups:
    """The groups that documents are compared in, and the buckets that groups are gathered in.

    Attributes:
        cuts: hyperplanes that divide each cluster, int64 ``[k]``: 2 ** cuts groups.
        first: number of each cluster's first group, int64 ``[k]``; -1 if it is not compared.
        bucket: bucket of each group, rising, int64 ``[g]``.
    """

    cuts: Int64Array
    first: Int64Array
    bucket: Int64Array

    @property
    def buckets(self) -> int:
        """How many there are."""
        return int(self.bucket[-1]) + 1 if len(self.bucket) else 0


def plan_groups(
    documents: Int64Array,
    kept: npt.NDArray[np.bool_],
    *,
    max_group: int,
    bucket_documents: int,
) -> Groups:
    """Groups of every cluster that is kept, and buckets of about equally many documents.

    Args:
        documents: of each cluster, int64 ``[k]``.
        kept: whether a cluster is compared at all, bool ``[k]``.
        max_group: documents of a group, on average over the groups of a cluster.
        bucket_documents: of a bucket; a bucket holds one group at least.
    """
    compared = kept & (documents > 1)  # one alone repeats nothing
    cuts = np.ceil(np.log2(np.maximum(documents, 1) / max_group)).clip(0).astype(np.int64)
    cuts[~compared] = 0
    count = np.where(compared, 1 << cuts, 0)
    first = np.where(compared, np.cumsum(count) - count, -1)
    sizes = np.repeat(np.ceil(documents / np.maximum(count, 1)).astype(np.int64), count)
    bucket = np.zeros(len(sizes), np.int64)
    number = held = 0
    for group, size in enumerate(sizes.tolist()):
        if held and held + size > bucket_documents:
            number, held = number + 1, 0
        bucket[group] = number
        held += size
    return Groups(cuts, first, bucket)


def groups_of(
    vectors: npt.NDArray[np.floating],
    cluster: npt.NDArray[np.int32],
    centroids: Float32Array,
    groups: Groups,
    seed: int,
) -> Int64Array:
    """The group of each document, a function of its vector and its cluster.

    Args:
        vectors: float ``[n, d]`` as stored.
        cluster: int32 ``[n]``; -1 for none.
        centroids: float32 ``[k, d]``.
        groups: of ``plan_groups``.
        seed: of the hyperplanes.

    Returns:
        int64 ``[n]``; -1 where a document is not compared.
    """
    found = np.where(cluster >= 0, groups.first[cluster], -1)
    cuts = np.where(found >= 0, groups.cuts[cluster], 0)
    large = np.flatnonzero(cuts)
    if len(large) == 0:
        return found
    n_cuts = int(cuts.max())
    which, place = np.unique(cluster[large], return_inverse=True)
    middles = unit_grid(centroids[which])
    for cut in range(n_cuts):
        normal = _normal(vectors.shape[1], seed, cut)
        for start in range(0, len(large), _ROWS):
            mine = slice(start, start + _ROWS)
            rows = large[mine]
            side = unit_grid(vectors[rows]) @ normal > (middles @ normal)[place[mine]]
            found[rows] += np.where(side & (cut < cuts[rows]), 1 << cut, 0)
    return found


def divide(vectors: Float32Array, key: UInt64Array, max_group: int, seed: int) -> list[Int64Array]:
    """Halve a group that the cuts have left too large, until every piece is within bounds.

    Args:
        vectors: float32 ``[n, d]`` of ``unit_grid``.
        key: uint64 ``[n]``, settles ties.
        max_group: documents of a piece at most.
        seed: of the hyperplanes.

    Returns:
        Rows of each piece, rising.
    """
    waiting = [(np.arange(len(vectors)), 0)]
    pieces: list[Int64Array] = []
    while waiting:
        rows, depth = waiting.pop()
        if len(rows) <= max_group:
            pieces.append(np.sort(rows))
            continue
        normal = _normal(vectors.shape[1], seed, _MORE_CUTS + depth)
        heights = [vectors[rows[i : i + _ROWS]] @ normal for i in range(0, len(rows), _ROWS)]
        order = rows[np.lexsort((key[rows], np.concatenate(heights)))]
        middle = len(order) // 2
        waiting += [(order[middle:], depth + 1), (order[:middle], depth + 1)]
    return pieces


def _normal(dimension: int, seed: int, number: int) -> npt.NDArray[np.float64]:
    """The normal of a hyperplane, of numbers 1 and -1: products with it are exact, too."""
    names = pa.array([f"{number} {place}" for place in range(dimension)])
    signs = uniform_keys(names, seed, "semantic cut") >> np.uint64(63)
    return np.where(signs == 1, 1.0, -1.0)
