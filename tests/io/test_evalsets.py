from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from mixcurate.errors import InputError
from mixcurate.io.evalsets import ITEMS, read_index, read_set, write_index

RECORDS: list[dict[str, Any]] = [
    {
        "id": 7,
        "question": "Who wrote it?",
        "choices": {"text": ["Ann", "Bob"], "label": ["A", "B"]},
    },
    {"id": 8, "question": "Où est l'été?", "choices": {"text": ["là"], "label": ["A"]}},
    {"id": 9, "question": "  ", "choices": {"text": [], "label": []}},
    {"id": 10, "question": 'Why, "then"?\nHow?', "choices": {"text": ["so"], "label": ["A"]}},
]
LINES = "".join(json.dumps(record) + "\n" for record in RECORDS).encode()
TEXTS = [
    (0, "Who wrote it?\nAnn\nBob"),
    (1, "Où est l'été?\nlà"),
    (3, 'Why, "then"?\nHow?\nso'),
]


def write_arrow(path: Path, table: pa.Table, opened: Any) -> None:
    with opened(str(path), table.schema) as writer:
        writer.write_table(table, max_chunksize=2)


def rows(table: pa.Table) -> list[tuple[int, str]]:
    assert table.schema == ITEMS
    return list(
        zip(table.column("position").to_pylist(), table.column("text").to_pylist(), strict=True)
    )


@pytest.mark.parametrize(
    "name",
    ["a.jsonl", "a.jsonl.gz", "a.ndjson.zst", "a.json", "a.parquet", "file.arrow", "stream.arrow"],
)
def test_fields_of_every_format_are_read_alike(tmp_path, name):
    path, table = tmp_path / name, pa.Table.from_pylist(RECORDS)
    if name.endswith(".gz"):
        path.write_bytes(gzip.compress(LINES))
    elif name.endswith(".zst"):
        path.write_bytes(zstandard.compress(LINES))
    elif name.endswith(".json"):
        path.write_bytes(b"\xef\xbb\xbf" + json.dumps(RECORDS, indent=1).encode())
    elif name.endswith(".parquet"):
        pq.write_table(table, path, row_group_size=2)
    elif name.endswith(".arrow"):
        write_arrow(path, table, pa.ipc.new_file if name[0] == "f" else pa.ipc.new_stream)
    else:
        path.write_bytes(LINES)
    items = read_set(name, ["question", "choices.text"], base=str(tmp_path))
    assert rows(items) == TEXTS
    assert set(items.column("path").to_pylist()) == {name}


@pytest.mark.parametrize(("name", "delimiter"), [("a.csv", ","), ("a.tsv", "\t")])
def test_tables_are_read_with_their_quotes(tmp_path, name, delimiter):
    with (tmp_path / name).open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, delimiter=delimiter)
        writer.writerow(["question", "answer"])
        writer.writerows([[record["question"], str(record["id"])] for record in RECORDS])
    items = rows(read_set(str(tmp_path / name), ["question"], base=""))
    assert items == [(i, r["question"]) for i, r in enumerate(RECORDS) if r["question"].strip()]
    both = rows(read_set(str(tmp_path / name), [], base=""))
    assert both[0] == (0, "Who wrote it?\n7")


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ([], "q\nsystem\nhi\nuser\nbye\ndotted"),
        (["messages.content"], "hi\nbye"),
        (["messages.1.content", "q"], "bye\nq"),
        (["a.b"], "dotted"),
        (["number"], "3.5"),
        (["q", "absent.of.this.one"], "q"),
    ],
)
def test_paths_lead_into_objects_and_lists(tmp_path, fields, text):
    messages = [{"role": "system", "content": "hi"}, {"role": "user", "content": "bye"}]
    record = {"q": "q", "number": 3.5, "messages": messages, "a.b": "dotted", "yes": True}
    other = {"absent": {"of": {"this": {"one": ""}}}}
    path = tmp_path / "set.jsonl"
    path.write_text(json.dumps(record) + "\n\n" + json.dumps(other) + "\n")
    assert rows(read_set(str(path), fields, base="")) == [(0, text)]


def test_the_files_of_a_pattern_follow_each_other(tmp_path):
    for name in ("b", "a"):
        (tmp_path / f"{name}.jsonl").write_text(json.dumps({"text": name}) + "\n")
    items = read_set("*.jsonl", [], base=str(tmp_path))
    assert items.column("path").to_pylist() == ["a.jsonl", "b.jsonl"]
    assert items.column("text").to_pylist() == ["a", "b"]


@pytest.mark.parametrize(
    ("content", "fields", "message"),
    [
        (b'{"text": "a"}\n', ["question"], "no record has the field question; they have: text"),
        (b'{"text": "a"}\n{"text": \n', [], "line 2 of the evaluation set"),
        (b'"text"\n', [], "is a str, not an object"),
        (b"[1, 2]", [], "is a int, not an object"),
        (b"[{]", [], "is not JSON"),
        (b"", [], "none of its 0 records has a text"),
        (b'{"n": 1}\n{"text": " "}\n', [], "none of its 2 records has a text"),
        (gzip.compress(LINES * 9)[:-20], [], "is damaged"),
    ],
)
def test_what_cannot_be_searched_is_an_error_that_names_the_place(
    tmp_path, content, fields, message
):
    path = tmp_path / "set.jsonl"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        read_set(str(path), fields, base="")
    assert "set.jsonl" in str(caught.value)


def test_files_that_are_not_what_they_say_are_errors(tmp_path):
    for name in ("a.parquet", "a.arrow", "a.csv"):
        (tmp_path / name).write_bytes(b"PAR1\xff\xfe nothing of the kind")
        with pytest.raises(InputError, match=name):
            read_set(str(tmp_path / name), [], base="")


def test_a_pattern_without_files_is_an_error(tmp_path):
    with pytest.raises(InputError, match="no file matches"):
        read_set("absent/*.jsonl", [], base=str(tmp_path))


def test_an_index_comes_back_from_its_folder(tmp_path):
    arrays = {
        "hashes": np.array([1, 2**64 - 1], np.uint64),
        "none": np.zeros(0, np.int32),
    }
    plain = {"ngram": 13, "sets": ["mmlu"]}
    write_index(str(tmp_path / "index"), plain, arrays)
    again, read = read_index(str(tmp_path / "index"))
    assert again == plain
    assert read.keys() == arrays.keys()
    for name, array in arrays.items():
        assert read[name].dtype == array.dtype
        np.testing.assert_array_equal(read[name], array)


def test_a_broken_index_is_an_error(tmp_path):
    with pytest.raises(InputError, match="cannot read the index"):
        read_index(str(tmp_path))
    write_index(str(tmp_path), {}, {"hashes": np.arange(9)})
    (tmp_path / "hashes.npy").write_bytes(b"\x93NUMPY")
    with pytest.raises(InputError, match="cannot read the index"):
        read_index(str(tmp_path))
