"""Reading and writing the tables and arrays of the workdir (Parquet, ``.npy``)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mixcurate.io import storage
from mixcurate.tables import REJECTED

#: Columns of few distinct values; a dictionary of anything else, texts above all, is a waste.
_REPEATED = ("source", "path", "language", "licence", "stage", "reason")

#: Bytes of a column that are read at once.
_READ_BUFFER = 1 << 20


def write_table(path: str, table: pa.Table) -> None:
    """Write a whole Parquet file atomically; the same table gives the same bytes."""
    repeated = [name for name in _REPEATED if name in table.column_names]
    with storage.open_atomic(path) as stream:
        pq.write_table(table, stream, compression="zstd", use_dictionary=repeated)


def read_table(path: str, columns: list[str] | None = None) -> pa.Table:
    """Read (some columns of) a Parquet file.

    Raises:
        KeyError: it has no such column.
    """
    with storage.open_mapped(path) as source, pq.ParquetFile(source) as file:
        table = file.read(columns, use_threads=False)  # tasks run beside each other already
        return table if columns is None else table.select(columns)


def write_batch(path: str, batch: pa.RecordBatch) -> None:
    """Write one record batch as an Arrow IPC file, atomically: for what is read again soon."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, batch.schema) as writer:
        writer.write_batch(batch)
    storage.write_bytes(path, sink.getvalue())


def read_batch(path: str) -> pa.RecordBatch:
    """Read what ``write_batch`` has written; a local file is mapped."""
    with storage.open_mapped(path) as source:
        return pa.ipc.open_file(source).get_batch(0)


def iter_batches(
    path: str, columns: list[str] | None = None, rows: int = 2_000
) -> Iterator[pa.RecordBatch]:
    """Read (some columns of) a Parquet file in batches of ``rows`` rows; the last may have less."""
    with storage.open_read(path) as stream:
        # buffered, so that a column is not read whole: memory must not go with the part's size
        file = pq.ParquetFile(stream, buffer_size=_READ_BUFFER)
        yield from file.iter_batches(batch_size=rows, columns=columns)


def write_rejected(path: str, rows: list[dict[str, object]]) -> None:
    """Write the rejected rows of one task; an empty list writes nothing."""
    if rows:
        write_table(path, pa.Table.from_pylist(rows, schema=REJECTED))


def tally(rows: Iterable[Mapping[str, object]]) -> tuple[dict[str, int], dict[str, list[int]]]:
    """Rejected rows by reason: documents, and [bytes of text, tokens] as far as they are known."""
    documents: dict[str, int] = {}
    sizes: dict[str, list[int]] = {}
    for row in rows:
        reason = str(row["reason"])
        documents[reason] = documents.get(reason, 0) + 1
        size = sizes.setdefault(reason, [0, 0])
        for place, name in enumerate(("n_bytes", "n_tokens")):
            value = row.get(name)
            size[place] += value if isinstance(value, int) else 0
    return documents, sizes


def tally_table(rows: pa.Table) -> tuple[dict[str, int], dict[str, list[int]]]:
    """What ``tally`` tells, of a table with the schema ``REJECTED``."""
    sums = [("id", "count", pc.CountOptions("all")), ("n_bytes", "sum"), ("n_tokens", "sum")]
    found = rows.group_by("reason", use_threads=False).aggregate(sums).to_pylist()
    documents = {one["reason"]: one["id_count"] for one in found}
    sizes = {one["reason"]: [one["n_bytes_sum"] or 0, one["n_tokens_sum"] or 0] for one in found}
    return documents, sizes


def write_array(path: str, array: npt.NDArray[Any]) -> None:
    """Write one numpy array as ``.npy``, atomically."""
    with storage.open_atomic(path) as stream:
        np.save(stream, array, allow_pickle=False)


def read_array(path: str) -> Any:
    """Read a ``.npy`` file; pickled objects are refused."""
    with storage.open_read(path) as stream:
        return np.load(stream, allow_pickle=False)
