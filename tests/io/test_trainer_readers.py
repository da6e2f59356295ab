"""Each format is read back by the reader that trainers use: all rows, in order, unchanged."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import datasets
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import webdataset
import yaml

from mixcurate.tables import CORPUS
from tests.io.readers import needs_readers, read_with
from tests.io.shards import hard_rows, write_shards

SPLITS = {"train": [hard_rows(9), hard_rows(8, 9)], "holdout": [hard_rows(3, 17)]}
ROWS = {split: pa.concat_tables(tables).to_pylist() for split, tables in SPLITS.items()}

#: How a card names the files of a format.
PATTERNS = {
    "arrow": "{split}/*.arrow",
    "parquet": "parquet/{split}-*.parquet",
    "jsonl": "jsonl/{split}-*.jsonl.zst",
    "webdataset": "wds/{split}-*.tar",
}


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """``datasets`` asks no hub and leaves no cache."""
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    datasets.disable_progress_bars()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "corpus"
    made.mkdir()
    return made


def plain(row: dict[str, Any]) -> dict[str, Any]:
    """A row as a reader that knows the types of JSON only gives it."""
    return row | {name: float(row[name]) for name in ("quality", "diversity")}


def from_json(samples: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {name: (s["json"] | {"text": s["txt"]})[name] for name in CORPUS.names} for s in samples
    ]


def write_card(folder: Path, name: str) -> None:
    files = [
        {"split": split, "path": PATTERNS[name].format(split=split)} for split in sorted(SPLITS)
    ]
    config = {"configs": [{"config_name": "default", "data_files": files}]}
    (folder / "README.md").write_text(f"---\n{yaml.safe_dump(config)}---\n")


def test_arrow_from_disk(folder: Path) -> None:
    write_shards(folder, "arrow", SPLITS)
    root = datasets.load_from_disk(str(folder))
    assert list(root) == ["train", "holdout"]
    for split, rows in ROWS.items():
        assert root[split].to_list() == rows
        alone = datasets.load_from_disk(str(folder / split))
        assert alone.to_list() == rows
        assert alone.features == datasets.Features.from_arrow_schema(CORPUS)
        assert alone.split == split


@pytest.mark.parametrize("name", ["arrow", "parquet", "jsonl"])
@pytest.mark.parametrize("streaming", [False, True])
def test_load_dataset(folder: Path, tmp_path: Path, name: str, streaming: bool) -> None:
    write_shards(folder, name, SPLITS)
    write_card(folder, name)
    loaded = datasets.load_dataset(
        str(folder), streaming=streaming, cache_dir=str(tmp_path / "cache")
    )
    assert set(loaded) == set(ROWS)
    for split, rows in ROWS.items():
        assert list(loaded[split]) == rows
        if name != "jsonl":
            assert loaded[split].features == datasets.Features.from_arrow_schema(CORPUS)


@pytest.mark.parametrize("streaming", [False, True])
def test_load_dataset_of_tars(folder: Path, tmp_path: Path, streaming: bool) -> None:
    write_shards(folder, "webdataset", SPLITS)
    write_card(folder, "webdataset")
    loaded = datasets.load_dataset(
        str(folder), streaming=streaming, cache_dir=str(tmp_path / "cache")
    )
    for split, rows in ROWS.items():
        assert from_json(loaded[split]) == rows


def test_webdataset(folder: Path) -> None:
    write_shards(folder, "webdataset", SPLITS)
    for split, last, rows in (("train", 1, ROWS["train"]), ("holdout", 0, ROWS["holdout"])):
        urls = f"{folder}/wds/{split}-{{000000..{last:06d}}}.tar"
        samples = list(webdataset.WebDataset(urls, shardshuffle=False).decode())
        assert from_json(samples) == rows
        assert len({sample["__key__"] for sample in samples}) == len(rows)


def test_parquet_by_polars_and_pyarrow(folder: Path) -> None:
    write_shards(folder, "parquet", SPLITS)
    for split, rows in ROWS.items():
        files = f"{folder}/parquet/{split}-*.parquet"
        assert pl.scan_parquet(files).collect().to_dicts() == rows
        found = [pq.read_table(path) for path in sorted(folder.glob(f"parquet/{split}-*"))]
        assert pa.concat_tables(found).equals(pa.concat_tables(SPLITS[split]))
        assert found[0].schema.equals(CORPUS)


def test_jsonl_by_polars(folder: Path) -> None:
    write_shards(folder, "jsonl", SPLITS)
    found = pl.read_ndjson(folder / "jsonl/train-00000-of-00002.jsonl.zst", schema_overrides={})
    assert found.to_dicts() == SPLITS["train"][0].to_pylist()


class TestReadersOfTheirOwn:
    """Those that are installed beside the environment."""

    pytestmark = needs_readers

    def test_wids(self, folder: Path) -> None:
        write_shards(folder, "webdataset", SPLITS)
        script = """
import wids
for index in ("index.json", "holdout-index.json"):
    samples = wids.ShardListDataset(folder + "/wds/" + index)
    for i in range(len(samples)):
        emit({"txt": samples[i][".txt"], "json": samples[i][".json"]})
"""
        found = from_json(read_with(script, str(folder)))
        assert found == ROWS["train"] + ROWS["holdout"]

    def test_mosaic(self, folder: Path) -> None:
        write_shards(folder, "mds", SPLITS)
        script = """
from streaming import StreamingDataset
for split in ("train", "holdout"):
    for algorithm in ("xxh64", "sha256"):
        data = StreamingDataset(
            local=folder + "/mds", split=split, shuffle=False, batch_size=1,
            num_canonical_nodes=1, validate_hash=algorithm,
        )
        for i in range(len(data)):
            emit(data[i])
    for row in data:
        emit(row)
"""
        found = read_with(script, str(folder))
        assert found == [plain(row) for split in ROWS for row in ROWS[split] * 3]

    def test_litdata(self, folder: Path) -> None:
        write_shards(folder, "litdata", SPLITS)
        script = """
from litdata import StreamingDataset
for split in ("train", "holdout"):
    data = StreamingDataset(folder + "/litdata/" + split, shuffle=False)
    for row in data:
        emit(row)
    for i in range(len(data)):
        emit(data[i])
"""
        rows = [row for split in ROWS for row in ROWS[split] * 2]
        nulls = [row | {name: row[name] or "" for name in ("url", "licence")} for row in rows]
        assert read_with(script, str(folder)) == nulls
