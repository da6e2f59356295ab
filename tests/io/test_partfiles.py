from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mixcurate.io import partfiles, storage
from mixcurate.tables import ASSIGNED, REJECTED


def assignments(n: int) -> pa.Table:
    return pa.table(
        [
            pa.array(np.arange(n), pa.int32()),
            pa.array(np.arange(n) / 8, pa.float32()),
            pa.array(np.arange(n), pa.int32()),
        ],
        schema=ASSIGNED,
    )


@pytest.mark.parametrize("n", [0, 1, 5_000])
def test_a_table_comes_back_as_it_was(folder, n):
    path = storage.join(folder, "part.parquet")
    partfiles.write_table(path, assignments(n))
    assert partfiles.read_table(path).equals(assignments(n))
    assert partfiles.read_table(path).schema.equals(ASSIGNED)
    only = partfiles.read_table(path, ["distance"])
    assert only.column_names == ["distance"]
    assert only.num_rows == n


@pytest.mark.parametrize("n", [0, 1, 5_000])
def test_a_batch_comes_back_as_it_was(folder, n):
    path = storage.join(folder, "part.arrow")
    names = pa.array(["law", "sport"]).take(pa.array(np.arange(n) % 2)).dictionary_encode()
    columns = {"number": pa.array(np.arange(n)), "name": names}
    batch = pa.RecordBatch.from_arrays(list(columns.values()), names=list(columns))
    partfiles.write_batch(path, batch)
    assert partfiles.read_batch(path).equals(batch)


def test_columns_come_in_the_order_that_is_asked_for(folder):
    path = storage.join(folder, "part.parquet")
    partfiles.write_table(path, assignments(3))
    assert partfiles.read_table(path, ["distance", "cluster"]).column_names == [
        "distance",
        "cluster",
    ]
    with pytest.raises(KeyError, match="nothing"):
        partfiles.read_table(path, ["nothing"])


def test_the_same_table_gives_the_same_bytes(folder):
    one, other = (storage.join(folder, name) for name in ("one", "other"))
    partfiles.write_table(one, assignments(100))
    partfiles.write_table(other, assignments(100))
    assert storage.read_bytes(one) == storage.read_bytes(other)


def test_batches_are_the_table_in_order(folder):
    path = storage.join(folder, "part.parquet")
    partfiles.write_table(path, assignments(4_500))
    batches = list(partfiles.iter_batches(path, ["cluster"]))
    assert [batch.num_rows for batch in batches] == [2_000, 2_000, 500]
    assert pa.Table.from_batches(batches).equals(assignments(4_500).select(["cluster"]))


def test_rejected_rows_are_written_only_if_there_are_any(folder):
    row = {
        "id": None,
        "source": "web",
        "path": "a.warc",
        "position": 7,
        "stage": "ingest",
        "reason": "empty",
        "detail": "no text",
        "excerpt": "",
        "n_bytes": None,
        "n_tokens": None,
    }
    path = storage.join(folder, "rejected.parquet")
    partfiles.write_rejected(path, [])
    assert not storage.exists(path)
    partfiles.write_rejected(path, [row])
    table = partfiles.read_table(path)
    assert table.schema.equals(REJECTED)
    assert table.to_pylist() == [row]


def test_tables_are_compressed(folder):
    path = storage.join(folder, "part.parquet")
    partfiles.write_table(path, assignments(100))
    with storage.open_read(path) as stream:
        assert pq.ParquetFile(stream).metadata.row_group(0).column(0).compression == "ZSTD"


def test_rejected_rows_are_counted_with_their_sizes_where_these_are_known():
    rows = [
        {"reason": "empty"},
        {"reason": "near_duplicate", "n_bytes": 30, "n_tokens": 7},
        {"reason": "language", "n_bytes": 5, "n_tokens": None},
        {"reason": "near_duplicate", "n_bytes": 12, "n_tokens": 3},
    ]
    assert partfiles.tally(rows) == (
        {"empty": 1, "near_duplicate": 2, "language": 1},
        {"empty": [0, 0], "near_duplicate": [42, 10], "language": [5, 0]},
    )
    filled = [dict.fromkeys(REJECTED.names, "x") | {"position": 1, "id": None} for _ in rows]
    blank = {"n_bytes": None, "n_tokens": None}
    table = pa.Table.from_pylist(
        [a | blank | b for a, b in zip(filled, rows, strict=True)], schema=REJECTED
    )
    assert partfiles.tally_table(table) == partfiles.tally(rows)
    assert partfiles.tally_table(REJECTED.empty_table()) == ({}, {})
