"""Shares as they are in the pool."""

from __future__ import annotations

from mixcurate.kernels.mixture import MixtureParams
from mixcurate.kernels.strategies.facts import Facts, Shares


def shares(facts: Facts, _params: MixtureParams) -> Shares:
    """Proportional to tokens."""
    return Shares(facts.tokens / facts.tokens.sum())
