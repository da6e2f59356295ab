from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mixcurate.io.records import FieldParams, RawBuilder, add_mapping, take


@pytest.mark.parametrize(
    ("record", "path", "taken", "rest"),
    [
        ({"a": 1, "b": 2}, "a", 1, {"b": 2}),
        ({"a": {"b": 1, "c": 2}}, "a.b", 1, {"a": {"c": 2}}),
        ({"a": {"b": 1}}, "a.b", 1, {"a": {}}),
        ({"a.b": 1, "a": {"b": 2}}, "a.b", 1, {"a": {"b": 2}}),
        ({"a": {"b.c": 1, "b": {"c": 2}}}, "a.b.c", 1, {"a": {"b": {"c": 2}}}),
        ({"m": [{"t": "x", "r": 1}, 2]}, "m.0.t", "x", {"m": [{"r": 1}, 2]}),
        ({"m": ["x", "y"]}, "m.1", "y", {"m": ["x", None]}),
        ({"m": [["x"]]}, "m.0.0", "x", {"m": [[None]]}),
        ({"m": {"0": "x"}}, "m.0", "x", {"m": {}}),
        ({"m": ["x"]}, "m.1", None, {"m": ["x"]}),
        ({"m": ["x"]}, "m.-1", None, {"m": ["x"]}),
        ({"m": ["x"]}, "m.²", None, {"m": ["x"]}),
        ({"m": ["x"]}, "m." + "9" * 5_000, None, {"m": ["x"]}),
        ({"m": "x"}, "m.0", None, {"m": "x"}),
        ({"m": None}, "m.a", None, {"m": None}),
        ({}, "m.a", None, {}),
    ],
)
def test_take(record: Any, path: str, taken: Any, rest: Any) -> None:
    assert take(record, path) == taken
    assert record == rest


values = st.recursive(
    st.none() | st.integers() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["a", "b", "0", "1", "a.b"]), inner, max_size=3)
    ),
    max_leaves=12,
)


@settings(max_examples=300, deadline=None)
@given(
    inner=st.dictionaries(st.sampled_from(["a", "b", "a.b"]), values, max_size=3),
    path=st.lists(st.sampled_from(["a", "b", "0", "1"]), min_size=1, max_size=4).map(".".join),
)
def test_take_leaves_what_it_shares_alone(inner: dict[str, Any], path: str) -> None:
    before = copy.deepcopy(inner)
    record = dict(inner)
    take(record, path)
    assert inner == before


def test_nested_fields_land_in_their_columns() -> None:
    record = {
        "content": {"body": "words", "meta": {"url": "u"}, "kind": "page"},
        "ids": ["x", "y"],
    }
    fields = FieldParams(text_field="content.body", url_field="content.meta.url", id_field="ids.1")
    builder = RawBuilder()
    add_mapping(builder, record, position=5, fields=fields)
    [batch] = builder.rest()
    [document] = batch.documents.to_pylist()
    metadata = json.loads(document.pop("metadata"))
    assert metadata == {"content": {"kind": "page", "meta": {}}, "ids": ["x", None]}
    assert document == {
        "position": 5,
        "own_id": "y",
        "text": "words",
        "url": "u",
        "licence": None,
    }
