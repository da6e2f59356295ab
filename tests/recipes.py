"""Recipes as text, for tests of what becomes of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from mixcurate.errors import RecipeError
from mixcurate.recipe import Recipe
from mixcurate.recipe_file import load_recipe

HEAD = "name: web\nworkdir: runs/web\ninputs:\n  - path: crawl/*\n"
BARE = "YAML reads a bare no/yes/on/off as true/false"


def load(text: str | bytes, *overrides: str) -> Recipe:
    Path("recipe.yaml").write_bytes(text.encode() if isinstance(text, str) else text)
    return load_recipe("recipe.yaml", overrides)


def problems(text: str | bytes, *overrides: str) -> list[str]:
    with pytest.raises(RecipeError) as caught:
        load(text, *overrides)
    assert all("\n" not in problem for problem in caught.value.problems)
    return caught.value.problems
