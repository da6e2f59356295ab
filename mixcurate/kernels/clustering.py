"""Parameters of cluster: k-means, pruning, merging into domains, and their names."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveInt, model_validator

from mixcurate.params import Params


class PruneParams(Params):
    """Which clusters are dropped whole (CLIMB, stage A)."""

    min_quality: float = Field(0.5, ge=0, le=1)
    """Clusters with a lower mean quality are pruned."""


class MergeParams(Params):
    """How the surviving centroids become domains."""

    domains: PositiveInt | None = 20
    """Number of domains; null to cut by `distance` instead."""
    distance: float | None = Field(None, gt=0)
    """Merge centroids below this linkage distance (CLIMB: 1.5)."""
    linkage: Literal["ward", "average", "complete", "single", "centroid"] = "ward"
    """Linkage of the hierarchy over centroids."""

    @model_validator(mode="after")
    def _one_cut(self) -> MergeParams:
        if (self.domains is None) == (self.distance is None):
            raise ValueError("give exactly one of 'domains' and 'distance' (set the other to null)")
        return self


class TopicParams(Params):
    """How domains get a name."""

    keywords: PositiveInt = 8
    """Keywords kept per domain; the first three make its name."""
    sample_documents: PositiveInt = 5_000
    """Documents that are read for naming, over all domains."""


class ClusterParams(Params):
    """How documents become clusters, and clusters domains."""

    k: PositiveInt = 1_000
    """Number of fine clusters; lowered, with a warning, when there are too few documents."""
    iterations: PositiveInt = 20
    """k-means iterations."""
    sample_per_cluster: PositiveInt = 64
    """Documents per cluster that k-means is trained on; every document is assigned."""
    prune: PruneParams | None = PruneParams()
    """Pruning of bad clusters; null keeps all."""
    merge: MergeParams | None = MergeParams()
    """Merging into domains; null makes each cluster a domain."""
    topics: TopicParams = TopicParams()
    """Names of the domains."""
