"""How like the nearest of some texts a document is (RDS+, arXiv 2503.01807, section 3).

The same number on any machine and in whatever batch a document comes: vectors are rounded so that
products in float64 are exact (``semantic.unit_grid``). A product in float32 finds the few texts
that can be the nearest, and only these are compared exactly.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mixcurate.kernels.semantic import unit_grid

Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]

#: Documents and texts whose cosines are computed at once: 16 MB.
_ROWS, _COLUMNS = 1_024, 4_096

#: Pairs that are compared exactly at once.
_PAIRS = 8_192


def distinct(vectors: npt.NDArray[np.floating]) -> Float32Array:
    """Different unit vectors, in a fixed order: what ``most_like`` takes.

    Args:
        vectors: float ``[m, d]``, finite.

    Returns:
        float32 ``[k, d]``, of ``unit_grid``.
    """
    grid = unit_grid(vectors) + np.float32(0)  # of -0.0, 0.0
    found: Float32Array = np.unique(grid, axis=0)
    return found


def most_like(vectors: npt.NDArray[np.floating], texts: Float32Array) -> Float64Array:
    """The greatest cosine of each document to any text.

    Args:
        vectors: float ``[n, d]`` as stored; one that is not finite is like nothing: -1.
        texts: float32 ``[m, d]`` of ``distinct``, m >= 1.

    Returns:
        float64 ``[n]``, exact for the rounded vectors.
    """
    found = np.empty(len(vectors))
    for start in range(0, len(vectors), _ROWS):
        block = vectors[start : start + _ROWS]
        usable = np.isfinite(block).all(axis=1)
        rows = unit_grid(np.where(usable[:, None], block, 0))
        best = _best(rows, texts)
        found[start : start + _ROWS] = np.where(usable, best, -1.0)
    return found


def _best(rows: Float32Array, texts: Float32Array) -> Float64Array:
    """The greatest exact cosine of each row."""
    margin = np.float32(2 * (rows.shape[1] + 8) * 2.0**-24)  # of two products in float32
    best = np.full(len(rows), -np.inf)
    for start in range(0, len(texts), _COLUMNS):
        columns = texts[start : start + _COLUMNS]
        near = rows @ columns.T
        limit = np.maximum(near.max(axis=1), best.astype(np.float32)) - margin
        row, column = np.nonzero(near >= limit[:, None])
        for first in range(0, len(row), _PAIRS):
            pairs = slice(first, first + _PAIRS)
            left = rows[row[pairs]].astype(np.float64)
            exact = np.einsum("ij,ij->i", left, columns[column[pairs]].astype(np.float64))
            np.maximum.at(best, row[pairs], exact)
    return best
