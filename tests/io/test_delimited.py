from __future__ import annotations

import csv
import gzip
import io
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mixcurate.io import delimited, lines, records
from mixcurate.io.compression import open_plain
from mixcurate.io.delimited import read_delimited
from mixcurate.io.records import FieldParams, Rejection

FIELDS = FieldParams()
Read = tuple[list[dict[str, Any]], list[Rejection]]


def read(data: bytes, fields: FieldParams = FIELDS, delimiter: str = ",") -> Read:
    documents, rejected = [], []
    stream = open_plain(io.BytesIO(data), "test")
    for batch in read_delimited(stream, fields=fields, delimiter=delimiter):
        assert batch.documents.schema == records.RAW
        documents += batch.documents.to_pylist()
        rejected += batch.rejected
    return documents, rejected


def texts(result: Read) -> list[str]:
    return [document["text"] for document in result[0]]


def reasons(result: Read) -> list[tuple[int, str]]:
    return [(r.position, r.reason) for r in result[1]]


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_cells_land_in_their_columns(pack: Any, end: str) -> None:
    rows = ["key,body,link,rights,n", 'k1,"Grüße, ""Welt""",http://a.org/,CC0,1', "k2,two,,,"]
    data = pack(end.join(rows).encode())
    fields = FieldParams(
        text_field="body", url_field="link", licence_field="rights", id_field="key"
    )
    first, second = 22 + len(end), 22 + len(rows[1].encode()) + 2 * len(end)
    documents, rejected = read(data, fields)
    assert rejected == []
    assert documents == [
        {
            "position": first,
            "own_id": "k1",
            "text": 'Grüße, "Welt"',
            "url": "http://a.org/",
            "licence": "CC0",
            "metadata": '{"n":"1"}',
        },
        {
            "position": second,
            "own_id": "k2",
            "text": "two",
            "url": None,
            "licence": None,
            "metadata": '{"n":""}',
        },
    ]


def test_a_mark_of_the_byte_order_is_no_part_of_the_header() -> None:
    for data in ("\ufefftext,n\né,1\n".encode(), "\ufefftext,n\né,1\n".encode("utf-16-le")):
        assert texts(read(data)) == ["é"]


def test_cells_hold_newlines_and_tabs_delimit() -> None:
    data = b'text\tn\n"one\n\ntwo\tthree"\t1\n\nfour\t2\n'
    result = read(data, delimiter="\t")
    assert texts(result) == ["one\n\ntwo\tthree", "four"]
    assert [d["position"] for d in result[0]] == [7, 27]
    assert result[1] == []


def test_a_name_that_appears_twice_keeps_its_first_column() -> None:
    assert texts(read(b"text,text\nfirst,second\n")) == ["first"]


def test_each_broken_row_costs_one_rejection() -> None:
    rows = [
        b"text,n",
        b"good,1",
        b"short",
        b"long,1,2",
        b'"closed" early,1',
        b"caf\xe9,1",
        b'"never closed,1',
        b"good,2",
        b'"good","3"',
        b"bare\rreturn,1",
        b",4",
        b"good,5",
    ]
    places = [sum(len(row) + 1 for row in rows[:i]) for i in range(len(rows))]
    result = read(b"\n".join(rows))
    assert texts(result) == ["good", "good", "good", "", "good"]
    assert [json.loads(d["metadata"])["n"] for d in result[0]] == ["1", "2", "3", "4", "5"]
    assert reasons(result) == [
        (places[2], "ragged_row"),
        (places[3], "ragged_row"),
        (places[4], "broken_row"),
        (places[5], "invalid_utf8"),
        (places[6], "broken_row"),
        (places[9], "broken_row"),
    ]
    assert "2 lines after it, up to there, are read again" in result[1][4].detail
    assert result[1][4].excerpt == '"never closed,1'


def test_a_quote_that_is_never_closed_costs_its_own_row() -> None:
    rows = [b"row %d,%d" % (i, i) for i in range(5_000)]
    rows[2_000] = b'"' + rows[2_000]
    result = read(b"\n".join([b"text,n", *rows]))
    assert len(result[0]) == 4_999
    assert [r.reason for r in result[1]] == ["broken_row"]
    assert "unexpected end of data" in result[1][0].detail


@pytest.mark.parametrize("where", [0, 1, 2])
def test_a_row_above_the_limit_is_not_held(where: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delimited, "MAX_ROW_BYTES", 1_000)
    rows = [b"a,1", b"b,2"]
    rows.insert(where, b"x" * 5_000 + b",3")
    result = read(b"\n".join([b"text,n", *rows]))
    assert texts(result) == ["a", "b"]
    assert reasons(result) == [(7 + 4 * where, "too_large")]
    monkeypatch.setattr(records, "MAX_RECORD_BYTES", 2_000)  # now the line itself is not held
    monkeypatch.setattr(lines, "CHUNK", 100)
    again = read(b"\n".join([b"text,n", *rows]))
    assert again[0] == result[0]
    assert reasons(again) == reasons(result)
    assert "5,002 bytes" in again[1][0].detail


def test_open_quotes_take_bounded_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each line opens a quote that stays open to the end, through any number of lines."""
    monkeypatch.setattr(delimited, "_REREAD", 1_000)
    monkeypatch.setattr(delimited, "MAX_ROW_BYTES", 2_000)
    n_fed = 0
    feed = delimited._Rows._feed

    def counted(self: Any) -> Any:
        nonlocal n_fed
        for line in feed(self):
            n_fed += len(line)
            yield line

    monkeypatch.setattr(delimited._Rows, "_feed", counted)
    data = b"text,n\n" + b'a","\n' * 10_000
    documents, rejected = read(data)
    assert documents == []
    assert {r.reason for r in rejected} == {"broken_row"}
    assert n_fed < 2.2 * len(data) + 2_000
    left_out = [r for r in rejected if "left out" in r.detail]
    assert left_out


@pytest.mark.parametrize(
    ("data", "detail"),
    [
        (b"\x89PNG\r\n\x1a\n\0\0" + bytes(range(256)) * 9, "header"),
        (b"id;text\n1;a\n2;b\n", "another `delimiter`"),
        (b'"never\n' * 3, "header cannot be read"),
        (b"caf\xe9,text\nx,y\n", "not UTF-8"),
    ],
)
def test_a_file_without_a_header_costs_one_rejection(data: bytes, detail: str) -> None:
    documents, [rejection] = read(data)
    assert documents == []
    assert (rejection.position, rejection.reason) == (0, "not_csv")
    assert detail in rejection.detail


def test_a_table_without_the_column_tells_each_row() -> None:
    documents, rejected = read(b"a,b\n1,2\n3,4\n")
    assert documents == []
    assert {r.reason for r in rejected} == {"no_text_field"}
    assert "the record has: a, b" in rejected[0].detail


def test_one_column_is_enough_if_it_is_the_text() -> None:
    assert texts(read(b"text\na\n\nb c\n")) == ["a", "b c"]


def test_every_cut_costs_exactly_one_rejection() -> None:
    rows = b"".join(b'"text %d\n of ""two"" lines",%d\n' % (i, i * i) for i in range(2_000))
    packed = gzip.compress(b"text,n\n" + rows)
    whole = texts(read(packed))
    assert len(whole) == 2_000
    for cut in range(30, len(packed), len(packed) // 40):
        result = read(packed[:cut])
        assert [r.reason for r in result[1]] == ["truncated"], cut
        assert texts(result) == whole[: len(result[0])]


# A bare carriage return is not among them: Python 3.11 writes it without the quotes that it needs.
character = st.characters(codec="utf-8", exclude_characters="\r")
cell = st.text(character, max_size=8) | st.sampled_from(['"', ",", "\n", '""', ""])
pieces = st.sampled_from([b'"', b",", b"\n", b"a", b"\r", b"\xff", b"\0"])


@settings(max_examples=200, deadline=None)
@given(rows=st.lists(st.tuples(cell, cell), max_size=12), end=st.sampled_from(["\n", "\r\n"]))
def test_what_python_writes_is_read(rows: list[tuple[str, str]], end: str) -> None:
    sink = io.StringIO(newline="")
    writer = csv.writer(sink, lineterminator=end, quoting=csv.QUOTE_MINIMAL)
    writer.writerows([("text", "n"), *rows])
    documents, rejected = read(sink.getvalue().encode())
    assert rejected == []
    assert [(d["text"], json.loads(d["metadata"])["n"]) for d in documents] == rows


@settings(max_examples=400, deadline=None)
@given(data=st.lists(pieces).map(b"".join))
def test_no_line_is_lost(data: bytes) -> None:
    """Each line is in a document's row or told by a rejection, whatever quotes there are."""
    documents, rejected = read(b"text,n\n" + data)
    starts = {d["position"] for d in documents} | {r.position for r in rejected}
    assert len(starts) == len(documents) + len(rejected)
    position = 7
    for line in data.split(b"\n"):
        if line.strip(b"\r") and b'"' not in data:
            assert position in starts
        position += len(line) + 1
