"""Recipe files: every class of mistake has one line that names the place and the fix."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Literal

import pytest
from pydantic import Field

from mixcurate import recipe_file, recipe_messages
from mixcurate.errors import RecipeError
from mixcurate.params import Params
from mixcurate.recipe import Recipe
from mixcurate.recipe_file import load_recipe
from tests.recipes import BARE, HEAD, load, problems


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


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
        "recipe.yaml:9: output.formats.0: must be 'arrow', 'parquet', 'webdataset', 'jsonl', "
        "'mds', 'litdata', 'megatron', 'nanotron' or 'litdata_tokens', got 'arow'; "
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
