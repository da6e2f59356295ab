"""Lineage: of each written document the input it comes from, and where it went.

One small Parquet file beside each shard, in the order of its rows: any tool can look a document up,
or all that an input file has become. An id takes half its letters once compressed, the rest of a
row a few bytes.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mixcurate.io import partfiles, storage

#: ``lineage/part-*.parquet``: one row for each row of a shard, in its order.
LINEAGE = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("copy", pa.int32(), nullable=False),  # 0 for the first time it appears
        pa.field("source", pa.string(), nullable=False),
        pa.field("path", pa.string(), nullable=False),  # of the input file
        pa.field("position", pa.int64(), nullable=False),  # line, row or byte offset in it
        pa.field("split", pa.string(), nullable=False),
        pa.field("shard", pa.int32(), nullable=False),  # its number in the split
        pa.field("row", pa.int32(), nullable=False),  # in the shard
    ]
)

FOLDER = "lineage"
_NAME = re.compile(r"part-\d{5,}\.parquet")

#: Rows that are read at once.
_ROWS = 65_536


def lineage_path(part: int) -> str:
    """The file of a shard, by its number over all splits, in the corpus."""
    return f"{FOLDER}/part-{part:05d}.parquet"


def is_lineage(name: str) -> bool:
    """Whether a file in the folder is one of ours."""
    return _NAME.fullmatch(name) is not None


def write_lineage(
    corpus: str, part: int, rows: pa.RecordBatch, split: str, shard: int
) -> dict[str, Any]:
    """Write the lineage of one shard, atomically; the same rows give the same bytes.

    Args:
        corpus: its folder.
        part: number of the shard over all splits.
        rows: id, copy, source, path and position of the shard's rows, in their order.
        split: of the shard.
        shard: its number in the split.

    Returns:
        path, rows, bytes and sha256, for the manifest.
    """
    n = rows.num_rows
    made = {
        "split": pa.array([split], pa.string()).take(pa.array(np.zeros(n, np.int32))),
        "shard": pa.array(np.full(n, shard, np.int32)),
        "row": pa.array(np.arange(n, dtype=np.int32)),
    }
    arrays = [made[name] if name in made else rows.column(name) for name in LINEAGE.names]
    table = pa.Table.from_arrays(arrays, schema=LINEAGE)
    stream = io.BytesIO()
    pq.write_table(
        table,
        stream,
        compression="zstd",
        use_dictionary=["source", "path", "split"],
        column_encoding={
            "position": "BYTE_STREAM_SPLIT",
            "copy": "DELTA_BINARY_PACKED",
            "shard": "DELTA_BINARY_PACKED",
            "row": "DELTA_BINARY_PACKED",
        },
    )
    data = stream.getvalue()
    path = lineage_path(part)
    storage.write_bytes(storage.join(corpus, path), data)
    digest = hashlib.sha256(data).hexdigest()
    return {"path": path, "rows": n, "bytes": len(data), "sha256": digest}


def read_lineage(corpus: str, columns: list[str]) -> Iterator[pa.RecordBatch]:
    """Some columns of the lineage of a corpus, in the order of its shards, in batches."""
    for name in sorted(storage.list_names(storage.join(corpus, FOLDER))):
        if is_lineage(name):
            yield from partfiles.iter_batches(storage.join(corpus, FOLDER, name), columns, _ROWS)


def find(corpus: str, document: str) -> list[dict[str, Any]]:
    """Where a document stands in a corpus, and where it comes from.

    Args:
        corpus: its folder.
        document: the id.

    Returns:
        A row of ``LINEAGE`` for each copy; none if the document was not drawn.
    """
    found: list[dict[str, Any]] = []
    for batch in read_lineage(corpus, LINEAGE.names):
        mine = batch.filter(pc.equal(batch.column("id"), document))
        found += mine.to_pylist()
    return found
