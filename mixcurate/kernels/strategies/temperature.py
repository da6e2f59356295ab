"""Between natural and uniform, by one number (mBERT, XLM-R, mT5; arXiv 1907.05019)."""

from __future__ import annotations

from mixcurate.kernels.mixture import MixtureParams
from mixcurate.kernels.strategies.facts import Facts, Shares


def shares(facts: Facts, params: MixtureParams) -> Shares:
    """Proportional to tokens ** (1 / t): t = 1 is natural, large t is uniform."""
    powered = (facts.tokens / facts.tokens.max()) ** (1.0 / params.temperature)
    return Shares(powered / powered.sum())
