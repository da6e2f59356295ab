from __future__ import annotations

import gzip
import io
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mixcurate.io import lines, records
from mixcurate.io.compression import open_plain
from mixcurate.io.lines import as_utf8, is_utf16, read_pieces
from mixcurate.io.records import Rejection


def oracle(data: bytes, delimiter: bytes) -> list[tuple[int, bytes]]:
    position, found = 0, []
    *ended, last = data.split(delimiter)
    for piece in ended:
        found.append((position, piece))
        position += len(piece) + len(delimiter)
    return found + ([(position, last)] if last else [])


@settings(max_examples=400, deadline=None)
@given(
    data=st.lists(st.sampled_from([b"a", b"\n", b"\n\n", b"<", b">", b"<>", b"\r"])).map(b"".join),
    delimiter=st.sampled_from([b"\n", b"\n\n", b"\n\n\n", b"<>", b"a\na"]),
    chunk=st.integers(1, 7),
)
def test_pieces_are_those_of_split(data: bytes, delimiter: bytes, chunk: int) -> None:
    with mock.patch.object(lines, "CHUNK", chunk):
        stream = open_plain(io.BytesIO(data), "x")
        assert list(read_pieces(stream, delimiter=delimiter)) == oracle(data, delimiter)


@settings(max_examples=300, deadline=None)
@given(
    data=st.lists(st.sampled_from([b"ab", b"c", b"\n", b"", b"\r\n"])).map(b"".join),
    cuts=st.lists(st.integers(0, 60), max_size=5),
    bom=st.booleans(),
)
def test_ranges_give_each_piece_once(data: bytes, cuts: list[int], bom: bool) -> None:
    data = lines.BOM * bom + data
    edges = sorted({0, len(data), *[cut for cut in cuts if cut < len(data)]})
    parts = [
        piece
        for start, stop in zip(edges, edges[1:], strict=False)
        for piece in read_pieces(open_plain(io.BytesIO(data), "x"), start=start, stop=stop)
    ]
    assert parts == list(read_pieces(open_plain(io.BytesIO(data), "x")))


@pytest.mark.parametrize("delimiter", [b"\n", b"\n\n\n"])
def test_a_huge_piece_is_told_and_not_held(
    delimiter: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records, "MAX_RECORD_BYTES", 100)
    monkeypatch.setattr(lines, "CHUNK", 64)
    data = delimiter.join([b"a", b"x" * 1_000, b"y" * 100, b"z" * 101])
    found = list(read_pieces(open_plain(io.BytesIO(data), "x"), delimiter=delimiter))
    size = len(delimiter)
    assert [p if isinstance(p, bytes) else p.reason for _, p in found] == [
        b"a",
        "too_large",
        b"y" * 100,
        "too_large",
    ]
    assert [position for position, _ in found] == [0, 1 + size, 1_001 + 2 * size, 1_101 + 3 * size]
    huge = found[1][1]
    assert isinstance(huge, Rejection)
    assert "1,000 bytes" in huge.detail
    assert set(huge.excerpt) == {"x"}


def test_a_cut_piece_counts_only_where_it_is_whole() -> None:
    data = gzip.compress(b"one\ntwo\nthree", 1)[:-8]
    assert [p for _, p in read_pieces(open_plain(io.BytesIO(data), "x"))] == [b"one", b"two"]
    stream = open_plain(io.BytesIO(data), "x")
    whole = read_pieces(stream, is_whole=lambda piece: piece == b"three")
    assert [p for _, p in whole] == [b"one", b"two", b"three"]


@settings(max_examples=200, deadline=None)
@given(
    text=st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from("😀\n"), max_size=60),
    encoding=st.sampled_from(["utf-16-le", "utf-16-be"]),
    chunk=st.integers(1, 9),
    size=st.integers(1, 9),
)
def test_utf16_is_read_as_utf8(text: str, encoding: str, chunk: int, size: int) -> None:
    data = ("\ufeff" + text).encode(encoding)
    with mock.patch.object(lines, "CHUNK", chunk):
        stream = as_utf8(open_plain(io.BytesIO(data), "x"))
        parts = list(iter(lambda: stream.read(size), b""))
    assert b"".join(parts).decode() == text
    assert stream.tell() == len(text.encode())


def test_broken_utf16_is_no_valid_utf8() -> None:
    for data in (b"\xff\xfea\0\x00\xd8b\0", b"\xff\xfea\0b"):
        stream = as_utf8(open_plain(io.BytesIO(data), "x"))
        with pytest.raises(UnicodeDecodeError):
            stream.read(100).decode()
    assert not is_utf16("\ufeffab".encode("utf-32-le"))
