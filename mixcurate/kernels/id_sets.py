"""Two multisets of ids compared by their 64-bit hashes: which are in both, and how often."""

from __future__ import annotations

import dataclasses

import numpy as np

from mixcurate.kernels.hashing import UInt64Array


@dataclasses.dataclass(frozen=True)
class Overlap:
    """How many different documents two corpora share.

    Attributes:
        both: in both, the same number of times in each or not.
        only_a: in the first alone.
        only_b: in the second alone.
        copies_changed: of those in both, how many occur more or less often in the second.
    """

    both: int = 0
    only_a: int = 0
    only_b: int = 0
    copies_changed: int = 0

    def __add__(self, other: Overlap) -> Overlap:
        """Of two pairs of sets that have nothing in common."""
        mine, others = dataclasses.astuple(self), dataclasses.astuple(other)
        return Overlap(*(a + b for a, b in zip(mine, others, strict=True)))


def overlap(a: UInt64Array, b: UInt64Array) -> Overlap:
    """Compare the ids of two corpora.

    Args:
        a: uint64 ``[n]``, the hash of the id of each copy in the first, in any order.
        b: uint64 ``[m]``, the same of the second.
    """
    ids_a, copies_a = np.unique(a, return_counts=True)
    ids_b, copies_b = np.unique(b, return_counts=True)
    _, in_a, in_b = np.intersect1d(ids_a, ids_b, assume_unique=True, return_indices=True)
    both = len(in_a)
    changed = int((copies_a[in_a] != copies_b[in_b]).sum())
    return Overlap(both, len(ids_a) - both, len(ids_b) - both, changed)
