"""Uniform as far as repeats allow (UniMax, arXiv 2304.09151, algorithm 1)."""

from __future__ import annotations

import numpy as np

from mixcurate.kernels.mixture import MixtureParams
from mixcurate.kernels.strategies.facts import Facts, Shares


def shares(facts: Facts, _params: MixtureParams) -> Shares:
    """The smallest first: each takes an equal part of what is left, but no more than its epochs.

    A budget beyond what all units give leaves all of them at ``max_epochs``.
    """
    most = np.floor(facts.tokens * facts.max_epochs)
    given = np.zeros(len(most))
    order = [unit for unit in np.argsort(facts.tokens, kind="stable").tolist() if most[unit] > 0]
    left, capped = float(facts.budget), 0
    for place, unit in enumerate(order):
        equal = left / (len(order) - place)
        given[unit] = min(equal, most[unit])
        capped += bool(most[unit] < equal)
        left -= given[unit]
    notes = []
    if capped:
        notes.append(
            f"unimax: {capped} of {len(order)} units give all of their {facts.max_epochs:g} "
            f"epochs; the others share the rest alike"
        )
    return Shares(given / given.sum(), notes)
