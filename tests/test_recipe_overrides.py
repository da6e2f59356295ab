"""Overrides of a recipe: `--set key=value`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.recipes import BARE, HEAD, load, problems


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


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
