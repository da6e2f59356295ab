"""Spherical k-means over FAISS: fit on a sample, assign everything.

CLIMB (arXiv 2504.13161, section 2.1) and SampleMix (arXiv 2503.01506, section 2.3) both cluster
L2-normalised embeddings; distances here are Euclidean between unit vectors, in [0, 2].
"""

from __future__ import annotations

import faiss
import numpy as np
import numpy.typing as npt

Float32Array = npt.NDArray[np.float32]


def effective_k(k: int, documents: int) -> int:
    """The asked-for number of clusters, lowered so that each has eight documents on average."""
    return max(1, min(k, documents // 8))


def normalise(vectors: npt.NDArray[np.floating]) -> Float32Array:
    """Unit-length float32 copies of the rows; a zero row stays zero."""
    rows = np.ascontiguousarray(vectors, dtype=np.float32)
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    unit: Float32Array = rows / np.maximum(length, np.float32(1e-12))
    return unit


def fit(vectors: Float32Array, *, k: int, iterations: int, seed: int) -> Float32Array:
    """Spherical k-means centroids.

    The result depends on the order of the rows: pass them in a deterministic one.

    Args:
        vectors: float32 ``[n, d]``, unit rows, n >= k.
        k: number of clusters.
        iterations: Lloyd iterations.
        seed: seed of the initial choice.

    Returns:
        float32 ``[k, d]``, unit rows.
    """
    model = faiss.Kmeans(
        vectors.shape[1],
        k,
        niter=iterations,
        seed=seed,
        spherical=True,
        min_points_per_centroid=1,
        max_points_per_centroid=len(vectors),
    )
    model.train(vectors)
    return normalise(np.asarray(model.centroids))


def assign(
    vectors: Float32Array, centroids: Float32Array
) -> tuple[npt.NDArray[np.int32], Float32Array]:
    """The nearest centroid of each row.

    Args:
        vectors: float32 ``[n, d]``, unit rows.
        centroids: float32 ``[k, d]``, unit rows.

    Returns:
        cluster int32 ``[n]`` and Euclidean distance float32 ``[n]``.
    """
    if len(vectors) == 0:
        return np.zeros(0, np.int32), np.zeros(0, np.float32)
    index = faiss.IndexFlatIP(centroids.shape[1])
    index.add(centroids)
    similarity, nearest = index.search(vectors, 1)
    distance = np.sqrt(np.maximum(2.0 - 2.0 * similarity[:, 0], 0.0))
    return nearest[:, 0].astype(np.int32), distance.astype(np.float32)
