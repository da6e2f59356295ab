"""Up and down, topic by topic (DataWeave, "Topic over source", arXiv 2502.16802).

The paper raises the topics that helped most when they were raised alone. How far is ours to say:
natural shares times a factor, given, or from the scores of such runs.
"""

from __future__ import annotations

import numpy as np

from mixcurate.errors import PlanError
from mixcurate.kernels.mixture import MixtureParams, TopicsParams
from mixcurate.kernels.strategies.facts import Facts, Float64Array, Shares
from mixcurate.kernels.strategies.names import by_unit


def shares(facts: Facts, params: MixtureParams) -> Shares:
    """Proportional to tokens x factor, 1 for what is neither in ``factors`` nor in ``scores``.

    Raises:
        PlanError: a name is no unit's, or nothing is left.
    """
    topics = params.topics
    factors = np.ones(len(facts.names))
    scored = by_unit(topics.scores, facts.names, "mixture.topics.scores")
    if scored:
        assert topics.baseline is not None
        factors[list(scored)] = score_factors(
            np.array(list(scored.values())), topics.baseline, topics
        )
    given = by_unit(topics.factors, facts.names, "mixture.topics.factors")
    factors[list(given)] = list(given.values())
    weighted = facts.tokens * factors
    if not weighted.any():
        raise PlanError("mixture.topics.factors: all units with documents have 0; raise one")
    return Shares(weighted / weighted.sum())


def score_factors(scores: Float64Array, baseline: float, params: TopicsParams) -> Float64Array:
    """1 + gamma (s - s0) / sigma within bounds; sigma is the deviation of scores and baseline.

    Args:
        scores: float64 ``[n]``, of the run in which each topic was raised alone.
        baseline: score of the run without.
        params: gamma and the bounds.

    Returns:
        float64 ``[n]``; 1 where all scores are the baseline.
    """
    deviation = float(np.std(np.append(scores, baseline)))
    if deviation == 0:
        return np.ones(len(scores))
    raw = 1 + params.gamma * (scores - baseline) / deviation
    factors: Float64Array = np.clip(raw, *params.bounds)
    return factors
