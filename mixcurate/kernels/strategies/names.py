"""Units by the names that a recipe or another tool's file calls them."""

from __future__ import annotations

from collections.abc import Mapping

from mixcurate.errors import PlanError, nearest


def by_unit(values: Mapping[str, float], names: list[str], where: str) -> dict[int, float]:
    """Values by the number of their unit.

    Args:
        values: by name; a number in digits is the unit of that number where none is named so. A
            zero for what is no unit is passed over: files of other tools list all they know.
        names: of the units.
        where: what a message begins with.

    Raises:
        PlanError: a name is no unit's, or two names mean the same unit.
    """
    found: dict[int, float] = {}
    for name, value in values.items():
        unit = _number(name, names)
        if unit is None:
            if value == 0:
                continue
            hint = nearest(name, names)
            raise PlanError(f"{where}: no {name!r} among {len(names)} units; {hint}")
        if unit in found:
            raise PlanError(f"{where}: {name!r} names unit {unit} ({names[unit]!r}) a second time")
        found[unit] = value
    return found


def _number(name: str, names: list[str]) -> int | None:
    if name in names:
        return names.index(name)
    if name.isascii() and name.isdecimal() and len(name) < 10 and int(name) < len(names):
        return int(name)
    return None
