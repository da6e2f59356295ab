"""Two levels of k-means: coarse clusters, each divided."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from mixcurate.kernels.lloyd import Members, lloyd
from mixcurate.kernels.nearest import Float32Array, Metric, assign


def two_levels(
    vectors: Float32Array, k: int, *, iterations: int, seed: int, metric: Metric
) -> Float32Array:
    """Centroids from about sqrt(k) coarse clusters, each divided in proportion to its rows.

    An iteration costs n * sqrt(k) distances instead of n * k.

    Args:
        vectors: float32 ``[n, d]``, n >= k.
        k: number of centroids.
        iterations: Lloyd iterations of each level.
        seed: of the first centroids.
        metric: of the space.

    Returns:
        float32 ``[k, d]``, coarse cluster by coarse cluster.
    """
    coarse = max(1, round(math.sqrt(k)))
    top = lloyd(vectors, coarse, iterations=iterations, seed=seed, metric=metric)
    cluster = assign(vectors, top, metric).cluster
    members = Members(cluster, coarse)
    children = apportion(np.bincount(cluster, minlength=coarse), k)
    found = []
    for number, count in enumerate(children.tolist()):
        if count:
            rows = vectors[members.of(number)]
            child = seed + 1 + number
            found.append(lloyd(rows, count, iterations=iterations, seed=child, metric=metric))
    return np.concatenate(found)


def apportion(sizes: npt.NDArray[np.int64], seats: int) -> npt.NDArray[np.int64]:
    """Seats in proportion to sizes, by largest remainder; at least one where there are rows.

    Args:
        sizes: rows of each, int64 ``[m]``, the sum at least ``seats``.
        seats: at least the number of sizes above zero.

    Returns:
        int64 ``[m]``, the sum ``seats``, none above its size.
    """
    quota = sizes * (seats / sizes.sum())
    given: npt.NDArray[np.int64] = np.maximum(np.floor(quota).astype(np.int64), sizes > 0)
    while (short := seats - int(given.sum())) != 0:
        step = 1 if short > 0 else -1
        able = given < sizes if short > 0 else given > 1
        order = np.argsort(-step * (quota - given), kind="stable")
        given[order[able[order]][: abs(short)]] += step
    return given
