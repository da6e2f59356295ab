"""Best shares under a law of what repeats are worth.

With t_i tokens of a unit that has U_i, and D'_i effective tokens for them (``repeats.py``), the
shares minimise

    sum_i v_i D'_i ** -b    with  sum_i t_i = budget  and  t_i <= max_epochs U_i.

D' ** -b is the data term of the loss of arXiv 2305.16264, section 3, with the b of its fit, taken
per unit; v_i is the unit's part of the pool's tokens, times its mean quality if that is known.
Were every token worth the same wherever it is (sum_i D'_i), all splits within the first epoch
would be equally good and the best one later would repeat all units alike: natural shares.
The law's curvature is what makes more of a small unit worth more at first. Without repeats
the shares are those of temperature 1 + b; repeats take from the units that are used up.

The objective is strictly convex: the marginal value of all units that are not at a limit is
the same, and is found by bisection.
"""

from __future__ import annotations

import numpy as np

from mixcurate.errors import PlanError
from mixcurate.kernels.mixture import MixtureParams, RepetitionParams
from mixcurate.kernels.repeats import effective_tokens, log_marginal_value
from mixcurate.kernels.strategies.facts import Facts, Float64Array, Shares

#: Exponent of data in the fit of arXiv 2305.16264 (its code: parametric_fit.ipynb).
EXPONENT = 0.3526596

#: Halvings: more than the digits of a float.
_STEPS = 64


def shares(facts: Facts, params: MixtureParams) -> Shares:
    """Of all splits of the budget the one with the least sum of data terms.

    Raises:
        PlanError: the quality of all units is zero.
    """
    quality = facts.quality if facts.quality is not None else np.ones(len(facts.tokens))
    most = np.floor(facts.tokens * facts.max_epochs)
    value = facts.tokens * quality
    alive = np.flatnonzero((most > 0) & (value > 0))
    if len(alive) == 0:
        raise PlanError("strategy 'repetition': the quality of all documents is 0; set another")
    given = np.zeros(len(most))
    notes = []
    if facts.budget >= most[alive].sum():
        given[alive] = most[alive]
        notes.append(f"repetition: all units are at {facts.max_epochs:g} epochs")
    else:
        unique = facts.tokens[alive].astype(np.float64)
        log_value = np.log(value[alive])
        given[alive] = _fill(unique, log_value, most[alive], float(facts.budget), params.repetition)
    return Shares(given / given.sum(), notes)


def _fill(
    unique: Float64Array,
    log_value: Float64Array,
    most: Float64Array,
    budget: float,
    law: RepetitionParams,
) -> Float64Array:
    """Tokens per unit at the common marginal value at which they add up to ``budget``."""

    def log_marginal(tokens: Float64Array) -> Float64Array:
        epochs = tokens / unique
        with np.errstate(divide="ignore"):
            worth = np.log(effective_tokens(unique, epochs, law))
        slope = log_marginal_value(epochs, law)
        logs: Float64Array = log_value - (1 + EXPONENT) * worth + slope
        return logs

    def tokens_at(level: float) -> Float64Array:
        """The most tokens whose last one is worth ``level`` or more."""
        below, above = np.zeros(len(unique)), most.copy()
        for _ in range(_STEPS):
            middle = (below + above) / 2
            enough = log_marginal(middle) >= level
            below, above = np.where(enough, middle, below), np.where(enough, above, middle)
        return above

    low = float(log_marginal(most).min())
    high = float(log_marginal(np.minimum(most, budget / len(unique))).max())
    for _ in range(_STEPS):
        level = (low + high) / 2
        if tokens_at(level).sum() > budget:
            low = level
        else:
            high = level
    less, more = tokens_at(high), tokens_at(low)
    missing = budget - less.sum()  # a float's rounding, or tokens that are all worth the level
    between = more.sum() - less.sum()
    return less + (more - less) * min(max(missing / between, 0.0), 1.0) if between > 0 else less
