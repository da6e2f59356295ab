from __future__ import annotations

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from mixcurate.kernels.replace import replace_rows


@given(st.lists(st.text(max_size=5)), st.sets(st.integers(0, 9)), st.integers(0, 2))
def test_rows_are_replaced_and_others_stay(values, rows, skipped):
    text = pa.array(values, pa.large_string())[skipped:]
    new = {row: f"new {row}" for row in sorted(rows) if row < len(text)}
    expected = [new.get(row, value) for row, value in enumerate(text.to_pylist())]
    assert replace_rows(text, new).to_pylist() == expected
    if not new:
        assert replace_rows(text, new) is text
