"""Flatter clusters: resampling by cluster, and a bound on the largest."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mixcurate.kernels.lloyd import Members, fill, lloyd
from mixcurate.kernels.nearest import Assigned, Float32Array, Metric, assign

#: Rounds of dividing and dissolving before a bound is given up.
_ROUNDS = 30


def nearest_of_each(assigned: Assigned, per_cluster: int) -> npt.NDArray[np.int64]:
    """The rows nearest to each centroid (Vo et al., arXiv 2405.15613, section 3.3).

    Args:
        assigned: cluster and distance of rows, all finite.
        per_cluster: rows kept of each cluster, or all if it has fewer.

    Returns:
        Rows int64, rising.
    """
    order = np.lexsort((assigned.distance, assigned.cluster))
    cluster = assigned.cluster[order]
    first = np.flatnonzero(np.append(True, cluster[1:] != cluster[:-1]))
    rank = np.arange(len(order)) - np.repeat(first, np.diff(np.append(first, len(order))))
    return np.sort(order[rank < per_cluster])


def bound_sizes(
    vectors: Float32Array, centroids: Float32Array, bound: float, *, seed: int, metric: Metric
) -> tuple[Float32Array, float]:
    """Divide clusters above ``bound`` times the mean size, and dissolve as many of the smallest.

    The clusters stay those of the nearest centroid, so the bound holds for the sample, and for the
    corpus as far as the sample is like it.

    Args:
        vectors: float32 ``[n, d]``.
        centroids: float32 ``[k, d]``.
        bound: above 1.
        seed: of the divisions.
        metric: of the space.

    Returns:
        float32 ``[k, d]``, and the largest size there is, in multiples of the mean: above ``bound``
        if it could not be reached.
    """
    k, mean = len(centroids), len(vectors) / len(centroids)
    best, least = centroids, np.inf
    cluster = assign(vectors, centroids, metric).cluster
    for turn in range(_ROUNDS + 1):
        sizes = np.bincount(cluster, minlength=k)
        largest = float(sizes.max() / mean)
        if largest < least:
            best, least = centroids, largest
        if least <= bound or turn == _ROUNDS:
            break
        centroids = _divide(vectors, centroids, cluster, bound * mean, seed + turn, metric)
        centroids, (cluster, _) = fill(vectors, centroids, metric)
        if len(centroids) < k:  # too few rows that differ
            break
    return best, least


def _divide(
    vectors: Float32Array,
    centroids: Float32Array,
    cluster: npt.NDArray[np.int32],
    limit: float,
    seed: int,
    metric: Metric,
) -> Float32Array:
    """One round: the large in parts that would be three quarters of the limit, if equal."""
    sizes = np.bincount(cluster, minlength=len(centroids))
    members = Members(cluster, len(centroids))
    small = np.argsort(sizes, kind="stable").tolist()
    free = [number for number in small if sizes[number] <= limit / 2]
    result = centroids.copy()
    for number in np.argsort(-sizes, kind="stable").tolist():
        if sizes[number] <= limit or not free:
            break
        parts = min(int(np.ceil(sizes[number] / (0.75 * limit))), len(free) + 1)
        rows = vectors[members.of(number)]
        found = lloyd(rows, parts, iterations=10, seed=seed, metric=metric)
        result[[number, *free[: parts - 1]]] = found
        free = free[parts - 1 :]
    return result
