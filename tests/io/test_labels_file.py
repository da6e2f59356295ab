from __future__ import annotations

import csv
import gzip
import io
import json
import math
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import xxhash
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from mixcurate.errors import InputError, RequestError
from mixcurate.io.label_fields import AskedDimension, LabelDimension, parse_dimension
from mixcurate.io.labels_file import Labels, iter_texts, lines_at, read_labels

ROWS = [
    {"id": "a", "depth": 0, "clear": 1},
    {"id": "b", "depth": 2, "clear": None},
    {"id": "c", "depth": 1.5, "clear": 0, "n_tokens": 900, "note": "why"},
]


def write(path: Path, rows: list[dict]) -> str:
    """Rows in the format that the name of the file tells."""
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    match path.suffix:
        case ".jsonl":
            path.write_text(lines)
        case ".gz":
            path.write_bytes(gzip.compress(lines.encode()))
        case ".zst":
            path.write_bytes(zstandard.compress(lines.encode()))
        case ".parquet":
            pq.write_table(pa.Table.from_pylist(rows), path)
        case ".csv":
            names = list({name: None for row in rows for name in row})
            text = io.StringIO()
            table = csv.DictWriter(text, names)
            table.writeheader()
            table.writerows(rows)
            path.write_text(text.getvalue())
    return str(path)


def read(path: Path, rows: list[dict], *dimensions: str, **options) -> Labels:
    asked = [parse_dimension(given) for given in dimensions]
    return read_labels(write(path, rows), **{"by": "id"} | options, asked=asked)


@pytest.mark.parametrize("name", ["l.jsonl", "l.jsonl.gz", "l.jsonl.zst", "l.csv", "l.parquet"])
def test_numbers_are_labels_in_every_format(tmp_path, name):
    rows = [{"id": None, "depth": None, "clear": None, "note": None} | row for row in ROWS]
    found = read(tmp_path / name, rows)
    assert found.keys.to_pylist() == found.groups.to_pylist() == ["a", "b", "c"]
    assert found.dimensions == (LabelDimension("clear", 0, 1), LabelDimension("depth", 0, 2))
    np.testing.assert_array_equal(found.values, [[1, 0], [math.nan, 2], [0, 1.5]])
    assert (found.rows, found.repeated, found.unlabelled) == (3, 0, 0)


def test_dimensions_that_are_asked_for(tmp_path):
    rows = [{"id": "a", "labels": {"depth": -1}, "n_tokens": 4, "good": True}]
    asked = ("labels.depth=-2:2", "n_tokens", "good")
    found = read(tmp_path / "l.jsonl", rows, *asked)
    wanted = (("good", 0, 1), ("depth", -2, 2), ("n_tokens", 0, 4))
    assert found.dimensions == wanted
    assert found.values.tolist() == [[1, -1, 4]]


def test_judgements_of_one_document_are_averaged(tmp_path):
    rows = [
        {"id": "a", "depth": 0, "clear": 1},
        {"id": "b", "depth": 1, "clear": 1},
        {"id": "a", "depth": 1, "clear": None},
        {"id": "a", "depth": 2, "clear": 0},
        {"id": "c", "depth": None, "clear": None},
    ]
    found = read(tmp_path / "l.jsonl", rows)
    assert found.keys.to_pylist() == ["a", "b"]
    assert found.values.tolist() == [[0.5, 1], [1, 1]]
    assert (found.rows, found.repeated, found.unlabelled) == (5, 2, 1)


@given(
    st.lists(
        st.tuples(
            st.sampled_from("abcd"),
            st.one_of(st.none(), st.integers(0, 5)),
            st.one_of(st.none(), st.integers(0, 3)),
        ),
        min_size=1,
        max_size=30,
    )
)
def test_means_are_those_of_a_loop_over_rows(tmp_path_factory, rows):
    rows = [*rows, ("z", 1, 1)]
    path = tmp_path_factory.mktemp("labels") / "l.jsonl"
    found = read(path, [{"id": i, "x": x, "y": y} for i, x, y in rows], "x=0:5", "y=0:3")
    expected = {}
    for one in dict.fromkeys(i for i, _, _ in rows):
        means = []
        for column in (1, 2):
            values = [row[column] for row in rows if row[0] == one and row[column] is not None]
            means.append(sum(values) / len(values) if values else math.nan)
        if not all(map(math.isnan, means)):
            expected[one] = means
    assert found.keys.to_pylist() == list(expected)
    np.testing.assert_allclose(found.values, list(expected.values()))


def test_texts_are_documents_and_come_again(tmp_path):
    rows = [{"text": "one", "id": "7", "depth": 0}, {"text": "two", "depth": None}]
    rows += [{"text": "one", "depth": 1}, {"text": "three", "depth": 1}]
    found = read(tmp_path / "l.jsonl", rows, by="text")
    assert found.by == "text"
    assert found.keys.to_pylist() == [xxhash.xxh3_128_hexdigest(t) for t in (b"one", b"three")]
    assert [text for batch in iter_texts(found) for text in batch] == ["one", "three"]
    write(tmp_path / "l.jsonl", rows[:1])
    with pytest.raises(InputError, match="changed while it was read"):
        list(iter_texts(found))


def test_several_files_are_one(tmp_path):
    write(tmp_path / "b.csv", [{"id": "b", "depth": 1}])
    write(tmp_path / "a.jsonl", [{"id": "a", "depth": 0}, {"id": "c", "depth": 1}])
    found = read_labels(str(tmp_path), by="id")
    assert found.keys.to_pylist() == ["a", "c", "b"]
    assert [number for number, _ in found.places] == [0, 0, 1]


@pytest.mark.parametrize(("wanted", "row"), [("id", {"text": "t"}), ("text", {"id": "i"})])
def test_what_rows_have_names_the_documents(tmp_path, wanted, row):
    found = read(tmp_path / "l.jsonl", [row | {"depth": 1}], by=wanted)
    assert found.by == next(iter(row))


def test_groups(tmp_path):
    rows = [{"id": "a", "depth": 1, "site": 3}, {"id": "b", "depth": 1}]
    found = read(tmp_path / "l.jsonl", rows, group_field="site")
    assert found.groups.to_pylist() == ["3", "b"]
    assert [dimension.name for dimension in found.dimensions] == ["depth"]
    with pytest.raises(RequestError, match="no row has field 'sit'; did you mean 'site'"):
        read(tmp_path / "l.jsonl", rows, group_field="sit")


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("l.jsonl", "-1", "depth is -1, below 0"),
        ("l.jsonl", '"2"', 'depth is "2", not a number'),
        ("l.jsonl", "[1]", r"depth is \[1\], not a number"),
        ("l.jsonl", "3", "depth is 3, above 2"),
        ("l.jsonl", "NaN", "not_json"),
        ("l.jsonl", "1" * 400, "not a number|not_json"),
        ("l.csv", "good", 'depth is "good", not a number'),
        ("l.csv", "nan", 'depth is "nan", not a number'),
        ("l.csv", "1_0", 'depth is "1_0", not a number'),
    ],
)
def test_bad_labels_are_told_with_their_lines(tmp_path, name, value, told):
    good = '{"id": "a", "depth": 1}' if name == "l.jsonl" else "a,1"
    bad = f'{{"id": "b", "depth": {value}}}' if name == "l.jsonl" else f"b,{value}"
    head = "" if name == "l.jsonl" else "id,depth\n"
    (tmp_path / name).write_text(f"{head}{good}\n\n{bad}\n{good}\n")
    line = 4 if head else 3
    with pytest.raises(InputError, match=rf"1 labels.*\n.*{name}, line {line}: {told}") as raised:
        read_labels(str(tmp_path / name), by="id", asked=[AskedDimension("depth", (0, 2))])
    assert "null" in str(raised.value)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_bad_numbers_of_parquet(tmp_path, value):
    rows = [{"id": "a", "depth": 1.0}, {"id": "b", "depth": None}, {"id": "c", "depth": value}]
    with pytest.raises(InputError, match=rf"l.parquet, row 3: depth is {value}, not a number"):
        read(tmp_path / "l.parquet", rows)


def test_a_negative_first_label_is_bad_and_no_other_field(tmp_path):
    with pytest.raises(InputError, match="depth is -1, below 0"):
        read(tmp_path / "l.jsonl", [{"id": "a", "depth": -1, "clear": 1}])


def test_only_the_first_of_many_problems_are_shown(tmp_path):
    rows = [{"id": f"{n}", "depth": -n} for n in range(100)]
    with pytest.raises(InputError, match="99 labels") as raised:
        read(tmp_path / "l.jsonl", rows)
    assert str(raised.value).count("below 0") == 5
    assert "and 94 more" in str(raised.value)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("", "empty_file"),
        ("\n\n", "holds no row"),
        ('{"id": "a"}\n', "no field holds a number; it has"),
        ('{"depth": 1}\n', "neither 'id' nor 'text'; the record has: depth"),
        ('{"id": "a", "depth": 1}\n{"depth": 1}\n', "line 2: no_text_field: field 'id' is missing"),
        ('{"id": "a", "depth": 1}\n{"id": " ", "depth": 1}\n', "line 2: id is empty"),
        ('{"id": "a", "depth": 1}\nbroken\n', "line 2: not_json"),
        ('{"id": "a", "depth": 101}\n', "no judgement of at most 100 points"),
        ('{"id": "a", "Edu Score": 1}\n', "'Edu Score' cannot be a dimension"),
    ],
)
def test_files_without_labels(tmp_path, content, told):
    (tmp_path / "l.jsonl").write_text(content)
    with pytest.raises(RequestError, match=told):
        read_labels(str(tmp_path / "l.jsonl"), by="id")


def test_what_is_asked_for_must_be_there(tmp_path):
    with pytest.raises(RequestError, match="field 'dept'; did you mean 'depth'"):
        read(tmp_path / "l.jsonl", ROWS, "dept")
    with pytest.raises(RequestError, match="two dimensions are named 'depth'"):
        read(tmp_path / "l.jsonl", ROWS, "depth", "a.depth")
    (tmp_path / "l.txt").write_text("x")
    with pytest.raises(InputError, match="labels are JSON Lines, CSV or Parquet"):
        read_labels(str(tmp_path / "l.txt"), by="id")
    with pytest.raises(InputError, match="no file matches"):
        read_labels(str(tmp_path / "none.jsonl"), by="id")


@pytest.mark.parametrize(
    "given", ["depth=2", "depth=2:2", "depth=0:101", "a b", "=0:1", "depth=a:b"]
)
def test_a_dimension_that_will_not_do(given):
    with pytest.raises(RequestError, match=r"dimension"):
        parse_dimension(given)


def test_lines_of_positions_in_a_packed_file(tmp_path):
    read_of = read(tmp_path / "l.jsonl.gz", ROWS)
    positions = [position for _, position in read_of.places]
    assert lines_at(read_of.tasks[0], positions) == [1, 2, 3]
