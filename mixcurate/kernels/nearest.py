"""The nearest centroid of each vector, the same however the vectors are cut into batches."""

from __future__ import annotations

from typing import Literal, NamedTuple

import faiss
import numpy as np
import numpy.typing as npt

Float32Array = npt.NDArray[np.float32]
Int32Array = npt.NDArray[np.int32]
Metric = Literal["cosine", "euclidean"]

#: Rows at a time where a pass over vectors would leave the processor's cache.
_ROWS = 256

#: Squared lengths outside these bounds are not sums of float32 squares that can be trusted.
_SMALLEST, _LARGEST = np.float32(1e-20), np.float32(1e30)

#: Two centroids whose float32 similarity to a row (relative to the lengths) differs by less are
#: compared again in float64: matrix multiplications round by the shape of their batch.
_TIE = 1e-5


class Assigned(NamedTuple):
    """Cluster and distance of each vector."""

    cluster: Int32Array
    distance: Float32Array


def normalise(vectors: npt.NDArray[np.floating]) -> Float32Array:
    """Unit-length float32 copies of the rows; a zero row stays zero.

    Args:
        vectors: any float ``[n, d]``. A row that is not finite stays so.

    Returns:
        float32 ``[n, d]``.
    """
    rows = np.array(vectors, dtype=np.float32, order="C")
    squared = _dot_rows(rows, rows)
    odd = np.flatnonzero(~((squared > _SMALLEST) & (squared < _LARGEST)))
    if len(odd):  # their squares underflow or overflow: bring the largest entry to one
        with np.errstate(invalid="ignore"):
            largest = np.abs(rows[odd]).max(axis=1, keepdims=True)
            rows[odd] /= np.where(largest > 0, largest, np.float32(1))
        squared[odd] = _dot_rows(rows[odd], rows[odd])
    rows /= np.sqrt(np.where(squared == 0, np.float32(1), squared))[:, None]
    return rows


def assign(
    vectors: npt.NDArray[np.floating], centroids: Float32Array, metric: Metric = "cosine"
) -> Assigned:
    """The nearest centroid of each row, exactly: no approximate index.

    A matrix multiplication finds the two best centroids. Where they are too close for float32, they
    are compared in float64, and the lower number wins a tie; the distance to the chosen one is
    computed from the difference of the two vectors, because 2 - 2 cos cancels near zero. So neither
    depends on how the rows are cut into batches.

    Args:
        vectors: any float ``[n, d]``; for cosine of any length, they are normalised here.
        centroids: float32 ``[k, d]``, k >= 1; unit rows for cosine.
        metric: ``cosine`` for the Euclidean distance between unit vectors, in [0, 2] (a zero
            vector is 1 from every centroid); ``euclidean`` for that of the vectors as they are.

    Returns:
        cluster int32 ``[n]``, distance float32 ``[n]``. A row that is not finite (or, for
        euclidean, whose squared length is above 1e30) gets cluster -1 and distance NaN.
    """
    if len(vectors) == 0:
        return Assigned(np.zeros(0, np.int32), np.zeros(0, np.float32))
    rows = (
        np.ascontiguousarray(vectors, np.float32) if metric == "euclidean" else normalise(vectors)
    )
    squared = _dot_rows(rows, rows)
    bad = np.flatnonzero(~(squared < _LARGEST))
    if len(bad):
        rows = rows.copy() if raw else rows
        rows[bad] = 0
    cluster = _search(rows, centroids, squared, metric)
    distance = np.sqrt(_dot_rows(rows, rows, minus=(centroids, cluster)))
    cluster[bad], distance[bad] = -1, np.nan
    return Assigned(cluster, distance)


def _search(
    rows: Float32Array, centroids: Float32Array, squared: Float32Array, metric: Metric
) -> Int32Array:
    """The nearest centroid of finite rows."""
    k, d = centroids.shape
    index = faiss.IndexFlatL2(d) if metric == "euclidean" else faiss.IndexFlatIP(d)
    index.add(np.ascontiguousarray(centroids))
    score, best = index.search(rows, min(k, 2))
    cluster = best[:, 0].astype(np.int32)
    if k == 1:
        return cluster
    scale = squared + _dot_rows(centroids, centroids).max() if metric == "euclidean" else 1
    close = np.flatnonzero(np.abs(score[:, 0] - score[:, 1]) <= _TIE * scale)
    if len(close):
        pair = np.sort(best[close], axis=1)
        away = centroids[pair].astype(np.float64) - rows[close, None]
        far = np.einsum("nij,nij->ni", away, away)
        cluster[close] = pair[np.arange(len(close)), far.argmin(axis=1)]
    return cluster


def _dot_rows(
    left: Float32Array,
    right: Float32Array,
    minus: tuple[Float32Array, Int32Array] | None = None,
) -> Float32Array:
    """Dot product of each pair of rows, block by block so that blocks stay in the cache.

    With ``minus`` (centroids, cluster) it is the squared distance of ``left`` to its centroid.
    """
    result = np.empty(len(left), np.float32)
    for start in range(0, len(left), _ROWS):
        block = slice(start, start + _ROWS)
        one, other = left[block], right[block]
        if minus is not None:
            one = other = one - minus[0][minus[1][block]]
        with np.errstate(over="ignore", invalid="ignore"):
            np.einsum("ij,ij->i", one, other, out=result[block])
    return result
