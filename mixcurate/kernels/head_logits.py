"""The arithmetic of a prediction of quality heads: each row by itself, whatever its batch."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mixcurate.kernels.heads_fit import Layers
from mixcurate.kernels.nearest import LARGEST, normalise

Float32Array = npt.NDArray[np.float32]

#: Rows of one multiplication.
_TILE = 64

#: Squared lengths below are not sums of float32 squares that can be trusted.
_SMALLEST = np.float32(1e-20)


def logits_of(layers: Layers, vectors: Float32Array, signals: Float32Array) -> Float32Array:
    """Logits float32 ``[outputs, n]``; NaN where a vector is zero or not finite.

    ``signals`` are as ``whole_tiles`` makes them, so that they too do not depend on the batch.

    A row is multiplied before it is divided by its length, which spares a pass over the rows. All
    multiplications have one shape, with rows of zeros at the end: they round by the shape, and a
    row must not depend on how a batch was cut.
    """
    n, d = vectors.shape
    rows = whole_tiles(vectors)
    squared = _squared_lengths(rows)
    odd = np.flatnonzero(~((squared > _SMALLEST) & (squared < LARGEST)))
    if len(odd):
        rows = rows.copy()
        rows[odd] = normalise(rows[odd])
        squared[odd] = _squared_lengths(rows[odd])
    (weight, bias), *rest = layers
    logits: Float32Array
    with np.errstate(divide="ignore", invalid="ignore"):  # of zero and of infinite vectors
        logits = _product(rows, weight[:d]).T
        logits /= np.sqrt(squared)
        if signals.shape[1]:
            logits += _product(signals, weight[d:]).T
        logits += bias[:, None]
        for weight, bias in rest:
            hidden = np.ascontiguousarray(np.maximum(logits, 0).T)
            logits = _product(hidden, weight).T + bias[:, None]
    found: Float32Array = logits[:, :n]
    return found


def whole_tiles(rows: Float32Array) -> Float32Array:
    """The rows as contiguous float32, with rows of zeros at the end of the last tile."""
    n, width = rows.shape
    if n % _TILE == 0 and rows.dtype == np.float32 and rows.flags.c_contiguous:
        return rows
    filled = np.zeros((-(-n // _TILE) * _TILE, width), np.float32)
    filled[:n] = rows
    return filled


def _product(rows: Float32Array, weight: Float32Array) -> Float32Array:
    """``rows @ weight``, tile by tile: float32 ``[n, out]``."""
    tiles: Float32Array = np.matmul(rows.reshape(-1, _TILE, len(weight)), weight)
    return tiles.reshape(len(rows), -1)


def _squared_lengths(rows: Float32Array) -> Float32Array:
    """Squared length of each row; what overflows is infinite."""
    with np.errstate(over="ignore", invalid="ignore"):
        squared: Float32Array = np.vecdot(rows, rows)  # twice as fast as einsum
    return squared
