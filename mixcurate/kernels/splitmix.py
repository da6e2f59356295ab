"""Mixing of 64-bit values, in place and for a whole array."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

UInt64Array = npt.NDArray[np.uint64]

#: Added between two rounds of mixing.
GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)


def mix(values: UInt64Array) -> None:
    """The finaliser of splitmix64 (Steele, Lea and Flood 2014), in place: a bijection."""
    shifted = values >> np.uint64(30)
    values ^= shifted
    values *= _MIX_1
    values ^= np.right_shift(values, np.uint64(27), out=shifted)
    values *= _MIX_2
    values ^= np.right_shift(values, np.uint64(31), out=shifted)
