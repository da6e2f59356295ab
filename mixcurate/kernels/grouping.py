"""Domains as the graph of documents has them, told for any document by a linear classifier.

A graph of neighbours follows the shape of topics (``spectral``), but only for the documents in it.
So its groups are distilled into a linear classifier of vectors, as DataWeave distils topics that
were found on a sample (arXiv 2502.16802): any document, also of a later crawl, has its group by one
product of matrices, and a cluster is what most of its documents are.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mixcurate.kernels import spectral
from mixcurate.kernels.classifier import Classifier, fit_classifier, predict

Float32Array = npt.NDArray[np.float32]
Int32Array = npt.NDArray[np.int32]

#: Weight of the documents against the penalty on large weights. Smaller than where given labels are
#: fitted: groups of a graph are ragged at their edges, and a smoother border is nearer to topics.
_INVERSE_PENALTY = 3.0


def find_groups(sample: Float32Array, groups: int, seed: int) -> Float32Array:
    """Group sampled documents, and fit what tells the group of any document.

    Args:
        sample: float32 ``[n, d]``, finite and not zero, in random order; the first
            ``spectral.MOST_NODES`` are grouped.
        groups: how many are looked for; fewer documents are a group each.
        seed: of the grouping.

    Returns:
        float32 ``[d + 1, g]``: weights of each group, and its bias in the last row; g <= groups.
    """
    nodes = sample[: spectral.MOST_NODES]
    found = np.arange(len(nodes))
    if len(nodes) > groups:
        found = spectral.spectral_groups(nodes, groups, seed)
    fitted = fit_classifier(nodes, found.astype(np.int32), seed, inverse_penalty=_INVERSE_PENALTY)
    return np.vstack([fitted.weight, fitted.bias]).astype(np.float32)


def groups_of(grouping: Float32Array, vectors: npt.NDArray[np.floating]) -> Int32Array:
    """Group of each document: int32 ``[n]``, -1 where a vector is zero or not finite.

    Args:
        grouping: of ``find_groups``.
        vectors: any float ``[n, d]``.
    """
    columns = np.arange(grouping.shape[1], dtype=np.int32)
    weights = Classifier(columns, grouping[:-1], grouping[-1], np.nan, np.nan, 0, 0)
    return predict(weights, vectors.astype(np.float32, copy=False))[0]


def groups_of_clusters(
    grouping: Float32Array, sample: Float32Array, cluster: Int32Array, centroids: Float32Array
) -> Int32Array:
    """Group of each cluster: that of most of its sampled documents, or of its centroid without any.

    Args:
        grouping: of ``find_groups``.
        sample: float32 ``[n, d]``.
        cluster: of each sampled document, int32 ``[n]``.
        centroids: float32 ``[k, d]``.

    Returns:
        int32 ``[k]``; of as many documents, the lower number wins.
    """
    votes = np.zeros((len(centroids), grouping.shape[1]), np.int64)
    known = cluster >= 0
    np.add.at(votes, (cluster[known], groups_of(grouping, sample[known])), 1)
    alone = np.flatnonzero(votes.sum(axis=1) == 0)
    winner: Int32Array = votes.argmax(axis=1).astype(np.int32)
    # a centroid may be zero: the first group is as good as any
    winner[alone] = np.maximum(groups_of(grouping, centroids[alone]), 0)
    return winner
