from __future__ import annotations

import gzip
import io
import itertools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mixcurate.io import records
from mixcurate.io.compression import open_plain
from mixcurate.io.records import Rejection
from mixcurate.io.text import read_text


def read(data: bytes, **options: Any) -> tuple[list[tuple[int, str]], list[Rejection]]:
    documents, rejected = [], []
    for batch in read_text(open_plain(io.BytesIO(data), "test"), **options):
        assert batch.documents.schema == records.RAW
        documents += [(d["position"], d["text"]) for d in batch.documents.to_pylist()]
        rejected += batch.rejected
    return documents, rejected


@pytest.mark.parametrize(
    "data",
    [
        "Grüße\n\nund mehr\n".encode(),
        b"\xef\xbb\xbf" + "Grüße\n\nund mehr\n".encode(),
        "Grüße\n\nund mehr\n".encode("utf-16"),
        b"\xfe\xff" + "Grüße\n\nund mehr\n".encode("utf-16-be"),
        gzip.compress("Grüße\n\nund mehr\n".encode(), mtime=0),
    ],
)
def test_a_file_is_one_document(data: bytes) -> None:
    assert read(data) == ([(0, "Grüße\n\nund mehr\n")], [])


@pytest.mark.parametrize(
    ("delimiter", "data", "expected"),
    [
        ("\n", b"one\r\ntwo\n\n  \nthree", [(0, "one"), (5, "two"), (13, "three")]),
        ("\n\n\n", b"one\ntwo\n\n\nthree\n\n\n", [(0, "one\ntwo"), (10, "three")]),
        ("<|end|>", b"one<|end|>two<|e<|end|>", [(0, "one"), (10, "two<|e")]),
        ("¶", "a¶b¶".encode(), [(0, "a"), (3, "b")]),
        ("¶", "\ufeffa¶b¶".encode("utf-16-le"), [(0, "a"), (3, "b")]),
    ],
)
def test_pieces_between_delimiters_are_documents(
    delimiter: str, data: bytes, expected: list[tuple[int, str]]
) -> None:
    assert read(data, delimiter=delimiter) == (expected, [])


def test_what_is_no_text_costs_one_rejection() -> None:
    documents, rejected = read(b"caf\xe9")
    assert (documents, [(r.position, r.reason) for r in rejected]) == ([], [(0, "invalid_utf8")])
    documents, rejected = read(b"one\ncaf\xe9\nthree", delimiter="\n")
    assert [text for _, text in documents] == ["one", "three"]
    assert [(r.position, r.reason) for r in rejected] == [(4, "invalid_utf8")]
    assert [r.reason for r in read(b" \n ")[1]] == ["empty_file"]
    assert [r.reason for r in read("a".encode("utf-32"))[1]] == ["invalid_utf8"]


def test_a_file_above_the_limit_is_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "MAX_RECORD_BYTES", 1_000)
    assert read(b"x" * 1_000) == ([(0, "x" * 1_000)], [])
    documents, [rejection] = read(b"x" * 5_000)
    assert documents == []
    assert rejection.reason == "too_large"
    assert "5,000 bytes" in rejection.detail
    assert "`delimiter`" in rejection.detail


def test_damage_costs_one_rejection() -> None:
    packed = gzip.compress(b"one\ntwo\nthree")[:-9]
    documents, rejected = read(packed)
    assert (documents, [r.reason for r in rejected]) == ([], ["truncated"])
    documents, rejected = read(packed, delimiter="\n")
    assert [text for _, text in documents] == ["one", "two"]
    assert [r.reason for r in rejected] == ["truncated"]


@settings(max_examples=200, deadline=None)
@given(
    data=st.lists(st.sampled_from([b"word", b"\xff", b"\n", b"\r\n", b" ", b"\0"])).map(b"".join),
    cuts=st.lists(st.integers(0, 80), max_size=5),
)
def test_any_split_into_ranges_reads_as_the_whole(data: bytes, cuts: list[int]) -> None:
    if data.startswith(b"\xff\xfe"):
        return
    edges = sorted({0, len(data), *[cut for cut in cuts if cut < len(data)]})
    parts = [read(data, delimiter="\n", start=a, stop=b) for a, b in itertools.pairwise(edges)]
    whole = read(data, delimiter="\n")
    assert [d for documents, _ in parts for d in documents] == whole[0]
    assert [r for _, rejected in parts for r in rejected] == whole[1]
