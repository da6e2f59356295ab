"""What the keys of targets mean: a number, a name, or a path of names in the tree of levels."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping

from mixcurate.errors import PlanError, nearest
from mixcurate.kernels.cells import NUMBERED, SEPARATOR, Partition, Path, Value
from mixcurate.kernels.mixture import DomainTarget

#: Longest list of valid names in a message, in characters.
_LONGEST = 300


def resolve(
    targets: Mapping[int | str, DomainTarget], partition: Partition, place: str
) -> dict[Path, DomainTarget]:
    """Targets by path; a path that is shorter than the levels stands for a whole branch.

    A key is a number (of a domain, tier or cluster), a name, or several of these from the outermost
    level on with colons between. Names may hold colons themselves: all ways to read a key are
    tried. A name comes before a number.

    Args:
        targets: as in the recipe.
        partition: the cells.
        place: of the targets in the recipe, for messages.

    Raises:
        PlanError: a key means nothing or several things, or two keys mean the same.
    """
    if not targets:
        return {}
    values = [_values_by_name(partition, level) for level in partition.levels]
    resolved: dict[Path, DomainTarget] = {}
    keys: dict[Path, int | str] = {}
    for key, target in targets.items():
        numbered = partition.levels[0] in NUMBERED
        readings = set(_readings(key, values, numbered=numbered))
        found = sorted(readings, key=lambda path: (len(path), repr(path)))
        if not found:
            raise PlanError(f"{place}: {_unknown(key, partition, values)}")
        if len(found) > 1:
            raise PlanError(
                f"{place}: {key!r} can mean {len(found)} things: "
                f"{' or '.join(_shown(path, partition) for path in found)}; give numbers instead "
                f"of names"
            )
        if found[0] in resolved:
            raise PlanError(
                f"{place}: {key!r} names {_shown(found[0], partition)} a second time, after "
                f"{keys[found[0]]!r}"
            )
        resolved[found[0]], keys[found[0]] = target, key
    return resolved


def _values_by_name(partition: Partition, level: str) -> dict[str, list[Value]]:
    """What each name stands for on a level; a number is a name where nothing else has it."""
    values = set(partition.values(level))
    if level == "domain":
        values |= set(range(len(partition.domain_names)))
    if level == "tier":
        values |= set(range(len(partition.tier_cuts) + 1))
    found: dict[str, list[Value]] = {}
    for value in sorted(values):
        found.setdefault(partition.value_name(level, value), []).append(value)
    if level in NUMBERED:
        for value in sorted(values):
            found.setdefault(f"{value}", [value])
    return found


def _readings(
    key: int | str, values: list[dict[str, list[Value]]], *, numbered: bool
) -> Iterator[Path]:
    """The paths that a key can mean."""
    if isinstance(key, int) and numbered:
        if any(key in found for found in values[0].values()):
            yield (key,)
        return
    words = str(key).split(SEPARATOR)
    for depth in range(1, min(len(values), len(words)) + 1):
        for cuts in itertools.combinations(range(1, len(words)), depth - 1):
            bounds = [0, *cuts, len(words)]
            pieces = [SEPARATOR.join(words[a:b]) for a, b in itertools.pairwise(bounds)]
            each = zip(values, pieces, strict=False)
            yield from itertools.product(*(named.get(piece, []) for named, piece in each))


def _shown(path: Path, partition: Partition) -> str:
    """A path in a message."""
    levels = SEPARATOR.join(partition.levels[: len(path)])
    name = partition.name(path)
    if len(path) == 1 and partition.levels[0] in NUMBERED:
        return f"{levels} {path[0]} ({name!r})"
    return f"{levels} {name!r}"


def _unknown(key: int | str, partition: Partition, values: list[dict[str, list[Value]]]) -> str:
    level = partition.levels[0]
    if len(partition.levels) == 1:
        what = f"{level} {key!r}"
        names = [name for name, found in values[0].items() if name != str(found[0])]
        many = f"{len({found[0] for found in values[0].values()})} {partition.units}"
        names = names or list(values[0])
    else:
        what = f"{level}, or path of {SEPARATOR.join(partition.levels)}, {key!r}"
        depths = range(1, len(partition.levels) + 1)
        names = sorted({partition.name(path[:d]) for path in partition.paths for d in depths})
        many = f"{len(names)} of the pool"
    hint = nearest(str(key), names)
    if len(hint) > _LONGEST:
        hint = hint[:_LONGEST].rsplit(",", 1)[0] + ", ..."
    return f"no {what} among {many}; {hint}"
