"""From shares to whole numbers of tokens per cell, and what to do when a cell is too small."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from mixcurate.errors import PlanError

Float64Array = npt.NDArray[np.float64]
Int64Array = npt.NDArray[np.int64]


@dataclasses.dataclass(frozen=True)
class Stock:
    """What there is to meet targets from.

    Attributes:
        available: int64 ``[n]``, tokens of each cell.
        max_epochs: most often that they are repeated.
        label: of a cell, for messages.
        units: what cells are, in the plural.
        phases: names of the phases, for messages; one name where there are none.
        feasible: finds the largest budget that works, None for none, where shares depend on the
            budget since some targets are absolute.
    """

    available: Int64Array
    max_epochs: float
    label: Callable[[int], str]
    units: str = "domains"
    phases: tuple[str, ...] = ("main",)
    feasible: Callable[[], int | None] | None = None

    @property
    def limit(self) -> Int64Array:
        """Most tokens that each cell gives: int64 ``[n]``."""
        return capacity(self.available, self.max_epochs)


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
    """Most tokens each cell can give: int64 ``[n]``."""
    limit: Int64Array = np.floor(available * max_epochs).astype(np.int64)
    return limit


def largest_feasible(
    shares: Sequence[Float64Array], limit: Int64Array, parts: Float64Array | None = None
) -> int:
    """The largest budget at which no cell is short, at these shares.

    Rounding to whole tokens makes the limit fuzzy by some tokens of the tightest cell: the result
    works, and one token more does not.

    Args:
        shares: of each phase float64 ``[n]``.
        limit: int64 ``[n]``, most tokens that a cell gives to all phases together.
        parts: float64 ``[phases]``, of the budget; None for a single phase.
    """
    of_phases = np.ones(1) if parts is None else parts
    total: Float64Array = of_phases @ np.stack(shares)

    def short(budget: int) -> bool:
        return bool(np.any(_asked(shares, apportion(of_phases, budget)).sum(axis=0) > limit))

    needed = total > 0
    spread = len(shares)  # each phase rounds
    works = math.floor(np.min(np.maximum(limit[needed] - spread + 1, 0) / total[needed]))
    while works > 0 and short(works):
        works -= 1
    fails = math.ceil(np.min((limit[needed] + spread) / total[needed])) + 1  # even rounded down
    while fails - works > 1:
        middle = (works + fails) // 2
        if short(middle):
            fails = middle
        else:
            works = middle
    return works


def _asked(shares: Sequence[Float64Array], budgets: Int64Array) -> Int64Array:
    """Tokens by phase and cell, before any cell is found too small: int64 ``[phases, n]``."""
    each = zip(shares, budgets.tolist(), strict=True)
    return np.stack([apportion(one, budget) for one, budget in each])


def token_targets(
    shares: Sequence[Float64Array], budgets: Int64Array, stock: Stock, on_short: str
) -> tuple[Int64Array, list[str]]:
    """Tokens per phase and cell; those of a phase sum to its budget.

    Args:
        shares: of each phase float64 ``[n]``, sums to one.
        budgets: int64 ``[phases]``, tokens of each phase.
        stock: what there is.
        on_short: where all phases together ask for more than ``max_epochs`` times a cell:
            ``fail``; ``renormalize`` to cap it, its phases in proportion, and let the other cells
            of the phase, at their relative shares, take what the cap leaves; or ``repeat`` it
            more often.

    Returns:
        int64 ``[phases, n]`` and notes on what was done.

    Raises:
        PlanError: a short cell (``fail``), a cell without any tokens (``repeat``), or a budget
            beyond all capacity. The message names every short cell, both numbers, and the largest
            budget that would work.
    """
    targets = _asked(shares, budgets)
    total = targets.sum(axis=0)
    short = np.flatnonzero(total > stock.limit)
    if len(short) == 0:
        return targets, []
    if on_short == "fail":
        if stock.feasible is not None:
            works = stock.feasible()
        else:
            parts = None if len(shares) == 1 else budgets / budgets.sum()
            works = largest_feasible(shares, stock.limit, parts)
        raise PlanError(_shortfall(total, short, stock, works))
    if on_short == "repeat":
        return targets, _repeated(total, short, stock)
    reachable = int(stock.limit[np.any(np.stack(shares) > 0, axis=0)].sum())
    if int(budgets.sum()) > reachable:
        raise PlanError(
            f"budget_tokens {budgets.sum():,} is more than all {stock.units} give at "
            f"{stock.max_epochs:g} epochs: the largest budget that works is {reachable:,}"
        )
    return _fill(shares, budgets, stock)


def _repeated(total: Int64Array, short: npt.NDArray[np.intp], stock: Stock) -> list[str]:
    empty = [stock.label(i) for i in short.tolist() if stock.available[i] == 0]
    if empty:
        raise PlanError(
            f"{', '.join(empty)} shall give tokens but cannot be repeated: nothing is there; "
            f"change the shares"
        )
    return [
        f"{stock.label(i)} is repeated {total[i] / stock.available[i]:.4g} times, more than "
        f"max_epochs {stock.max_epochs:g}: {total[i]:,} tokens of {stock.available[i]:,}"
        for i in short.tolist()
    ]


def _fill(
    shares: Sequence[Float64Array], budgets: Int64Array, stock: Stock
) -> tuple[Int64Array, list[str]]:
    """Water-filling: cap what is short, share the rest among the others, until none is short."""
    limit = stock.limit
    capped = np.zeros(len(limit), bool)
    fixed = np.zeros((len(shares), len(limit)), np.int64)
    while True:
        targets = fixed.copy()
        for phase, one in enumerate(shares):
            left = int(budgets[phase]) - int(fixed[phase].sum())
            free = np.where(capped, 0.0, one)
            if left > 0 and not free.any():
                raise PlanError(
                    f"phase {stock.phases[phase]!r} asks for {budgets[phase]:,} tokens, but its "
                    f"{stock.units} have only {int(fixed[phase].sum()):,} for it at max_epochs "
                    f"{stock.max_epochs:g}, beside what other phases take"
                )
            if left > 0:
                targets[phase] += apportion(free / free.sum(), left)
        total = targets.sum(axis=0)
        over = np.flatnonzero((total > limit) & ~capped)
        if len(over) == 0:
            break
        until = np.cumsum(targets[:, over], axis=0).astype(np.float64) / total[over]
        fixed[:, over] = np.diff(np.floor(until * limit[over]).astype(np.int64), axis=0, prepend=0)
        capped[over] = True
    notes = [
        f"{stock.label(i)} is capped at {limit[i]:,} tokens"
        for i in np.flatnonzero(capped).tolist()
    ]
    return targets, notes


def _shortfall(
    total: Int64Array, short: npt.NDArray[np.intp], stock: Stock, works: int | None
) -> str:
    n = len(total)
    lines = [f"the budget cannot be met: {len(short)} of {n} {stock.units} are too small"]
    lines += [
        f"  {stock.label(i)} needs {total[i]:,} tokens and can give {stock.limit[i]:,} "
        f"at max_epochs {stock.max_epochs:g}"
        for i in short.tolist()
    ]
    kept = "shares" if stock.feasible is None else "targets"
    largest = f"The largest budget_tokens that works with these {kept} is {works:,}."
    if works is None:
        largest = f"No budget_tokens works with these {kept}."
    lines.append(
        f"{largest} Or raise max_epochs, change the {kept}, or set on_short: renormalize, or "
        f"on_short: repeat."
    )
    return "\n".join(lines)
