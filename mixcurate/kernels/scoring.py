"""Parameters of score: how quality and diversity become a sampling weight (SampleMix)."""

from __future__ import annotations

from pydantic import Field

from mixcurate.params import Params


class WeightParams(Params):
    """SampleMix's two constants (arXiv 2503.01506, section 2.4)."""

    alpha: float = Field(0.8, ge=0, le=1)
    """Share of diversity against quality in a document's weight."""
    tau: float = Field(0.2, gt=0)
    """Temperature: smaller makes weights more unequal."""


class ScoreParams(Params):
    """How documents are scored."""

    weight: WeightParams = WeightParams()
    """From quality and diversity to a sampling weight."""
