"""Parameters of score: quality, diversity, and how both become a sampling weight (SampleMix)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveInt, model_validator

from mixcurate.params import AnnotatorParams, ClassifierParams, Params

Range = tuple[float, float]


class QualityParams(Params):
    """The quality dimensions of a document, and its quality: their weighted mean.

    Each dimension has a least and a greatest value and counts by where it lies between them, so
    that quality is 0 to 1; with the dimensions of a rubric it is the share of the points reached.
    """

    heuristics: bool = True
    """Our own four, from the signals of ingest: fluency, form, originality, substance."""
    heads: list[str] = Field([])
    """Files of `mixcurate train-quality`: dimensions from the embedding and the signals that are
    already there; relative to the recipe."""
    classifiers: list[ClassifierParams] = Field([])
    """Models that read the text, each one dimension, each run as a step of its own."""
    carried: dict[Annotated[str, Field(pattern=r"""^[^"'\\]+$""")], Range] = Field({})
    """Numbers that the documents bring along, and their least and greatest value, such as
    {edu_score: [0, 5]}."""
    weights: dict[str, Annotated[float, Field(ge=0)]] = Field({})
    """How much a dimension counts; one that is not named counts 1, or if it is a head's as many
    points as it has. 0 keeps a dimension as a column only."""
    missing: Literal["fail", "least", "skip"] = "fail"
    """What a document without one of its dimensions is to be: an error, the least value there, or
    judged by the others."""


class DiversityParams(Params):
    """Diversity of a document: how spread its cluster is, and how far from others (SampleMix)."""

    k: PositiveInt | Literal["sqrt", "cluster"] = "sqrt"
    """Clusters that it is measured in: the square root of the number of documents, as in the paper;
    a number; or those of the cluster stage, which costs nothing more."""
    distance: Literal["euclidean", "cosine"] = "euclidean"
    """Between unit vectors; cosine is 1 - cosine."""
    separation: Literal["mean", "nearest"] = "mean"
    """Distance of a centroid to all others on average, or to the nearest."""
    compactness: Literal["cluster", "distance", "neighbours"] = "cluster"
    """Mean distance of the cluster's documents to the centroid, alike for all of them, as in the
    paper; or of each document for itself: its own distance to the centroid, or the mean distance to
    its nearest neighbours in the cluster (its density there)."""
    neighbours: PositiveInt = 5
    """How many, for compactness: neighbours."""


class WeightParams(Params):
    """From quality and diversity to how often a document is drawn."""

    method: Literal["samplemix", "soft_cap", "gumbel"] = "samplemix"
    """Copies in proportion to the weight, whole ones and one more by chance (SampleMix, arXiv
    2503.01506, section 2.4); growing by its logarithm (Soft Cap Sampling of FLYT); or whole epochs
    and the rest without replacement (Gumbel top-k of QuRating)."""
    alpha: float = Field(0.8, ge=0, le=1)
    """Share of diversity against quality in a document's weight."""
    tau: float = Field(0.2, ge=0.001)
    """Temperature: smaller makes weights more unequal."""
    normalise: Literal["minmax", "rank"] = "minmax"
    """Quality and diversity are brought to 0 to 1 by their least and greatest value, or by rank."""
    within: Literal["pool", "domain"] = "pool"
    """Whether documents are compared over the whole pool, or each domain for itself and keeps its
    share."""
    max_epochs: float | None = Field(None, gt=0)
    """Most copies of one document that are expected; what this takes away goes to the others."""
    exact: Literal["documents", "tokens"] = "documents"
    """What the expected copies add up to: the number of documents that the budget stands for, as in
    the paper, or the tokens of the budget."""
    penalty: float = Field(0.15, gt=0)
    """Of soft_cap: what each copy takes from the logarithm of the weight."""


class ScoreParams(Params):
    """How documents are scored."""

    quality: QualityParams = QualityParams()
    """What is good about a document."""
    annotator: AnnotatorParams | None = None
    """Language model that labels a sample of the documents, for `mixcurate annotate`."""
    diversity: DiversityParams = DiversityParams()
    """What is rare about it."""
    weight: WeightParams = WeightParams()
    """From quality and diversity to a sampling weight."""

    @model_validator(mode="after")
    def _names_once(self) -> ScoreParams:
        names = [classifier.name for classifier in self.quality.classifiers]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"two classifiers are named {twice[0]!r}; give each its own name")
        return self
