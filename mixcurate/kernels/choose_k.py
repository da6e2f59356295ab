"""The number of clusters by the mean silhouette."""

from __future__ import annotations

import dataclasses

from mixcurate.kernels.clustering import SilhouetteParams
from mixcurate.kernels.kmeans import Float32Array, Metric


@dataclasses.dataclass(frozen=True)
class Choice:
    """The chosen number of clusters, and what it was chosen from."""

    k: int
    """The candidate of the highest mean silhouette; of equals the smallest."""
    silhouettes: list[tuple[int, float]]
    """Each candidate, rising, and its mean silhouette, -1 to 1."""


def choose_k(
    sample: Float32Array,
    params: SilhouetteParams,
    *,
    documents: int,
    seed: int,
    metric: Metric = "cosine",
    iterations: int = 20,
) -> Choice:
    """The k of the highest mean silhouette (R&B, arXiv 2505.00358)."""
    raise NotImplementedError
