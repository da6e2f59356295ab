"""What must be known of Arrow data from a file before any of it is touched.

Arrow reads offsets and indices as they are stored, and using wrong ones reads memory that is not
the array's: a damaged file would end the process. The one damage that Arrow's own check finds and
that does no harm is text that is not UTF-8, which costs its row only.
"""

from __future__ import annotations

import pyarrow as pa

_BINARY = {
    pa.string(): pa.binary(),
    pa.large_string(): pa.large_binary(),
    pa.string_view(): pa.binary_view(),
}


def broken_column(batch: pa.RecordBatch) -> str | None:
    """The first column whose name, offsets, lengths or indices are wrong; None if all hold.

    Text may be anything: whether it is UTF-8 is not asked, but of the names of columns.
    """
    try:
        _ = batch.schema.names
    except UnicodeDecodeError as error:
        return f"a column's name is not UTF-8: {error.reason}"
    try:
        batch.validate(full=True)
    except pa.ArrowException as error:
        return _first_broken(batch, error)
    return None


def _first_broken(batch: pa.RecordBatch, found: Exception) -> str | None:
    for index, column in enumerate(batch.columns):
        try:
            column.validate(full=True)
            continue
        except pa.ArrowException:
            pass
        try:
            _without_text(column).validate(full=True)
        except (pa.ArrowException, ValueError) as error:
            return f"column {index + 1}: {error}"
    return None if batch.num_columns else str(found)


def _without_text(column: pa.Array) -> pa.Array:
    """``column`` with its text as bytes, without a copy."""
    if pa.types.is_dictionary(column.type):
        words = _without_text(column.dictionary)
        return pa.DictionaryArray.from_arrays(column.indices, words, safe=True)
    return column.view(_binary(column.type))


def _binary(kind: pa.DataType) -> pa.DataType:
    """``kind`` with bytes in the place of text."""
    if pa.types.is_struct(kind):
        return pa.struct([_field(kind.field(i)) for i in range(kind.num_fields)])
    if pa.types.is_map(kind):
        return pa.map_(_binary(kind.key_type), _binary(kind.item_type))
    if pa.types.is_fixed_size_list(kind):
        return pa.list_(_field(kind.value_field), kind.list_size)
    if pa.types.is_large_list(kind):
        return pa.large_list(_field(kind.value_field))
    if pa.types.is_list(kind):
        return pa.list_(_field(kind.value_field))
    return _BINARY.get(kind, kind)


def _field(field: pa.Field) -> pa.Field:
    return field.with_type(_binary(field.type))
