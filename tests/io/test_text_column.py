from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mixcurate.io.records import FieldParams, take
from mixcurate.io.text_column import MAX_TOLD, is_without_text, why_without_text
from tests.io.test_tables_readers import READ, arrow, arrow_bytes, parquet, parquet_bytes

MANY = MAX_TOLD + 2_345

TEXTLESS = {
    "missing": (pa.table({"x": pa.nulls(MANY)}), "text"),
    "null": (pa.table({"text": pa.nulls(MANY), "x": range(MANY)}), "text"),
    "number": (pa.table({"text": np.zeros(MANY, np.int8)}), "text"),
    "truth": (pa.table({"text": np.zeros(MANY, bool)}), "text"),
    "no such field": (pa.table({"page": pa.array([{"body": "x"}] * MANY)}), "page.text"),
    "null field": (pa.table({"page": pa.array([{"body": None}] * MANY)}), "page.body"),
    "list": (pa.table({"page": pa.array([["x"]] * MANY)}), "page"),
    "list of numbers": (pa.table({"page": pa.array([[1]] * MANY)}), "page.0"),
}


@pytest.mark.parametrize("kind", READ)
@pytest.mark.parametrize("case", TEXTLESS)
def test_many_rows_that_cannot_have_text_cost_one_rejection(kind: str, case: str) -> None:
    table, path = TEXTLESS[case]
    fields = FieldParams(text_field=path)
    if kind == "parquet":
        documents, rejected = parquet(parquet_bytes(table), fields=fields)
    else:
        documents, rejected = arrow(arrow_bytes(table, kind, rows=MANY), fields=fields)
    assert documents == []
    assert [(r.position, r.reason) for r in rejected] == [(0, "no_text_field")]
    assert rejected[0].detail.startswith("rows 0 to 12,344, 12,345 rows: column ") or (
        case == "null field" and "null" in rejected[0].detail
    )
    few = READ[kind](table.slice(0, 200), fields=fields)
    assert [r.position for r in few[1]] == list(range(200))


@pytest.mark.parametrize("nested", [False, True])
def test_a_batch_of_nulls_costs_one_rejection_whatever_its_type(nested: bool) -> None:
    column = pa.nulls(MANY, pa.string())
    page = pa.StructArray.from_arrays([column], ["body"]) if nested else column
    fields = FieldParams(text_field="page.body" if nested else "page")
    for kind in ("file", "stream"):
        data = arrow_bytes(pa.table({"page": page}), kind, rows=MANY)
        documents, rejected = arrow(data, fields)
        assert (documents, [r.position for r in rejected]) == ([], [0])
        assert "12,345 rows: the text is null in all of them" in rejected[0].detail


def test_of_nulls_among_text_in_a_row_group_the_first_are_told_one_by_one() -> None:
    text = ["a"] * 1_500 + [None] * (MANY + 3_000) + ["b"] + [None] * 200
    documents, rejected = parquet(parquet_bytes(pa.table({"text": pa.array(text)})))
    assert [d["position"] for d in documents] == [*range(1_500), 1_500 + MANY + 3_000]
    one_by_one = [r.position for r in rejected if "rows" not in r.detail]
    [together] = [r for r in rejected if "rows" in r.detail]
    assert (together.position, together.reason) == (12_000, "no_text_field")
    assert together.detail.startswith("rows 12,000 to 15,999, 4,000 rows: ")
    end = 1_500 + MANY + 3_000
    assert one_by_one == [*range(1_500, 12_000), *range(16_000, end), *range(end + 1, len(text))]


def test_millions_of_rows_of_nothing_are_read_at_once() -> None:
    rows = 1 << 30
    batch = pa.record_batch({"text": pa.nulls(rows)})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    data = sink.getvalue().to_pybytes()
    assert len(data) < 1_000
    documents, rejected = arrow(data)
    assert (documents, len(rejected)) == ([], 1)


VALUES = st.recursive(
    st.none() | st.text(max_size=2),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("ab"), inner),
    max_leaves=5,
)


@given(cells=st.lists(VALUES, min_size=1, max_size=4), path=st.sampled_from(["", ".a", ".0.b"]))
def test_what_is_taken_for_rows_without_text_has_none(cells: list[Any], path: str) -> None:
    try:
        batch = pa.record_batch({"page": pa.array(cells)})
    except (pa.ArrowException, ValueError):
        return
    fields = FieldParams(text_field=f"page{path}")
    found = [take({"page": cell}, fields.text_field) for cell in batch["page"].to_pylist()]
    if why_without_text(batch.schema, fields) or is_without_text(batch, fields):
        assert not any(isinstance(text, str) for text in found)
    elif not any(isinstance(cell, list) for cell in batch["page"].to_pylist()):
        assert any(text is not None for text in found)
