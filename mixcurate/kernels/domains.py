"""From clusters to domains: prune by mean quality, merge centroids, and give each a lasting id.

CLIMB, stage A (arXiv 2504.13161, section 2.1): drop whole clusters whose mean quality is low, then
merge the surviving centroids hierarchically.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import xxhash
from scipy.cluster.hierarchy import fcluster, linkage

from mixcurate.kernels.clustering import MergeParams, PruneParams

Float32Array = npt.NDArray[np.float32]


def prune(
    n_documents: npt.NDArray[np.int64],
    mean_quality: npt.NDArray[np.float64],
    params: PruneParams | None,
) -> list[str | None]:
    """Why each cluster is dropped: ``empty``, ``low_quality``, or None for a kept one.

    Args:
        n_documents: int64 ``[k]``.
        mean_quality: float64 ``[k]``.
        params: the rule; None keeps every cluster that has documents.
    """
    least = params.min_quality if params else 0.0
    return [
        "empty" if count == 0 else "low_quality" if quality < least else None
        for count, quality in zip(n_documents.tolist(), mean_quality.tolist(), strict=True)
    ]


def merge(
    centroids: Float32Array,
    kept: npt.NDArray[np.bool_],
    n_tokens: npt.NDArray[np.int64],
    params: MergeParams | None,
) -> npt.NDArray[np.int32]:
    """The domain of each cluster.

    Domains are numbered by their tokens, the largest first, so that domain 0 is the largest.

    Args:
        centroids: float32 ``[k, d]``.
        kept: bool ``[k]``.
        n_tokens: int64 ``[k]``.
        params: the cut; None makes each kept cluster a domain.

    Returns:
        int32 ``[k]``, -1 where a cluster is not kept.
    """
    survivors = np.flatnonzero(kept)
    groups = np.arange(len(survivors))
    if params is not None and len(survivors) > 1:
        tree = linkage(centroids[survivors].astype(np.float64), method=params.linkage)
        if params.domains is not None:
            groups = fcluster(tree, params.domains, criterion="maxclust")
        else:
            groups = fcluster(tree, params.distance, criterion="distance")
    labels, groups = np.unique(groups, return_inverse=True)
    tokens = np.zeros(len(labels), np.int64)
    np.add.at(tokens, groups, n_tokens[survivors])
    by_size = np.argsort(-tokens, kind="stable")
    rank = np.empty(len(labels), np.int32)
    rank[by_size] = np.arange(len(labels))
    domains = np.full(len(centroids), -1, np.int32)
    domains[survivors] = rank[groups]
    return domains


def domain_id(centroids: Float32Array) -> str:
    """Content hash of a domain's member centroids, whatever their order: 32 hex digits."""
    rows = sorted(np.ascontiguousarray(row, "<f4").tobytes() for row in centroids)
    return xxhash.xxh3_128_hexdigest(b"".join(rows))


def separation(centroids: Float32Array) -> npt.NDArray[np.float64]:
    """Mean Euclidean distance of each unit centroid to all others: float64 ``[k]``.

    SampleMix, section 2.3 (cluster separation). A single centroid has separation zero. The mean
    uses d^2 = 2 - 2 cos block by block, so that memory stays O(k) per row block.
    """
    k = len(centroids)
    if k < 2:
        return np.zeros(k)
    result = np.empty(k)
    wide = centroids.astype(np.float64)
    for start in range(0, k, 1024):
        cosine = wide[start : start + 1024] @ wide.T
        result[start : start + 1024] = np.sqrt(np.maximum(2.0 - 2.0 * cosine, 0.0)).sum(axis=1)
    return result / (k - 1)
