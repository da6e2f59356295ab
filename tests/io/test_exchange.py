from __future__ import annotations

import os
import tempfile
import uuid
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mixcurate.io import storage
from mixcurate.io.exchange import EXCHANGE, Written, gather, open_segments, write_exchange


def rows(n: int, start: int = 0) -> pa.Table:
    values = {
        pa.string(): lambda i: None if i % 3 == 0 else f"text {i} ü",
        pa.large_string(): lambda i: f"text {i} 🙂" * (i % 5),
        pa.int32(): lambda i: i,
        pa.float32(): lambda i: i / 4,
        pa.int64(): lambda i: 2**40 + i,
        pa.uint64(): lambda i: 2**64 - 1 - i,
    }
    columns = []
    for field in EXCHANGE:
        make = values[field.type] if field.nullable else lambda i, f=values[field.type]: f(i) or "-"
        if not field.nullable and field.type not in (pa.string(), pa.large_string()):
            make = values[field.type]
        columns.append(pa.array([make(i) for i in range(start, start + n)], field.type))
    return pa.table(columns, schema=EXCHANGE)


def whole(table: pa.Table) -> pa.RecordBatch:
    """A table as one batch, of no rows too."""
    return pa.RecordBatch.from_arrays(
        [column.combine_chunks() for column in table.columns], schema=table.schema
    )


def write(path: str, table: pa.Table, shards: list[int]) -> Written:
    """Sort by shard, as the stage does, and write."""
    order = np.argsort(np.array(shards, np.int64), kind="stable")
    shard = np.array(shards, np.int32)[order]
    return write_exchange(path, gather(whole(table), order), shard)


def extents(written: Written) -> dict[int, tuple[int, int]]:
    return {shard: (first, length) for shard, first, length in written.segments}


@given(st.lists(st.lists(st.integers(0, 5), max_size=20), min_size=1, max_size=3))
@settings(max_examples=50, deadline=None)
def test_each_shard_reads_its_rows_of_every_file_in_their_order(assignments):
    with tempfile.TemporaryDirectory() as folder:
        tables = [rows(len(shards), 100 * i) for i, shards in enumerate(assignments)]
        paths = [os.path.join(folder, f"{i}.arrow") for i in range(len(tables))]
        found = [
            extents(write(path, table, shards))
            for path, table, shards in zip(paths, tables, assignments, strict=True)
        ]
        for shard in range(6):
            segments = [
                (path, mine[shard])
                for path, mine in zip(paths, found, strict=True)
                if shard in mine
            ]
            with open_segments(segments) as batches:
                read = pa.Table.from_batches(batches, EXCHANGE).to_pylist()
            assert read == [
                row
                for table, shards in zip(tables, assignments, strict=True)
                for row, own in zip(table.to_pylist(), shards, strict=True)
                if own == shard
            ]


@pytest.mark.parametrize("cut", [1, 7, 1_000])
def test_batches_may_be_cut_anywhere_and_segments_have_many(tmp_path, cut):
    path, shard = str(tmp_path / "a.arrow"), np.repeat([0, 2, 5], [4, 30, 6]).astype(np.int32)
    written = write_exchange(path, rows(40).to_batches(max_chunksize=cut), shard)
    assert [number for number, _, _ in written.segments] == [0, 2, 5]
    for number, first, length in written.segments:
        with open_segments([(path, (first, length))]) as batches:
            read = pa.Table.from_batches(batches)
        start = int(np.flatnonzero(shard == number)[0])
        assert read.to_pylist() == rows(40).slice(start, read.num_rows).to_pylist()
        assert read.num_rows == (shard == number).sum()


def test_the_file_is_an_arrow_file_and_named_by_its_bytes(tmp_path):
    path = str(tmp_path / "a.arrow")
    written = write(path, rows(30), [i % 3 for i in range(30)])
    with pa.ipc.open_file(path) as reader:
        assert reader.read_all().num_rows == 30
    assert written.digest == storage.digest(path)
    assert written.bytes == storage.size(path)


def test_no_rows_are_no_segments(tmp_path):
    path = str(tmp_path / "a.arrow")
    assert write(path, rows(0), []).segments == []
    assert pa.ipc.open_file(path).read_all().num_rows == 0


def test_gathering_repeats_and_reorders_rows():
    order = np.array([3, 3, 0, 9] * 600)
    batches = list(gather(whole(rows(10)), order))
    assert max(batch.num_rows for batch in batches) == 1_000
    assert pa.Table.from_batches(batches).equals(rows(10).take(pa.array(order)).combine_chunks())


def test_more_parts_than_files_that_may_be_open(tmp_path):
    resource = pytest.importorskip("resource")
    found = [
        (str(tmp_path / f"{i}"), write(str(tmp_path / f"{i}"), rows(2, i), [0, 0]))
        for i in range(60)
    ]
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = len(os.listdir("/proc/self/fd"))
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(used + 20, before[0]), before[1]))
    try:
        with open_segments([(path, extents(written)[0]) for path, written in found]) as batches:
            assert sum(batch.num_rows for batch in batches) == 120
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.parametrize("root", ["local", "memory"])
def test_segments_are_read_from_any_filesystem(root, tmp_path: Path):
    folder = str(tmp_path) if root == "local" else f"memory://{uuid.uuid4()}"
    path = storage.join(folder, "a.arrow")
    found = extents(write(path, rows(10), [1] * 4 + [3] * 6))
    with open_segments([(path, found[3]), (path, found[1])]) as batches:
        assert [batch.to_pylist() for batch in batches] == [
            rows(10).slice(4).to_pylist(),
            rows(10).slice(0, 4).to_pylist(),
        ]


@pytest.mark.parametrize("root", ["local", "memory"])
def test_a_file_that_is_too_short_is_named(root, tmp_path: Path):
    path = storage.join(str(tmp_path) if root == "local" else f"memory://{uuid.uuid4()}", "a")
    first, length = extents(write(path, rows(10), [0] * 10))[0]
    storage.write_bytes(path, storage.read_bytes(path)[: first + length - 8])
    with (
        pytest.raises(OSError, match="8 bytes too early"),
        open_segments([(path, (first, length))]),
    ):
        pass


def test_the_same_rows_give_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        write(str(tmp_path / name), rows(5), [2, 0, 2, 1, 0])
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_no_segments_are_no_batches():
    with open_segments([]) as batches:
        assert batches == []
