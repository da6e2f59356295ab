"""Token targets per phase and cell, from the mixture and what there is."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import numpy.typing as npt

from mixcurate.errors import PlanError
from mixcurate.kernels import allocation, budget, draw
from mixcurate.kernels.allocation import Amounts, CopyRule
from mixcurate.kernels.budget import Stock
from mixcurate.kernels.cell_counts import WEIGHT_LOW_BITS
from mixcurate.kernels.mixture import MixtureParams
from mixcurate.kernels.strategies.facts import Facts
from mixcurate.kernels.targets import shares_of
from mixcurate.transforms.pool import rule_of
from mixcurate.transforms.select import DrawPlan
from pipelines.job import Job
from pipelines.plan_facts import Counts, by_preference

Float64Array = npt.NDArray[np.float64]
Int64Array = npt.NDArray[np.int64]

#: Copies of a document that is drawn by weight: the keys end before.
_NO_LIMIT = 1 << 30

#: Bins of weights are wide: their mean may overrate what a curved rule draws by less than this.
_BIN_ERROR = 0.05

#: Name of the only phase where there is no schedule.
MAIN = "main"


@dataclasses.dataclass(frozen=True)
class Targets:
    """What the mixture asks of each cell, before any document is drawn.

    Attributes:
        counts: the cells, and what they have.
        phases: names.
        tokens: int64 ``[phases, n]``.
        budget: tokens of all phases.
        notes: what was done, a sentence each.
    """

    counts: Counts
    phases: list[str]
    tokens: Int64Array
    budget: int
    notes: list[str]

    @property
    def total(self) -> Int64Array:
        """Of all phases: int64 ``[n]``."""
        total: Int64Array = self.tokens.sum(axis=0)
        return total


def mixtures_of(params: MixtureParams) -> list[tuple[str, MixtureParams]]:
    """The phases by name, each as a mixture of its own; without phases there is one, ``main``."""
    if not params.phases:
        return [(MAIN, params)]
    assert params.budget_tokens is not None
    parts = np.array([phase.share for phase in params.phases])
    budgets = budget.apportion(parts / parts.sum(), params.budget_tokens).tolist()
    found = []
    for phase, tokens in zip(params.phases, budgets, strict=True):
        change: dict[str, object] = {"phases": [], "budget_tokens": tokens}
        if phase.strategy is not None:
            change["strategy"] = phase.strategy
        if phase.temperature is not None:
            change["temperature"] = phase.temperature
        if phase.targets:
            change |= {"domains": {}, "targets": phase.targets}
        found.append((phase.name, params.model_copy(update=change)))
    return found


def find_targets(params: MixtureParams, counts: Counts, facts: Facts) -> Targets:
    """Tokens per phase and cell.

    Raises:
        PlanError: the budget cannot be met, or a target names nothing.
    """
    partition = counts.cells.partition
    shares, budgets, notes = _shares(params, counts, facts)
    if params.phases and "samplemix" in params.strategies and len(params.strategies) > 1:
        notes.append("documents are drawn by weight in all phases, since one is 'samplemix'")
    names = [name for name, _ in mixtures_of(params)]
    stock = Stock(counts.tokens, params.max_epochs, partition.label, partition.units, tuple(names))
    if params.budget_tokens is not None and _is_absolute(params):
        asked = params.budget_tokens

        def feasible() -> int | None:
            return _largest_feasible(params, counts, facts, asked)

        stock = dataclasses.replace(stock, feasible=feasible)
    tokens, said = budget.token_targets(shares, budgets, stock, params.on_short)
    return Targets(counts, names, tokens, int(budgets.sum()), notes + said)


def _shares(
    params: MixtureParams, counts: Counts, facts: Facts
) -> tuple[list[Float64Array], Int64Array, list[str]]:
    """Shares and budget of each phase, and notes."""
    shares, totals, notes = [], [], []
    for name, mixture in mixtures_of(params):
        where = f"phase {name!r}: " if params.phases else ""
        try:
            found, total, said = shares_of(
                mixture, facts, counts.cells.partition, mixture.budget_tokens
            )
        except PlanError as error:
            raise PlanError(f"{where}{error}") from error
        shares.append(found)
        totals.append(total)
        notes += [where + note for note in said]
    return shares, np.array(totals, np.int64), notes


def _is_absolute(params: MixtureParams) -> bool:
    """Whether a target is not a share, so that shares are others at another budget."""
    each = [mixture.asked for _, mixture in mixtures_of(params)]
    return any(target.proportion is None for asked in each for target in asked.values())


def _largest_feasible(
    params: MixtureParams, counts: Counts, facts: Facts, asked: int
) -> int | None:
    """The largest budget below ``asked`` at which no cell is short, by halving; None for none."""

    def outcome(total: int) -> int:
        """0 if it works, 1 if a cell is short, -1 if the targets alone are more than the budget."""
        try:
            smaller = params.model_copy(update={"budget_tokens": total})
            shares, budgets, _ = _shares(smaller, counts, facts)
        except PlanError:
            return -1
        each = zip(shares, budgets.tolist(), strict=True)
        tokens = sum(budget.apportion(one, part) for one, part in each)
        return int(np.any(tokens > budget.capacity(counts.tokens, params.max_epochs)))

    low, high = 0, asked  # what is below low has no budget for its targets, at high a cell is short
    best: int | None = None
    while high - low > 1:
        middle = (low + high) // 2
        found = outcome(middle)
        if found > 0:
            high = middle
        else:
            low, best = middle, middle if found == 0 else best
    return best


def draw_plan(job: Job, targets: Targets) -> DrawPlan:
    """What the workers need to draw to these targets."""
    params, counts = job.recipe.mixture, targets.counts
    goals = np.ascontiguousarray(np.cumsum(targets.tokens, axis=0).T)
    exact = params.split_documents
    # what is cut from the last document of a phase is lost, and has to come from others
    spare = counts.largest * (len(targets.phases) - 1) if exact else np.zeros_like(counts.largest)
    reach = np.where(goals[:, -1] > 0, goals[:, -1] + spare, 0)
    rule: CopyRule | None = None
    if by_preference(params):
        rule = CopyRule(method="top")
    elif "samplemix" in params.strategies:
        rule = rule_of(job.recipe.score.weight)
    if rule is None or rule.method == "top":
        # whole epochs: a cell needs those that it takes to reach its goal
        epochs = np.divide(reach, counts.tokens, out=np.zeros(len(reach)), where=counts.tokens > 0)
        most, max_copies = np.where(reach > 0, epochs + 1, 0.0), math.ceil(epochs.max(initial=1))
    else:
        most, max_copies = _largest_keys(rule, counts, reach), _NO_LIMIT
    return DrawPlan(
        cells=counts.cells,
        goals=goals,
        most=most,
        largest=counts.largest,
        max_copies=max_copies,
        rule=rule,
        bits=draw.mantissa_bits(int(counts.documents.sum()), len(goals)),
        exact=exact,
    )


def _largest_keys(rule: CopyRule, counts: Counts, reach: Int64Array) -> Float64Array:
    """A key per cell that the last copy of a draw cannot exceed: float64 ``[n]``."""
    edges = np.searchsorted(counts.bins["domain"], np.arange(len(reach) + 1))
    most = np.zeros(len(reach))
    for cell in np.flatnonzero(reach).tolist():
        mine = counts.bins[edges[cell] : edges[cell + 1]]
        amounts = Amounts.of(mine, "tokens", WEIGHT_LOW_BITS)
        error = _BIN_ERROR * float(reach[cell] + counts.tokens[cell])
        most[cell] = allocation.largest_key(rule, amounts, float(reach[cell]) + error)
    return most
