from __future__ import annotations

import hashlib
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from mixcurate.io.lineage import (
    LINEAGE,
    find,
    is_lineage,
    lineage_path,
    write_lineage,
)


def rows(n: int, start: int = 0) -> pa.Table:
    return pa.table(
        {
            "id": [hashlib.md5(str(i // 2 + start).encode()).hexdigest() for i in range(n)],
            "copy": pa.array([i % 2 for i in range(n)], pa.int32()),
            "source": ["web"] * n,
            "path": [f"crawl/segments/{i % 7}.warc.gz" for i in range(n)],
            "position": pa.array([i * 4_711 % 1_000_003 for i in range(n)], pa.int64()),
            "shuffle": pa.array(range(n), pa.uint64()),
        }
    )


def write(corpus: Path) -> list[dict]:
    """Two shards and one of the holdout; what a manifest says of them."""
    splits = [("train", 0, 40), ("train", 1, 39), ("holdout", 0, 5)]
    return [
        write_lineage(str(corpus), part, rows(n, 1_000 * part), split, shard)
        for part, (split, shard, n) in enumerate(splits)
    ]


def test_each_row_tells_its_input_and_its_place(tmp_path):
    write(tmp_path)
    table = pq.read_table(tmp_path / lineage_path(1))
    assert table.schema.equals(LINEAGE)
    assert table.column("row").to_pylist() == list(range(39))
    assert set(table.column("shard").to_pylist()) == {1}
    assert table.select(["id", "copy", "path", "position"]).to_pylist() == (
        rows(39, 1_000).select(["id", "copy", "path", "position"]).to_pylist()
    )


def test_a_document_is_found_with_all_its_copies(tmp_path):
    write(tmp_path)
    wanted = rows(39, 1_000).to_pylist()[10]
    found = find(str(tmp_path), wanted["id"])
    assert [(row["copy"], row["shard"], row["row"], row["split"]) for row in found] == [
        (0, 1, 10, "train"),
        (1, 1, 11, "train"),
    ]
    assert found[0]["path"] == wanted["path"]
    assert found[0]["position"] == wanted["position"]
    assert find(str(tmp_path), "nobody") == []


def test_a_row_takes_less_than_forty_bytes(tmp_path):
    entry = write_lineage(str(tmp_path), 0, rows(20_000), "train", 0)
    assert entry["bytes"] / 20_000 < 40


def test_the_same_rows_give_the_same_bytes(tmp_path):
    assert write(tmp_path / "a") == write(tmp_path / "b")


def test_what_is_said_of_a_file_is_so(tmp_path):
    for entry, n in zip(write(tmp_path), (40, 39, 5), strict=True):
        data = (tmp_path / entry["path"]).read_bytes()
        assert (entry["rows"], entry["bytes"]) == (n, len(data))
        assert entry["sha256"] == hashlib.sha256(data).hexdigest()


def test_names_of_files():
    assert is_lineage("part-00012.parquet")
    assert is_lineage("part-123456.parquet")
    assert not is_lineage(".tmp-part-00012.parquet.abc")
    assert not is_lineage("../part-00012.parquet")
