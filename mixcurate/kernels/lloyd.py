"""k-means on rows in memory: first centroids, Lloyd iterations, and moves out of local optima."""

from __future__ import annotations

from typing import NamedTuple

import faiss
import numpy as np
import numpy.typing as npt

from mixcurate.kernels.nearest import Float32Array, Int32Array, Metric, assign, flat_index

#: Above this many distances in an iteration a GPU, where there is one, is worth its start.
_GPU_DISTANCES = 10_000_000

#: Above this many clusters k-means++ costs more than the iterations that it saves.
_FEW = 128

#: The distance at which rows count as equal: means of equal rows differ from them by rounding.
_SAME = 1e-5

#: Lloyd iterations of the two halves of a cluster.
_HALVES = 4


def lloyd(
    vectors: Float32Array,
    k: int,
    *,
    iterations: int,
    seed: int,
    metric: Metric,
    start: Float32Array | None = None,
    stop: float = 0.0,
) -> Float32Array:
    """Centroids after some Lloyd iterations.

    Args:
        vectors: float32 ``[n, d]``, n >= k.
        k: number of centroids.
        iterations: at most so many.
        seed: of the first centroids: by k-means++ for few of them, else by its approximation
            AFK-MC2 (Bachem et al., NeurIPS 2016).
        metric: of the space; centroids are unit rows for cosine.
        start: first centroids float32 ``[k, d]``, instead.
        stop: end when the objective improves by less than this share.

    Returns:
        float32 ``[k, d]``.
    """
    few = k <= _FEW
    plus_plus, approximate = (
        faiss.ClusteringInitMethod_KMEANS_PLUS_PLUS,
        faiss.ClusteringInitMethod_AFK_MC2,
    )
    model = faiss.Kmeans(
        vectors.shape[1],
        k,
        niter=iterations,
        seed=seed % 2**31,
        spherical=metric == "cosine",
        gpu=len(vectors) * k >= _GPU_DISTANCES and faiss.get_num_gpus() > 0,
        init_method=plus_plus if few else approximate,
        early_stop_threshold=stop,
        min_points_per_centroid=1,
        max_points_per_centroid=len(vectors),
    )
    model.train(vectors, init_centroids=start)
    return np.array(model.centroids, np.float32)


class Spread(NamedTuple):
    """What the clusters of some rows are like."""

    cluster: Int32Array
    """int32 ``[n]``: nearest centroid."""
    error: npt.NDArray[np.float64]
    """``[k]``: sum of squared distances to it."""
    utility: npt.NDArray[np.float64]
    """``[k]``: what that sum would grow by without the centroid, all others staying."""


def spread(vectors: Float32Array, centroids: Float32Array, metric: Metric) -> Spread:
    """Error and utility of each centroid, k >= 2."""
    score, best = flat_index(centroids, metric).search(vectors, 2)
    squared = score if metric == "euclidean" else 2 - 2 * score
    cluster, k = best[:, 0].astype(np.int32), len(centroids)
    error, saved = np.maximum(squared[:, 0], 0), squared[:, 1] - squared[:, 0]
    return Spread(
        cluster,
        np.bincount(cluster, error, minlength=k).astype(np.float64),
        np.bincount(cluster, saved, minlength=k).astype(np.float64),
    )


def move(
    vectors: Float32Array, centroids: Float32Array, most: int, *, seed: int, metric: Metric
) -> tuple[Float32Array, int]:
    """Take centroids from where they save little to where another one would save much.

    Lloyd iterations cannot carry a centroid from one group of rows to another. This takes those of
    the lowest utility and divides the clusters whose error two halves lower most, as long as that
    gains (breathing k-means, Fritzke, arXiv 2006.15666, in pairs of one removal and one insertion).

    Args:
        vectors: float32 ``[n, d]``.
        centroids: float32 ``[k, d]``, k >= 2.
        most: at most so many move.
        seed: of the halves.
        metric: of the space.

    Returns:
        float32 ``[k, d]``, and how many moved. Follow it by a Lloyd iteration.
    """
    now = spread(vectors, centroids, metric)
    members = Members(now.cluster, len(centroids))
    gains: list[tuple[float, int, Float32Array]] = []
    for cluster in np.argsort(-now.error, kind="stable")[: 2 * most].tolist():
        rows = vectors[members.of(cluster)]
        if len(rows) >= 2:
            halves = lloyd(rows, 2, iterations=_HALVES, seed=seed, metric=metric)
            error = float((assign(rows, halves, metric).distance.astype(np.float64) ** 2).sum())
            gains.append((float(now.error[cluster]) - error, cluster, halves))
    gains.sort(key=lambda entry: (-entry[0], entry[1]))
    second = flat_index(centroids, metric).search(centroids, 2)[1]
    own = np.arange(len(centroids))
    neighbour = np.where(second[:, 0] == own, second[:, 1], second[:, 0])
    takes = iter(np.argsort(now.utility, kind="stable").tolist())
    busy: set[int] = {cluster for _, cluster, _ in gains[:most]}
    result, moved = centroids.copy(), 0
    for gain, cluster, halves in gains[:most]:
        taken = next((number for number in takes if number not in busy), None)
        if taken is None or now.utility[taken] >= gain:
            break
        busy |= {taken, int(neighbour[taken])}  # the neighbour takes its rows over
        result[cluster], result[taken] = halves
        moved += 1
    return result, moved


class Members:
    """The rows of each cluster."""

    def __init__(self, cluster: Int32Array, k: int) -> None:
        self._order = np.argsort(cluster, kind="stable")
        self._start = np.searchsorted(cluster[self._order], np.arange(k + 1))

    def of(self, cluster: int) -> npt.NDArray[np.int64]:
        """Rows of one, rising."""
        return self._order[self._start[cluster] : self._start[cluster + 1]]


def fill(vectors: Float32Array, centroids: Float32Array, metric: Metric) -> Float32Array:
    """Put each centroid without rows on the row that is farthest from its own.

    Args:
        vectors: float32 ``[n, d]``, finite, and not zero for cosine.
        centroids: float32 ``[k, d]``.
        metric: of the space.

    Returns:
        float32 ``[k', d]``, each the nearest one of some row; k' < k only where fewer rows differ.
    """
    centroids = centroids.copy()
    while True:
        cluster, distance = assign(vectors, centroids, metric)
        dead = np.bincount(cluster, minlength=len(centroids)) == 0
        if metric == "cosine":  # opposite rows cancel: no direction is nearest to anything
            dead |= ~centroids.any(axis=1)
        empty = np.flatnonzero(dead)
        if len(empty) == 0:
            return centroids
        far = np.argsort(-distance, kind="stable")
        far = far[distance[far] > _SAME]
        _, first = np.unique(cluster[far], return_index=True)  # two of a cluster may be equal
        rows = far[np.sort(first)][: len(empty)]
        if len(rows) == 0:
            alive: Float32Array = centroids[~dead]
            return alive
        centroids[empty[: len(rows)]] = vectors[rows]
