"""The signals that a quality head reads beside the vector: transformed, standardised, checked.

A vector holds what the first tokens of a text are about; its length, its layout and what it repeats
are in the signals of ``kernels.signals``. These are counts and shares with long tails, so that a
head reads the logarithm of each, standardised and cut to a few standard deviations.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from mixcurate.errors import InputError
from mixcurate.kernels.signals import SIGNALS

Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]

#: Added before the logarithm: shares below it are as good as none.
_OFFSET = np.float32(0.1)

#: Standard deviations beyond which a signal says no more: a text of 100,000 words is long.
CUT = 3

#: Rows that are cut in one loop.
_AT_ONCE = 64

#: A column that varies less is as good as constant.
_LEAST_DEVIATION = 1e-4

#: How strong signals may count beside the vector, both standardised: 0 is the vector alone.
_STRENGTHS = (0.0, 3.0, 10.0, 30.0)

#: How strong they count alone, so that the penalties on offer are of their size.
_ALONE = 3.0


class Signals(NamedTuple):
    """Signals of documents to fit a head on."""

    names: tuple[str, ...]
    """As in ``kernels.signals.SIGNALS``."""
    values: Float32Array
    """float32 ``[n, s]``."""
    alone: bool = False
    """Whether the head is to leave the vector out."""


def check_signals(names: Sequence[str], whose: str) -> None:
    """Check that this version computes the signals.

    Args:
        names: of signals.
        whose: what asks for them, for the message.

    Raises:
        InputError: it does not; with the first.
    """
    for name in names:
        if name not in SIGNALS:
            raise InputError(
                f"{whose} reads the signal {name!r:.80}, which this version of mixcurate does not "
                "compute; fit it again (mixcurate train-quality), or use the version that it is of"
            )


def transformed(signals: Float32Array) -> Float32Array:
    """log(signal + 0.1) of each: float32 ``[n, s]``, contiguous; NaN for what is not finite."""
    values: Float32Array = np.ascontiguousarray(np.maximum(signals, 0), np.float32)
    values += _OFFSET
    np.log(values, out=values)
    finite = np.isfinite(values)
    if not finite.all():
        values[~finite] = np.nan
    return values


def standardise(table: Float64Array, d: int) -> tuple[Float32Array, Float32Array]:
    """Standardise the columns of a table in place; what is no number becomes the mean.

    Args:
        table: float64 ``[n, d + s]``: unit vectors, and transformed signals, which are cut.
        d: width of the vectors.

    Returns:
        mean and scale, float32 ``[d + s]``, as ``Head`` has them.
    """
    signals = table[:, d:]
    row, column = np.nonzero(np.isnan(signals))
    signals[row, column] = 0
    known = len(table) - np.bincount(column, minlength=signals.shape[1])
    signals[row, column] = (signals.sum(axis=0) / np.maximum(known, 1))[column]
    mean = table.mean(axis=0).astype(np.float32)
    deviation = table.std(axis=0).astype(np.float32)
    scale = np.where(deviation < _LEAST_DEVIATION, np.float32(1), deviation)
    table -= mean
    table /= scale
    np.clip(signals, -CUT, CUT, out=signals)
    return mean, scale


def cut(signals: Float32Array, mean: Float32Array, scale: Float32Array) -> Float32Array:
    """Transformed signals as ``standardise`` cuts them, but neither shifted nor scaled.

    Args:
        signals: float32 ``[n, s]``, as they are; ``n`` is a multiple of 64.
        mean: float32 ``[s]``, of the transformed signals.
        scale: float32 ``[s]``.
    """
    values = transformed(signals)
    missing = np.isnan(values)
    if missing.any():
        values[missing] = mean[np.nonzero(missing)[1]]
    # bounds of many rows at once: loops over one row of signals are short, and slow
    low, high = (np.tile(mean + way * scale, _AT_ONCE) for way in (-CUT, CUT))
    rows = values.reshape(len(values) // _AT_ONCE, len(low))
    np.maximum(rows, low, out=rows)
    np.minimum(rows, high, out=rows)
    return values


def strengths(signals: Signals | None) -> tuple[float, ...]:
    """How strong signals may count beside the vector; infinite for signals alone."""
    if signals is None:
        return (0.0,)
    return (np.inf,) if signals.alone else (*_STRENGTHS, np.inf)


def column_strengths(strength: float, d: int, s: int) -> Float64Array:
    """What each column of the table is multiplied by: float64 ``[d + s]``."""
    vector, signal = (0.0, _ALONE) if np.isinf(strength) else (1.0, strength)
    return np.repeat([vector, signal], [d, s])
