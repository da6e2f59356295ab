"""Layers import only what is below them; the rule itself is in pyproject.toml."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BELOW = ("kernels", "io", "models")


def imports(path: Path) -> set[str]:
    tree = ast.parse(path.read_text())
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


@pytest.mark.parametrize("layer", BELOW)
def test_lower_layers_know_neither_beam_nor_each_other(layer: str) -> None:
    modules = list((ROOT / "mixcurate" / layer).glob("*.py"))
    assert modules
    others = tuple(
        f"mixcurate.{name}" for name in (*BELOW, "transforms", "recipe") if name != layer
    )
    for module in modules:
        bad = {name for name in imports(module) if name.startswith(("apache_beam", *others))}
        assert not bad, f"{module.name} imports {bad}"


def test_nothing_is_pickled_and_no_module_is_too_long() -> None:
    for module in [*(ROOT / "mixcurate").rglob("*.py"), *(ROOT / "pipelines").rglob("*.py")]:
        assert "pickle" not in imports(module), module
        assert "allow_pickle=True" not in module.read_text(), module
        assert len(module.read_text().splitlines()) <= 400, f"{module} is too long"
