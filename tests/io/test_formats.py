"""A finished corpus, read back by the readers that trainers use; the same rows, the same bytes."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import datasets
import orjson
import pytest
import webdataset
import yaml

from mixcurate.io import storage
from mixcurate.io.card import dataset_card
from mixcurate.io.verify import verify_corpus
from mixcurate.tables import CORPUS
from tests.corpora import build

ROWS = 72


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> str:
    return build(str(tmp_path_factory.mktemp("both"))).corpus


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """``datasets`` asks no hub and leaves no cache."""
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    datasets.disable_progress_bars()


def load(corpus: str, tmp_path: Path) -> Any:
    return datasets.load_dataset(corpus, cache_dir=str(tmp_path / "cache"))


def pairs(rows: Any) -> list[tuple[str, int, str]]:
    return [(row["id"], row["copy"], row["text"]) for row in rows]


def test_load_from_disk(both: str) -> None:
    whole = datasets.load_from_disk(both)
    assert list(whole) == ["train"]
    assert len(whole["train"]) == ROWS
    assert whole["train"].column_names == CORPUS.names
    assert whole["train"].features.arrow_schema.field("text").type == "large_string"
    assert whole["train"][0]["quality"] == 0.5
    alone = datasets.load_from_disk(f"{both}/train")
    assert pairs(alone) == pairs(whole["train"])


def test_load_dataset_gives_the_arrow_rows_exactly_once(both: str, tmp_path: Path) -> None:
    loaded = load(both, tmp_path)
    assert list(loaded) == ["train"]
    assert pairs(loaded["train"]) == pairs(datasets.load_from_disk(both)["train"])


def test_load_dataset_of_tars_alone(tmp_path: Path) -> None:
    corpus = build(str(tmp_path), kinds=("webdataset",)).corpus
    loaded = load(corpus, tmp_path)
    assert len(loaded["train"]) == ROWS
    assert set(loaded["train"][0]) >= {"txt", "json", "__key__"}


def test_webdataset_gives_the_same_documents_in_the_same_order(both: str) -> None:
    urls = sorted(str(path) for path in Path(both, "wds").glob("*.tar"))
    assert len(urls) == 3
    samples = list(webdataset.WebDataset(urls, shardshuffle=False).decode())
    found = [(s["json"]["id"], s["json"]["copy"], s["txt"]) for s in samples]
    assert found == pairs(datasets.load_from_disk(both)["train"])
    assert set(samples[0]["json"]) == set(CORPUS.names) - {"text"}
    assert len({sample["__key__"] for sample in samples}) == ROWS


def test_the_index_names_every_tar_with_its_size(both: str) -> None:
    index = storage.read_json(f"{both}/wds/index.json")
    sizes = storage.read_json(f"{both}/wds/sizes.json")
    assert [entry["url"] for entry in index["shardlist"]] == sorted(sizes)
    assert sum(sizes.values()) == ROWS
    for entry in index["shardlist"]:
        assert entry["nsamples"] == sizes[entry["url"]]
        assert entry["filesize"] == Path(both, "wds", entry["url"]).stat().st_size


def test_the_same_rows_give_the_same_bytes(both: str, tmp_path: Path) -> None:
    again = build(str(tmp_path)).corpus
    files = sorted(path.relative_to(both) for path in Path(both).rglob("*") if path.is_file())
    assert len(files) >= 12
    for file in files:
        one, other = Path(both, file).read_bytes(), Path(again, file).read_bytes()
        assert hashlib.sha256(one).digest() == hashlib.sha256(other).digest(), file


def test_a_tar_holds_no_clock_and_no_user(both: str) -> None:
    first = Path(both, "wds/train-000000.tar").read_bytes()
    assert b"root" not in first[:512]
    assert int(first[136:148].strip(b"\0 "), 8) == 0  # mtime
    assert len(first) % 512 == 0


def test_a_corpus_cut_anew_in_the_same_folder_leaves_no_old_shards(tmp_path: Path) -> None:
    build(str(tmp_path), n_shards=5)
    Path(tmp_path, "work/corpus/train/notes.txt").write_text("mine")
    corpus = build(str(tmp_path), n_shards=3, kinds=("arrow",)).corpus
    assert verify_corpus(corpus) == [
        "train/notes.txt is not in manifest.json, expected no such file"
    ]
    assert len(load(corpus, tmp_path)["train"]) == ROWS
    assert not Path(corpus, "wds/index.json").exists()
    assert Path(corpus, "train/notes.txt").exists()


def test_the_card_survives_hostile_names(both: str) -> None:
    manifest = orjson.loads(Path(both, "manifest.json").read_bytes())
    manifest["sources"][0]["name"] = "a|b\n# c <script>alert(1)</script>"
    manifest["domains"][0]["name"] = "x | y"
    text = dataset_card(manifest)
    header, body = text.removeprefix("---\n").split("---\n", 1)
    assert yaml.safe_load(header)["configs"][0]["data_files"][0]["path"] == "train/*.arrow"
    assert "<script>" not in body
    assert "\n# c" not in body
    tables = [line for line in body.splitlines() if line.startswith("|")]
    assert {line.replace("\\|", "").count("|") for line in tables} <= {5, 7, 8}
