"""Central and peripheral hosts of the web graph (WebGraphMix, arXiv 2606.11499).

The pool has two sides, which are told apart before: documents of central hosts, and the others.
Within a side the most central, or the most peripheral, documents are drawn first.
"""

from __future__ import annotations

import numpy as np

from mixcurate.kernels.cells import SIDES
from mixcurate.kernels.mixture import MixtureParams
from mixcurate.kernels.strategies.facts import Facts, Shares


def shares(facts: Facts, params: MixtureParams) -> Shares:
    """The share asked for from the central side, the rest from the other."""
    part = params.centrality.central_share
    asked = np.array([part if name == SIDES[1] else 1 - part for name in facts.names])
    found = np.where(facts.tokens > 0, asked, 0.0)
    notes = []
    if not found.sum() > 0:
        found = facts.tokens / facts.tokens.sum()
    if (asked > 0)[facts.tokens == 0].any():
        notes.append("centrality: one side has no documents; all are from the other")
    return Shares(found / found.sum(), notes)
