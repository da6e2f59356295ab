"""Columns of bytes, one value a row, put together by Arrow instead of row by row."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

_EMPTY = pa.scalar(b"", pa.large_binary())


def fixed(values: npt.NDArray[np.generic]) -> pa.LargeBinaryArray:
    """Rows of an array ``[n]`` or ``[n, width]`` as they are in memory."""
    n = len(values)
    width = values.nbytes // max(n, 1)
    buffers = [None, pa.py_buffer(np.ascontiguousarray(values))]
    rows = pa.FixedSizeBinaryArray.from_buffers(pa.binary(width), n, buffers)
    return rows.cast(pa.large_binary())


def from_text(column: pa.Array) -> pa.LargeBinaryArray:
    """The UTF-8 of texts; a null is empty."""
    if column.null_count:
        column = column.fill_null("")
    return column.cast(pa.large_string()).cast(pa.large_binary())


def zeros(sizes: npt.NDArray[np.int64]) -> pa.LargeBinaryArray:
    """A run of zero bytes for each row."""
    offsets = np.zeros(len(sizes) + 1, np.int64)
    np.cumsum(sizes, out=offsets[1:])
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(bytes(int(offsets[-1])))]
    return pa.LargeBinaryArray.from_buffers(pa.large_binary(), len(sizes), buffers)


def lengths(column: pa.LargeBinaryArray) -> npt.NDArray[np.int64]:
    """Bytes of each row, int64."""
    found: npt.NDArray[np.int64] = pc.binary_length(column).to_numpy(zero_copy_only=False)
    return found


def join(parts: list[pa.LargeBinaryArray]) -> pa.LargeBinaryArray:
    """The values of each row one after another, without nulls and offset."""
    return pc.binary_join_element_wise(*parts, _EMPTY)


def data(column: pa.LargeBinaryArray) -> pa.Buffer:
    """The bytes of all rows of what ``join`` returned, one after another."""
    return column.buffers()[2]
