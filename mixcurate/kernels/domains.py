"""From clusters to domains: prune by mean quality, merge centroids, and give each a lasting id.

CLIMB, stage A (arXiv 2504.13161, section 2.1): drop whole clusters whose mean quality is low, then
merge the surviving centroids.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import xxhash
from scipy.cluster.hierarchy import fcluster, linkage

from mixcurate.kernels import kmeans
from mixcurate.kernels.clustering import MergeParams, PruneParams

Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]
Int32Array = npt.NDArray[np.int32]
Int64Array = npt.NDArray[np.int64]

#: Most centroids of a hierarchy, which needs the distance of each pair: 100 MB as float64.
MOST_LINKED = 5_000

#: Most neighbours that a domain is told.
_NEAREST = 3

_BLOCK = 1_024


def prune(
    n_documents: Int64Array,
    mean_quality: Float64Array,
    dimensions: Mapping[str, Float64Array],
    params: PruneParams | None,
) -> list[tuple[str | None, str]]:
    """Why each cluster is dropped, and the numbers behind it.

    A cluster none of whose documents carries a dimension (its mean is NaN) does not reach the
    dimension's threshold. That no document at all carries it is for the caller to notice.

    Args:
        n_documents: int64 ``[k]``.
        mean_quality: mean of our own dimensions, float64 ``[k]``.
        dimensions: float64 ``[k]`` for each dimension of ``params.asked``.
        params: the rule; None keeps every cluster that has documents.

    Returns:
        For each cluster ``empty``, ``low_quality`` or, if it is kept, None; and the detail.
    """
    asked = params.asked if params else {}
    rules: list[tuple[str, Float64Array, float]] = []
    if params is not None and params.min_quality is not None:
        rules.append(("mean quality", mean_quality, params.min_quality))
    if params is not None and params.by == "mean" and asked:
        mean = np.mean([dimensions[name] for name in asked], axis=0)
        rules.append((f"mean of {', '.join(asked)}", mean, sum(asked.values()) / len(asked)))
    else:
        rules += [(name, dimensions[name], least) for name, least in asked.items()]
    return [
        ("empty", "no documents") if count == 0 else _judged(cluster, rules)
        for cluster, count in enumerate(n_documents.tolist())
    ]


def _judged(cluster: int, rules: list[tuple[str, Float64Array, float]]) -> tuple[str | None, str]:
    failed = []
    for name, means, least in rules:
        value = float(means[cluster])
        if np.isnan(value):
            failed.append(f"{name}: no document carries it")
        elif value < least:
            failed.append(f"{name} {value:.6g} < {least:.6g}")
    return ("low_quality", "; ".join(failed)) if failed else (None, "")


def merge(
    centroids: Float32Array,
    kept: npt.NDArray[np.bool_],
    n_tokens: Int64Array,
    params: MergeParams | None,
    *,
    seed: int = 0,
) -> Int32Array:
    """The domain of each cluster.

    Domains are numbered by their tokens, the largest first, so that domain 0 is the largest. There
    are fewer than asked for where fewer clusters are kept, or where centroids are equal.

    A linkage builds a hierarchy of the centroids; beyond ``MOST_LINKED`` of them, k-means first
    brings them to so many groups. ``spectral`` is no linkage of centroids: see ``grouping``.

    Args:
        centroids: float32 ``[k, d]``, as they are for either metric.
        kept: bool ``[k]``.
        n_tokens: int64 ``[k]``.
        params: the cut; None makes each kept cluster a domain.
        seed: seed of what is random for many clusters.

    Returns:
        int32 ``[k]``, -1 where a cluster is not kept.
    """
    survivors = np.flatnonzero(kept)
    groups = np.arange(len(survivors))
    if params is not None and len(survivors) > (params.domains or 1):
        groups = _linked(centroids[survivors], params, seed)
    labels, groups = np.unique(groups, return_inverse=True)
    tokens = np.zeros(len(labels), np.int64)
    np.add.at(tokens, groups, n_tokens[survivors])
    by_size = np.argsort(-tokens, kind="stable")
    rank = np.empty(len(labels), np.int32)
    rank[by_size] = np.arange(len(labels))
    domains = np.full(len(centroids), -1, np.int32)
    domains[survivors] = rank[groups]
    return domains


def _linked(rows: Float32Array, params: MergeParams, seed: int) -> Int64Array:
    """Groups of centroids by a hierarchy."""
    owner = np.arange(len(rows))
    if len(rows) > MOST_LINKED:
        rows = np.ascontiguousarray(rows)
        fit = kmeans.fit(rows, k=MOST_LINKED, seed=seed, metric="euclidean")
        owner = kmeans.assign(rows, fit.centroids, metric="euclidean").cluster.astype(np.int64)
        rows = fit.centroids
    tree = linkage(rows.astype(np.float64), method=params.linkage)
    if params.domains is not None:
        cut = fcluster(tree, params.domains, criterion="maxclust")
    else:
        cut = fcluster(tree, params.distance, criterion="distance")
    groups: Int64Array = cut[owner].astype(np.int64)
    return groups


def domain_id(centroids: Float32Array, tier: str | None = None) -> str:
    """Content hash of a domain's member centroids, whatever their order: 32 hex digits.

    Args:
        centroids: float32 ``[members, d]``.
        tier: name of a tier of quality that is part of the domain; None for the whole domain.
    """
    rows = sorted(np.ascontiguousarray(row, "<f4").tobytes() for row in centroids)
    ending = [] if tier is None else [b"tier ", tier.encode()]
    return xxhash.xxh3_128_hexdigest(b"".join([*rows, *ending]))


def separation(centroids: Float32Array) -> Float64Array:
    """Mean Euclidean distance of each centroid to all others: float64 ``[k]``.

    SampleMix, section 2.3 (cluster separation). A single centroid has separation zero. Memory stays
    O(k) per block of rows.
    """
    k = len(centroids)
    if k < 2:
        return np.zeros(k)
    result = np.empty(k)
    wide = centroids.astype(np.float64)
    wide -= wide.mean(axis=0)  # far from the origin, differences would drown
    for start in range(0, k, _BLOCK):
        distance = _distances(wide[start : start + _BLOCK], wide)
        mine = np.arange(len(distance))
        distance[mine, start + mine] = 0
        result[start : start + _BLOCK] = distance.sum(axis=1)
    return result / (k - 1)


def _distances(left: Float64Array, right: Float64Array) -> Float64Array:
    """Euclidean distance of each pair: float64 ``[len(left), len(right)]``."""
    lengths = (left**2).sum(axis=1)[:, None] + (right**2).sum(axis=1)
    distances: Float64Array = np.sqrt(np.maximum(lengths - 2 * left @ right.T, 0))
    return distances


def nearest_domains(
    centroids: Float32Array, domain_of: Int32Array, weights: Int64Array
) -> list[list[int]]:
    """Other domains by the distance of their centres, the nearest first, at most three.

    The centre of a domain is the mean of its documents, as far as centroids tell it.

    Args:
        centroids: float32 ``[k, d]``.
        domain_of: int32 ``[k]``, -1 where a cluster has none; each domain has a cluster.
        weights: documents of each cluster, int64 ``[k]``.

    Returns:
        A list for each domain.
    """
    centres = _centres(centroids, domain_of, weights)
    n = len(centres)
    distance = _distances(centres, centres)
    np.fill_diagonal(distance, np.inf)
    order = np.argsort(distance, axis=1, kind="stable")[:, : min(_NEAREST, n - 1)]
    nearest: list[list[int]] = order.tolist()
    return nearest


def _centres(centroids: Float32Array, domain_of: Int32Array, weights: Int64Array) -> Float64Array:
    """Mean of the documents of each domain: float64 ``[domains, d]``."""
    n = int(domain_of.max(initial=-1)) + 1
    member = np.zeros((n, len(centroids)))
    clusters = np.flatnonzero(domain_of >= 0)
    member[domain_of[clusters], clusters] = np.maximum(weights[clusters], 1)
    member /= member.sum(axis=1, keepdims=True)
    centres: Float64Array = member @ centroids.astype(np.float64)
    return centres


def domain_map(
    old: Int32Array,
    new: Int32Array,
    weights: npt.NDArray[np.number] | None = None,
    *,
    n_old: int,
    n_new: int,
) -> Float64Array:
    """Where the documents of each old domain are now.

    Args:
        old: domain of each document before, int32 ``[n]``; -1 where it was in none: not counted.
        new: domain of each document now, int32 ``[n]``; -1 where it is in none: not counted.
        weights: what each document counts for, ``[n]``, zero or more; None counts each once.
        n_old: domains before.
        n_new: domains now.

    Returns:
        float64 ``[n_old, n_new]``: shares of an old domain's documents by new domain. Rows add up
        to one, or are zero where no document counts.
    """
    both = (old >= 0) & (new >= 0)
    shares = np.zeros((n_old, n_new))
    np.add.at(shares, (old[both], new[both]), 1.0 if weights is None else weights[both])
    total = shares.sum(axis=1, keepdims=True)
    np.divide(shares, total, out=shares, where=total > 0)
    return shares
