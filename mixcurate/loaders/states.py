"""What a reader is told by its user, checked: weights, and states of earlier readers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from mixcurate.errors import InputError, nearest
from mixcurate.loaders.shards import Groups

#: Factors of domains or sources by name, or of domains by number.
Weights = Mapping[str, float] | Mapping[int, float] | Mapping[str | int, float]


def group_shares(groups: Groups, by: str, weights: Weights) -> list[float]:
    """Share of tokens of each group under factors of what it has in the corpus, float ``[g]``.

    Raises:
        InputError: an unknown group, a factor that is negative or not a number, or no group left.
    """
    factors = [1.0] * len(groups.names)
    for name, factor in weights.items():
        if isinstance(name, int) and name in groups.values:
            place = groups.values.index(name)
        elif name in groups.names:
            place = groups.names.index(str(name))
        else:
            raise InputError(f"weights: no {by} {name!r}; {nearest(str(name), groups.names)}")
        if not (math.isfinite(factor) and factor >= 0):
            raise InputError(f"weights: {by} {name!r} has {factor!r}, which is no factor from 0 up")
        factors[place] = float(factor)
    shares = [tokens * factor for tokens, factor in zip(groups.tokens, factors, strict=True)]
    if not sum(shares) > 0:
        raise InputError(f"weights: no {by} with documents has a factor above zero")
    total = sum(shares)
    return [share / total for share in shares]


def check_state(state: dict[str, Any], version: int, identity: dict[str, Any]) -> None:
    """Hold a state against the reader that is to go on from it.

    Raises:
        InputError: it is no state, of another version, or of another corpus or other options.
    """
    if not isinstance(state, dict) or state.get("version") != version:
        found = state.get("version") if isinstance(state, dict) else type(state).__name__
        raise InputError(f"no state of a reader that this version knows: {found!r}, not {version}")
    for name, mine in identity.items():
        theirs = state["order"].get(name)
        if theirs != mine:
            raise InputError(
                f"the state is of a reader with {name} {theirs!r}, this one has {mine!r}: the "
                "documents would not go on in the same order"
            )
