"""A sample of a fixed size whatever the order and the number of parts: the smallest hashes.

Items have a key, which is a hash, and some words of data. A sample keeps the items with the
smallest keys until they hold enough words. Samples of parts merge to the sample of the whole, bit
for bit: an item that a part leaves out has enough before it in the whole as well.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

UInt64Array = npt.NDArray[np.uint64]
UInt32Array = npt.NDArray[np.uint32]
Int64Array = npt.NDArray[np.int64]

_HEAD = np.dtype([("key", "<u8"), ("length", "<i8")])


@dataclasses.dataclass(frozen=True)
class HashSample:
    """Items by rising key.

    Attributes:
        keys: uint64 ``[m]``.
        lengths: int64 ``[m]``, words of each.
        words: uint32 ``[sum(lengths)]``, of all items one after another.
    """

    keys: UInt64Array
    lengths: Int64Array
    words: UInt32Array

    def items(self, most: int) -> list[UInt32Array]:
        """The words of each item, of the last one no more than make ``most`` together."""
        ends = np.minimum(np.cumsum(self.lengths), most)
        pieces = np.split(self.words[:most], ends[:-1])
        return [piece for piece in pieces if len(piece)]

    def to_bytes(self) -> bytes:
        """For the way between machines."""
        heads = np.zeros(len(self.keys), _HEAD)
        heads["key"], heads["length"] = self.keys, self.lengths
        count = np.array([len(heads)], "<u8")
        return count.tobytes() + heads.tobytes() + self.words.astype("<u4").tobytes()

    @staticmethod
    def from_bytes(data: bytes) -> HashSample:
        """Back from ``to_bytes``."""
        count = int(np.frombuffer(data, "<u8", 1)[0])
        heads = np.frombuffer(data, _HEAD, count, offset=8)
        words = np.frombuffer(data, "<u4", offset=8 + count * _HEAD.itemsize)
        return HashSample(heads["key"].astype(np.uint64), heads["length"].astype(np.int64), words)


def smallest(samples: Sequence[HashSample], most: int) -> HashSample:
    """The sample of all that ``samples`` hold: as many items as are needed for ``most`` words.

    Args:
        samples: their items in any order.
        most: words; the last item that is kept may go beyond.
    """
    keys = np.concatenate([*(one.keys for one in samples), np.zeros(0, np.uint64)])
    lengths = np.concatenate([*(one.lengths for one in samples), np.zeros(0, np.int64)])
    words = np.concatenate([*(one.words for one in samples), np.zeros(0, np.uint32)])
    order = np.argsort(keys, kind="stable")
    before = np.cumsum(lengths[order]) - lengths[order]
    order = order[before < most]
    starts = np.cumsum(lengths) - lengths
    kept = lengths[order]
    within = np.arange(kept.sum()) - np.repeat(np.cumsum(kept) - kept, kept)
    return HashSample(keys[order], kept, words[np.repeat(starts[order], kept) + within])


def piece_keys(keys: UInt64Array, pieces: Int64Array) -> UInt64Array:
    """Hashes of the pieces of documents.

    Args:
        keys: uint64 ``[n]``, hash of the document of each piece.
        pieces: int64 ``[n]``, its number in the document.

    Returns:
        uint64 ``[n]`` (the finaliser of SplitMix64).
    """
    mixed = keys + (pieces.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    found: UInt64Array = mixed ^ (mixed >> np.uint64(31))
    return found
