"""Mixture strategies: from what each domain has to the share of tokens it gets.

All have one shape: available tokens (and what the strategy needs) in, shares that sum to one out.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mixcurate.errors import PlanError, nearest
from mixcurate.kernels.mixture import DomainTarget, MixtureParams

Float64Array = npt.NDArray[np.float64]
Int64Array = npt.NDArray[np.int64]


def natural(available: Int64Array) -> Float64Array:
    """Shares as they are in the pool: float64 ``[n]``."""
    shares: Float64Array = available / available.sum()
    return shares


def uniform(available: Int64Array) -> Float64Array:
    """The same share for every domain that has documents."""
    shares: Float64Array = (available > 0) / np.count_nonzero(available)
    return shares


def temperature(available: Int64Array, t: float) -> Float64Array:
    """Shares proportional to tokens ** (1 / t): t = 1 is natural, large t is uniform."""
    powered: Float64Array = (available / available.max()) ** (1.0 / t)
    shares: Float64Array = powered / powered.sum()
    return shares


def samplemix(weighted_tokens: Float64Array) -> Float64Array:
    """Shares that per-document weights imply: sums of weight * tokens (SampleMix, section 2.4)."""
    shares: Float64Array = weighted_tokens / weighted_tokens.sum()
    return shares


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
    params: MixtureParams,
    available: Int64Array,
    weighted_tokens: Float64Array,
    names: list[str],
) -> tuple[Float64Array, int, list[str]]:
    """Shares and budget of the mixture that was asked for.

    Args:
        params: the mixture.
        available: int64 ``[n]`` tokens per domain.
        weighted_tokens: float64 ``[n]``, sum of weight * tokens per domain.
        names: domain names.

    Returns:
        shares float64 ``[n]``, budget in tokens, notes.
    """
    budget = params.budget_tokens or int(available.sum())
    match params.strategy:
        case "natural":
            return natural(available), budget, []
        case "uniform":
            return uniform(available), budget, []
        case "temperature":
            return temperature(available, params.temperature), budget, []
        case "samplemix":
            return samplemix(weighted_tokens), budget, []
        case "explicit":
            targets = resolve_domains(params.domains, names)
            return explicit(available, targets, params.budget_tokens)
