from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.io.test_listing import read_all, tasks_of, write


@pytest.mark.parametrize("codec", [None, "lz4", "zstd"])
def test_arrow_files_are_cut_into_batches(tmp_path: Path, codec: str | None) -> None:
    words = pa.array(["x", "y"] * 1_500).dictionary_encode()
    table = pa.table({"text": [os.urandom(50).hex() for _ in range(3_000)], "word": words})
    options = pa.ipc.IpcWriteOptions(compression=codec)
    with pa.ipc.new_file(str(tmp_path / "a.arrow"), table.schema, options=options) as writer:
        writer.write_table(table, max_chunksize=170)
    with pa.ipc.new_stream(str(tmp_path / "b.arrow"), table.schema) as stream:
        stream.write_table(table, max_chunksize=170)
    write(tmp_path, {"c.arrow": b"ARROW1\0\0" + os.urandom(90_000)})
    cut = tasks_of(tmp_path, 50_000, path="a.arrow")
    assert len(cut) >= 4
    assert [t.start for t in cut[1:]] == [t.stop for t in cut[:-1]]
    assert all(t.size <= 50_000 for t in cut)
    documents, rejected = read_all(cut)
    assert rejected == []
    assert [d["position"] for d in documents] == list(range(3_000))
    assert (documents, []) == read_all(tasks_of(tmp_path, path="a.arrow"))
    others = tasks_of(tmp_path, 50_000, path="[bc].arrow")
    assert [(t.start, t.stop) for t in others] == [(0, None)] * 2
    assert [r.reason for r in read_all(others[1:])[1]] == ["not_arrow"]


@pytest.mark.parametrize("kind", ["parquet", "arrow", "stream"])
def test_nested_columns_hold_the_text(tmp_path: Path, kind: str) -> None:
    rows = [{"body": f"b{i}", "meta": {"url": "u", "raw": b"x"}} for i in range(3)]
    messages = [[{"role": "user", "content": f"c{i}"}] for i in range(3)]
    table = pa.table({"page": rows, "messages": messages, "a.b": ["x", "y", None]})
    path = tmp_path / ("a.parquet" if kind == "parquet" else "a.arrow")
    if kind == "parquet":
        pq.write_table(table, path)
    else:
        new = pa.ipc.new_file if kind == "arrow" else pa.ipc.new_stream
        with new(str(path), table.schema) as writer:
            writer.write_table(table)

    def texts(**fields: Any) -> list[str]:
        return [d["text"] for d in read_all(tasks_of(tmp_path, path="*"), **fields)[0]]

    assert texts(text_field="page.body", url_field="page.meta.url") == ["b0", "b1", "b2"]
    assert texts(text_field="page.meta.raw") == ["x", "x", "x"]
    assert texts(text_field="messages.0.content") == ["c0", "c1", "c2"]
    assert texts(text_field="a.b") == ["x", "y"]
    [document, *_] = read_all(tasks_of(tmp_path, path="*"), text_field="page.body")[0]
    assert json.loads(document["metadata"])["page"] == {"meta": {"raw": "x", "url": "u"}}
    for missing in ("page.nothing", "messages.7.content", "other.body"):
        _, rejected = read_all(tasks_of(tmp_path, path="*"), text_field=missing)
        assert [r.reason for r in rejected] == ["no_text_field"] * 3


def test_nested_text_that_is_not_utf8_costs_its_row(tmp_path: Path) -> None:
    raw = pa.array([b"good", b"caf\xe9", b"fine"])
    text = pa.StringArray.from_buffers(3, *raw.buffers()[1:])
    pq.write_table(
        pa.table({"page": pa.StructArray.from_arrays([text], ["body"])}), tmp_path / "a.pq"
    )
    documents, rejected = read_all(tasks_of(tmp_path, path="*"), text_field="page.body")
    assert [d["text"] for d in documents] == ["good", "fine"]
    assert [(r.position, r.reason) for r in rejected] == [(1, "invalid_utf8")]


def offsets(*values: int) -> pa.StringArray:
    """Text whose offsets are wrong: to follow them reads memory that is not the array's."""
    buffers = [None, pa.py_buffer(np.array(values, np.int32)), pa.py_buffer(b"words")]
    return pa.StringArray.from_buffers(len(values) - 1, buffers[1], buffers[2])


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("wrong", [(0, 1 << 30, 5), (0, -9, 5), (5, 2, 5)])
def test_wrong_offsets_cost_their_batch_only(
    tmp_path: Path, wrong: tuple[int, ...], nested: bool
) -> None:
    def batch(text: pa.Array) -> pa.RecordBatch:
        note = pa.array([b"caf\xe9", b""]).buffers()
        other = pa.StringArray.from_buffers(2, note[1], note[2])
        kind = pa.StructArray.from_arrays([text, other], ["body", "other"])
        return pa.record_batch({"page": kind} if nested else {"page": text, "other": other})

    good, bad = batch(offsets(0, 2, 5)), batch(offsets(*wrong))
    with pa.ipc.new_file(str(tmp_path / "a.arrow"), good.schema) as writer:
        for part in (good, bad, good):
            writer.write_batch(part)
    field = "page.body" if nested else "page"
    documents, rejected = read_all(tasks_of(tmp_path, path="*"), text_field=field)
    assert [(r.position, r.reason) for r in rejected if r.reason != "invalid_utf8"] == [
        (2, "corrupt")
    ]
    assert [d["position"] for d in documents if d["text"] == "rds"] == [1, 5]


@pytest.mark.parametrize(("codec", "magic"), [("lz4", b'\x04"M\x18'), ("zstd", b"(\xb5/\xfd")])
def test_a_batch_that_cannot_be_read_leaves_the_others(
    tmp_path: Path, codec: str, magic: bytes
) -> None:
    table = pa.table({"text": [os.urandom(50).hex() for _ in range(500)]})
    path = tmp_path / "a.arrow"
    options = pa.ipc.IpcWriteOptions(compression=codec)
    ends = []
    with open(path, "wb") as sink, pa.ipc.new_file(sink, table.schema, options=options) as writer:
        for batch in table.to_batches(max_chunksize=100):
            writer.write_batch(batch)
            ends.append(sink.tell())
    data = path.read_bytes()
    for lost in ([0], [2], [1, 2], [4], [0, 1, 2, 3, 4]):
        broken = bytearray(data)
        for index in lost:
            broken[data.rindex(magic, 0, ends[index])] ^= 1
        path.write_bytes(broken)
        documents, rejected = read_all(tasks_of(tmp_path, path="*"))
        assert [d["position"] for d in documents] == [
            row for row in range(500) if row // 100 not in lost
        ]
        assert [(r.position, r.reason) for r in rejected] == [(100 * i, "corrupt") for i in lost]
        tasks = tasks_of(tmp_path, 10_000, path="*")
        assert len(tasks) == 5
        assert read_all(tasks) == (documents, rejected)


def test_only_a_file_whose_batches_all_are_empty_is_told_to_be(tmp_path: Path) -> None:
    rows = pa.record_batch({"text": ["x" * 2_000] * 9})
    for parts in ([rows[:0], rows, rows[:0]], [rows[:0]] * 20):
        with pa.ipc.new_file(str(tmp_path / "a.arrow"), rows.schema) as writer:
            for part in parts:
                writer.write_batch(part)
        whole = read_all(tasks_of(tmp_path, path="*"))
        assert [r.reason for r in whole[1]] == ([] if rows in parts else ["empty_file"])
        assert read_all(tasks_of(tmp_path, 1, path="*")) == whole


@pytest.mark.parametrize("kind", ["arrow", "parquet"])
def test_a_table_without_rows_is_told(tmp_path: Path, kind: str) -> None:
    table = pa.table({"text": pa.array([], pa.string())})
    if kind == "parquet":
        pq.write_table(table, tmp_path / "a.parquet")
    else:
        with pa.ipc.new_file(str(tmp_path / "a.arrow"), table.schema) as writer:
            writer.write_table(table)
    documents, rejected = read_all(tasks_of(tmp_path, path="*"))
    assert (documents, [r.reason for r in rejected]) == ([], ["empty_file"])
