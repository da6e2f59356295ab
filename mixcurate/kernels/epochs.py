"""The order of the documents within an epoch: fresh each time, preferred ones earlier."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mixcurate.kernels.hashing import UInt64Array, unit_interval

Float64Array = npt.NDArray[np.float64]

_GOLDEN, _MIX, _MIX_AGAIN = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB


def epoch_keys(keys: UInt64Array, epoch: int) -> UInt64Array:
    """Keys for one epoch: which documents come again first says nothing of which came first.

    SplitMix64 (Steele, Lea and Flood 2014, doi:10.1145/2660193.2660195) of a key, ``epoch`` - 1
    steps on. It is a bijection, so that different keys stay different.

    Args:
        keys: uint64 ``[n]``, uniform.
        epoch: from 1 on; of the first one the keys are what they were.

    Returns:
        uint64 ``[n]``.
    """
    if epoch == 1:
        return keys
    mixed = keys + np.uint64((epoch - 1) * _GOLDEN % (1 << 64))
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(_MIX)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(_MIX_AGAIN)
    return mixed ^ (mixed >> np.uint64(31))


def prefer(keys: UInt64Array, factors: Float64Array) -> UInt64Array:
    """Keys with which some documents come earlier in each epoch than others.

    In place of v stands v ** (1 / f), and the largest come first: sampling without replacement with
    probabilities proportional to f (Efraimidis and Spirakis 2006, doi:10.1016/j.ipl.2005.11.003).
    Whole epochs stay whole: no document comes a second time before all of its cell have come
    once.

    Args:
        keys: uint64 ``[n]``, uniform.
        factors: float64 ``[n]``, positive; with 1 a key stays as it is.

    Returns:
        uint64 ``[n]``; of a changed key 48 bits count, so that no processor's last digit does.
    """
    moved = np.floor(unit_interval(keys) ** (1.0 / factors) * 2.0**48)
    shifted = np.minimum(moved, 2.0**48 - 1).astype(np.uint64) << np.uint64(16)
    return np.where(factors == 1.0, keys, shifted)
