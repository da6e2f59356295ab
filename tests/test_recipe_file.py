"""Recipe files: every class of mistake has one line that names the place and the fix."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any, Literal

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import Field

from mixcurate import recipe_file, recipe_messages
from mixcurate.errors import RecipeError
from mixcurate.params import Params
from mixcurate.recipe import Recipe
from mixcurate.recipe_file import dump_recipe, load_recipe, recipe_schema, starter_recipe

HEAD = "name: web\nworkdir: runs/web\ninputs:\n  - path: crawl/*\n"
BARE = "YAML reads a bare no/yes/on/off as true/false"


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def load(text: str | bytes, *overrides: str) -> Recipe:
    Path("recipe.yaml").write_bytes(text.encode() if isinstance(text, str) else text)
    return load_recipe("recipe.yaml", overrides)


def problems(text: str | bytes, *overrides: str) -> list[str]:
    with pytest.raises(RecipeError) as caught:
        load(text, *overrides)
    assert all("\n" not in problem for problem in caught.value.problems)
    return caught.value.problems


def test_smallest_recipe_has_the_defaults() -> None:
    recipe = load(HEAD)
    assert recipe == Recipe.model_validate(
        {"name": "web", "workdir": "runs/web", "inputs": [{"path": "crawl/*"}]}
    )


# Each case follows HEAD, whose four lines it therefore comes after.
ONE_PROBLEM = {
    "unknown key": (
        "mixture:\n  budget_token: 5\n",
        "6: mixture.budget_token: unknown key; did you mean 'budget_tokens'?",
    ),
    "unknown key at the top": (
        "\n# comment\nmixtures: {}\n",
        "7: mixtures: unknown key; did you mean 'mixture'?",
    ),
    "unknown key in a list": (
        "  - path: b\n    text_feild: content\n",
        "6: inputs.1.text_feild: unknown key; did you mean 'text_field'?",
    ),
    "unknown key behind a null union": (
        "cluster:\n  prune:\n    min_qualty: 0.5\n",
        "7: cluster.prune.min_qualty: unknown key; did you mean 'min_quality'?",
    ),
    "unknown key in a dict": (
        "mixture:\n  strategy: explicit\n  domains:\n    0: {tokens: 1, repeet: 2}\n",
        "8: mixture.domains.0.repeet: unknown key; did you mean 'repeat'?",
    ),
    "unknown key that is a number": (
        "score:\n  4: 5\n",
        "6: score.4: unknown key; valid: annotator, diversity, quality, weight",
    ),
    "bad word": (
        "mixture:\n  strategy: samplmix\n",
        "6: mixture.strategy: must be 'natural', 'uniform', 'temperature', 'unimax', "
        "'repetition', 'explicit', 'file', 'entropy', 'topics', 'samplemix', 'centrality', "
        "'smart', 'mig' or 'target', got 'samplmix'; did you mean 'samplemix'?",
    ),
    "bad word in a list": (
        "output:\n  formats:\n    - arrow\n    - webdatset\n",
        "8: output.formats.1: must be 'arrow', 'parquet', 'webdataset', 'jsonl', 'mds', "
        "'litdata', 'megatron', 'nanotron' or 'litdata_tokens', got 'webdatset'; "
        "did you mean 'webdataset'?",
    ),
    "bad word with no near one": (
        "embed: {device: tpu9}\n",
        "5: embed.device: must be 'auto', 'cpu' or 'cuda', got 'tpu9'",
    ),
    "switched off with no": (
        "ingest:\n  filters: no\n",
        "6: ingest.filters: must be 'gopher', 'c4', 'fineweb' or 'none', got false; "
        f"write null to switch it off: {BARE}",
    ),
    "too small": (
        "cluster:\n  k: -3\n",
        "6: cluster.k: must be greater than 0 or 'sqrt' or 'silhouette', got -3",
    ),
    "too large": (
        "score: {weight: {alpha: 1.5}}\n",
        "5: score.weight.alpha: must be at most 1, got 1.5",
    ),
    "bare no": (
        "ingest:\n  languages: [no]\n",
        f"6: ingest.languages.0: must be text, got false; quote it: {BARE}",
    ),
    "number for text": (
        "embed: {revision: 12}\n",
        "5: embed.revision: must be text, got 12; quote it",
    ),
    "true for a number": (
        "cluster: {k: yes}\n",
        f"5: cluster.k: must be a number, got true: {BARE}",
    ),
    "word for a number": (
        "mixture: {budget_tokens: 10M}\n",
        "5: mixture.budget_tokens: must be a whole number, got '10M'; "
        "write it like 1_000_000 or 1e6",
    ),
    "fraction": (
        "cluster: {k: 1.5}\n",
        "5: cluster.k: must be a whole number or 'sqrt' or 'silhouette', got 1.5",
    ),
    "size": (
        "output:\n  shard_bytes: 12XB\n",
        "6: output.shard_bytes: must be a size such as 256MB or 1GiB, got '12XB'",
    ),
    "text for a list": (
        "ingest: {languages: en}\n",
        "5: ingest.languages: must be a list, got 'en'; write [en]",
    ),
    "empty list": (
        "output:\n  formats: []\n",
        "6: output.formats: must be a list of at least 1, got an empty list",
    ),
    "empty section": (
        "score:\n",
        "5: score: must be a mapping, got null; remove the key to take its defaults",
    ),
    "validator": (
        "cluster:\n  k: 5\n  merge:\n    domains: 3\n    distance: 1.5\n",
        "7: cluster.merge: give exactly one of 'domains' and 'distance' (set the other to null)",
    ),
    "short pair": (
        "ingest:\n  thresholds:\n    words: [1]\n",
        "7: ingest.thresholds.words.1: missing; the list is too short",
    ),
    "number as a signal": (
        "ingest: {thresholds: {3: [1, 2]}}\n",
        "5: ingest.thresholds.3: the key must be text, got 3; quote it",
    ),
    "boolean key": (
        "mixture:\n  domains:\n    no: {tokens: 1}\n",
        "7: mixture.domains: a key must be text or a whole number, got false; quote it",
    ),
    "list as a key": (
        "? [a]\n: 1\n",
        "5: a key cannot be read: the YAML type 'seq' has no place here",
    ),
    "duplicate key": ("seed: 1\nseed: 2\n", "6: seed: given twice, first on line 5; remove one"),
    "duplicate key inside": (
        "cluster:\n  k: 3\n  iterations: 2\n  k: 3\n",
        "8: cluster.k: given twice, first on line 6; remove one",
    ),
    "tag": (
        "seed: !!python/object/apply:os.system ['true']\n",
        "5: seed: cannot be read: the YAML type 'python/object/apply:os.system' has no place here",
    ),
    "scalar of a type that no key has": (
        "seed: !!timestamp x\n",
        "5: seed: cannot be read: the YAML type 'timestamp' has no place here",
    ),
    "scalar that cannot be built": (
        "seed: !!bool maybe\n",
        "5: seed: cannot be read: 'maybe'",
    ),
}


@pytest.mark.parametrize("case", ONE_PROBLEM)
def test_message(case: str) -> None:
    text, message = ONE_PROBLEM[case]
    found = problems(HEAD + text)
    assert found == [f"recipe.yaml:{message}"]


def test_all_problems_at_once_in_the_order_of_lines() -> None:
    text = """\
name: my corpus
inputs:
  - pth: a
  - path: b
    format: warcs
cluster:
  k: 0
  iterations: many
output: {formats: [arow]}
cluster: {}
"""
    assert problems(text, "seed=-1") == [
        "recipe.yaml:1: name: must be text that matches ^[A-Za-z0-9][A-Za-z0-9._-]*$, "
        "got 'my corpus'",
        "recipe.yaml:1: workdir: missing",
        "recipe.yaml:3: inputs.0.path: missing",
        "recipe.yaml:3: inputs.0.pth: unknown key; did you mean 'path'?",
        "recipe.yaml:5: inputs.1.format: must be 'auto', 'warc', 'wet', 'jsonl', 'parquet', "
        "'arrow', 'csv', 'text', 'tar', 'paths' or 'huggingface', got 'warcs'; "
        "did you mean 'warc'?",
        "recipe.yaml:7: cluster.k: must be greater than 0 or 'sqrt' or 'silhouette', got 0",
        "recipe.yaml:8: cluster.iterations: must be a whole number, got 'many'; "
        "write it like 1_000_000 or 1e6",
        "recipe.yaml:9: output.formats.0: must be 'arrow', 'parquet', 'webdataset', 'jsonl', 'mds', "
        "'litdata', 'megatron', 'nanotron' or 'litdata_tokens', got 'arow'; "
        "did you mean 'arrow'?",
        "recipe.yaml:10: cluster: given twice, first on line 6; remove one",
        "--set seed=-1: must be at least 0, got -1",
    ]


def test_one_line_for_one_offender_of_a_union(monkeypatch: pytest.MonkeyPatch) -> None:
    class Near(Params):
        threshold: float = 0.8

    class Other(Params):
        a: int | list[int] = 0
        b: Literal["auto"] | int = 0
        c: Near | bool = True
        d: Near | bool = True
        e: dict[str, Near | Literal["off"]] = Field(default_factory=dict)

    monkeypatch.setattr(recipe_file, "Recipe", Other)
    monkeypatch.setattr(recipe_messages, "Recipe", Other)
    assert problems("a: x\nb: autp\nc: {threshhold: 1}\nd: [1]\ne: {k: of}\n") == [
        "recipe.yaml:1: a: must be a whole number or a list, got 'x'; write [x]",
        "recipe.yaml:2: b: must be 'auto' or a whole number, got 'autp'; "
        "write it like 1_000_000 or 1e6",
        "recipe.yaml:3: c.threshhold: unknown key; did you mean 'threshold'?",
        "recipe.yaml:4: d: must be a mapping or true or false, got a list of 1",
        "recipe.yaml:5: e.k: must be a mapping or 'off', got 'of'; did you mean 'off'?",
    ]


def test_problems_are_of_one_bounded_line() -> None:
    (problem,) = problems(HEAD + f'embed: {{device: "a\\nb{"x" * 5000}"}}\n')
    assert "a\\nb" in problem
    assert len(problem) < 250


# --- YAML ---


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: a: b\n", "recipe.yaml:1:8: not valid YAML: mapping values are not allowed here; "
         "quote text that contains ': ', and check the indentation"),
        ("name: a\nembed:\n\tmodel: x\n", r"recipe.yaml:3:1: not valid YAML: found character '\t' "
         "that cannot start any token; indent with spaces, not tabs"),
        ("inputs:\n  - path: *.warc\n", "recipe.yaml:2:12: not valid YAML: expected alphabetic or "
         "numeric character, but found '.'; quote text that begins with * or &"),
        ("a: [1\nb: 2\n", "recipe.yaml:2:2: not valid YAML: expected ',' or ']', but got ':'"),
        ("a: 1\n---\nb: 2\n", "recipe.yaml:2:1: not valid YAML: expected a single document in the "
         "stream, but found another document"),
        ("a: *b\n", "recipe.yaml:1:4: not valid YAML: found undefined alias 'b'; "
         "quote text that begins with *"),
        ("a: 1\nb: x\0y\n", "recipe.yaml:2:5: not valid YAML: the character U+0000 may not be "
         "in it"),
        ("", "recipe.yaml:1: the file is empty; a recipe is lines of 'key: value' "
         "(`mixcurate init DIR` writes one)"),
        ("# a\n- b\n", "recipe.yaml:2: the top level is not a mapping; a recipe is lines of "
         "'key: value' (`mixcurate init DIR` writes one)"),
        (b"name: a\nworkdir: caf\xe9\n", "recipe.yaml:2: not UTF-8 (byte 0xe9); save it as UTF-8"),
        ("#" * (1 << 20) + "\n", "recipe.yaml: larger than 1 MiB; a recipe is a page of YAML"),
        ("[" * 50_000, "recipe.yaml: nested too deeply; not a recipe"),
        ("a: &a\n  b: [*a]\n", "recipe.yaml:2:7: an alias inside its own anchor"),
    ],
)  # fmt: skip
def test_yaml_problem(text: str | bytes, message: str) -> None:
    assert problems(text) == [message]


@pytest.mark.parametrize("path", ["absent.yaml", "."])
def test_unreadable_file_is_named(path: str) -> None:
    with pytest.raises(RecipeError, match=rf"^{re.escape(path)}: cannot be read: [A-Z]"):
        load_recipe(path)


@pytest.mark.parametrize("pattern", ["[{}]", "{{<<: [{}]}}"])
def test_bomb_is_refused_quickly(pattern: str) -> None:
    text = "a0: &a0 {x: 1}\n"
    for level in range(1, 8):  # 9 ** 7 values: without the bound this takes a minute.
        text += (
            f"a{level}: &a{level} " + pattern.format(f"{', '.join([f'*a{level - 1}'] * 9)}") + "\n"
        )
    started = time.monotonic()
    (problem,) = problems(text)
    assert re.fullmatch(r"recipe\.yaml:\d+:\d+: more than 100,000 values .*", problem)
    assert time.monotonic() - started < 2


def test_aliases_and_merges_are_plain_yaml() -> None:
    recipe = load(
        "name: web\nworkdir: &w runs\ninputs:\n"
        "  - &base {path: a, source: books, text_field: content}\n"
        "  - {<<: *base, path: b}\n  - {path: *w, <<: [{source: x}, *base]}\n"
    )
    assert [(i.path, i.source, i.text_field) for i in recipe.inputs] == [
        ("a", "books", "content"),
        ("b", "books", "content"),
        ("runs", "x", "content"),
    ]
    assert problems(HEAD + "embed: {<<: 3}\n") == [
        "recipe.yaml:5:9: << takes a mapping or a list of mappings"
    ]


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("1e9", 10**9),
        ("1_000", 1000),
        ("2.5e3", 2500),
        ("1.E2", 100),
        ("1e23", 10**23),
        ("+3e0", 3),
    ],
)
def test_counts(written: str, value: int) -> None:
    budget = load(HEAD + f"mixture: {{budget_tokens: {written}}}\n").mixture.budget_tokens
    assert (budget, type(budget)) == (value, int)


def test_numbers_only_where_they_are_plain() -> None:
    recipe = load(HEAD + "embed: {revision: '1e9', model: 1e9x}\nscore: {weight: {tau: 15e-2}}\n")
    assert (recipe.embed.revision, recipe.embed.model) == ("1e9", "1e9x")
    assert recipe.score.weight.tau == 0.15
    # A revision of digits and one `e` is the reason for quoting.
    assert problems(HEAD + "embed: {revision: 1e3}\n") == [
        "recipe.yaml:5: embed.revision: must be text, got 1000; quote it"
    ]


def test_huge_numbers_neither_hang_nor_crash() -> None:
    text = (
        HEAD + "seed: 1e999999999\ncluster: {k: 1" + "0" * 5000 + "}\nscore: {weight: {alpha: 0x1"
    )
    found = problems(text + "0" * 5000 + "}}\n")
    assert [problem.split(": ")[1] for problem in found] == [
        "seed",
        "cluster.k",
        "score.weight.alpha",
    ]


def test_dates_stay_text_and_a_byte_order_mark_is_skipped() -> None:
    assert load("\ufeff" + HEAD + "embed: {revision: 2024-05-01}\n").embed.revision == "2024-05-01"


def test_sizes_and_nulls() -> None:
    recipe = load(HEAD + "output: {shard_bytes: 64MiB}\ncluster: {prune: null}\n")
    assert recipe.output.shard_bytes == 64 << 20
    assert recipe.cluster.prune is None


# --- overrides ---


def test_overrides_apply_in_order() -> None:
    recipe = load(
        HEAD + "cluster: {prune: null}\n",
        "mixture.budget_tokens=1e6",
        "mixture.budget_tokens=2e6",
        "inputs.0.path=other/*",
        "inputs.1.path=more=x",
        "cluster.prune.min_quality=0.25",
        "ingest.languages=[en, de]",
        "ingest.dedup=null",
        "mixture={strategy: explicit, domains: {0: {repeat: 1}}}",
        "mixture.domains.0.repeat=3",
        "mixture.domains.7.tokens=3",
    )
    assert [i.path for i in recipe.inputs] == ["other/*", "more=x"]
    assert recipe.cluster.prune is not None
    assert recipe.cluster.prune.min_quality == 0.25
    assert (recipe.ingest.languages, recipe.ingest.dedup) == (["en", "de"], None)
    assert recipe.mixture.budget_tokens is None  # The whole section was replaced after it.
    assert recipe.mixture.domains[0].repeat == 3
    assert recipe.mixture.domains[7].tokens == 3


def test_override_of_a_key_written_as_text() -> None:
    text = HEAD + "mixture: {strategy: explicit, domains: {'0': {repeat: 1}}}\n"
    recipe = load(text, "mixture.domains.0.repeat=3")
    assert {key: target.repeat for key, target in recipe.mixture.domains.items()} == {"0": 3}


def test_override_makes_lists() -> None:
    assert load("{}", "name=a", "workdir=b", "inputs.0.path=c").inputs[0].path == "c"


def test_override_mends_the_file() -> None:
    assert load(HEAD + "cluster: {k: -1}\n", "cluster.k=5").cluster.k == 5


def test_an_override_does_not_share_what_an_alias_shares() -> None:
    text = "name: a\nworkdir: b\ninputs: [&a {path: c}, *a]\n"
    assert [i.path for i in load(text, "inputs.1.path=d").inputs] == ["c", "d"]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("mixture.budget_token=5", "unknown key; did you mean 'budget_tokens'?"),
        ("mixtur.a.b=5", "mixtur: unknown key; did you mean 'mixture'?"),
        ("mixture={strategy: x}", "mixture.strategy: must be 'natural', 'uniform', 'temperature', "
         "'unimax', 'repetition', 'explicit', 'file', 'entropy', 'topics', 'samplemix', "
         "'centrality', 'smart', 'mig' or 'target', got 'x'"),
        ("mixture.strategy=explicit", "mixture: strategy 'explicit' needs 'domains', or 'by' and "
         "'targets'"),
        ("cluster.k", "not of the form key=value, such as mixture.max_epochs=2"),
        ("cluster..k=2", "not of the form key=value, such as mixture.max_epochs=2"),
        ("cluster.k=[", "not valid YAML: expected the node content, but found '<stream end>'"),
        ("cluster.k=", "must be a whole number or 'sqrt' or 'silhouette', got null"),
        ("cluster={k: 1, k: 2}", "cluster.k: given twice, first on line 1; remove one"),
        ("name.x=1", "name: 'web' has no 'x' inside"),
        ("inputs.4.path=a", "inputs: a list of 1 has no '4' inside"),
        ("inputs.first=a", "inputs: a list of 1 has no 'first' inside"),
        ("inputs.1.source=a", "inputs.1.path: missing"),
        ("seed=on", f"must be a number, got true: {BARE}"),
    ],
)  # fmt: skip
def test_override_problem(override: str, message: str) -> None:
    assert problems(HEAD, override) == [f"--set {override}: {message}"]


def test_a_section_made_wrong_by_an_override_is_not_blamed_on_the_file() -> None:
    text = HEAD + "mixture:\n  strategy: natural\n"
    assert problems(text, "seed=1", "mixture.strategy=explicit", "cluster.k=2") == [
        "--set mixture.strategy=explicit: mixture: strategy 'explicit' needs 'domains', or 'by' "
        "and 'targets'"
    ]


# --- writing ---


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
