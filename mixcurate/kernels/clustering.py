"""Parameters of cluster: k-means, pruning, merging into domains, and their names."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ByteSize, Field, PositiveInt, model_validator

from mixcurate.params import EndpointParams, Params

#: Thresholds on the mean quality of a cluster in the three accounts of CLIMB that disagree: the
#: paper (arXiv 2504.13161, section 3.1), NVIDIA's recipe, and the card of the released data.
PRESETS: dict[str, dict[str, float]] = {
    "paper": {
        "quality": 3.0,
        "advertisement": 3.0,
        "informational_value": 3.0,
        "educational_value": 3.0,
    },
    "curator": {
        "advertisement": 2.0,
        "quality": 1.0,
        "informational_value": 1.0,
        "educational_value": 1.0,
        "cultural_value": 1.0,
    },
    "card": {"advertisement": 2.0, "educational_value": 1.0},
}


class PruneParams(Params):
    """Which clusters are dropped whole (CLIMB, stage A).

    A dimension is one of our own (`fluency`, `form`, `originality`, `substance`, each 0 to 1), or a
    number that the documents carry: a field of that name in their input.
    """

    min_quality: float | None = Field(0.5, ge=0, le=1)
    """Clusters with a lower mean of our own dimensions are pruned; null asks nothing."""
    preset: Literal["paper", "curator", "card"] | None = None
    """Thresholds of CLIMB's classifiers, whose scores the documents must carry."""
    thresholds: dict[Annotated[str, Field(pattern=r"""^[^"'\\]+$""")], float] = Field({})
    """Lowest mean of a cluster in a dimension; goes before those of the preset."""
    by: Literal["each", "mean"] = "each"
    """Whether a cluster must reach every threshold, or its mean the mean of the thresholds."""

    @property
    def asked(self) -> dict[str, float]:
        """Thresholds by dimension, those of the preset included."""
        return (PRESETS[self.preset] if self.preset else {}) | self.thresholds


class MergeParams(Params):
    """How the surviving centroids become domains."""

    domains: PositiveInt | None = 20
    """Number of domains; null to cut by `distance` instead."""
    distance: float | None = Field(None, gt=0)
    """Merge centroids below this linkage distance (CLIMB: 1.5)."""
    linkage: Literal["ward", "average", "complete", "single", "centroid", "spectral"] = "ward"
    """Linkage of the hierarchy over centroids; or `spectral`: by the graph of sampled documents and
    their neighbours, nearest to what people call topics."""
    tiers: Annotated[int, Field(ge=2, le=100)] | list[float] | None = None
    """Split each domain by the quality of its documents: a number of tiers of as many documents
    each, or the bounds between tiers, rising, 0 to 1; null does not split."""

    @model_validator(mode="after")
    def _one_cut(self) -> MergeParams:
        if (self.domains is None) == (self.distance is None):
            raise ValueError("give exactly one of 'domains' and 'distance' (set the other to null)")
        if self.linkage == "spectral" and self.domains is None:
            raise ValueError("linkage 'spectral' needs a number of 'domains', not a 'distance'")
        if isinstance(self.tiers, list) and self.tiers != sorted(set(self.tiers)):
            raise ValueError("'tiers' as bounds must rise from one to the next")
        if isinstance(self.tiers, list) and not self.tiers:
            raise ValueError("'tiers' is an empty list; set it to null for no tiers")
        return self


class NamerParams(EndpointParams):
    """A language model that names domains (DataWeave, arXiv 2502.16802)."""

    documents: PositiveInt = 20
    """Documents of a domain that the model is shown the beginnings of."""
    topics: PositiveInt | None = None
    """Merge the named domains into this many topics, as the model groups them; null merges none."""


class TopicParams(Params):
    """How domains get a name."""

    keywords: PositiveInt = 8
    """Keywords kept per domain; the first three make its name."""
    sample_documents: PositiveInt = 5_000
    """Documents that are read for naming, over all domains."""
    names: str | None = None
    """File of names and merges, edited by a person: `domains.yaml` of a workdir; relative to the
    recipe."""
    namer: NamerParams | None = None
    """Language model that names domains; null names them by their keywords."""
    classifier: bool = False
    """Fit a linear classifier of domains on the embeddings, for `mixcurate label`."""


class SilhouetteParams(Params):
    """Choice of k by the mean silhouette (R&B, arXiv 2505.00358)."""

    least: Annotated[int, Field(ge=2)] = 5
    """Smallest k tried."""
    most: Annotated[int, Field(ge=2)] = 200
    """Largest k tried."""
    candidates: PositiveInt = 10
    """How many are tried, spaced evenly by their logarithm."""
    sample_documents: PositiveInt = 5_000
    """Documents whose silhouette is computed; the cost goes with its square."""

    @model_validator(mode="after")
    def _a_range(self) -> SilhouetteParams:
        if self.least > self.most:
            raise ValueError(f"'least' ({self.least}) is larger than 'most' ({self.most})")
        return self


class ResampleParams(Params):
    """Fit again on as many documents of each cluster (hierarchical k-means with resampling, Vo et
    al., arXiv 2405.15613): clusters follow what there is rather than how often it is there."""

    rounds: PositiveInt = 10
    """How often."""
    per_cluster: PositiveInt = 10
    """Documents of a cluster that are kept for the next fit, the nearest to its centroid."""


class SemanticDedupParams(Params):
    """Drop documents that nearly repeat another of their cluster (SemDeDup, arXiv 2303.09540)."""

    epsilon: float = Field(0.05, gt=0, lt=1)
    """A document is dropped if its cosine to a kept one is above 1 - epsilon."""
    keep: Literal["farthest", "nearest", "quality"] = "farthest"
    """Which of a group survives: farthest from or nearest to the centroid, or best in quality."""
    rule: Literal["kept", "earlier"] = "kept"
    """Dropped is what nearly repeats a document that is kept; or, as in the paper, any that comes
    earlier in the order, kept or not: a little more is dropped."""
    max_group: PositiveInt = 100_000
    """Documents of a group that is compared, on average; a larger cluster is divided, and a group
    is never above twice this."""


class MapParams(Params):
    """The map of the corpus in the report."""

    documents: Annotated[int, Field(ge=1, le=50_000)] = 2_000
    """Documents drawn on it."""


class DriftParams(Params):
    """When new documents ask for new clusters."""

    max_far: float = Field(3.0, gt=1)
    """A refit is due if this many times the expected share of documents is farther from their
    centroid than 99 % of the fitted ones of their domain."""
    max_divergence: float = Field(0.05, gt=0, lt=1)
    """A refit is due if the distances diverge by more: Jensen-Shannon divergence, in bits, of
    tenths of the fitted documents."""
    confidence: float = Field(0.999, gt=0.5, lt=1)
    """What chance explains this often is no drift."""
    least_documents: PositiveInt = 1_000
    """Fewer new documents are never a reason for a refit."""
    least_share: float = Field(0.05, ge=0, le=1)
    """Domains that have drifted are one only if they hold this share of the new documents."""


class ClusterParams(Params):
    """How documents become clusters, and clusters domains."""

    k: PositiveInt | Literal["sqrt", "silhouette"] = 1_000
    """Number of fine clusters, lowered, with a warning, when there are too few documents; `sqrt` of
    the number of documents (SampleMix); or the best of a range by `silhouette`."""
    silhouette: SilhouetteParams = SilhouetteParams()
    """The range, for k: silhouette."""
    metric: Literal["cosine", "euclidean"] = "cosine"
    """Spherical k-means of unit vectors, or Euclidean k-means of the vectors as they are."""
    levels: Literal["auto", 1, 2] = "auto"
    """2 fits about sqrt(k) coarse clusters first and divides each; auto does so from 64 on."""
    iterations: PositiveInt = 20
    """At most so many k-means iterations; a fit ends when one gains less than 0.5 %."""
    sample_per_cluster: PositiveInt = 64
    """Documents per cluster that k-means is trained on; every document is assigned."""
    memory: ByteSize = ByteSize(4_000_000_000)
    """The fit may take so much; the sample is made smaller, with a warning, to keep to it."""
    resample: ResampleParams | None = None
    """Fit again on a sample that is balanced over clusters; null does not."""
    balance: float | None = Field(None, gt=1)
    """Divide clusters larger than this many times the mean, against a catch-all; null does not. It
    holds for the sample; the corpus may differ by a little more."""
    onto: str | None = None
    """Workdir of an earlier run whose clusters and domains are kept (`mixcurate update`)."""
    drift: DriftParams = DriftParams()
    """When a new crawl onto earlier clusters asks for new ones."""
    dedup: SemanticDedupParams | None = None
    """Semantic deduplication within clusters; null drops nothing."""
    prototypes: float | None = Field(None, gt=0, lt=1)
    """Drop this share of documents, those nearest to their centroid (D4, arXiv 2308.12284)."""
    prune: PruneParams | None = PruneParams()
    """Pruning of bad clusters; null keeps all."""
    merge: MergeParams | None = MergeParams()
    """Merging into domains; null makes each cluster a domain."""
    topics: TopicParams = TopicParams()
    """Names of the domains."""
    map: MapParams | None = MapParams()
    """The map of the corpus in the report; null draws none."""
