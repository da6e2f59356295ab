from __future__ import annotations

import gzip
import io
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mixcurate.io.compression import open_plain
from mixcurate.io.warc import read_wet
from tests.io.warc_records import (
    PAGE,
    WETS,
    boundaries,
    chunked,
    collect,
    reasons,
    record,
    response,
    warc,
    wet,
    wets,
)


def test_a_plain_file_cut_anywhere_costs_one_rejection() -> None:
    data = b"".join(WETS)
    starts = boundaries(WETS)
    random_cuts = random.Random(1).sample(range(1, len(data)), 60)
    header = data.index(b"\r\n\r\n")
    for cut in [*random_cuts, *range(12, header + 6)]:
        documents, rejected = wets(data[:cut])
        # A record is whole without the empty lines after it.
        whole = sum(end - 4 <= cut for end in starts[1:])
        assert len(documents) == whole, cut
        if starts[whole] >= cut:
            assert rejected == [], cut
        elif cut - starts[whole] > 9:  # less is not even the line `WARC/1.0`
            assert reasons(rejected) == [(starts[whole], "truncated")], cut


@pytest.mark.parametrize("member", [True, False], ids=["by record", "as a whole"])
def test_a_compressed_file_cut_anywhere_costs_one_rejection(member: bool) -> None:
    packed = list(map(gzip.compress, WETS)) if member else [gzip.compress(b"".join(WETS))]
    data = b"".join(packed)
    ends = set(boundaries(packed))
    for cut in random.Random(2).sample(range(12, len(data)), 60):
        documents, rejected = wets(data[:cut])
        expected = [] if cut in ends else ["truncated"]
        assert [r.reason for r in rejected] == expected, cut
        assert [d["url"] for d in documents] == [f"http://a.org/{i}" for i in range(len(documents))]


@pytest.mark.parametrize("last", [record("request", b"GET / HTTP/1.1"), response(status="H 404")])
def test_a_cut_in_a_record_that_is_no_page_is_told_too(last: bytes) -> None:
    data = response() + last
    documents, rejected = warc(data[:-10])
    assert len(documents) == 1
    assert reasons(rejected) == [(len(response()), "truncated")]


@pytest.mark.parametrize("cut", [-60, -100])
def test_a_cut_in_a_page_is_told(cut: int) -> None:
    documents, rejected = warc((response() + response())[:cut])
    assert len(documents) == 1
    assert reasons(rejected) == [(len(response()), "truncated")]


def test_a_length_that_nobody_could_read_is_truncated() -> None:
    documents, rejected = wets(wet(b"a") + record("conversion", b"b", length=2**62))
    assert len(documents) == 1
    assert reasons(rejected) == [(len(wet(b"a")), "truncated")]
    assert "4,611,686,018,427,387,904" in rejected[0].detail


@pytest.mark.parametrize("length", ["", "-3", "abc", "9" * 30, "9" * 5_000, "1 2"])
def test_an_unusable_length_costs_one_rejection(length: str) -> None:
    broken = wet(b"lost text").replace(b"Content-Length: 9", f"Content-Length: {length}".encode())
    documents, rejected = wets(wet(b"a") + broken + wet(b"c"))
    assert [d["text"] for d in documents] == ["a", "c"]
    assert reasons(rejected) == [(len(wet(b"a")), "corrupt")]


def test_bytes_between_records_are_told() -> None:
    junk = b"junk that belongs to no record\r\n\r\n"
    documents, rejected = wets(wet(b"a") + junk + wet(b"b") + junk * 2)
    assert [d["text"] for d in documents] == ["a", "b"]
    assert reasons(rejected) == [
        (len(wet(b"a")) - 4, "corrupt"),
        (len(wet(b"a") + junk + wet(b"b")) - 4, "corrupt"),
    ]
    assert "38 bytes" in rejected[0].detail


@pytest.mark.parametrize("newlines", [b"", b"\r\n", b"\r\n\r\n\r\n", b"\n" * 8])
def test_more_or_fewer_newlines_are_no_damage(newlines: bytes) -> None:
    documents, rejected = wets(wet(b"a")[:-4] + newlines + wet(b"b"))
    assert [d["text"] for d in documents] == ["a", "b"]
    assert rejected == []


def test_a_header_that_is_too_long_costs_one_rejection() -> None:
    for junk in ("y" * 50_000, "y" * 70_000):
        data = wet(b"a") + record("conversion", b"b", X=junk) + wet(b"c")
        documents, rejected = wets(data)
        assert [d["text"] for d in documents] == ["a", "c"]
        assert reasons(rejected) == [(len(wet(b"a")), "corrupt")]


@pytest.mark.parametrize(
    "content", [PAGE * 200, b"\x89PNG\r\n\x1a\n" + bytes(100_000), b'{"text": "a"}\n' * 99]
)
def test_a_file_that_is_no_warc_costs_one_rejection(content: bytes) -> None:
    for data in (content, gzip.compress(content)):
        assert reasons(warc(data)[1]) == [(0, "not_warc")]
        assert reasons(wets(data)[1]) == [(0, "not_warc")]


def test_a_record_found_far_inside_another_is_read_of_a_stream_too() -> None:
    outer = record("conversion", bytes(900_000), length=2_000_000)
    for data in (outer + wet(b"a"), gzip.compress(outer + wet(b"a"))):
        documents, rejected = wets(data)
        assert [(d["position"], d["text"]) for d in documents] == [(len(outer), "a")]
        assert reasons(rejected) == [(0, "truncated")]


def test_a_failing_disk_is_no_rejection() -> None:
    class Failing(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            if self.tell() > 5_000:
                raise OSError(5, "Input/output error")
            return super().read(min(size or 0, 1_000))

    with pytest.raises(OSError, match="Input/output"):
        collect(read_wet(open_plain(Failing(b"".join(WETS) * 9), "x")))


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_damage_never_raises_and_never_invents(data: st.DataObject) -> None:
    parts = [wet(b"one"), response(), response(chunked(PAGE), "Transfer-Encoding: chunked")]
    broken = bytearray(b"".join(parts))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(broken) - 1))
        junk = data.draw(st.sampled_from([b"\0", b"\r\n", b"\xff", b"9", b":", b"WARC/1.0\r\n"]))
        broken[at : at + data.draw(st.integers(0, 20))] = junk
    for documents, _ in (warc(bytes(broken)), wets(bytes(broken))):
        assert len(documents) <= 3
