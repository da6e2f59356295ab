"""Which column of a table holds the text, and what is known of it without a look at its rows.

A table of a few bytes may claim millions of rows: nulls and repeated values take no room. Rows of
which none can be a document are told by one rejection where they are more than ``MAX_TOLD``.
"""

from __future__ import annotations

import pyarrow as pa

from mixcurate.io.records import FieldParams, Rejection, field_list

#: Rows without text of a batch or row group, up to which each costs a rejection of its own.
MAX_TOLD = 10_000


def column_of(path: str, schema: pa.Schema) -> str | None:
    """The column that holds what is at ``path``: of that very name, or its first part."""
    names = (path, path.partition(".")[0])
    return next((name for name in names if name in schema.names), None)


def why_without_text(schema: pa.Schema, fields: FieldParams) -> str | None:
    """Why no row of a table can have text: its column is missing, or of a type without text."""
    name = column_of(fields.text_field, schema)
    if name is None:
        has = field_list(schema.names)
        return f"column {fields.text_field!r} is missing; the file has: {has}"
    kind = schema.field(schema.names.index(name)).type
    if _may_hold_text(kind, _rest(fields.text_field, name)):
        return None
    return f"column {name!r} is {str(kind)[:200]}, which has no text at {fields.text_field!r}"


def is_without_text(batch: pa.RecordBatch, fields: FieldParams) -> bool:
    """Whether the text is null in all rows of a batch (whose buffers are known to be sound)."""
    name = column_of(fields.text_field, batch.schema)
    if name is None:
        return True
    column = batch.column(batch.schema.names.index(name))
    return _is_null(column, _rest(fields.text_field, name))


def one_for_all(rows: range, why: str) -> Rejection:
    """The one rejection for many rows without text."""
    detail = f"rows {rows.start:,} to {rows.stop - 1:,}, {len(rows):,} rows: {why}"
    return Rejection.of(rows.start, "no_text_field", detail)


def _rest(path: str, name: str) -> str:
    """What is left of ``path`` inside of column ``name``."""
    return "" if path == name else path.partition(".")[2]


def _may_hold_text(kind: pa.DataType, path: str) -> bool:
    """False where values of this type cannot have text at ``path``; in doubt True."""
    types = pa.types
    if types.is_dictionary(kind) or types.is_run_end_encoded(kind):
        return _may_hold_text(kind.value_type, path)
    if types.is_struct(kind):
        return any(_may_hold_text(kind.field(i).type, rest) for i, rest in _inside(kind, path))
    if types.is_map(kind):  # its entries are pairs, which no path goes into
        return False
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        return bool(path) and _may_hold_text(kind.value_type, path.partition(".")[2])
    is_value = types.is_primitive(kind) or types.is_decimal(kind) or types.is_null(kind)
    return not is_value


def _is_null(column: pa.Array, path: str) -> bool:
    if column.null_count == len(column):
        return True
    if pa.types.is_struct(column.type):
        return all(_is_null(column.field(i), rest) for i, rest in _inside(column.type, path))
    if pa.types.is_list(column.type) or pa.types.is_large_list(column.type):
        return _is_null(column.flatten(), path.partition(".")[2])
    return False


def _inside(kind: pa.StructType, path: str) -> list[tuple[int, str]]:
    """Fields of a struct that may hold what is at ``path``, and what is left of it in each."""
    name, _, rest = path.partition(".")
    places = {kind.get_field_index(path): "", kind.get_field_index(name): rest}
    return [(index, rest) for index, rest in places.items() if index >= 0]
