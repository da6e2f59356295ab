"""More of what has more entropy (BiMix, arXiv 2405.14908, section on entropy proxies)."""

from __future__ import annotations

import numpy as np

from mixcurate.kernels.entropy import LEAST_TOKENS, LEAST_VECTORS
from mixcurate.kernels.mixture import MixtureParams
from mixcurate.kernels.strategies.facts import Facts, Shares


def shares(facts: Facts, params: MixtureParams) -> Shares:
    """Proportional to base ** H, whatever the sizes of the units.

    A note tells of units that are too small: what they have shows less entropy than a sample as
    large as that of the others would.
    """
    assert facts.entropies is not None
    alive = facts.tokens > 0
    exponents = np.where(alive, facts.entropies, -np.inf) * np.log(params.entropy.base)
    powered = np.exp(exponents - exponents.max())
    vectors = params.entropy.kind == "von_neumann"
    have, least = (facts.documents, LEAST_VECTORS) if vectors else (facts.tokens, LEAST_TOKENS)
    notes = []
    if small := int(np.count_nonzero(alive & (have < least))):
        what = "documents" if vectors else "tokens"
        notes.append(
            f"entropy: {small} of {int(alive.sum())} units have fewer than {least:,} {what}: their "
            f"entropy is underestimated, and so is their share"
        )
    return Shares(powered / powered.sum(), notes)
