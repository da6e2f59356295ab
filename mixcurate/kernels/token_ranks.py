"""Ranks of documents by a score, on a scale of tokens: half of the pool's tokens rank below 0.5.

Of documents with one score (all pages of a host), the hash decides, so that ranks are spread over
all of (0, 1) however many share a score. To find them without sorting the pool, tokens are counted
by the leading bits of the scores, which sort like positive floats do. Within such a bin documents
are ranked by where in it their score lies, and those of one score by hash.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from mixcurate.kernels.hashing import UInt64Array, unit_interval

Float64Array = npt.NDArray[np.float64]
Int64Array = npt.NDArray[np.int64]

#: Leading bits of a score's float64 that make a bin: sign, exponent, and 12 of the mantissa. The
#: table of scores over nine orders of magnitude then takes 4 MB.
_BITS = np.uint64(24)

#: How fine places within a bin are, before the hash decides.
_PLACES = 2.0**20

#: Ranks are multiples of it, and none is 0 or 1.
STEP = 2.0**-48

_BIN = np.dtype([("bin", "<u8"), ("tokens", "<i8"), ("least", "<f8"), ("most", "<f8")])

Bins = npt.NDArray[np.void]


def count(scores: Float64Array, tokens: Int64Array) -> Bins:
    """Tokens by leading bits of the score: records, rising.

    Args:
        scores: float64 ``[n]``, not negative.
        tokens: int64 ``[n]``.
    """
    rows = np.empty(len(scores), _BIN)
    rows["least"] = rows["most"] = scores + 0.0  # of -0.0, 0.0
    rows["bin"] = _bin_of(rows["least"])
    rows["tokens"] = tokens
    return merge([rows])


def merge(pieces: list[Bins]) -> Bins:
    """One table of many, the same in any order."""
    rows = np.concatenate([np.zeros(0, _BIN), *pieces])
    if len(rows) == 0:
        return rows
    rows = rows[np.argsort(rows["bin"], kind="stable")]
    starts = np.flatnonzero(np.diff(rows["bin"], prepend=rows["bin"][:1] + np.uint64(1)))
    merged = rows[starts].copy()
    merged["tokens"] = np.add.reduceat(rows["tokens"], starts)
    merged["least"] = np.minimum.reduceat(rows["least"], starts)
    merged["most"] = np.maximum.reduceat(rows["most"], starts)
    return merged


def from_bytes(content: bytes) -> Bins:
    """Back from ``tobytes()``."""
    return np.frombuffer(content, _BIN)


@dataclasses.dataclass(frozen=True)
class TokenRanks:
    """The scale, of the counts of the whole pool."""

    bins: Bins

    def of(self, scores: Float64Array, keys: UInt64Array) -> Float64Array:
        """The rank of each document.

        Args:
            scores: float64 ``[n]``, those that were counted.
            keys: uniform hashes.

        Returns:
            float64 ``[n]`` in (0, 1), multiples of ``STEP``: not lower for a higher score, and of
            equal scores uniform in what they take of the scale.
        """
        plain = scores + 0.0
        place = np.searchsorted(self.bins["bin"], _bin_of(plain))
        place = np.minimum(place, max(len(self.bins) - 1, 0))
        if len(self.bins) == 0 or len(plain) == 0:
            return np.full(len(plain), 0.5)
        least, most = self.bins["least"][place], self.bins["most"][place]
        width = np.where(most > least, most - least, 1.0)
        inside = np.floor(np.clip((plain - least) / width, 0.0, 1.0) * (_PLACES - 1))
        spread = (inside + unit_interval(keys)) / _PLACES
        inside = np.where(most > least, spread, unit_interval(keys))
        held = self.bins["tokens"].astype(np.float64)
        before = np.concatenate([[0.0], np.cumsum(held)])
        rank = (before[place] + held[place] * inside) / max(before[-1], 1.0)
        steps: Float64Array = np.clip(np.floor(rank / STEP) * STEP, STEP, 1.0 - STEP)
        return steps


def _bin_of(scores: Float64Array) -> UInt64Array:
    return np.ascontiguousarray(scores).view(np.uint64) >> (np.uint64(64) - _BITS)
