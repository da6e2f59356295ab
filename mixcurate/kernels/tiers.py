"""Quality tiers: where they begin, by value or by the share of tokens below."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from mixcurate.kernels import fixedpoint

Int32Array = npt.NDArray[np.int32]
Int64Array = npt.NDArray[np.int64]
Float32Array = npt.NDArray[np.float32]


def tiers(quality: Float32Array, cuts: Sequence[float]) -> Int32Array:
    """The quality tier of each document: int32 ``[n]``, how many of ``cuts`` it reaches."""
    return np.searchsorted(np.array(cuts, np.float64), quality, side="right").astype(np.int32)


#: Trailing bits of a float32 quality that one bin covers: bins are 2 ** -11 wide, relatively.
_LOW_BITS = 12

#: Tokens by leading bits of the quality.
QUALITY = np.dtype([("bin", "<i4"), ("tokens", "<i8")])


def quality_histogram(quality: Float32Array, tokens: Int64Array) -> npt.NDArray[np.void]:
    """Tokens by the leading bits of the quality: ``QUALITY`` records, rising.

    A positive float sorts like its bits.

    Args:
        quality: float32 ``[n]``; what is below zero counts as zero.
        tokens: int64 ``[n]``.
    """
    bits = np.maximum(quality, np.float32(0)) + np.float32(0)  # no negative zero
    return _qualities((bits.view(np.int32) >> _LOW_BITS).astype(np.int64), tokens)


def merge_qualities(pieces: Iterable[npt.NDArray[np.void]]) -> npt.NDArray[np.void]:
    """One histogram of many, the same in any order."""
    records = np.concatenate([np.zeros(0, QUALITY), *pieces])
    return _qualities(records["bin"].astype(np.int64), records["tokens"])


def _qualities(bins: Int64Array, tokens: Int64Array) -> npt.NDArray[np.void]:
    keys, (sums,) = fixedpoint.sums_by_key(bins, np.ascontiguousarray(tokens))
    records = np.zeros(len(keys), QUALITY)
    records["bin"], records["tokens"] = keys, sums
    return records


def cuts_at_ranks(histogram: npt.NDArray[np.void], ranks: Sequence[float]) -> tuple[float, ...]:
    """The qualities below which these shares of the tokens lie, as near as bins allow.

    Args:
        histogram: of all documents.
        ranks: shares in (0, 1), rising.
    """
    if len(histogram) == 0:
        return tuple(ranks)
    below = np.concatenate([[0], np.cumsum(histogram["tokens"])])
    bins = histogram["bin"]
    edges = np.append(bins, bins[-1] + 1)  # below edge i lie below[i] tokens
    wanted = np.array(ranks) * below[-1]
    upper = np.minimum(np.searchsorted(below, wanted), len(edges) - 1)
    lower = np.maximum(upper - 1, 0)
    nearest = np.where(wanted - below[lower] < below[upper] - wanted, lower, upper)
    values = (edges[nearest].astype(np.int32) << _LOW_BITS).view(np.float32)
    return tuple(float(value) for value in values)
