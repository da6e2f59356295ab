from __future__ import annotations

import copy
from typing import Any

import pytest
import yaml

from mixcurate.io.card import dataset_card
from mixcurate.io.manifest import build_manifest, share_errors


def shard(split: str, phase: str, number: int, sums: dict[str, Any]) -> dict[str, Any]:
    name = f"{split}/data-{number:05d}-of-00003.arrow"
    file = {"format": "arrow", "split": split, "phase": phase, "shard": number, "path": name}
    file |= {"bytes": 10, "sha256": f"{number}", "also": []}
    lineage = {"path": f"lineage/part-{number:05d}.parquet", "rows": 3, "bytes": 9, "sha256": "x"}
    return {"files": [file], "lineage": lineage} | sums


def sums(first: list[int], second: list[int], cut: dict | None = None) -> dict[str, Any]:
    """Domain 0 is English web text, domain 1 a German book."""
    return {
        "domain": {"0": first, "1": second},
        "source": {"web": first, "books": second},
        "licence": {"CC-BY-4.0": first, "unknown": second},
        "language": {"en": first, "de": second},
        "cell": {"0": second, "1": first},
        "cut": cut or {},
    }


def planned(number: int, target: int) -> dict[str, Any]:
    return {
        "name": ["law", "sports"][number],
        "available_documents": 10,
        "available_tokens": 100,
        "target_tokens": target,
        "share": target / 110,
        "effective_tokens": 55.5,
        "largest_document": 9,
    }


PLAN: dict[str, Any] = {
    "seed": 1,
    "strategy": "uniform",
    "by": ["source"],
    "budget_tokens": 110,
    "notes": ["a domain is short"],
    "domains": [
        planned(i, n) | {"domain": i, "domain_id": f"id{i}"} for i, n in ((0, 60), (1, 50))
    ],
    "cells": [
        planned(0, 50) | {"cell": 0, "name": "books", "path": {"source": "books"}},
        planned(1, 60) | {"cell": 1, "name": "web", "path": {"source": "web"}},
    ],
}

SHARDS = [
    shard("train", "warm", 0, sums([2, 20, 20], [1, 20, 20])),
    shard("train", "warm", 1, sums([2, 20, 20], [1, 10, 10])),
    shard("train", "anneal", 2, sums([3, 24, 10], [2, 21, 0], {"0": [1, 1]})),
    shard("holdout", "holdout", 0, sums([1, 7, 7], [1, 8, 8])),
]


def built(shards: list[dict[str, Any]]) -> dict[str, Any]:
    return build_manifest(
        name="made",
        recipe_fingerprint="0123",
        tokenizer="embedded",
        encoder={"model": "m"},
        inputs=[],
        plan=PLAN,
        shards=shards,
        asked={"mixture": {"holdout": 0.1, "strategy": "uniform"}},
    )


@pytest.fixture
def manifest() -> dict[str, Any]:
    return built(SHARDS)


def test_totals_are_those_of_train_and_the_holdout_is_apart(manifest) -> None:
    assert (manifest["n_documents"], manifest["n_tokens"]) == (11, 115)
    assert [d["achieved_tokens"] for d in manifest["domains"]] == [64, 51]
    assert manifest["domains"][0]["epochs"] == 0.64
    for key, names in (("sources", ["books", "web"]), ("languages", ["de", "en"])):
        assert {e["name"]: e["achieved_tokens"] for e in manifest[key]} == dict(
            zip(names, (51, 64), strict=True)
        )
    assert manifest["holdout"] == {
        "share": 0.1,
        "n_documents": 2,
        "n_tokens": 15,
        "tokens_by_domain": {"0": 7, "1": 8},
    }


def test_each_phase_has_its_place_its_mixture_and_its_own_evenness(manifest) -> None:
    warm, anneal, holdout = manifest["ranges"]
    assert (warm["phase"], warm["first_shard"], warm["n_shards"]) == ("warm", 0, 2)
    assert (anneal["phase"], anneal["first_shard"], anneal["n_shards"]) == ("anneal", 2, 1)
    assert (holdout["split"], holdout["first_shard"]) == ("holdout", 0)
    assert warm["tokens_by_cell"] == {"0": 30, "1": 40}
    # domain 0 has 40 of 70 tokens, and 20 of 40 and 20 of 30 in the two shards
    assert warm["largest_shard_deviation"] == pytest.approx(max(4 / 7 - 1 / 2, 2 / 3 - 4 / 7))
    assert anneal["largest_shard_deviation"] == 0
    assert manifest["largest_shard_deviation"] == warm["largest_shard_deviation"]


def test_cells_are_the_plans_and_say_that_they_are_applied(manifest) -> None:
    books, web = manifest["cells"]
    assert (books["path"], books["achieved_tokens"]) == ({"source": "books"}, 51)
    assert (books["missed_tokens"], web["missed_tokens"]) == (1, 0)
    assert {entry["applied"] for entry in manifest["cells"] + manifest["domains"]} == {
        "materialised"
    }
    assert manifest["mixture"]["by"] == ["source"]
    assert manifest["notes"][0] == "a domain is short"
    assert "1 documents were cut" in manifest["notes"][1]
    assert [(e["split"], e["shard"]) for e in manifest["lineage"]][-1] == ("holdout", 0)


@pytest.mark.parametrize(
    ("achieved", "missed", "wrong"),
    [(60, 0, False), (59, 0, True), (59, 1, False), (57, 2, True), (68, 0, False), (69, 0, True)],
)
def test_a_cell_ends_within_a_document_above_its_target(manifest, achieved, missed, wrong) -> None:
    assert share_errors(manifest) == []
    manifest["cells"][1] |= {"achieved_tokens": achieved, "missed_tokens": missed}
    errors = share_errors(manifest)
    assert bool(errors) == wrong
    assert all("'web' has" in error and "60" in error for error in errors)


def test_nothing_depends_on_the_order_of_groups(manifest) -> None:
    turned = [
        {key: dict(reversed(v.items())) if isinstance(v, dict) else v for key, v in one.items()}
        for one in copy.deepcopy(SHARDS)
    ]
    again = built(turned)
    assert again == manifest


def header(manifest: dict[str, Any]) -> dict[str, Any]:
    return yaml.safe_load(dataset_card(manifest).split("---\n")[1])


def test_the_card_has_a_config_for_all_and_one_for_each_phase(manifest) -> None:
    found = header(manifest)
    default, warm, anneal = found["configs"]
    assert default["data_files"] == [
        {"split": "train", "path": "train/*.arrow"},
        {"split": "holdout", "path": "holdout/*.arrow"},
    ]
    assert warm["config_name"] == "warm"
    assert len(warm["data_files"][0]["path"]) == 2
    assert anneal["data_files"][0]["path"] == ["train/data-00002-of-00003.arrow"]
    assert found["language"] == ["de", "en"]
    assert found["size_categories"] == ["n<1K"]


def test_the_card_tells_licences_as_spdx_and_loads_only_what_is_written(manifest) -> None:
    manifest["licences"][0] |= {"spdx": "CC-BY-4.0", "class": "permissive", "hub": "cc-by-4.0"}
    manifest["licences"][1] |= {"spdx": "NOASSERTION", "class": "unknown", "hub": "unknown"}
    text = dataset_card(manifest)
    assert header(manifest)["license"] == ["cc-by-4.0", "unknown"]
    assert "| CC-BY-4.0 | CC-BY-4.0 | permissive | 7 | 64 |" in text
    assert "load_from_disk" in text
    assert "WebDataset" not in text
    assert "- a domain is short" in text
    manifest["shards"][0] |= {"format": "webdataset", "path": "wds/train-000000.tar"}
    assert "wds/train-{000000..000000}.tar" in dataset_card(manifest)


def test_names_from_the_data_are_no_markup(manifest) -> None:
    manifest["domains"][0]["name"] = "a | <b>\n# c"
    assert "a \\| &lt;b&gt; # c" in dataset_card(manifest)
