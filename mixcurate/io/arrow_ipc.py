"""Arrow IPC streams and files (Feather version 2): rows of their batches become documents."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import IO, Any, NamedTuple

import pyarrow as pa

from mixcurate.io.parquet import add_rows, reraise_io
from mixcurate.io.records import FieldParams, RawBatch, RawBuilder, Rejection

_FILE_MAGIC = b"ARROW1"
_MESSAGE = b"\xff" * 4

#: Rows that a batch may claim: more have no place in Arrow's other implementations either.
_MAX_ROWS = 1 << 31


class _Broken(NamedTuple):
    """Why a batch, or all that is left, cannot be read."""

    reason: str
    detail: str
    rows: int = 0
    """Rows that are lost, as far as the file tells."""


def read_arrow(
    stream: IO[bytes], *, fields: FieldParams, start: int = 0, stop: int | None = None, row: int = 0
) -> Iterator[RawBatch]:
    """Documents of an Arrow IPC stream or file; a position is a row number of the file.

    Of the file format, batches ``[start, stop)`` can be read alone; the first has row ``row``.
    Broken data costs one rejection (``not_arrow``, or ``truncated`` after readable batches); the
    rows before it are kept. In the file format a batch that cannot be read costs one (``corrupt``),
    and the next one is tried. Many rows without text cost one together, as in ``read_parquet``.
    """
    builder = RawBuilder()
    found = False
    for batch in _batches(stream, start, stop):
        found = found or not isinstance(batch, pa.RecordBatch) or batch.num_rows > 0
        if isinstance(batch, pa.RecordBatch) and batch.num_rows > _MAX_ROWS:
            builder.reject(Rejection(row, "corrupt", f"a batch of {batch.num_rows:,} rows"))
            break
        if isinstance(batch, pa.RecordBatch):
            yield from add_rows(batch, row, builder, fields)
            row += batch.num_rows
        else:
            builder.reject(Rejection.of(row, batch.reason, batch.detail[:500]))
            row += batch.rows
    if not found and not start and (stop is None or not any(_rows(stream))):
        builder.reject(Rejection(row, "empty_file", "the table has no rows"))
    yield from builder.rest()


def batch_sizes(path: str) -> list[tuple[int, int]]:
    """Rows and bytes of each batch of a local file in the file format; none where it has another.

    Only headers are read: the file is mapped, and what a message tells of its rows is taken from
    its metadata, because Arrow itself would decompress the batch first.
    """
    try:
        with pa.memory_map(path) as source:
            if source.read(len(_FILE_MAGIC)) != _FILE_MAGIC or not (file := _open_file(source)):
                return []
            return _sizes(source, file.num_record_batches)
    except (pa.ArrowException, OSError, MemoryError) as error:
        reraise_io(error)
        return []


def _rows(stream: IO[bytes]) -> list[int]:
    """Rows of each batch of a file as ``batch_sizes`` tells them, so that positions are the same.

    The whole file is read, batch by batch: this is for damaged files, and those without rows.
    """
    file = _open_file(stream)
    return [rows for rows, _ in _sizes(stream, file.num_record_batches)] if file else []


def _sizes(source: Any, n_batches: int) -> list[tuple[int, int]]:
    """Rows and bytes of the batches of a file; none where they are not as its footer has them."""
    try:
        source.seek(8)
        sizes = []
        for message in pa.ipc.MessageReader.open_stream(source):
            if message.type == "record batch":
                sizes.append((_n_rows(message.metadata.to_pybytes()), message.body.size))
        plausible = all(rows <= _MAX_ROWS for rows, _ in sizes)
        return sizes if plausible and len(sizes) == n_batches else []
    except (pa.ArrowException, OSError, MemoryError, struct.error) as error:
        reraise_io(error)
        return []


def _n_rows(message: bytes) -> int:
    """The length of a record batch, from its Flatbuffers message (Arrow's Message.fbs).

    The root of a message points to its table, a table back to its list of fields; `header` is the
    third field of a Message, and `length` the first of a RecordBatch.
    """
    table = _field(message, struct.unpack_from("<I", message)[0], 2)
    place = table and _field(message, table + struct.unpack_from("<I", message, table)[0], 0)
    return max(0, struct.unpack_from("<q", message, place)[0]) if place else 0


def _field(message: bytes, table: int, index: int) -> int:
    """Where field ``index`` of a table is stored; 0 where it has its default."""
    fields = table - struct.unpack_from("<i", message, table)[0]
    if 4 + 2 * index >= struct.unpack_from("<H", message, fields)[0]:
        return 0
    offset = struct.unpack_from("<H", message, fields + 4 + 2 * index)[0]
    return table + offset if offset else 0


def _batches(stream: IO[bytes], start: int, stop: int | None) -> Iterator[pa.RecordBatch | _Broken]:
    """Record batches, those of a file that are broken, and at the end what stopped a stream."""
    is_file = stream.read(len(_FILE_MAGIC)) == _FILE_MAGIC
    stream.seek(0)
    if is_file and (file := _open_file(stream)):
        yield from _file_batches(file, stream, start, stop)
        return
    reason = "not_arrow"
    try:
        # A file is a stream between its magic and a footer: without the footer it is read as one.
        stream.seek(8 if is_file else 0)
        reader = pa.ipc.open_stream(stream)
        reason = "truncated"
        yield from reader
    except (pa.ArrowException, OSError, MemoryError) as error:
        yield _Broken(reason, str(reraise_io(error)))
        return
    if is_file:
        yield _Broken("truncated", "the file has no readable footer")
    elif not _has_end(stream):
        detail = "the stream has no end mark: it may be cut between two batches"
        yield _Broken("truncated", detail)


def _file_batches(
    file: Any, stream: IO[bytes], start: int, stop: int | None
) -> Iterator[pa.RecordBatch | _Broken]:
    """Batches ``[start, stop)`` of the file format, each read whatever became of the others."""
    rows: list[int] | None = None
    n_batches = file.num_record_batches
    for index in range(start, n_batches if stop is None else min(stop, n_batches)):
        try:
            batch = file.get_batch(index)
        except (pa.ArrowException, OSError, MemoryError) as error:
            detail = f"batch {index}: {reraise_io(error)}"
            rows = _rows(stream) if rows is None else rows
            yield _Broken("corrupt", detail, rows[index] if rows else 0)
        else:
            yield batch


def _open_file(stream: IO[bytes]) -> Any:
    """A reader of the Arrow file format, or None where the file has lost its footer."""
    try:
        return pa.ipc.open_file(stream)
    except (pa.ArrowException, OSError, MemoryError) as error:
        reraise_io(error)
        return None


def _has_end(stream: IO[bytes]) -> bool:
    """Whether a stream ends with its mark, an empty message. Before Arrow 0.15 it had no prefix."""
    stream.seek(0)
    mark = bytes(4) if stream.read(4) != _MESSAGE else _MESSAGE + bytes(4)
    stream.seek(-len(mark), 2)
    return stream.read(8) == mark
