"""What is written of recipes: the resolved one, the starter, the schema."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from mixcurate.errors import RecipeError
from mixcurate.recipe import Recipe
from mixcurate.recipe_file import dump_recipe, load_recipe, recipe_schema, starter_recipe
from tests.recipes import HEAD, load


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def normal(low: float, high: float) -> st.SearchStrategy[float]:
    return st.floats(low, high, exclude_min=True, allow_subnormal=False)


TEXT = st.text(max_size=12) | st.sampled_from(
    [
        "1e9",
        "no",
        "null",
        "~",
        "2024-05-01",
        "0x1f",
        "1_0",
        "=",
        "<<",
        "*a",
        "- a",
        "a: b",
        "#",
        "12:30",
        "\x85",
        "a\u2028b",
    ]
)
TARGETS = st.one_of(
    st.fixed_dictionaries({"proportion": st.floats(0, 1)}),
    st.fixed_dictionaries({"repeat": st.floats(0, 1e30)}),
    st.fixed_dictionaries({"tokens": st.integers(0, 2**70)}),
)
RECIPES = st.fixed_dictionaries(
    {
        "name": st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,8}", fullmatch=True),
        "workdir": TEXT,
        "inputs": st.lists(
            st.fixed_dictionaries(
                {"path": TEXT},
                optional={"source": TEXT, "licence": st.none() | TEXT, "format": st.just("wet")},
            ),
            min_size=1,
            max_size=3,
        ),
    },
    optional={
        "seed": st.integers(0, 2**32 - 1),
        "ingest": st.fixed_dictionaries(
            {},
            optional={
                "languages": st.lists(TEXT, max_size=3),
                "dedup": st.none(),
                "filters": st.sampled_from(["gopher", "none", None]),
                "thresholds": st.dictionaries(
                    TEXT, st.tuples(st.none() | st.floats(allow_nan=False), st.none()), max_size=2
                ),
                "part_bytes": st.sampled_from(["1KB", "3.5MiB", 12]),
            },
        ),
        "score": st.fixed_dictionaries(
            {"weight": st.fixed_dictionaries({"tau": normal(0.001, 1e20)})}
        ),
        "mixture": st.fixed_dictionaries(
            {
                "strategy": st.just("explicit"),
                "domains": st.dictionaries(st.integers() | TEXT, TARGETS, min_size=1, max_size=3),
            },
            optional={"budget_tokens": st.none() | st.integers(1, 2**60)},
        ),
    },
)


@settings(max_examples=60, deadline=None)
@given(values=RECIPES)
def test_dump_reads_back_as_equal(values: dict[str, Any], tmp_path_factory: Any) -> None:
    recipe = Recipe.model_validate(values)
    text = dump_recipe(recipe)
    path = tmp_path_factory.getbasetemp() / "dumped.yaml"
    path.write_bytes(text.encode())
    again = load_recipe(str(path))
    assert again == recipe
    assert list(again.mixture.domains) == list(recipe.mixture.domains)
    assert dump_recipe(again) == text


def test_dump_has_all_keys_in_order_as_plain_yaml() -> None:
    recipe = load(HEAD + "output: {shard_bytes: 1GB}\n")
    value = yaml.safe_load(dump_recipe(recipe))
    assert list(value) == list(Recipe.model_fields)
    assert value["output"]["shard_bytes"] == 10**9
    assert value["cluster"]["k"] == recipe.cluster.k
    assert list(value["cluster"]) == list(type(recipe.cluster).model_fields)


# --- starter and schema ---


@pytest.mark.parametrize("name", ["my-corpus", "1e9", "no", "2024.05"])
def test_starter_loads_with_the_defaults(name: str) -> None:
    recipe = load(starter_recipe(name))
    assert (recipe.name, recipe.workdir) == (name, f"runs/{name}")
    plain = Recipe.model_validate(
        {"name": name, "workdir": f"runs/{name}", "inputs": [{"path": recipe.inputs[0].path}]}
    )
    # What the starter spells out is the default, but for one language.
    ingest = recipe.ingest.model_copy(update={"languages": []})
    assert recipe.model_copy(update={"ingest": ingest}) == plain


def test_starter_comments_out_only_keys_that_work() -> None:
    text = re.sub(r"(?m)^( +)# ", r"\1", starter_recipe("x"))
    recipe = load(text, "mixture.strategy=explicit")
    assert len(recipe.inputs) == 3
    assert set(recipe.mixture.domains) == {0, "sports", 3}


def test_starter_refuses_a_name_that_no_recipe_may_have() -> None:
    with pytest.raises(RecipeError, match=r"^the name must be .*, got 'a b'$"):
        starter_recipe("a b")


def schema_problems(value: Any, schema: dict[str, Any], defs: dict[str, Any], at: str) -> list[str]:
    """Keys of ``value`` that ``schema`` does not know."""
    if "$ref" in schema:
        schema = defs[schema["$ref"].rpartition("/")[2]]
    if "anyOf" in schema:
        found = [schema_problems(value, option, defs, at) for option in schema["anyOf"]]
        return min(found, key=len)
    if isinstance(value, list):
        return [p for v in value for p in schema_problems(v, schema.get("items", {}), defs, at)]
    if not isinstance(value, dict):
        return []
    if schema.get("type") != "object":
        return [at]
    rest = schema.get("additionalProperties", {})
    found = [
        [f"{at}.{key}"]
        if (inner := schema.get("properties", {}).get(key, rest)) is False
        else schema_problems(item, inner, defs, f"{at}.{key}")
        for key, item in value.items()
    ]
    return [problem for problems in found for problem in problems]


def test_schema_knows_every_key_and_describes_it() -> None:
    schema: dict[str, Any] = recipe_schema()
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["title"] == "mixcurate recipe"
    text = re.sub(r"(?m)^( +)# ", r"\1", starter_recipe("x"))
    value = yaml.safe_load(text)
    assert schema_problems(value, schema, schema["$defs"], "") == []
    value["inputs"][0]["pth"] = value["cluster"]["merge"]["domain"] = 1
    assert schema_problems(value, schema, schema["$defs"], "") == [
        ".inputs.pth",
        ".cluster.merge.domain",
    ]
    for part in [schema, *schema["$defs"].values()]:
        for key, field in part["properties"].items():
            assert field.get("description"), key
