"""Reading and writing the part files of the workdir (Parquet tables, Arrow embeddings)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from mixcurate.io import storage
from mixcurate.tables import REJECTED, embeddings_schema

#: Columns of few distinct values; a dictionary of anything else, texts above all, is a waste.
_REPEATED = ("source", "path", "language", "licence", "stage", "reason")


def write_table(path: str, table: pa.Table) -> None:
    """Write a whole Parquet file atomically; the same table gives the same bytes."""
    repeated = [name for name in _REPEATED if name in table.column_names]
    with storage.open_atomic(path) as stream:
        pq.write_table(table, stream, compression="zstd", use_dictionary=repeated)


def read_table(path: str, columns: list[str] | None = None) -> pa.Table:
    """Read (some columns of) a Parquet file."""
    with storage.open_read(path) as stream:
        return pq.read_table(stream, columns=columns)


def iter_batches(path: str, columns: list[str] | None = None) -> Iterator[pa.RecordBatch]:
    """Read (some columns of) a Parquet file in batches of some 2,000 rows."""
    with storage.open_read(path) as stream:
        yield from pq.ParquetFile(stream).iter_batches(batch_size=2_000, columns=columns)


def write_rejected(path: str, rows: list[dict[str, object]]) -> None:
    """Write the rejected rows of one task; an empty list writes nothing."""
    if rows:
        write_table(path, pa.Table.from_pylist(rows, schema=REJECTED))


def write_embeddings(path: str, vectors: npt.NDArray[np.floating]) -> None:
    """Write embeddings ``[n, d]`` as float16 in an uncompressed Arrow IPC file, atomically."""
    flat = np.ascontiguousarray(vectors, dtype=np.float16).reshape(-1)
    schema = embeddings_schema(vectors.shape[1])
    column = pa.FixedSizeListArray.from_arrays(
        pa.array(flat, pa.float16()), type=schema.field("embedding").type
    )
    batch = pa.RecordBatch.from_arrays([column], schema=schema)
    with storage.open_atomic(path) as stream, pa.ipc.new_file(stream, schema) as writer:
        writer.write_batch(batch)


def read_embeddings(path: str) -> npt.NDArray[np.float16]:
    """Embeddings of one part: float16 ``[n, d]``, a zero-copy view of a memory map when local."""
    if storage.is_local(path):
        source: object = pa.memory_map(path)
    else:
        source = pa.BufferReader(storage.read_bytes(path))
    reader = pa.ipc.open_file(source)
    column = reader.get_batch(0).column("embedding")
    values: npt.NDArray[np.float16] = column.flatten().to_numpy(zero_copy_only=True)
    return values.reshape(len(column), column.type.list_size)


def write_array(path: str, array: npt.NDArray[Any]) -> None:
    """Write one numpy array as ``.npy``, atomically."""
    with storage.open_atomic(path) as stream:
        np.save(stream, array, allow_pickle=False)


def read_array(path: str) -> Any:
    """Read a ``.npy`` file; pickled objects are refused."""
    with storage.open_read(path) as stream:
        return np.load(stream, allow_pickle=False)
