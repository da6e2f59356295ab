"""The recipe: everything a job is told, checked before any work.

It only composes the parameter classes that live beside the code using them.
"""

from __future__ import annotations

from pydantic import Field

from mixcurate.io.corpus import OutputParams
from mixcurate.io.readers import InputParams
from mixcurate.kernels.cleaning import IngestParams
from mixcurate.kernels.clustering import ClusterParams
from mixcurate.kernels.mixture import MixtureParams
from mixcurate.kernels.scoring import ScoreParams
from mixcurate.models.encoders import EmbedParams
from mixcurate.params import Params

#: The stages, in the order in which they run.
STAGES = ("ingest", "embed", "cluster", "score", "plan", "materialize")


class Recipe(Params):
    """A curation job."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    """Name of the corpus."""
    workdir: str
    """Folder of everything the stages write; relative to the recipe's folder."""
    seed: int = Field(17, ge=0, lt=2**32)
    """Every random decision is a function of this and a document's id."""
    inputs: list[InputParams] = Field(min_length=1)
    """The raw text."""
    ingest: IngestParams = IngestParams()
    """Raw inputs to clean documents."""
    embed: EmbedParams = EmbedParams()
    """Documents to vectors."""
    cluster: ClusterParams = ClusterParams()
    """Vectors to clusters and domains."""
    score: ScoreParams = ScoreParams()
    """Quality, diversity and weight of each document."""
    mixture: MixtureParams = MixtureParams()
    """What the corpus is asked to be."""
    output: OutputParams = OutputParams()
    """Where the corpus goes."""
