"""More of what has more entropy (BiMix, arXiv 2405.14908, section on entropy proxies)."""

from __future__ import annotations

import numpy as np

from mixcurate.kernels.mixture import MixtureParams
from mixcurate.kernels.strategies.facts import Facts, Shares


def shares(facts: Facts, params: MixtureParams) -> Shares:
    """Proportional to base ** H, whatever the sizes of the units."""
    assert facts.entropies is not None
    alive = facts.tokens > 0
    exponents = np.where(alive, facts.entropies, -np.inf) * np.log(params.entropy.base)
    powered = np.exp(exponents - exponents.max())
    return Shares(powered / powered.sum())
