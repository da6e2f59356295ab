"""Parquet, and what Arrow files share with it: rows of a table become documents.

Text goes through Python strings here, as it does for every structured input, so that one place
(``add_record``) decides what a record must hold. Memory is bounded by a batch of rows.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from mixcurate.io import records
from mixcurate.io.arrow_checks import broken_column
from mixcurate.io.records import (
    FieldParams,
    RawBatch,
    RawBuilder,
    Rejection,
    add_record,
    take,
)
from mixcurate.io.text_column import (
    MAX_TOLD,
    column_of,
    is_without_text,
    one_for_all,
    why_without_text,
)

#: Binary cells above this size (images, audio) are left out of the metadata.
MAX_METADATA_BINARY = 1_000

_MAGIC = b"PAR1"
_ROWS = 1_000
_ALL_NULL = "the text is null in all of them"

#: Rows that a row group may claim; one of more counts as none.
_MAX_ROWS = 1 << 31


def read_parquet(
    source: str | IO[bytes], *, fields: FieldParams, start: int = 0, stop: int | None = None
) -> Iterator[RawBatch]:
    """Documents of the row groups ``[start, stop)``; a position is a row number of the file.

    A row without text costs one rejection each; where no row of a row group of more than
    ``MAX_TOLD`` can have text, all cost one together, and so do the rows without text that follow
    ``MAX_TOLD`` others. The accounts then have one record for them, whose detail tells how many
    they are. A row group that cannot be read costs one (``corrupt``), and the next one is tried; so
    does a file that is no Parquet (``not_parquet``) or that has lost its end (``truncated``).
    """
    builder = RawBuilder()
    try:
        file = pq.ParquetFile(
            source, pre_buffer=False, buffer_size=1 << 20, page_checksum_verification=True
        )
        _ = file.schema_arrow.names
    except (pa.ArrowException, OSError, MemoryError, UnicodeDecodeError) as error:
        builder.reject(_broken_file(source, reraise_io(error)))
        yield from builder.rest()
        return
    with file:
        rows = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
        if not any(rows) and start == 0:
            builder.reject(Rejection(0, "empty_file", "the table has no rows"))
        rows = [count if 0 <= count <= _MAX_ROWS else 0 for count in rows]
        row = sum(rows[:start])
        last = len(rows) if stop is None else min(stop, len(rows))
        for group in range(start, last):
            yield from _read_group(file, group, row, builder, fields)
            row += rows[group]
    yield from builder.rest()


def row_group_sizes(stream: IO[bytes]) -> list[int]:
    """About the stored bytes of each row group; none for what cannot be read as Parquet.

    They are shares of the file by uncompressed size. pyarrow tells stored sizes only with the rest
    of a column's metadata, and ends the process where that is broken.
    """
    try:
        with pq.ParquetFile(stream, pre_buffer=False) as file:
            metadata = file.metadata
            groups = range(file.num_row_groups)
            shares = [max(0, metadata.row_group(group).total_byte_size) for group in groups]
            stored = stream.seek(0, 2) - metadata.serialized_size
            return [share * stored // max(1, sum(shares)) for share in shares]
    except (pa.ArrowException, OSError, MemoryError, UnicodeDecodeError) as error:
        reraise_io(error)
        return []


def add_rows(
    batch: pa.RecordBatch, first: int, builder: RawBuilder, fields: FieldParams
) -> Iterator[RawBatch]:
    """Add the rows of ``batch``, the first being row ``first`` of the file; give full batches.

    A batch that is broken inside costs one rejection (``corrupt``), and so do the rows of a batch
    of more than ``MAX_TOLD`` none of which has text (``no_text_field``).
    """
    rows = range(first, first + batch.num_rows)
    if problem := broken_column(batch):
        detail = f"rows {first:,} to {rows.stop - 1:,}: {problem}"
        builder.reject(Rejection.of(first, "corrupt", detail[:500]))
        return
    text_column = column_of(fields.text_field, batch.schema)
    if text_column is None or len(rows) > MAX_TOLD:
        why = why_without_text(batch.schema, fields)
        if why or is_without_text(batch, fields):
            yield from _reject_rows(rows, why or _ALL_NULL, builder)
            return
    assert text_column is not None
    for begin, part in _slices(batch):
        # A name that appears twice keeps its first column, as in a JSON object read by most.
        names = list(dict.fromkeys(part.schema.names))
        columns = [
            _values(part.column(part.schema.names.index(name)), is_text=name == text_column)
            for name in names
        ]
        for index, cells in enumerate(zip(*columns, strict=True)):
            record = dict(zip(names, cells, strict=True))
            _add_row(builder, record, first + begin + index, text_column, fields)
            yield from builder.full()


def reraise_io(error: Exception) -> Exception:
    """Raise a failure of the disk or the network; give back Arrow's own word for broken data.

    Both are ``OSError``; only the system's has a number.
    """
    if isinstance(error, OSError) and error.errno is not None:
        raise error
    return error


def _read_group(
    file: pq.ParquetFile, group: int, row: int, builder: RawBuilder, fields: FieldParams
) -> Iterator[RawBatch]:
    """The rows of one row group, which begins at ``row``."""
    n_rows = file.metadata.row_group(group).num_rows
    if not 0 <= n_rows <= _MAX_ROWS:
        builder.reject(Rejection.of(row, "corrupt", f"row group {group} claims {n_rows:,} rows"))
        return
    rows = range(row, row + n_rows)
    why = why_without_text(file.schema_arrow, fields)
    is_missing = column_of(fields.text_field, file.schema_arrow) is None
    if why and (is_missing or len(rows) > MAX_TOLD):
        yield from _reject_rows(rows, why, builder)
        return
    run = untold = 0  # rows without text up to here, and those of them that are not told yet
    problem: Exception | None = None
    for batch in _batches(file, group):
        if not isinstance(batch, pa.RecordBatch):
            problem = batch
            break
        is_null = len(rows) > MAX_TOLD and is_without_text(batch, fields)
        run = run + batch.num_rows if is_null else 0
        if run > MAX_TOLD:
            untold += batch.num_rows
        else:
            _tell(range(row - untold, row), builder)
            untold = 0
            yield from add_rows(batch, row, builder, fields)
        row += batch.num_rows
    _tell(range(row - untold, row), builder)
    if problem:
        detail = f"rows {row:,} to {rows.stop - 1:,} of row group {group}: {problem}"
        builder.reject(Rejection.of(row, "corrupt", detail[:500]))
    elif row != rows.stop:
        detail = f"row group {group} ends {rows.stop - row:,} rows before it should"
        builder.reject(Rejection(row, "corrupt", detail))


def _reject_rows(rows: range, why: str, builder: RawBuilder) -> Iterator[RawBatch]:
    """Reject rows without text: each, or many together, so that a file that claims them ends."""
    if len(rows) > MAX_TOLD:
        builder.reject(one_for_all(rows, why))
        return
    for row in rows:
        builder.reject(Rejection(row, "no_text_field", why))
        yield from builder.full()


def _tell(untold: range, builder: RawBuilder) -> None:
    if untold:
        builder.reject(one_for_all(untold, _ALL_NULL))


def _batches(file: pq.ParquetFile, group: int) -> Iterator[pa.RecordBatch | Exception]:
    """Batches of bounded size, and at the end the error that stopped them, if one did."""
    metadata = file.metadata.row_group(group)
    n_bytes = max(1, metadata.total_byte_size // max(1, metadata.num_rows))
    size = max(1, min(_ROWS, records.BATCH_BYTES // n_bytes))
    try:
        yield from file.iter_batches(size, row_groups=[group], use_threads=False)
    except (pa.ArrowException, OSError, MemoryError) as error:
        yield reraise_io(error)


def _broken_file(source: str | IO[bytes], error: Exception) -> Rejection:
    if isinstance(source, str):
        with open(source, "rb") as stream:
            head = stream.read(64)
    else:
        source.seek(0)
        head = source.read(64)
    detail = str(error)[:500]
    if head.startswith(_MAGIC):  # it began as Parquet: its footer, at the end, is gone or broken
        return Rejection.of(0, "truncated", f"no readable footer: {detail}")
    return Rejection.of(0, "not_parquet", detail, head)


def _slices(batch: pa.RecordBatch) -> Iterator[tuple[int, pa.RecordBatch]]:
    """Pieces of a batch that are small enough to hold as Python objects too."""
    n_bytes = max(1, batch.nbytes // max(1, batch.num_rows))
    step = max(1, min(_ROWS, records.BATCH_BYTES // n_bytes))
    for begin in range(0, batch.num_rows, step):
        yield begin, batch.slice(begin, step)


def _add_row(
    builder: RawBuilder, record: dict[str, Any], row: int, text_column: str, fields: FieldParams
) -> None:
    column = record[text_column]
    text = column if isinstance(column, _Undecodable) else _text(take(record, fields.text_field))
    if text_column in record:  # the text was a part of it
        record[text_column] = _plain(record[text_column])
    if isinstance(text, _Undecodable):
        builder.reject(Rejection.of(row, "invalid_utf8", "the cell is not UTF-8", text))
    elif (
        isinstance(text, str)
        and len(text) > records.MAX_RECORD_BYTES // 4
        and ((size := len(text.encode("utf-8", "replace"))) > records.MAX_RECORD_BYTES)
    ):
        detail = f"the cell has {size:,} bytes; the limit is {records.MAX_RECORD_BYTES:,}"
        builder.reject(Rejection.of(row, "too_large", detail, text[:1000]))
    else:
        add_record(builder, record, text, position=row, fields=fields)


class _Undecodable(bytes):
    """The bytes of a string cell that are not UTF-8."""


def _values(column: pa.Array, *, is_text: bool) -> list[Any]:
    """The cells of a column as Python values that JSON can hold; those that hold text as they are.

    A cell that holds text which is not UTF-8, somewhere, becomes its bytes.
    """
    if pa.types.is_dictionary(column.type):  # one Python object for each distinct value
        values = _values(column.dictionary, is_text=is_text)
        return [None if index is None else values[index] for index in column.indices.to_pylist()]
    try:
        cells: list[Any] = column.to_pylist()
    except (ValueError, OverflowError, ArithmeticError):
        # Text that is not UTF-8, or a time that Python has no type for.
        return [_difficult(scalar, is_text=is_text) for scalar in column]
    if is_text or not _may_hold_bytes(column.type):
        return cells
    return [_plain(cell) for cell in cells]


def _difficult(scalar: pa.Scalar, *, is_text: bool) -> Any:
    """A cell of a column that Python cannot hold as it is: readable text where it is broken."""
    try:
        return scalar.as_py() if is_text else _plain(scalar.as_py())
    except UnicodeDecodeError as error:
        return _Undecodable(error.object) if is_text else error.object.decode("utf-8", "replace")
    except (ValueError, OverflowError, ArithmeticError):
        return _printed(scalar)


def _printed(scalar: pa.Scalar) -> str | None:
    try:
        return str(scalar.cast(pa.string()).as_py())
    except (pa.ArrowException, ValueError):
        return None


def _may_hold_bytes(kind: pa.DataType) -> bool:
    return "binary" in str(kind)


def _text(value: Any) -> Any:
    """Text that its writer declared as bytes: older Spark and Impala write all strings so."""
    if not isinstance(value, bytes):
        return value
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return _Undecodable(value)


def _plain(value: Any) -> Any:
    """``value`` without large binary cells; small ones become text."""
    if isinstance(value, bytes):
        if len(value) > MAX_METADATA_BINARY:
            return None
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError:
            return base64.b64encode(value).decode()
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
