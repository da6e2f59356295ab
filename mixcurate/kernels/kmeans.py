"""k-means over FAISS: fit on a sample, assign everything.

CLIMB (arXiv 2504.13161, section 2.1) and SampleMix (arXiv 2503.01506, section 2.3) both cluster
L2-normalised embeddings; distances here are Euclidean, for cosine between unit vectors, in [0, 2].
"""

from __future__ import annotations

import dataclasses
import math
from typing import Literal

import faiss
import numpy as np

from mixcurate.kernels.clustering import ResampleParams
from mixcurate.kernels.nearest import Assigned, Float32Array, Metric, assign, normalise

__all__ = ["Assigned", "Fit", "Float32Array", "Metric", "assign", "effective_k", "fit", "normalise"]

Levels = Literal["auto", 1, 2]


@dataclasses.dataclass(frozen=True)
class Fit:
    """Centroids, and what a person should know about them."""

    centroids: Float32Array
    """float32 ``[k, d]``: unit rows for cosine. Fewer than asked for where fewer rows differ."""
    inertia: float
    """Sum over the sample of the squared distance to the nearest centroid."""
    notes: list[str]
    """What could not be had as asked, one sentence each."""


def effective_k(k: int | Literal["sqrt"], documents: int) -> int:
    """The asked-for number of clusters, lowered so that each has eight documents on average.

    Args:
        k: a number, or ``sqrt`` for that of the documents, rounded down (SampleMix, arXiv
            2503.01506, section 2.3).
        documents: number of documents.
    """
    asked = math.isqrt(documents) if k == "sqrt" else k
    return max(1, min(asked, documents // 8))


def fit(
    vectors: Float32Array,
    *,
    k: int,
    seed: int,
    metric: Metric = "cosine",
    levels: Levels = "auto",
    iterations: int = 20,
    resample: ResampleParams | None = None,
    balance: float | None = None,
) -> Fit:
    """k-means centroids of a sample.

    The result depends on the order of the rows: pass them in a deterministic one.

    Args:
        vectors: float32 ``[n, d]``, finite; unit rows for cosine (zero rows may be among them).
        k: number of clusters.
        seed: seed of the initial choice.
        metric: ``cosine`` for spherical k-means, ``euclidean`` for rows as they are.
        levels: 2 divides about sqrt(k) coarse clusters, 1 does not.
        iterations: Lloyd iterations of each fit.
        resample: fit again on the nearest rows of each cluster.
        balance: largest cluster of the sample, in multiples of the mean.

    Returns:
        The fit.

    Raises:
        ValueError: no rows, rows that are not finite, or, for cosine, of another length than 1.
    """
    model = faiss.Kmeans(
        vectors.shape[1],
        k,
        niter=iterations,
        seed=seed,
        spherical=metric == "cosine",
        min_points_per_centroid=1,
        max_points_per_centroid=len(vectors),
    )
    model.train(vectors)
    centroids = np.asarray(model.centroids)
    centroids = normalise(centroids) if metric == "cosine" else centroids
    _, distance = assign(vectors, centroids, metric)
    return Fit(centroids, float((distance.astype(np.float64) ** 2).sum()), [])
