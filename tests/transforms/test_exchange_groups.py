"""Parts that share an exchange file: which they are makes no difference to any shard."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mixcurate.io import partfiles, storage
from mixcurate.io.workdir import Heartbeat, Workdir
from mixcurate.kernels.shards import ShardRange
from mixcurate.tables import documents_schema
from mixcurate.transforms import exchange
from mixcurate.transforms.exchange import ExchangeParts, groups
from mixcurate.transforms.select import SELECTION, selection_path
from mixcurate.transforms.tasks import Task
from mixcurate.transforms.write_shard import WriteShard

PARTS = ("a", "b", "c")
RANGES = (ShardRange("train", "main", 3), ShardRange("holdout", "holdout", 1))
LIMITS = {0: [1 << 62, 3 << 62]}


@given(
    st.dictionaries(st.text(min_size=1), st.integers(0, 1 << 40), max_size=60), st.integers(1, 999)
)
def test_groups_follow_each_other_and_are_not_too_large(
    n_bytes: dict[str, int], n_shards: int
) -> None:
    found = groups(n_bytes, n_shards)
    assert [part for group in found for part in group] == sorted(n_bytes)
    most = min(n_shards << 18, 64 << 20, sum(n_bytes.values()) // 32)
    for group in found:
        assert len(group) == 1 or sum(n_bytes[part] for part in group) <= most
    for one, other in zip(found, found[1:], strict=False):
        assert sum(n_bytes[part] for part in [*one, other[0]]) > most


def write_part(workdir: Workdir, part: str, number: int) -> None:
    """Documents and a selection with repeats, cuts and held out documents."""
    n, random = 40, np.random.default_rng(number)
    columns = {
        "id": [f"{part}{row}" for row in range(n)],
        "text": [f"Text {row} of part {part}. " * 3 for row in range(n)],
        "source": ["web"] * n,
        "path": [f"{part}.jsonl"] * n,
        "position": np.arange(n),
        "language": ["en"] * n,
        "language_score": np.ones(n, np.float32),
        "n_tokens": np.full(n, 24, np.int32),
        "n_bytes": np.full(n, 90),
        "content_hash": pa.array([b"0" * 16] * n, pa.binary(16)),
    }
    schema = documents_schema([])
    arrays = [pa.array(columns.get(f.name, [None] * n), f.type) for f in schema]
    partfiles.write_table(workdir.part("ingest", part), pa.table(arrays, schema=schema))
    scores = {name: random.random(n).astype(np.float32) for name in ("quality", "diversity")}
    partfiles.write_table(workdir.part("score", part), pa.table(scores))
    row = np.sort(random.integers(0, n, 50)).astype(np.int32)
    copy = np.concatenate([[0], np.where(np.diff(row) == 0, 1, 0)]).astype(np.int32)
    keep = pa.array([5 if i % 9 == 0 else None for i in range(50)], pa.int32())
    drawn = {
        "row": row,
        "copy": copy,
        "range": (np.arange(50) % 7 == 0).astype(np.uint8),
        "shuffle": random.integers(0, 1 << 63, 50).astype(np.uint64) * np.uint64(2),
        "keep_tokens": keep,
        "domain": row % 2,
        "cell": row % 3,
    }
    partfiles.write_batch(selection_path(workdir, part), pa.record_batch(drawn, schema=SELECTION))


def corpus_of(root: Path, together: list[list[str]]) -> dict[str, bytes]:
    """Every file of the corpus when these parts share a file."""
    workdir = Workdir(str(root))
    for number, part in enumerate(PARTS):
        write_part(workdir, part, number)
    work = ExchangeParts(workdir, RANGES, ("law", "sport"))
    segments: dict[int, list[tuple[str, tuple[int, int]]]] = {}
    for parts in together:
        task = Task(parts[0], "f", {"parts": parts, "limits": LIMITS})
        result = work.run(task, Heartbeat(workdir, "exchange", task.name))
        assert (result.documents_in, result.documents_out) == (50 * len(parts),) * 2
        for shard, first, length in result.details["segments"]:
            segments.setdefault(shard, []).append((task.name, (first, length)))
    assert sorted(segments) == [0, 1, 2, 3]
    write, corpus = WriteShard(workdir, str(root / "corpus"), ("arrow",), "m"), root / "corpus"
    for shard, mine in segments.items():
        payload = {"split": "train", "phase": "main", "shard": shard, "n_shards": 4, "part": shard}
        task = Task(f"{shard}", "f", payload | {"segments": mine})
        assert write.run(task, Heartbeat(workdir, "write", task.name)).tokens > 0
    return {str(p.relative_to(corpus)): p.read_bytes() for p in corpus.rglob("*") if p.is_file()}


def test_the_corpus_is_the_same_whichever_parts_share_a_file(tmp_path: Path) -> None:
    alone = corpus_of(tmp_path / "alone", [["a"], ["b"], ["c"]])
    assert len(alone) == 8
    assert corpus_of(tmp_path / "two", [["a", "b"], ["c"]]) == alone
    assert corpus_of(tmp_path / "all", [["a", "b", "c"]]) == alone


def test_of_a_part_only_what_is_drawn_is_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workdir = Workdir(str(tmp_path))
    write_part(workdir, "a", 0)
    write_part(workdir, "b", 1)
    held: list[int] = []
    together = exchange._together
    monkeypatch.setattr(
        exchange,
        "_together",
        lambda parts: held.append(parts[0].documents.num_rows) or together(parts),
    )
    task = Task("a", "f", {"parts": ["a", "b"], "limits": LIMITS})
    ExchangeParts(workdir, RANGES, ("law", "sport")).run(task, Heartbeat(workdir, "x", "a"))
    rows = partfiles.read_batch(selection_path(workdir, "a"))["row"].to_pylist()
    assert held == [len(set(rows))]
    assert len(set(rows)) < 40
    assert storage.list_names(str(tmp_path / "_stages/exchange/files")) == ["a.arrow"]
