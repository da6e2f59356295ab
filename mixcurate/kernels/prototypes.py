"""Which documents are prototypes: the share that is nearest to its centroid, found without a sort.

D4 (arXiv 2308.12284) drops them after deduplication, following the self-supervised prototypes of
Sorscher et al. (arXiv 2206.14486): a document near its centroid says what its cluster says anyway.
One threshold holds for all clusters, so dense clusters lose more than loose ones.

Not negative floats sort like their bits: one pass counts documents by the leading bits of their
distance, a second one sorts the single bin that the share ends in. Equal distances are settled by a
hash of the id, so that the number dropped is exact.
"""

from __future__ import annotations

import dataclasses
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from mixcurate.kernels.hashing import UInt64Array

Float32Array = npt.NDArray[np.float32]

#: One bin: the leading bits of its distances, and how many documents it holds.
BIN = np.dtype([("bin", "<u4"), ("documents", "<i8")])

#: One document of the bin in which the share ends.
CANDIDATE = np.dtype([("bits", "<u4"), ("key", "<u8")])

#: Bits of a float32 that are not part of its bin: 12 of 23 mantissa bits are, so that distances
#: within one octave fill at most 4,096 bins.
_SHIFT = np.uint32(11)


@dataclasses.dataclass(frozen=True)
class Boundary:
    """The bin in which the share ends, and how many of its documents are dropped."""

    bin: int
    dropped: int


@dataclasses.dataclass(frozen=True)
class Limit:
    """The last document that is dropped: its distance, as bits, and its hash; -1 drops none."""

    bits: int
    key: int

    @property
    def distance(self) -> float:
        """The largest distance of a dropped document; NaN if there is none."""
        return float(np.uint32(self.bits).view(np.float32)) if self.bits >= 0 else float("nan")


def histogram(distance: Float32Array) -> npt.NDArray[np.void]:
    """Documents per bin of distance.

    Args:
        distance: float32 ``[n]``, not negative; NaN for a document that does not count.

    Returns:
        ``BIN`` records, sorted.
    """
    bins, documents = np.unique(_bits(distance[_counts(distance)]) >> _SHIFT, return_counts=True)
    return _records(bins, documents)


def merge_histograms(histograms: list[npt.NDArray[np.void]]) -> npt.NDArray[np.void]:
    """One histogram of many, the same in any order of merging."""
    found = np.concatenate([np.zeros(0, BIN), *histograms])
    bins, which = np.unique(found["bin"], return_inverse=True)
    documents = np.zeros(len(bins), np.int64)
    np.add.at(documents, which, found["documents"])
    return _records(bins, documents)


def _records(
    bins: npt.NDArray[np.uint32], documents: npt.NDArray[np.int64]
) -> npt.NDArray[np.void]:
    records = np.zeros(len(bins), BIN)
    records["bin"], records["documents"] = bins, documents
    return records


def boundary(bins: npt.NDArray[np.void], share: float) -> Boundary | None:
    """Where the share ends.

    Args:
        bins: ``BIN`` records of all documents, merged.
        share: of the documents that is dropped, rounded down to whole documents.

    Returns:
        None where that is no document at all.
    """
    up_to = np.cumsum(bins["documents"])
    wanted = int(Fraction(str(share)) * int(up_to[-1])) if len(bins) else 0  # 0.29 of 100 is 29
    if wanted == 0:
        return None
    index = int(np.searchsorted(up_to, wanted))
    before = int(up_to[index] - bins["documents"][index])
    return Boundary(int(bins["bin"][index]), wanted - before)


def candidates(
    distance: Float32Array, key: UInt64Array, found: Boundary | None
) -> npt.NDArray[np.void]:
    """The documents in the bin in which the share ends, as far as they can be dropped.

    Args:
        distance: float32 ``[n]`` as in ``histogram``.
        key: uint64 ``[n]``, a hash of each id.
        found: of ``boundary``.

    Returns:
        ``CANDIDATE`` records, sorted, no more than are dropped of the bin.
    """
    if found is None:
        return np.zeros(0, CANDIDATE)
    bits = _bits(distance)
    inside = _counts(distance) & (bits >> _SHIFT == found.bin)
    records = np.zeros(int(inside.sum()), CANDIDATE)
    records["bits"], records["key"] = bits[inside], key[inside]
    return merge_candidates([records], found)


def merge_candidates(pieces: list[npt.NDArray[np.void]], found: Boundary) -> npt.NDArray[np.void]:
    """The first of many candidates, no more than are dropped of the bin."""
    records = np.concatenate([np.zeros(0, CANDIDATE), *pieces])
    order = np.lexsort((records["key"], records["bits"]))[: found.dropped]
    first: npt.NDArray[np.void] = records[order]
    return first


def limit(pieces: list[npt.NDArray[np.void]], found: Boundary | None) -> Limit:
    """The last document that is dropped, from the candidates of all parts."""
    if found is None:
        return Limit(-1, 0)
    last = merge_candidates(pieces, found)[-1]
    return Limit(int(last["bits"]), int(last["key"]))


def are_prototypes(distance: Float32Array, key: UInt64Array, last: Limit) -> npt.NDArray[np.bool_]:
    """Which documents are dropped: bool ``[n]``; each part decides alone."""
    bits = _bits(distance).astype(np.int64)
    before = (bits < last.bits) | ((bits == last.bits) & (key <= np.uint64(last.key)))
    dropped: npt.NDArray[np.bool_] = _counts(distance) & before
    return dropped


def _counts(distance: Float32Array) -> npt.NDArray[np.bool_]:
    counted: npt.NDArray[np.bool_] = np.isfinite(distance) & (distance >= 0)
    return counted


def _bits(distance: Float32Array) -> npt.NDArray[np.uint32]:
    """Bits that sort like the distances: those of -0 are those of 0."""
    return (distance.astype(np.float32) + np.float32(0)).view(np.uint32)
