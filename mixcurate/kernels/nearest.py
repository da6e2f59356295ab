"""The nearest centroid of each vector, the same however the vectors are cut into batches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import faiss

Float32Array = npt.NDArray[np.float32]
Int32Array = npt.NDArray[np.int32]
Metric = Literal["cosine", "euclidean"]

#: Rows of one search. Their similarities to 1,000 centroids take 16 MB.
_BLOCK = 4_096

#: Rows of a pass over vectors alone, so that they stay in the processor's cache.
_ROWS = 256

#: Squared lengths outside these bounds are not sums of float32 squares that can be trusted.
_SMALLEST, LARGEST = np.float32(1e-20), np.float32(1e30)

#: Two centroids whose float32 similarity to a row (relative to the lengths) differs by less are
#: compared again in float64: matrix multiplications round by the shape of their batch.
_TIE = 1e-5


class Assigned(NamedTuple):
    """Cluster and distance of each vector."""

    cluster: Int32Array
    distance: Float32Array


def usable(vectors: npt.NDArray[np.floating]) -> npt.NDArray[np.bool_]:
    """Rows that can be clustered: finite, and not zero, which has no direction: bool ``[n]``."""
    found: npt.NDArray[np.bool_] = np.isfinite(vectors).all(axis=1) & vectors.any(axis=1)
    return found


def normalise(vectors: npt.NDArray[np.floating]) -> Float32Array:
    """Unit-length float32 copies of the rows; a zero row stays zero.

    Args:
        vectors: any float ``[n, d]``. A row that is not finite gives one that is not finite.

    Returns:
        float32 ``[n, d]``.
    """
    rows, squared = _scaled(vectors)
    rows /= np.sqrt(np.where(squared == 0, np.float32(1), squared))[:, None]
    return rows


def assign(
    vectors: npt.NDArray[np.floating], centroids: Float32Array, metric: Metric = "cosine"
) -> Assigned:
    """The nearest centroid of each row, exactly: no approximate index.

    A matrix multiplication finds the two best centroids. Where they are too close for float32, they
    are compared in float64, and the lower number wins a tie. The distance to the chosen one is
    computed from the difference of the two vectors, because 2 - 2 cos cancels near zero. So neither
    depends on how the rows are cut into batches.

    Args:
        vectors: any float ``[n, d]``; for cosine of any length, they are normalised here.
        centroids: float32 ``[k, d]``, k >= 1; unit rows for cosine.
        metric: ``cosine`` for the Euclidean distance between unit vectors, in [0, 2] (a zero
            vector is in cluster 0, at 1); ``euclidean`` for that of the vectors as they are.

    Returns:
        cluster int32 ``[n]``, distance float32 ``[n]``. A row that is not finite (or, for
        euclidean, whose squared length is above 1e30) gets cluster -1 and distance NaN.
    """
    cluster, distance = np.empty(len(vectors), np.int32), np.empty(len(vectors), np.float32)
    cosine = metric == "cosine"
    offset = np.zeros(centroids.shape[1]) if cosine else centroids.mean(axis=0, dtype=np.float64)
    origin = offset.astype(np.float32)  # far from it, float32 products of vectors cancel
    targets = np.ascontiguousarray(centroids - origin)
    index = flat_index(targets, metric)
    for start in range(0, len(vectors), _BLOCK):
        block = slice(start, start + _BLOCK)
        if cosine:
            rows, squared = _scaled(vectors[block])
        else:
            rows = vectors[block].astype(np.float32) - origin
            squared = squared_lengths(rows)
        bad = np.flatnonzero(~(squared < LARGEST))
        rows[bad], squared[bad] = 0, 0
        found = _search(index, rows, targets, squared, metric)
        length = np.sqrt(squared) if cosine else np.ones(len(rows), np.float32)
        length[length == 0] = 1
        cluster[block], distance[block] = found, _distances(rows, length, targets, found)
        cluster[start + bad], distance[start + bad] = -1, np.nan
    return Assigned(cluster, distance)


def flat_index(centroids: Float32Array, metric: Metric) -> faiss.IndexFlat:
    """An exact index of centroids."""
    import faiss  # here: stages that search nothing would wait for it

    d = centroids.shape[1]
    index = faiss.IndexFlatIP(d) if metric == "cosine" else faiss.IndexFlatL2(d)
    index.add(centroids)
    return index


def squared_lengths(rows: Float32Array) -> Float32Array:
    """Squared length of each row; what overflows is infinite."""
    with np.errstate(over="ignore", invalid="ignore"):
        squared: Float32Array = np.einsum("ij,ij->i", rows, rows)
    return squared


def _scaled(vectors: npt.NDArray[np.floating]) -> tuple[Float32Array, Float32Array]:
    """Float32 copies of the rows, and their squared lengths, which fit float32 unless zero.

    Rows of very large or small entries are scaled, so these keep their direction only.
    """
    rows = np.array(vectors, dtype=np.float32, order="C")
    squared = squared_lengths(rows)
    odd = np.flatnonzero(~((squared > _SMALLEST) & (squared < LARGEST)))
    if len(odd):  # bring the largest entry to one
        largest = np.abs(rows[odd]).max(axis=1, keepdims=True)
        with np.errstate(invalid="ignore"):
            rows[odd] /= np.where(largest > 0, largest, np.float32(1))
        squared[odd] = squared_lengths(rows[odd])
    return rows, squared


def _search(
    index: faiss.IndexFlat,
    rows: Float32Array,
    targets: Float32Array,
    squared: Float32Array,
    metric: Metric,
) -> Int32Array:
    """The nearest centroid of finite rows of given squared length."""
    score, best = index.search(rows, min(len(targets), 2))
    cluster: Int32Array = best[:, 0].astype(np.int32)
    if len(targets) == 1:
        return cluster
    scale = np.sqrt(squared) if metric == "cosine" else squared + squared_lengths(targets).max()
    close = np.flatnonzero(np.abs(score[:, 0] - score[:, 1]) <= _TIE * scale)
    if len(close):
        pair = np.sort(best[close], axis=1)
        exact = rows[close].astype(np.float64)
        if metric == "cosine":
            exact /= np.maximum(np.linalg.norm(exact, axis=1), 1e-30)[:, None]
        away = targets[pair] - exact[:, None]
        worse = np.einsum("nij,nij->ni", away, away)
        cluster[close] = pair[np.arange(len(close)), worse.argmin(axis=1)]
    if metric == "cosine":
        cluster[squared == 0] = 0
    return cluster


def _distances(
    rows: Float32Array, length: Float32Array, targets: Float32Array, cluster: Int32Array
) -> Float32Array:
    """Distance of each row, divided by its length, to its centroid."""
    distance = np.empty(len(rows), np.float32)
    for start in range(0, len(rows), _ROWS):
        block = slice(start, start + _ROWS)
        away = rows[block] / length[block, None]
        away -= targets[cluster[block]]
        np.einsum("ij,ij->i", away, away, out=distance[block])
    return np.sqrt(distance, out=distance)
