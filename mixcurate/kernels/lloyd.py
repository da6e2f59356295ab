"""k-means on rows in memory: first centroids, Lloyd iterations, and moves out of local optima."""

from __future__ import annotations

import faiss
import numpy as np
import numpy.typing as npt

from mixcurate.kernels.nearest import (
    Assigned,
    Float32Array,
    Int32Array,
    Metric,
    assign,
    flat_index,
    normalise,
    squared_lengths,
)

#: Above this many distances in an iteration a GPU, where there is one, is worth its start.
_GPU_DISTANCES = 10_000_000

#: Above this many clusters k-means++ costs more than the iterations that it saves.
_FEW = 128

#: The distance at which rows count as equal: means of equal rows differ from them by rounding.
_SAME = 1e-5

#: Rounds of putting centroids on rows. Each lowers the error, so this is never reached in practice.
_FILLS = 100

#: Clusters that are tried in halves beside twice the moves: an error says little about the gain.
_MORE = 8

#: Lloyd iterations of the two halves of a cluster.
_HALVES = 3


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


def move(
    vectors: Float32Array, centroids: Float32Array, most: int, *, metric: Metric
) -> tuple[Float32Array, int]:
    """Take centroids from where they save little to where another one would save much.

    Lloyd iterations cannot carry a centroid from one group of rows to another. This takes those
    whose rows lose least by going to others, and divides the clusters that gain most by it, as long
    as that pays (breathing k-means, Fritzke, arXiv 2006.15666, a removal with each insertion).

    Args:
        vectors: float32 ``[n, d]``.
        centroids: float32 ``[k, d]``, k >= 2.
        most: at most so many move.
        metric: of the space.

    Returns:
        float32 ``[k, d]``, and how many moved. Follow it by a Lloyd iteration.
    """
    cluster, error, loss, neighbour = _error_and_loss(vectors, centroids, metric)
    members = Members(cluster, len(centroids))
    gains: list[tuple[float, int, Float32Array]] = []
    for number in np.argsort(-error, kind="stable")[: 2 * most + _MORE].tolist():
        if error[number] > 0:
            pair, left = _halves(vectors[members.of(number)], metric)
            gains.append((float(error[number]) - left, number, pair))
    gains.sort(key=lambda entry: (-entry[0], entry[1]))
    cheapest = iter(np.argsort(loss, kind="stable").tolist())
    busy: set[int] = set()
    result, moved = centroids.copy(), 0
    for gain, number, pair in gains:
        if number in busy:
            continue
        busy.add(number)
        taken = next((other for other in cheapest if other not in busy), None)
        if taken is None or moved == most or loss[taken] >= gain:
            break
        busy |= {taken, int(neighbour[taken])}  # the neighbour takes its rows over
        result[number], result[taken] = pair
        moved += 1
    return result, moved


def _error_and_loss(
    vectors: Float32Array, centroids: Float32Array, metric: Metric
) -> tuple[Int32Array, npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Cluster of each row; error, loss without it and nearest other one of each centroid.

    The loss is the smaller of two bounds: all other centroids stay, or the rows all go to the
    nearest other one, which moves to their common mean (Ward's criterion).
    """
    k, index = len(centroids), flat_index(centroids, metric)
    score, best = index.search(vectors, 2)
    squared = (score if metric == "euclidean" else 2 - 2 * score).astype(np.float64)
    cluster: Int32Array = best[:, 0].astype(np.int32)
    error = np.bincount(cluster, np.maximum(squared[:, 0], 0), minlength=k).astype(np.float64)
    stay = np.bincount(cluster, squared[:, 1] - squared[:, 0], minlength=k)
    size = np.bincount(cluster, minlength=k)
    pair = index.search(centroids, 2)[1]
    neighbour: npt.NDArray[np.int64] = np.where(pair[:, 0] == np.arange(k), pair[:, 1], pair[:, 0])
    between = squared_lengths(centroids - centroids[neighbour])
    both = np.maximum(size + size[neighbour], 1)
    merge = size * size[neighbour] / both * between
    return cluster, error, np.minimum(stay, merge), neighbour


def _halves(rows: Float32Array, metric: Metric) -> tuple[Float32Array, float]:
    """Centroids of two halves of some rows, float32 ``[2, d]``, and their error together."""
    first = rows[squared_lengths(rows - rows.mean(axis=0)).argmax()]
    pair = np.stack([first, rows[squared_lengths(rows - first).argmax()]])
    for _ in range(_HALVES):
        middle = (pair[1] + pair[0]) / 2
        across = pair[1] - pair[0]
        side = np.einsum("ij,j->i", rows, across) > np.einsum("j,j->", middle, across)
        if side.all() or not side.any():
            break
        pair = np.stack([rows[~side].mean(axis=0), rows[side].mean(axis=0)])
        pair = normalise(pair) if metric == "cosine" else pair
    one, other = (squared_lengths(rows - centroid) for centroid in pair)
    return pair, float(np.minimum(one, other).sum(dtype=np.float64))


class Members:
    """The rows of each cluster."""

    def __init__(self, cluster: Int32Array, k: int) -> None:
        self._order = np.argsort(cluster, kind="stable")
        self._start = np.searchsorted(cluster[self._order], np.arange(k + 1))

    def of(self, cluster: int) -> npt.NDArray[np.int64]:
        """Rows of one, rising."""
        return self._order[self._start[cluster] : self._start[cluster + 1]]


def fill(
    vectors: Float32Array, centroids: Float32Array, metric: Metric
) -> tuple[Float32Array, Assigned]:
    """Put each centroid without rows on the row that is farthest from its own.

    Args:
        vectors: float32 ``[n, d]``, finite, and not zero for cosine.
        centroids: float32 ``[k, d]``.
        metric: of the space.

    Returns:
        float32 ``[k', d]``, each the nearest one of some row, and the rows' clusters; k' < k only
        where fewer rows differ.
    """
    centroids = centroids.copy()
    for _ in range(_FILLS):
        assigned = assign(vectors, centroids, metric)
        dead = _without_rows(assigned, centroids, metric)
        if not dead.any():
            return centroids, assigned
        far = np.argsort(-assigned.distance, kind="stable")
        far = far[assigned.distance[far] > _SAME]
        _, first = np.unique(assigned.cluster[far], return_index=True)  # two of one may be equal
        empty = np.flatnonzero(dead)
        rows = far[np.sort(first)][: len(empty)]
        if len(rows) == 0:
            break
        centroids[empty[: len(rows)]] = vectors[rows]
    alive: Float32Array = centroids[~dead]
    return alive, assign(vectors, alive, metric)


def _without_rows(
    assigned: Assigned, centroids: Float32Array, metric: Metric
) -> npt.NDArray[np.bool_]:
    dead: npt.NDArray[np.bool_] = np.bincount(assigned.cluster, minlength=len(centroids)) == 0
    if metric == "cosine":  # opposite rows cancel: no direction is nearest to anything
        dead |= ~centroids.any(axis=1)
    return dead
