"""One shard in several formats at once: ordered, hashed as it is written, whole or not at all."""

from __future__ import annotations

import functools
import hashlib
import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import xxhash

from mixcurate.io import exchange, storage
from mixcurate.io.shard_formats import jsonl
from mixcurate.io.shard_formats.table import FORMATS
from mixcurate.io.workdir import Heartbeat, Workdir
from mixcurate.tables import CORPUS
from mixcurate.transforms.exchange import exchange_path
from mixcurate.transforms.tasks import Task
from mixcurate.transforms.write_shard import WriteShard
from tests.io.shards import ROW_FORMATS, hard_rows
from tests.made_corpus import BYTES

N = 37
KINDS = (*ROW_FORMATS, "megatron")


def bytes_options() -> Any:
    return BYTES


@pytest.fixture
def workdir(tmp_path: Path) -> Workdir:
    return Workdir(str(tmp_path / "work"))


def make(workdir: Workdir, split: str = "train") -> tuple[Task, list[str]]:
    """An exchange of two parts with rows of shards 4 and 5; the task of shard 5, and its ids."""
    table = hard_rows(2 * N)
    keys = np.random.default_rng(3).permutation(2 * N).astype(np.uint64) // np.uint64(2)
    n = table.num_rows
    beside = {
        "shuffle": keys,
        "path": ["in.jsonl"] * n,
        "position": np.arange(n),
        "cell": np.arange(n, dtype=np.int32) % 3,
        "missed": pa.nulls(n, pa.int32()),
    }
    for name, values in beside.items():
        field = exchange.EXCHANGE.field(name)
        table = table.append_column(field, pa.array(values, field.type))
    rows = table.combine_chunks()
    segments, wanted = [], []
    for number, part in enumerate(("a", "b")):
        mine = rows.slice(number * N, N)
        shard = np.repeat(np.array([4, 5], np.int32), [10, N - 10])
        written = exchange.write_exchange(exchange_path(workdir, part), mine.to_batches(), shard)
        segments += [(part, (at, size)) for to, at, size in written.segments if to == 5]
        wanted += mine.slice(10).select(["shuffle", "id"]).to_pylist()
    wanted.sort(key=lambda row: row["shuffle"])
    payload = {
        "split": split,
        "phase": "late",
        "shard": 5,
        "part": 11,
        "n_shards": 7,
        "segments": segments,
    }
    return Task("shard-00005", "mark", payload), [row["id"] for row in wanted]


def work(workdir: Workdir, corpus: str, formats: tuple[str, ...] = KINDS) -> WriteShard:
    return WriteShard(workdir, corpus, formats, "mark", functools.partial(bytes_options))


@pytest.mark.parametrize("split", ["train", "holdout"])
def test_every_format_has_the_rows_by_their_keys(workdir: Workdir, split: str) -> None:
    corpus = workdir.path("corpus")
    task, ids = make(workdir, split)
    result = work(workdir, corpus).run(task, Heartbeat(workdir, "materialize", task.name))
    assert (result.documents_in, result.documents_out) == (len(ids), len(ids))
    for name in ROW_FORMATS:
        (path,) = FORMATS[name].shard_paths(split, 5, 7)
        with storage.open_read(f"{corpus}/{path}") as stream:
            rows = pa.Table.from_batches(FORMATS[name].read_rows([stream]), CORPUS)
        assert rows["id"].to_pylist() == ids


def test_files_are_told_with_their_hashes(workdir: Workdir) -> None:
    corpus = workdir.path("corpus")
    task, _ = make(workdir)
    result = work(workdir, corpus).run(task, Heartbeat(workdir, "materialize", task.name))
    assert [file["format"] for file in result.details["files"]] == list(KINDS)
    told = [
        one
        for file in result.details["files"]
        for one in (file, *file["also"])
        if (file["split"], file["phase"], file["shard"]) == ("train", "late", 5)
    ]
    assert [file["path"] for file in told][-2:] == FORMATS["megatron"].shard_paths("train", 5, 7)
    for file in told:
        data = Path(corpus, file["path"]).read_bytes()
        assert file["xxh64"] == xxhash.xxh64_hexdigest(data)
    told.append(result.details["lineage"])
    for file, output in zip(told, result.outputs, strict=True):
        data = Path(corpus, file["path"]).read_bytes()
        assert file["bytes"] == output.bytes == len(data)
        assert file["sha256"] == hashlib.sha256(data).hexdigest()
        assert output.digest == f"sha256:{file['sha256']}"
        assert workdir.path(output.path) == f"{corpus}/{file['path']}"


def test_a_second_writing_gives_the_same_bytes(workdir: Workdir, tmp_path: Path) -> None:
    task, _ = make(workdir)
    found = []
    for corpus in (workdir.path("corpus"), str(tmp_path / "elsewhere")):
        done = work(workdir, corpus).run(task, Heartbeat(workdir, "materialize", task.name))
        found.append([file["sha256"] for file in done.details["files"]])
    assert found[0] == found[1]


def test_a_write_that_fails_leaves_nothing(
    workdir: Workdir, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: object, batch: pa.RecordBatch) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(jsonl._Writer, "write", fail)
    task, _ = make(workdir)
    with pytest.raises(OSError, match="disk full"):
        work(workdir, workdir.path("corpus")).run(task, Heartbeat(workdir, "m", task.name))
    assert [path for path in Path(workdir.path("corpus")).rglob("*") if path.is_file()] == []


def test_files_that_cannot_all_appear_do_not_appear(
    workdir: Workdir, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The files take their names one by one; one of them cannot."""

    replace = os.replace

    def refuse(source: str, target: str) -> None:
        if target.endswith(".parquet"):
            raise OSError("no more room")
        replace(source, target)

    monkeypatch.setattr(os, "replace", refuse)
    task, _ = make(workdir)
    with pytest.raises(OSError, match="no more room"):
        work(workdir, workdir.path("corpus")).run(task, Heartbeat(workdir, "m", task.name))
    assert [path for path in Path(workdir.path("corpus")).rglob("*") if path.is_file()] == []
