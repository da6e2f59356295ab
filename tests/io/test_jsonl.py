from __future__ import annotations

import gzip
import io
import itertools
import json
import subprocess
import sys
from typing import Any

import orjson
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from mixcurate.io import records
from mixcurate.io.compression import open_plain
from mixcurate.io.jsonl import read_jsonl
from mixcurate.io.records import FieldParams, Rejection

FIELDS = FieldParams()
LINES = [json.dumps({"text": f"text number {i} " * 20, "n": i}).encode() for i in range(3_000)]


def read(
    data: bytes, *, fields: FieldParams = FIELDS, start: int = 0, stop: int | None = None
) -> tuple[list[dict[str, Any]], list[Rejection]]:
    documents, rejected = [], []
    stream = open_plain(io.BytesIO(data), "test")
    for batch in read_jsonl(stream, fields=fields, start=start, stop=stop):
        assert batch.documents.schema == records.RAW
        documents += batch.documents.to_pylist()
        rejected += batch.rejected
    return documents, rejected


def offsets(lines: list[bytes]) -> list[int]:
    return [0, *itertools.accumulate(len(line) + 1 for line in lines)][:-1]


def test_every_field_lands_in_its_column() -> None:
    record = {
        "body": "Grüße, 世界",
        "link": "https://example.org/",
        "rights": "CC-BY-4.0",
        "key": 17,
        "tags": ["a", {"b": None}],
        "date": "2024-01-01",
    }
    fields = FieldParams(
        text_field="body", url_field="link", licence_field="rights", id_field="key"
    )
    documents, rejected = read(orjson.dumps(record) + b"\n", fields=fields)
    assert rejected == []
    assert documents == [
        {
            "position": 0,
            "own_id": "17",
            "text": "Grüße, 世界",
            "url": "https://example.org/",
            "licence": "CC-BY-4.0",
            "metadata": '{"date":"2024-01-01","tags":["a",{"b":null}]}',
        }
    ]


@pytest.mark.parametrize("pack", [bytes, gzip.compress, zstandard.ZstdCompressor().compress])
@pytest.mark.parametrize("end", [b"\n", b""])
def test_positions_are_byte_offsets_of_lines(pack: Any, end: bytes) -> None:
    documents, rejected = read(pack(b"\n".join(LINES) + end))
    assert rejected == []
    assert [d["position"] for d in documents] == offsets(LINES)
    assert [d["text"] for d in documents] == [json.loads(line)["text"] for line in LINES]


def test_blank_lines_crlf_and_bom_are_no_records() -> None:
    data = b'\xef\xbb\xbf{"text":"a"}\r\n\r\n  \t\n\n{"text":"b"}\r\n'
    documents, rejected = read(data)
    assert rejected == []
    assert [(d["position"], d["text"]) for d in documents] == [(0, "a"), (24, "b")]
    assert data[24:].startswith(b'{"text":"b"')


def test_each_broken_line_costs_one_rejection() -> None:
    deep = b'{"text": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    lines = [
        b'{"text": "good"}',
        b'{"text": "caf\xe9"}',
        b'{"text": "cut',
        b"[1, 2]",
        b'"a string"',
        b'{"other": "x", "more": 1}',
        b'{"text": null}',
        b'{"text": 17}',
        deep,
        b'{"text": "lone \\ud800"}',
        b"\0" * 50,
        b'{"text": "good again"}',
    ]
    documents, rejected = read(b"\n".join(lines))
    places = offsets(lines)
    assert [(d["position"], d["text"]) for d in documents] == [
        (places[0], "good"),
        (places[11], "good again"),
    ]
    assert [(r.position, r.reason) for r in rejected] == list(
        zip(
            places[1:11],
            ["invalid_utf8"]
            + ["not_json"] * 3
            + ["no_text_field"] * 3
            + ["not_json", "not_json", "not_json"],
            strict=True,
        )
    )
    assert "list, not an object" in rejected[2].detail
    assert "'text' is missing; the record has: more, other" in rejected[4].detail
    assert "is int, not text" in rejected[6].detail
    assert all(len(r.excerpt) <= 200 and len(r.detail) < 500 for r in rejected)


@pytest.mark.parametrize("depth", [200, 254, 500, 990, 1020])
@pytest.mark.parametrize("field", ["meta", "url", "text"])
def test_nesting_that_orjson_reads_but_cannot_write(depth: int, field: str) -> None:
    record = b'{"text":"a","%s":' % field.encode() + b"[" * depth + b"]" * depth + b"}"
    documents, rejected = read(record + b"\n" + b'{"text":"b"}')
    expected = ["b"] if field == "text" else ["a", "b"]
    assert [d["text"] for d in documents] == expected
    assert len(rejected) == 2 - len(expected)


def test_a_missing_id_is_told_when_ids_are_asked_for() -> None:
    data = b'{"text":"a","key":"k"}\n{"text":"b"}'
    documents, rejected = read(data, fields=FieldParams(id_field="key"))
    assert [d["own_id"] for d in documents] == ["k"]
    assert [(r.position, r.reason) for r in rejected] == [(23, "no_id_field")]


line = st.one_of(
    st.text(max_size=40).map(lambda text: orjson.dumps({"text": text})),
    st.sampled_from([b"", b"  ", b"junk", b"\xff\xfe", b'{"a":1}', b'{"text":"x"}\r']),
)


@settings(max_examples=300, deadline=None)
@given(
    lines=st.lists(line, max_size=20),
    cuts=st.lists(st.integers(0, 400), max_size=6),
    bom=st.booleans(),
    end=st.booleans(),
)
def test_any_split_into_ranges_reads_as_the_whole(
    lines: list[bytes], cuts: list[int], bom: bool, end: bool
) -> None:
    data = b"\xef\xbb\xbf" * bom + b"\n".join([b'{"text":"first"}', *lines]) + b"\n" * end
    whole = read(data)
    edges = sorted({0, len(data), *[cut for cut in cuts if cut < len(data)]})
    parts = [read(data, start=a, stop=b) for a, b in zip(edges, edges[1:], strict=False)]
    assert [d for documents, _ in parts for d in documents] == whole[0]
    assert [r for _, rejected in parts for r in rejected] == whole[1]


def test_ranges_larger_than_the_read_buffer_meet_exactly() -> None:
    data = b"\n".join(LINES * 3)
    assert len(data) > 2 << 20
    edges = [0, 1, 1 << 20, (1 << 20) + 1, len(data) - 3, len(data), len(data) + 10]
    parts = [read(data, start=a, stop=b)[0] for a, b in zip(edges, edges[1:], strict=False)]
    assert [d for part in parts for d in part] == read(data)[0]
    assert all(len(part) == 0 for part in (parts[2], parts[4], parts[5]))


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.ZstdCompressor().compress])
def test_truncated_compression_costs_exactly_one_rejection(pack: Any) -> None:
    packed = pack(b"\n".join(LINES))
    texts = [json.loads(line)["text"] for line in LINES]
    for cut in range(11, len(packed), len(packed) // 25):
        documents, rejected = read(packed[:cut])
        assert [r.reason for r in rejected] == ["truncated"], cut
        assert [d["text"] for d in documents] == texts[: len(documents)]
        end = documents[-1]["position"] if documents else 0
        assert rejected[0].position >= end
        assert "too early" in rejected[0].detail


def test_a_cut_in_the_trailer_keeps_the_last_line() -> None:
    documents, rejected = read(gzip.compress(b"\n".join(LINES))[:-4])
    assert len(documents) == len(LINES)
    assert [(r.position, r.reason) for r in rejected] == [(len(b"\n".join(LINES)), "truncated")]


@pytest.mark.parametrize("where", ["first", "middle", "last"])
def test_a_huge_line_is_skipped_once(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "MAX_RECORD_BYTES", 3_000_000)
    huge = orjson.dumps({"text": "x" * 7_000_000})
    fits = orjson.dumps({"text": "y" * 2_900_000})
    lines = [b'{"text":"a"}', fits, b'{"text":"b"}']
    at = {"first": 0, "middle": 1, "last": 3}[where]
    lines.insert(at, huge)
    documents, rejected = read(b"\n".join(lines))
    assert [d["text"][:1] for d in documents] == ["a", "y", "b"]
    assert [(r.position, r.reason) for r in rejected] == [(offsets(lines)[at], "too_large")]
    assert "7,000,011 bytes" in rejected[0].detail
    assert rejected[0].excerpt == '{"text":"' + "x" * 191


def test_the_limit_is_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "MAX_RECORD_BYTES", 20)
    documents, rejected = read(b'{"text":"12345678"} \n{"text":"123456789"} \n')
    assert [d["text"] for d in documents] == ["12345678"]
    assert [(r.position, r.reason) for r in rejected] == [(21, "too_large")]


@pytest.mark.parametrize(
    ("content", "detail"),
    [
        (b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 40, "zero bytes"),
        (b"<!DOCTYPE html>\n<html>\n<body>\n" + b"<p>words</p>\n" * 900, "no line"),
        (b'[\n  {"text": "a"},\n  {"text": "b"}\n]\n', "one JSON array"),
        ('{"text": "a"}\n{"text": "b"}\n'.encode("utf-16"), "UTF-16"),
        (b"id,text\n1,hello\n" * 1000, "no line"),
    ],
    ids=["png", "html", "array", "utf16", "csv"],
)
def test_a_file_that_is_something_else_costs_one_rejection(content: bytes, detail: str) -> None:
    for data in (content, gzip.compress(content)):
        documents, rejected = read(data)
        assert documents == []
        assert [(r.position, r.reason) for r in rejected] == [(0, "not_jsonl")]
        assert detail in rejected[0].detail
    assert read(content, start=10, stop=20) == ([], [])  # told by the first task only


def test_one_broken_first_line_does_not_condemn_the_file() -> None:
    long = orjson.dumps({"text": "z" * 10_000})
    documents, rejected = read(b"# a comment\n" + long + b"\n" + long)
    assert len(documents) == 2
    assert [(r.position, r.reason) for r in rejected] == [(0, "not_json")]


BOMB = """
import gzip, io, sys
from mixcurate.io.compression import open_plain
from mixcurate.io.jsonl import read_jsonl
from mixcurate.io.records import FieldParams
head, fill = eval(sys.argv[1])
member = gzip.compress(fill * (32 << 20), 1)
stream = open_plain(io.BytesIO(gzip.compress(head) + member * 32), "bomb")
batches = list(read_jsonl(stream, fields=FieldParams()))
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
print([(r.position, r.reason) for batch in batches for r in batch.rejected], peak.split()[1])
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize(
    ("head", "fill", "reason"), [(b'{"text":"', b"0", "too_large"), (b"", b"\0", "not_jsonl")]
)
def test_a_gigabyte_in_one_line_stays_below_300_mb(head: bytes, fill: bytes, reason: str) -> None:
    command = [sys.executable, "-c", BOMB, repr((head, fill))]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    found, kilobytes = result.stdout.rsplit(maxsplit=1)
    assert found == f"[(0, '{reason}')]"
    assert int(kilobytes) < 300_000
