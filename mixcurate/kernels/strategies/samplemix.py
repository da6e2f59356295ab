"""Shares that follow from the sampling weight of each document (SampleMix, arXiv 2503.01506)."""

from __future__ import annotations

from mixcurate.kernels.mixture import MixtureParams
from mixcurate.kernels.strategies.facts import Facts, Shares


def shares(facts: Facts, _params: MixtureParams) -> Shares:
    """Proportional to the sums of expected copies x tokens (section 2.4)."""
    assert facts.weighted_tokens is not None
    return Shares(facts.weighted_tokens / facts.weighted_tokens.sum())
