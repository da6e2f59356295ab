"""How many shards, and which document goes where: a global shuffle by rank of a hash.

Each drawn copy has a uniform 64-bit shuffle key and a range: a phase, or the holdout. Shards are
numbered over the ranges, one range after another. In a range, shard i takes the copies whose rank
lies in its slice of the sorted keys; within a shard the order is the order of the keys. So shards
of a range differ by at most one document, and each is a uniform sample of the range.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from mixcurate.kernels.hashing import UInt64Array

Int64Array = npt.NDArray[np.int64]

#: Shards are not rounded up to the multiple when that would make them smaller than this.
LEAST_SHARD_BYTES = 1 << 20

_BIN_BITS = 16


@dataclasses.dataclass(frozen=True)
class ShardRange:
    """A run of shards.

    Attributes:
        split: ``train`` or ``holdout``.
        phase: name of the phase, unique.
        shards: how many; 0 for a range without documents.
    """

    split: str
    phase: str
    shards: int


@dataclasses.dataclass(frozen=True)
class Place:
    """Where a shard stands: its split, its phase, its number in the split, shards of the split."""

    split: str
    phase: str
    number: int
    n_shards: int


def places(ranges: Sequence[ShardRange]) -> list[Place]:
    """The place of each shard, in the order of their numbers over all ranges."""
    totals: dict[str, int] = {}
    for one in ranges:
        totals[one.split] = totals.get(one.split, 0) + one.shards
    found: list[Place] = []
    counts = dict.fromkeys(totals, 0)
    for one in ranges:
        for _ in range(one.shards):
            found.append(Place(one.split, one.phase, counts[one.split], totals[one.split]))
            counts[one.split] += 1
    return found


def count_shards(*, documents: int, n_bytes: int, shard_bytes: int, multiple_of: int) -> int:
    """Number of shards of a corpus.

    The fewest that keep shards within ``shard_bytes``, rounded up to the multiple. A corpus too
    small for that gets a power of two, so that shards hold at least ``LEAST_SHARD_BYTES``. Never
    more shards than documents.
    """
    needed = -(-n_bytes // shard_bytes)
    shards = -(-max(needed, 1) // multiple_of) * multiple_of
    if n_bytes // shards < LEAST_SHARD_BYTES:
        small = 1 << max(0, (n_bytes // LEAST_SHARD_BYTES).bit_length() - 1)
        shards = max(needed, min(shards, small))
    return max(1, min(shards, documents))


def key_histogram(keys: UInt64Array) -> Int64Array:
    """Copies per leading 16 bits of the shuffle key: int64 ``[65536]``."""
    return np.bincount(
        (keys >> np.uint64(64 - _BIN_BITS)).astype(np.int64), minlength=1 << _BIN_BITS
    )


def first_ranks(total: int, n_shards: int) -> Int64Array:
    """Rank of the first copy of shards 1, 2, ...: int64 ``[n_shards - 1]``."""
    return np.array([total * i // n_shards for i in range(1, n_shards)], np.int64)


def boundary_bins(histogram: Int64Array, ranks: Int64Array) -> tuple[Int64Array, Int64Array]:
    """For each rank: the bin it falls in, and its rank within that bin."""
    ends = np.cumsum(histogram)
    bins = np.searchsorted(ends, ranks, side="right")
    return bins, ranks - (ends[bins] - histogram[bins])


def keys_in_bins(keys: UInt64Array, bins: Int64Array) -> UInt64Array:
    """The keys that lie in any of ``bins``."""
    mine = (keys >> np.uint64(64 - _BIN_BITS)).astype(np.int64)
    return keys[np.isin(mine, bins)]


def boundaries(found: UInt64Array, bins: Int64Array, ranks_in_bin: Int64Array) -> UInt64Array:
    """The smallest key of shards 1, 2, ...: uint64 ``[n_shards - 1]``.

    Args:
        found: all keys in the boundary bins, in any order.
        bins: int64 ``[n_shards - 1]`` from ``boundary_bins``.
        ranks_in_bin: int64 ``[n_shards - 1]``, the same.
    """
    ordered = np.sort(found)
    starts = np.searchsorted(ordered, bins.astype(np.uint64) << np.uint64(64 - _BIN_BITS))
    limits: UInt64Array = ordered[starts + ranks_in_bin]
    return limits


def shard_of(keys: UInt64Array, limits: UInt64Array) -> npt.NDArray[np.int32]:
    """The shard of each copy of one range: int32 ``[m]``."""
    return np.searchsorted(limits, keys, side="right").astype(np.int32)


def range_histogram(keys: UInt64Array, ranges: npt.NDArray[np.uint8], n_ranges: int) -> Int64Array:
    """Copies per range and leading 16 bits of the shuffle key: int64 ``[n_ranges, 65536]``."""
    counts = np.zeros((n_ranges, 1 << _BIN_BITS), np.int64)
    for number in np.unique(ranges).tolist():
        counts[number] = key_histogram(keys[ranges == number])
    return counts


def shard_in_ranges(
    keys: UInt64Array,
    ranges: npt.NDArray[np.uint8],
    limits: Mapping[int, Sequence[int]],
    shards: Sequence[int],
) -> npt.NDArray[np.int32]:
    """The shard of each copy, numbered over all ranges: int32 ``[m]``.

    Args:
        keys: uint64 ``[m]``, shuffle keys.
        ranges: uint8 ``[m]``, their ranges.
        limits: by range, what ``boundaries`` gives for it; a range of one shard may be left out.
        shards: shards of each range.
    """
    found = np.zeros(len(keys), np.int32)
    first = np.concatenate([[0], np.cumsum(shards)])
    for number in np.unique(ranges).tolist():
        mine = ranges == number
        cuts = np.array(limits.get(number, ()), np.uint64)
        found[mine] = shard_of(keys[mine], cuts) + int(first[number])
    return found
