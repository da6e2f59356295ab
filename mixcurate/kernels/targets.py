"""Targets that a recipe names, and what is left for the strategy."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mixcurate.errors import PlanError, nearest
from mixcurate.kernels.mixture import DomainTarget, MixtureParams
from mixcurate.kernels.strategies.facts import Facts
from mixcurate.kernels.strategies.table import STRATEGIES

Float64Array = npt.NDArray[np.float64]
Int64Array = npt.NDArray[np.int64]


def resolve_domains(
    targets: dict[int | str, DomainTarget], names: list[str]
) -> dict[int, DomainTarget]:
    """Targets by domain number.

    Raises:
        PlanError: a key is no domain's number or name, or two keys mean the same domain.
    """
    resolved: dict[int, DomainTarget] = {}
    for key, target in targets.items():
        number = _number(key, names)
        if number is None:
            hint = nearest(str(key), names)
            raise PlanError(
                f"mixture.domains: no domain {key!r} among {len(names)} domains; {hint}"
            )
        if number in resolved:
            raise PlanError(
                f"mixture.domains: {key!r} names domain {number} ({names[number]!r}) a second time"
            )
        resolved[number] = target
    return resolved


def _number(key: int | str, names: list[str]) -> int | None:
    if isinstance(key, str) and key in names:
        return names.index(key)
    if isinstance(key, str) and not key.isdecimal():
        return None
    return int(key) if 0 <= int(key) < len(names) else None


def explicit(
    available: Int64Array, targets: dict[int, DomainTarget], budget: int | None
) -> tuple[Float64Array, int, list[str]]:
    """Shares and the budget from explicit targets; domains without one share the rest naturally.

    Without a budget it is what the targets add up to: ``tokens`` and ``repeat`` are absolute, and
    the unnamed domains come once each. When every domain is named and the parts do not add up
    to the budget, they are scaled, and the note says so.

    Returns:
        shares float64 ``[n]``, the budget in tokens, and notes on what was done.

    Raises:
        PlanError: the targets alone exceed the budget, ask for no token at all, or are proportions
            without a budget to be of.
    """
    unnamed = np.array([i not in targets for i in range(len(available))])
    rest = available * unnamed
    absolute = np.array(
        [_absolute(targets.get(i), int(have)) for i, have in enumerate(available.tolist())]
    )
    proportion = np.array(
        [targets[i].proportion or 0.0 if i in targets else 0.0 for i in range(len(available))]
    )
    if budget is None:
        if proportion.sum() >= 1:
            raise PlanError(
                "mixture.domains: proportions that use up the corpus need 'mixture.budget_tokens'"
            )
        budget = int(np.ceil((absolute.sum() + rest.sum()) / (1 - proportion.sum())))
    tokens = absolute + proportion * budget
    left = budget - tokens.sum()
    if left < -0.5 and (absolute.any() or rest.any()):
        raise PlanError(
            f"mixture.domains: the named domains ask for {tokens.sum():,.0f} tokens, more than "
            f"budget_tokens {budget:,}; lower them or raise the budget to {tokens.sum():,.0f}"
        )
    notes: list[str] = []
    if rest.sum() > 0:
        tokens = tokens + max(left, 0.0) * rest / rest.sum()
    elif abs(left) > 0.5 and tokens.sum() > 0:
        notes.append(
            f"the targets add up to {tokens.sum():,.0f} of {budget:,} tokens; all were scaled by "
            f"{budget / tokens.sum():.6g}"
        )
    if not tokens.sum() > 0:
        raise PlanError("mixture.domains: the targets of all domains are zero; raise one of them")
    return tokens / tokens.sum(), budget, notes


def _absolute(target: DomainTarget | None, available: int) -> float:
    if target is None or target.proportion is not None:
        return 0.0
    return float(target.tokens) if target.tokens is not None else (target.repeat or 0) * available


def shares_of(
    params: MixtureParams, facts: Facts, budget: int | None
) -> tuple[Float64Array, int, list[str]]:
    """Shares and budget of the mixture that was asked for.

    Returns:
        shares float64 ``[n]``, budget in tokens, notes.
    """
    if params.domains:
        targets = resolve_domains(params.domains, facts.names)
        return explicit(facts.tokens, targets, budget)
    found = STRATEGIES[params.strategy](facts, params)
    return found.shares, budget or int(facts.tokens.sum()), found.notes
