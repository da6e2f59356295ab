"""Targets that a recipe names, anywhere in the tree of levels, and what the strategy shares.

A target gives an amount to a cell, or to a whole branch such as one source. What it leaves of its
branch, or of the corpus, is shared by the strategy among the cells that have no target: the
strategy's shares of all cells, scaled to add up to what is left. A branch without a target of its
own has no amount of its own either, so that its cells share with all others outside.
"""

from __future__ import annotations

import bisect
import dataclasses

import numpy as np
import numpy.typing as npt

from mixcurate.errors import PlanError
from mixcurate.kernels.cells import Partition, Path
from mixcurate.kernels.mixture import DomainTarget, MixtureParams
from mixcurate.kernels.strategies.facts import Facts
from mixcurate.kernels.strategies.table import STRATEGIES
from mixcurate.kernels.target_keys import resolve

Float64Array = npt.NDArray[np.float64]
Int64Array = npt.NDArray[np.int64]

#: Amounts that differ by less are the same.
_HALF = 0.5


@dataclasses.dataclass(frozen=True)
class _Tree:
    """Targets by number, and which cells and which other targets lie below each.

    Attributes:
        paths: of the targets, outer ones before those below them.
        targets: what they ask for.
        tokens: float64, what there is below each.
        parent: the nearest target above each; -1 for none.
        owner: int64 ``[cells]``, the nearest target at or above each cell; -1 for none.
    """

    paths: list[Path]
    targets: list[DomainTarget]
    tokens: list[float]
    parent: list[int]
    owner: Int64Array

    @staticmethod
    def of(targets: dict[Path, DomainTarget], partition: Partition, tokens: Int64Array) -> _Tree:
        paths = sorted(targets, key=lambda path: (len(path), path))
        tree = _Tree(
            paths, [targets[p] for p in paths], [], [], np.full(len(partition.paths), -1, np.int64)
        )
        number = {path: place for place, path in enumerate(paths)}
        for place, path in enumerate(paths):
            above = (number.get(path[:depth], -1) for depth in range(len(path) - 1, 0, -1))
            tree.parent.append(next((found for found in above if found >= 0), -1))
            start = bisect.bisect_left(partition.paths, path)
            stop = bisect.bisect_right(partition.paths, path, key=lambda p: p[: len(path)])
            tree.owner[start:stop] = place
            tree.tokens.append(float(tokens[start:stop].sum()))
        return tree

    def amounts(self, budget: float) -> Float64Array:
        """Tokens that the targets ask for, float64."""
        return np.array([self._amount(place, budget) for place in range(len(self.paths))])

    def _amount(self, place: int, budget: float) -> float:
        target = self.targets[place]
        if target.proportion is not None:
            return target.proportion * budget
        if target.tokens is not None:
            return float(target.tokens)
        return (target.repeat or 0.0) * self.tokens[place]


def shares_of(
    params: MixtureParams, facts: Facts, partition: Partition, budget: int | None
) -> tuple[Float64Array, int, list[str]]:
    """Shares and budget of the mixture that was asked for.

    Without a budget it is what the targets add up to: ``tokens`` and ``repeat`` are absolute, and
    cells without a target come once each. Where every cell has a target and these do not add up,
    they are scaled, and a note says so.

    Args:
        params: strategy, targets and ``min_share``.
        facts: of the cells.
        partition: the cells.
        budget: tokens; None for as many as the targets and the pool come to.

    Returns:
        shares float64 ``[n]``, budget in tokens, notes on what was done.

    Raises:
        PlanError: a target names nothing, or something without documents; the targets ask for more
            than there is above them, for nothing at all, or are proportions without a budget to be
            of; ``min_share`` is more than is left.
    """
    if not facts.tokens.sum() > 0:
        raise PlanError("there are no documents to draw: the pool is empty; lower mixture.holdout")
    place = "mixture.domains" if params.domains else "mixture.targets"
    tree = _Tree.of(resolve(params.asked, partition, place), partition, facts.tokens)
    if budget is None:
        budget = _natural_budget(tree, facts.tokens, place)
    found = STRATEGIES[params.strategy](dataclasses.replace(facts, budget=budget), params)
    work = _Work(params, tree, partition, facts.tokens, found.shares, budget, place)
    tokens, notes = work.share()
    return tokens / tokens.sum(), budget, [*found.notes, *notes]


def _natural_budget(tree: _Tree, tokens: Int64Array, place: str) -> int:
    """What the targets and everything without one come to."""
    top = [i for i, parent in enumerate(tree.parent) if parent < 0]
    proportion = sum(tree.targets[i].proportion or 0.0 for i in top)
    if proportion >= 1:
        raise PlanError(f"{place}: proportions that use up the corpus need 'mixture.budget_tokens'")
    absolute = float(tree.amounts(0)[top].sum()) if top else 0.0
    rest = float(tokens[tree.owner < 0].sum())
    return int(np.ceil((absolute + rest) / (1 - proportion)))


@dataclasses.dataclass(frozen=True)
class _Work:
    """One budget that is to be shared."""

    params: MixtureParams
    tree: _Tree
    partition: Partition
    available: Int64Array
    strategy: Float64Array
    budget: int
    place: str

    def share(self) -> tuple[Float64Array, list[str]]:
        """Tokens of each cell, float64 ``[n]``, and notes."""
        amounts = self.tree.amounts(self.budget)
        for number, amount in enumerate(amounts.tolist()):
            if amount > 0 and self.tree.tokens[number] == 0:
                raise PlanError(
                    f"{self.place}: {self._name(number)} has no documents, but a target of "
                    f"{amount:,.0f} tokens; remove the target"
                )
        tokens = np.zeros(len(self.available))
        notes = self._below(-1, float(self.budget), amounts, tokens)
        for number in range(len(amounts)):  # outer ones first
            notes += self._below(number, float(amounts[number]), amounts, tokens)
        if not tokens.sum() > 0:
            raise PlanError(
                f"{self.place}: the targets of all {self.partition.units} are zero; raise one of "
                f"them"
            )
        return tokens, notes

    def _name(self, number: int) -> str:
        return repr(self.partition.name(self.tree.paths[number]))

    def _below(
        self, number: int, amount: float, amounts: Float64Array, tokens: Float64Array
    ) -> list[str]:
        """Share the amount of a target, or of the corpus (-1), among what lies below it."""
        rest = np.flatnonzero(self.tree.owner == number)
        named = [i for i, parent in enumerate(self.tree.parent) if parent == number]
        asked = float(amounts[named].sum()) if named else 0.0
        weight = self.strategy[rest]
        if not named and not weight.sum() > 0:
            weight = self.available[rest].astype(np.float64)
        shared = bool(weight.sum() > 0)
        left = amount - asked
        absolute = any(self.tree.targets[i].proportion is None for i in named)
        if left < -_HALF and (shared or absolute or number >= 0):
            raise PlanError(self._too_much(number, amount, asked))
        if shared:
            tokens[rest] = max(left, 0.0) * weight / weight.sum()
            own = number >= 0 and len(self.tree.paths[number]) == len(self.partition.levels)
            if not own:
                tokens[rest] = self._floored(rest, tokens[rest])
            return self._rest_note(number, named, rest, left)
        if abs(left) > _HALF and asked > 0:
            amounts[named] *= amount / asked
            whose = "" if number < 0 else f" below {self._name(number)}"
            return [
                f"the targets{whose} add up to {asked:,.0f} of {amount:,.0f} tokens; all were "
                f"scaled by {amount / asked:.6g}"
            ]
        if left > _HALF and number >= 0:
            raise PlanError(
                f"{self.place}: {self._name(number)} has a target of {amount:,.0f} tokens, but "
                f"the targets below it are zero; raise one of them"
            )
        return []

    def _rest_note(
        self, number: int, named: list[int], rest: npt.NDArray[np.intp], left: float
    ) -> list[str]:
        """Say who shares what proportions leave of the corpus."""
        if number >= 0 or all(self.tree.targets[i].proportion is None for i in named):
            return []
        return [
            f"{len(rest)} of {len(self.available)} {self.partition.units} have no target: they "
            f"share the remaining {max(left, 0.0):,.0f} of {self.budget:,} tokens as strategy "
            f"{self.params.strategy!r} says"
        ]

    def _too_much(self, number: int, amount: float, asked: float) -> str:
        if number < 0:
            return (
                f"{self.place}: the named {self.partition.units} ask for {asked:,.0f} tokens, more "
                f"than budget_tokens {self.budget:,}; lower them or raise the budget to "
                f"{asked:,.0f}"
            )
        return (
            f"{self.place}: the targets below {self._name(number)} ask for {asked:,.0f} tokens, "
            f"more than its own {amount:,.0f}; lower them or raise it"
        )

    def _floored(self, cells: npt.NDArray[np.intp], tokens: Float64Array) -> Float64Array:
        """Raise what is below ``min_share``, at the cost of the others in proportion."""
        total, floor = float(tokens.sum()), self.params.min_share * self.budget
        present = self.available[cells] > 0
        if floor <= 0 or total <= 0 or not (tokens[present] < floor).any():
            return tokens
        needed = floor * int(present.sum())
        if needed > total + _HALF:
            raise PlanError(
                f"mixture.min_share {self.params.min_share:g} for {int(present.sum())} "
                f"{self.partition.units} without a target takes {needed:,.0f} tokens, and "
                f"{total:,.0f} are left for them; lower it to at most "
                f"{total / self.budget / int(present.sum()):.4g}"
            )
        low = np.zeros(len(cells), bool)
        raised = tokens
        while (present & ~low & (raised < floor * (1 - 1e-12))).any():
            low |= present & (raised < floor * (1 - 1e-12))
            others = np.where(low, 0.0, tokens)
            scale = (total - floor * int(low.sum())) / others.sum() if others.sum() > 0 else 0.0
            raised = np.where(low, floor, others * max(scale, 0.0))
        return raised
