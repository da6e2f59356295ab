"""What the manifest claims against what was found, as sentences."""

from __future__ import annotations

import math
from typing import Any


def compare(where: str, claimed: dict[str, Any], found: dict[str, Any]) -> list[str]:
    """One sentence for each number that is not as claimed.

    Args:
        where: what the sentence begins with.
        claimed: numbers by name; others are not looked at.
        found: the same numbers as they are.
    """
    return [
        f"{where}: expected {name} {_show(claimed.get(name))}, found {_show(value)}"
        for name, value in found.items()
        if not _same(claimed.get(name), value)
    ]


def _same(claimed: Any, found: Any) -> bool:
    if isinstance(found, float) and isinstance(claimed, int | float):
        return math.isclose(claimed, found, rel_tol=1e-9, abs_tol=1e-12)
    return bool(claimed == found)


def _show(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)
