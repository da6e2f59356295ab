"""What differs between two corpora and two plans: nothing is missed, nothing is made up."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from mixcurate.errors import RequestError
from pipelines import diff
from pipelines.diff import compare, render_diff
from tests.pipelines.conftest import invoke

EMPTY = ("settings", "totals", "domains", "cells", "sources", "licences", "languages", "ranges")


def ids(corpus: Path) -> list[str]:
    files = sorted((corpus / "lineage").glob("*.parquet"))
    return [value for file in files for value in pq.read_table(file).column("id").to_pylist()]


@pytest.fixture(scope="module")
def other(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same job with another mixture."""
    folder = tmp_path_factory.mktemp("other") / "job"
    shutil.copytree(finished, folder)
    changes = ("--set", "mixture.strategy=natural", "--set", "mixture.budget_tokens=30_000")
    assert invoke("run", folder / "recipe.yaml", *changes).exit_code == 0
    return folder


def test_a_corpus_is_the_same_as_its_copy(finished: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(finished / "work/corpus", copy)
    found = compare(str(finished / "work/corpus"), str(copy))
    assert not found["different"]
    assert all(found[name] == [] for name in EMPTY)
    documents = len(set(ids(copy)))
    counts = {"both": documents, "only_a": 0, "only_b": 0, "copies_changed": 0}
    assert found["documents"] == {"train": counts}
    assert "no difference" in render_diff(found)


def test_documents_shares_and_settings_that_differ(finished: Path, other: Path) -> None:
    a, b = finished / "work/corpus", other / "work/corpus"
    found = compare(str(a), str(b))
    ids_a, ids_b = ids(a), ids(b)
    both = set(ids_a) & set(ids_b)
    assert found["documents"]["train"] == {
        "both": len(both),
        "only_a": len(set(ids_a) - both),
        "only_b": len(set(ids_b) - both),
        "copies_changed": sum(ids_a.count(name) != ids_b.count(name) for name in both),
    }
    settings = {entry["key"]: (entry["a"], entry["b"]) for entry in found["settings"]}
    assert settings["strategy"] == ("uniform", "natural")
    assert settings["mixture.strategy"] == ("uniform", "natural")
    assert settings["budget_tokens"] == (24_000, 30_000)
    assert "seed" not in settings
    manifests = [json.loads((corpus / "manifest.json").read_text()) for corpus in (a, b)]
    shares = [{d["name"]: d["achieved_share"] for d in m["domains"]} for m in manifests]
    for entry in found["domains"]:
        before, after = (side[entry["name"]] for side in shares)
        assert entry["change"] == pytest.approx(after - before)
    changes = [abs(entry["change"]) for entry in found["domains"]]
    assert changes == sorted(changes, reverse=True)
    text = render_diff(found)
    assert "strategy: uniform -> natural" in text
    assert "only in A" in text


def test_many_documents_are_compared_in_turns(
    finished: Path, other: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = (str(folder / "work/corpus") for folder in (finished, other))
    at_once = compare(a, b)["documents"]
    monkeypatch.setattr(diff, "_HELD", 30)
    assert compare(a, b)["documents"] == at_once


def test_manifests_alone_compare_without_documents(finished: Path, other: Path) -> None:
    a, b = (str(folder / "work/corpus/manifest.json") for folder in (finished, other))
    found = compare(a, b)
    assert found["documents"] is None
    assert found["shards"]["changed"] > 0
    assert "not compared" in render_diff(found)


def test_plans_compare_from_workdirs_and_files(finished: Path, other: Path) -> None:
    found = compare(str(finished / "work"), str(other / "work/plan.json"))
    assert found["kind"] == "plan"
    keys = {entry["key"] for entry in found["settings"]}
    assert {"strategy", "budget_tokens"} <= keys
    assert found["domains"]
    assert "documents" not in found
    assert "strategy: uniform -> natural" in render_diff(found)
    same = compare(str(finished / "work"), str(finished / "work/plan.json"))
    assert not same["different"]


def test_domains_are_matched_by_their_id_then_by_name() -> None:
    a = [
        {"domain": 0, "domain_id": "x", "name": "law", "share": 0.5},
        {"domain": 1, "domain_id": "y", "name": "sports", "share": 0.3},
        {"domain": 2, "domain_id": "z", "name": "gone", "share": 0.2},
    ]
    b = [
        {"domain": 1, "domain_id": "x", "name": "courts", "share": 0.5},
        {"domain": 0, "domain_id": "other", "name": "sports", "share": 0.1},
        {"domain": 2, "domain_id": "new", "name": "new", "share": 0.4},
    ]
    found = diff._shares(a, b, ("domain_id", "name"))
    changes = {entry["name"]: entry["change"] for entry in found}
    assert changes == pytest.approx({"new": 0.4, "gone": -0.2, "sports": -0.2, "law": 0.0})


@pytest.mark.parametrize("what", ["nothing", "text", "json"])
def test_what_is_neither_is_refused(finished: Path, tmp_path: Path, what: str) -> None:
    path = tmp_path / "file"
    if what != "nothing":
        path.write_text("[1]" if what == "json" else "hello")
    with pytest.raises(RequestError, match="is no corpus"):
        compare(str(finished / "work/corpus"), str(path))


def test_a_corpus_and_a_plan_are_not_compared(finished: Path) -> None:
    with pytest.raises(RequestError, match=r"is a corpus and .* is a plan"):
        compare(str(finished / "work/corpus"), str(finished / "work"))


def test_names_from_the_data_move_no_cursor() -> None:
    entry = {"name": "a\x1b[31m\u202eb", "change": 0.1, "a": None, "b": {"share": 0.1, "tokens": 3}}
    found = {"kind": "plan", "a": "x", "b": "y", "different": True, "settings": [], "totals": []}
    lists = {name: [entry] for name in EMPTY if name not in found}
    text = render_diff(found | lists)
    assert "\x1b" not in text
    assert "\u202e" not in text
