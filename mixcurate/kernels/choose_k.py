"""The number of clusters by the mean silhouette."""

from __future__ import annotations

import dataclasses

import numpy as np

from mixcurate.kernels.clustering import SilhouetteParams
from mixcurate.kernels.kmeans import Float32Array, Metric, assign, effective_k, fit

#: MB of distances that are held at once.
_WORKING_MEMORY = 64


@dataclasses.dataclass(frozen=True)
class Choice:
    """The chosen number of clusters, and what it was chosen from."""

    k: int
    """The candidate of the highest mean silhouette; of equals the smallest."""
    silhouettes: list[tuple[int, float]]
    """Each candidate, rising, and its mean silhouette, -1 to 1, to six digits. One whose documents
    all fell into a single cluster has none and is left out."""


def choose_k(
    sample: Float32Array,
    params: SilhouetteParams,
    *,
    documents: int,
    seed: int,
    metric: Metric = "cosine",
    iterations: int = 20,
) -> Choice:
    """The k of the highest mean silhouette (Rousseeuw 1987; to choose k: R&B, arXiv 2505.00358).

    Each candidate is fitted on the whole sample; the silhouette, whose cost goes with the square,
    is that of its first rows, by Euclidean distance.

    Args:
        sample: float32 ``[n, d]``, n >= 1, in an order that has nothing to do with content; unit
            rows for cosine.
        params: the range, and how many rows.
        documents: number of documents of the corpus; k leaves eight to a cluster on average.
        seed: of the fits.
        metric: of the space.
        iterations: Lloyd iterations of each fit.

    Returns:
        The choice. k is 1 without a table if there are too few documents for two clusters.

    Raises:
        ValueError: as ``kmeans.fit``.
    """
    # here: all stages' workers load this module, and sklearn takes longer than many of their tasks
    import sklearn
    from sklearn.metrics import silhouette_score

    most = effective_k(params.most, min(documents, 8 * len(sample)))
    if most < 2:
        return Choice(1, [])
    spaced = np.geomspace(min(params.least, most), most, params.candidates)
    scored = sample[: params.sample_documents]
    table: list[tuple[int, float]] = []
    for k in sorted({round(value) for value in spaced.tolist()}):
        found = fit(sample, k=k, seed=seed, metric=metric, iterations=iterations)
        cluster = assign(scored, found.centroids, metric).cluster
        if 1 < len(np.unique(cluster)) < len(scored):
            with sklearn.config_context(working_memory=_WORKING_MEMORY):
                table.append((k, round(float(silhouette_score(scored, cluster)), 6)))
    if not table:
        return Choice(1, [])
    return Choice(max(table, key=lambda entry: (entry[1], -entry[0]))[0], table)
