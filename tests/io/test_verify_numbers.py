"""Numbers of a manifest that do not follow from the shards are named, each in a sentence."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from mixcurate.io import storage
from mixcurate.io.shard_content import read_shard
from mixcurate.io.verify import verify_corpus
from tests.corpora import build
from tests.io.damage import edit_manifest, only

ARROW = "train/data-00001-of-00003.arrow"
TAR = "wds/train-000001.tar"


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> str:
    return build(str(tmp_path_factory.mktemp("corpus")), holdout=True).corpus


@pytest.fixture
def corpus(good: str, tmp_path: Path) -> str:
    return str(shutil.copytree(good, tmp_path / "corpus"))


@pytest.mark.parametrize("path", [ARROW, TAR])
@pytest.mark.parametrize("key", ["n_documents", "n_tokens"])
def test_counts_of_a_shard(corpus: str, path: str, key: str) -> None:
    def edit(manifest: dict[str, Any]) -> None:
        shard = next(shard for shard in manifest["shards"] if shard["path"] == path)
        shard[key] += 1

    edit_manifest(corpus, edit)
    only(corpus, path, key, "expected", "found")


def test_tokens_by_domain_of_a_shard(corpus: str) -> None:
    def edit(manifest: dict[str, Any]) -> None:
        tokens = manifest["shards"][0]["tokens_by_domain"]
        tokens["0"], tokens["1"] = tokens["0"] + 1, tokens["1"] - 1

    edit_manifest(corpus, edit)
    only(corpus, "train/data-00000-of-00003.arrow", "tokens_by_domain")


@pytest.mark.parametrize("key", ["n_documents", "n_tokens"])
def test_totals(corpus: str, key: str) -> None:
    edit_manifest(corpus, lambda manifest: manifest.update({key: manifest[key] + 1}))
    only(corpus, "manifest.json", key)


@pytest.mark.parametrize(
    "key",
    ["achieved_tokens", "achieved_share", "unique_tokens", "epochs", "target_share", "n_documents"],
)
def test_numbers_of_a_domain(corpus: str, key: str) -> None:
    def edit(manifest: dict[str, Any]) -> None:
        manifest["domains"][1][key] += 1e-6 if isinstance(manifest["domains"][1][key], float) else 1

    edit_manifest(corpus, edit)
    found = verify_corpus(corpus)
    assert len(found) == 1
    assert "domain 1" in found[0]
    assert key in found[0]


@pytest.mark.parametrize("group", ["sources", "licences", "languages"])
@pytest.mark.parametrize("key", ["achieved_tokens", "achieved_share", "unique_tokens"])
def test_numbers_of_a_source_or_licence(corpus: str, group: str, key: str) -> None:
    def edit(manifest: dict[str, Any]) -> None:
        manifest[group][0][key] *= 2

    edit_manifest(corpus, edit)
    only(corpus, group, key)


@pytest.mark.parametrize(("by", "word"), [(3, "at least target_tokens"), (-90, "largest document")])
def test_a_target_that_is_missed_or_overshot(corpus: str, by: int, word: str) -> None:
    def edit(manifest: dict[str, Any]) -> None:
        for unit in (manifest["domains"][0], manifest["cells"][0]):
            unit["target_tokens"] += by
            unit["target_share"] = unit["target_tokens"] / manifest["budget_tokens"]

    edit_manifest(corpus, edit)
    found = verify_corpus(corpus)
    assert len(found) == 1
    assert "cell 'law'" in found[0]
    assert word in found[0]


def test_what_cuts_have_missed_is_no_shortfall(corpus: str) -> None:
    def edit(manifest: dict[str, Any]) -> None:
        for unit in (manifest["domains"][0], manifest["cells"][0]):
            unit["target_tokens"] += 3
            unit["target_share"] = unit["target_tokens"] / manifest["budget_tokens"]
        manifest["cells"][0]["missed_tokens"] = 1

    edit_manifest(corpus, edit)
    assert verify_corpus(corpus) == []


def test_a_target_of_a_domain_that_is_not_of_its_cells(corpus: str) -> None:
    edit_manifest(corpus, lambda manifest: manifest["domains"][0].update(target_tokens=1))
    only(corpus, "domain 0", "target_tokens 1, found")


@pytest.mark.parametrize(
    "key", ["achieved_tokens", "n_documents", "unique_tokens", "target_share", "epochs"]
)
def test_numbers_of_a_cell(corpus: str, key: str) -> None:
    def edit(manifest: dict[str, Any]) -> None:
        manifest["cells"][1][key] *= 2

    edit_manifest(corpus, edit)
    only(corpus, "cell 'sports & <i>games</i>'", key)


def test_documents_of_no_cell(corpus: str) -> None:
    edit_manifest(corpus, lambda manifest: manifest["cells"].pop())
    only(corpus, "expected a cell for the documents of (2,), found none")
    only(corpus, "tokens in its cells")


@pytest.mark.parametrize("key", ["n_shards", "n_documents", "n_tokens", "tokens_by_domain"])
def test_numbers_of_a_range(corpus: str, key: str) -> None:
    edit_manifest(corpus, lambda manifest: manifest["ranges"][0].update({key: 7}))
    only(corpus, "range 'main'", key)


@pytest.mark.parametrize("key", ["n_documents", "n_tokens", "tokens_by_domain"])
def test_numbers_of_the_holdout(corpus: str, key: str) -> None:
    edit_manifest(corpus, lambda manifest: manifest["holdout"].update({key: 7}))
    only(corpus, "manifest.json: holdout", key)


def test_a_holdout_that_is_not_told(corpus: str) -> None:
    edit_manifest(corpus, lambda manifest: manifest.update(holdout=None))
    only(corpus, "manifest.json: holdout", "expected n_documents None")


def test_shards_that_are_not_balanced(corpus: str) -> None:
    def edit(manifest: dict[str, Any]) -> None:
        manifest["shards"][0]["n_documents"] += 2
        manifest["shards"][2]["n_documents"] = 0

    edit_manifest(corpus, edit)
    only(corpus, "arrow shards", "at most one document")
    only(corpus, manifest_path(corpus, 2), "found none")


def manifest_path(corpus: str, shard: int) -> str:
    return str(storage.read_json(f"{corpus}/manifest.json")["shards"][shard]["path"])


def test_documents_without_a_licence_are_of_the_cell_unknown(corpus: str) -> None:
    content = read_shard([f"{corpus}/{ARROW}"], "arrow", levels=("licence", "domain"))
    assert {licence for licence, _ in content.cells} == {"unknown", "CC-BY-4.0"}
    assert sum(sums[0] for sums in content.cells.values()) == 24
    assert set(content.largest) == set(content.cells)
