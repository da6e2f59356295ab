"""Budgets from the gains of a submodular function over units (SMART, arXiv 2403.08370).

The paper's tasks are our units and its task vectors their centroids. All units are taken; the order
in which a greedy takes them makes early ones, which stand for much of the rest, gain more than late
ones, which repeat what was taken.
"""

from __future__ import annotations

import numpy as np

from mixcurate.kernels.mixture import MixtureParams
from mixcurate.kernels.strategies.facts import Facts, Float64Array, Shares
from mixcurate.kernels.submodular import greedy_gains, likeness


def shares(facts: Facts, params: MixtureParams) -> Shares:
    """Second-order Taylor softmax of the gains (equation 4), capped at what a unit can give.

    What a cap takes away goes in equal parts to the units that are not full, as in the paper's
    code. Gains below -1 count as -1, where the Taylor polynomial is least: it rises again below.
    """
    assert facts.centroids is not None
    have = np.flatnonzero(facts.tokens > 0)
    smart = params.smart
    similarity = likeness(facts.centroids[have])
    gains = np.maximum(greedy_gains(similarity, smart.function, smart.penalty), -1.0)
    powers = 1 + gains + np.square(gains) / 2
    steady = np.rint(powers / powers.sum() * 2.0**40)  # the last digits are the processor's
    asked = (steady * (facts.budget / steady.sum())).astype(np.float64)
    limit = (facts.tokens[have] * facts.max_epochs).astype(np.float64)
    given = fill_evenly(asked, limit)
    found = np.zeros(len(facts.tokens))
    found[have] = given / given.sum()
    full = int((asked > limit).sum())
    notes = [f"smart: {full:,} units give all they have; the others share the rest"] if full else []
    return Shares(found, notes)


def fill_evenly(asked: Float64Array, limit: Float64Array) -> Float64Array:
    """Cap at the limit, and give the excess in equal parts to those below theirs, again and again.

    Args:
        asked: float64 ``[n]``.
        limit: float64 ``[n]``.

    Returns:
        float64 ``[n]``, with the sum of ``asked``, or the limits where these are not more.
    """
    if asked.sum() >= limit.sum():
        return limit
    given = np.minimum(asked, limit)
    while True:
        excess = asked.sum() - given.sum()
        room = limit - given
        is_open = room > 0
        if excess <= 1e-12 * asked.sum() or not is_open.any():
            return given
        given = given + np.where(is_open, np.minimum(room, excess / is_open.sum()), 0.0)
