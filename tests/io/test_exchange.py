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
from mixcurate.io.exchange import EXCHANGE, open_segments, write_exchange


def rows(n: int, start: int = 0) -> pa.Table:
    values = {
        pa.string(): lambda i: None if i % 3 == 0 else f"text {i} ü",
        pa.large_string(): lambda i: f"text {i} 🙂" * (i % 5),
        pa.int32(): lambda i: i,
        pa.float32(): lambda i: i / 4,
        pa.uint64(): lambda i: 2**64 - 1 - i,
    }
    columns = []
    for field in EXCHANGE:
        make = values[field.type] if field.nullable else lambda i, f=values[field.type]: f(i) or "-"
        if not field.nullable and field.type not in (pa.string(), pa.large_string()):
            make = values[field.type]
        columns.append(pa.array([make(i) for i in range(start, start + n)], field.type))
    return pa.table(columns, schema=EXCHANGE)


def number_of(counts: list[int], shard: int) -> int:
    """The batch of a shard, as the docstring of ``write_exchange`` says."""
    return sum(count > 0 for count in counts[:shard])


@given(st.lists(st.lists(st.integers(0, 5), max_size=20), min_size=1, max_size=3))
@settings(max_examples=50, deadline=None)
def test_each_shard_reads_its_rows_of_every_file_in_their_order(assignments):
    with tempfile.TemporaryDirectory() as folder:
        tables, counts, paths = [], [], []
        for i, shards in enumerate(assignments):
            tables.append(rows(len(shards), 100 * i))
            paths.append(os.path.join(folder, f"{i}.arrow"))
            counts.append(write_exchange(paths[i], tables[i], np.array(shards, np.int32), 6))
        for shard in range(6):
            files = [i for i in range(len(paths)) if counts[i][shard]]
            with open_segments([(paths[i], number_of(counts[i], shard)) for i in files]) as batches:
                found = pa.Table.from_batches(batches, EXCHANGE).to_pylist()
            expected = [
                row
                for table, shards in zip(tables, assignments, strict=True)
                for row, own in zip(table.to_pylist(), shards, strict=True)
                if own == shard
            ]
            assert found == expected


@given(st.lists(st.integers(0, 9), max_size=30))
@settings(max_examples=50, deadline=None)
def test_there_is_one_batch_for_each_shard_that_has_rows(shards):
    path = f"memory://exchange/{uuid.uuid4()}"
    counts = write_exchange(path, rows(len(shards)), np.array(shards, np.int32), 10)
    assert counts == [shards.count(shard) for shard in range(10)]
    reader = pa.ipc.open_file(pa.BufferReader(storage.read_bytes(path)))
    sizes = [reader.get_batch(i).num_rows for i in range(reader.num_record_batches)]
    assert sizes == [count for count in counts if count]
    storage.remove(path)


def test_a_table_in_many_chunks_still_gives_one_batch_per_shard(tmp_path):
    path = str(tmp_path / "a.arrow")
    table = pa.concat_tables([rows(7, start) for start in range(0, 70, 7)])
    assert table.column("text").num_chunks == 10
    write_exchange(path, table, np.arange(70, dtype=np.int32) % 2, 2)
    assert pa.ipc.open_file(path).num_record_batches == 2


@pytest.mark.parametrize("root", ["local", "memory"])
def test_segments_are_read_from_any_filesystem(root, tmp_path: Path):
    folder = str(tmp_path) if root == "local" else f"memory://{uuid.uuid4()}"
    path = storage.join(folder, "a.arrow")
    write_exchange(path, rows(10), np.array([1] * 4 + [3] * 6, np.int32), 4)
    with open_segments([(path, 1), (path, 0)]) as batches:
        assert [batch.to_pylist() for batch in batches] == [
            rows(10).slice(4).to_pylist(),
            rows(10).slice(0, 4).to_pylist(),
        ]


def test_the_same_rows_give_the_same_bytes(tmp_path):
    shards = np.array([2, 0, 2, 1, 0], np.int32)
    for name in ("a", "b"):
        write_exchange(str(tmp_path / name), rows(5), shards, 3)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_no_segments_are_no_batches():
    with open_segments([]) as batches:
        assert batches == []
