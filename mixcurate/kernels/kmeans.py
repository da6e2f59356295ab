"""k-means over FAISS: fit on a sample, assign everything.

CLIMB (arXiv 2504.13161, section 2.1) and SampleMix (arXiv 2503.01506, section 2.3) both cluster
L2-normalised embeddings; distances here are Euclidean, for cosine between unit vectors, in [0, 2].
"""

from __future__ import annotations

import dataclasses
import math
from typing import Literal

import numpy as np

from mixcurate.kernels.balance import bound_sizes, nearest_of_each
from mixcurate.kernels.clustering import ResampleParams
from mixcurate.kernels.hierarchy import two_levels
from mixcurate.kernels.lloyd import fill, lloyd, move
from mixcurate.kernels.nearest import (
    LARGEST,
    Assigned,
    Float32Array,
    Metric,
    assign,
    normalise,
    squared_lengths,
)

__all__ = ["Assigned", "Fit", "Float32Array", "Metric", "assign", "effective_k", "fit", "normalise"]

Levels = Literal["auto", 1, 2]

#: From so many clusters on, two levels reach the same inertia sooner.
_MANY = 64

#: Rows a cluster that first centroids and moves are made from.
_EARLY = 64

#: Lloyd iterations before the moves, at most: later ones change little that moves do not.
_FIRST = 8

#: Rounds of moves, at most.
_MOVES = 2

#: The last iterations end when the objective improves by less than this share.
_GAIN = 5e-3

#: How far a squared length may be from 1: vectors that were float16 when they were normalised.
_UNIT = 5e-3


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

    The result depends on the order of the rows: pass them in a deterministic one that has nothing
    to do with their content.

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
        The fit. The same bytes on any number of threads; not on a GPU, which rounds otherwise.

    Raises:
        ValueError: no rows, rows that are not finite, or, for cosine, of another length than 1.
    """
    rows, origin = _checked(vectors, metric)
    if len(rows) == 0:  # zero vectors have no direction: any centroid will do
        only = np.eye(1, vectors.shape[1], dtype=np.float32)
        return Fit(only, float(len(vectors)), _fewer(1, k))
    asked, k = k, min(k, len(rows))
    plan = _Plan(k=k, seed=seed, metric=metric, levels=levels, iterations=iterations)
    centroids = _fit_once(rows, plan)
    for turn in range(resample.rounds if resample else 0):
        assert resample is not None
        kept = nearest_of_each(assign(rows, centroids, metric), resample.per_cluster)
        plan = dataclasses.replace(plan, k=min(k, len(kept)), seed=seed + 1 + turn)
        centroids = _fit_once(rows[kept], plan)
    centroids, assigned = fill(rows, centroids, metric)
    notes = _fewer(len(centroids), asked)
    if balance is not None:
        centroids, largest = bound_sizes(rows, centroids, balance, seed=seed, metric=metric)
        assigned = assign(rows, centroids, metric)
        if largest > balance:
            notes.append(
                f"balance {balance:g} was not reached: the largest cluster has {largest:.1f} times "
                f"the mean"
            )
    inertia = float((assigned.distance.astype(np.float64) ** 2).sum()) + len(vectors) - len(rows)
    return Fit(np.ascontiguousarray(centroids + origin), inertia, notes)


def _fewer(found: int, asked: int) -> list[str]:
    """The note that there are fewer clusters than asked for, if so."""
    if found == asked:
        return []
    return [f"only {found:,} of {asked:,} clusters: no more vectors differ"]


@dataclasses.dataclass(frozen=True)
class _Plan:
    """One fit from scratch."""

    k: int
    seed: int
    metric: Metric
    levels: Levels
    iterations: int


def _checked(vectors: Float32Array, metric: Metric) -> tuple[Float32Array, Float32Array]:
    """The rows to fit, and what to add to their centroids."""
    if len(vectors) == 0:
        raise ValueError("k-means needs at least one vector")
    squared = squared_lengths(vectors)
    bad = np.flatnonzero(~(squared < LARGEST))
    if len(bad):
        raise ValueError(
            f"{len(bad):,} vectors are not finite, or too long; the first is {bad[0]:,}"
        )
    if metric == "euclidean":  # far from the origin, float32 products of vectors cancel
        origin = vectors.mean(axis=0, dtype=np.float64).astype(np.float32)
        return vectors - origin, origin
    zero = squared == 0
    other = np.flatnonzero(~(zero | (np.abs(squared - 1) < _UNIT)))
    if len(other):
        raise ValueError(
            f"{len(other):,} vectors are not of length 1; the first is {other[0]:,}: normalise them"
        )
    return vectors[~zero] if zero.any() else vectors, np.zeros(vectors.shape[1], np.float32)


def _fit_once(vectors: Float32Array, plan: _Plan) -> Float32Array:
    """First centroids on one or two levels, moves, and Lloyd iterations until they gain little."""
    k, metric, seed = plan.k, plan.metric, plan.seed
    early = np.ascontiguousarray(vectors[:: max(1, len(vectors) // (k * _EARLY))])
    two = plan.levels == 2 or (plan.levels == "auto" and k >= _MANY)
    first = two_levels if two and k > 3 else lloyd
    few = min(plan.iterations, _FIRST)
    centroids = first(early, k, iterations=few, seed=seed, metric=metric)
    most = math.ceil(k / 10)
    for _ in range(_MOVES if k > 1 else 0):
        centroids, moved = move(early, centroids, most, metric=metric)
        centroids = lloyd(early, k, iterations=1, seed=seed, metric=metric, start=centroids)
        if moved <= k / 100:
            break
    return lloyd(
        vectors,
        k,
        iterations=plan.iterations,
        seed=seed,
        metric=metric,
        start=centroids,
        stop=_GAIN,
    )
