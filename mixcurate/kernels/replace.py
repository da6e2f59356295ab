"""A batch of texts with other values in some rows."""

from __future__ import annotations

import pyarrow as pa


def replace_rows(text: pa.Array, values: dict[int, str]) -> pa.Array:
    """``text`` with ``values`` in their rows; what lies between is not touched as Python strings.

    Args:
        text: large_string ``[n]`` without nulls.
        values: new texts by row, in ascending order; without any, ``text`` itself comes back.

    Returns:
        large_string ``[n]``.
    """
    if not values:
        return text
    pieces: list[pa.Array] = []
    done = 0
    for row, value in values.items():
        pieces += (text[done:row], pa.array([value], pa.large_string()))
        done = row + 1
    return pa.concat_arrays([*pieces, text[done:]])
