"""From shares to whole numbers of tokens per domain, and what to do when a domain is too small."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from mixcurate.errors import PlanError

Float64Array = npt.NDArray[np.float64]
Int64Array = npt.NDArray[np.int64]


def apportion(shares: Float64Array, total: int) -> Int64Array:
    """Integers that sum to ``total``, each within one of ``share * total`` (largest remainder).

    Ties go to the lower index. int64 ``[n]``.
    """
    exact = shares * total
    floor = np.floor(exact).astype(np.int64)
    missing = total - int(floor.sum())
    by_remainder = np.argsort(-(exact - floor), kind="stable")
    floor[by_remainder[:missing]] += 1
    return floor


def capacity(available: Int64Array, max_epochs: float) -> Int64Array:
    """Most tokens each domain can give: int64 ``[n]``."""
    limit: Int64Array = np.floor(available * max_epochs).astype(np.int64)
    return limit


def largest_feasible(shares: Float64Array, limit: Int64Array) -> int:
    """The largest budget at which no domain is short, at these shares.

    Rounding to whole tokens makes the limit fuzzy by some tokens of the tightest domain: the result
    works, and one token more does not.
    """
    needed = shares > 0
    works = math.floor(np.min(limit[needed] / shares[needed]))
    while works > 0 and np.any(apportion(shares, works) > limit):
        works -= 1
    fails = math.ceil(np.min((limit[needed] + 1) / shares[needed])) + 1  # even rounded down
    while fails - works > 1:
        middle = (works + fails) // 2
        if np.any(apportion(shares, middle) > limit):
            fails = middle
        else:
            works = middle
    return works


def token_targets(
    shares: Float64Array,
    budget: int,
    *,
    available: Int64Array,
    max_epochs: float,
    names: list[str],
    on_short: str,
) -> tuple[Int64Array, list[str]]:
    """Tokens per domain that sum to ``budget``, none above ``max_epochs`` times what there is.

    Args:
        shares: float64 ``[n]``, sums to one.
        budget: tokens of the corpus.
        available: int64 ``[n]``.
        max_epochs: cap on target / available.
        names: domain names, for messages.
        on_short: ``fail``, or ``renormalize`` to cap short domains and let the others, at their
            relative shares, take what the cap leaves.

    Returns:
        int64 ``[n]`` and notes on what was capped.

    Raises:
        PlanError: a short domain (``fail``), or a budget beyond all capacity. The message names
            every short domain, both numbers, and the largest budget that would work.
    """
    limit = capacity(available, max_epochs)
    targets = apportion(shares, budget)
    short = np.flatnonzero(targets > limit)
    if len(short) == 0:
        return targets, []
    if on_short == "fail":
        raise PlanError(_shortfall(targets, limit, short, shares, max_epochs, names))
    reachable = int(limit[shares > 0].sum())
    if budget > reachable:
        raise PlanError(
            f"budget_tokens {budget:,} is more than all domains give at {max_epochs:g} epochs: "
            f"the largest budget that works is {reachable:,}"
        )
    return _fill(shares, budget, limit, names)


def _fill(
    shares: Float64Array, budget: int, limit: Int64Array, names: list[str]
) -> tuple[Int64Array, list[str]]:
    """Water-filling: cap what is short, share the rest among the others, until none is short."""
    capped = np.zeros(len(shares), bool)
    while True:
        targets = np.where(capped, limit, 0)
        free = np.where(capped, 0.0, shares)
        left = budget - int(targets.sum())
        if left > 0:
            targets = targets + apportion(free / free.sum(), left)
        over = (targets > limit) & ~capped
        if not over.any():
            break
        capped |= over
    notes = [
        f"domain {i} ({names[i]!r}) is capped at {limit[i]:,} tokens"
        for i in np.flatnonzero(capped)
    ]
    return targets, notes


def _shortfall(
    targets: Int64Array,
    limit: Int64Array,
    short: npt.NDArray[np.intp],
    shares: Float64Array,
    max_epochs: float,
    names: list[str],
) -> str:
    lines = [f"the budget cannot be met: {len(short)} of {len(names)} domains are too small"]
    lines += [
        f"  domain {i} ({names[i]!r}) needs {targets[i]:,} tokens and can give {limit[i]:,} "
        f"at max_epochs {max_epochs:g}"
        for i in short.tolist()
    ]
    lines.append(
        f"The largest budget_tokens that works with these shares is "
        f"{largest_feasible(shares, limit):,}. Or raise max_epochs, change the shares, or set "
        f"on_short: renormalize."
    )
    return "\n".join(lines)
