"""The same share for every unit (stratified sampling)."""

from __future__ import annotations

import numpy as np

from mixcurate.kernels.mixture import MixtureParams
from mixcurate.kernels.strategies.facts import Facts, Shares


def shares(facts: Facts, _params: MixtureParams) -> Shares:
    """One part each for all that have tokens."""
    return Shares((facts.tokens > 0) / np.count_nonzero(facts.tokens))
