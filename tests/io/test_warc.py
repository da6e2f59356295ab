from __future__ import annotations

import dataclasses
import gzip
import io
import random
import zlib
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mixcurate.io import records
from mixcurate.io.compression import open_plain
from mixcurate.io.http_body import decode_body, looks_like_html
from mixcurate.io.records import Rejection
from mixcurate.io.warc import read_warc, read_wet

DATA = Path(__file__).parents[2].parent / "shared" / "data"
real = pytest.mark.skipif(not DATA.exists(), reason="the shared data is not here")

PAGE = b"<html><body><p>Some words of a page.</p></body></html>"
URL = "http://example.org/page"


def record(
    kind: str, content: bytes, *, length: int | None = None, url: str = URL, **headers: str
) -> bytes:
    lines = ["WARC/1.0", f"WARC-Type: {kind}", f"WARC-Target-URI: {url}"]
    lines += ["WARC-Date: 2024-05-06T07:08:09Z"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    lines += [f"Content-Length: {len(content) if length is None else length}"]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + content + b"\r\n\r\n"


def response(
    body: bytes = PAGE, *headers: str, status: str = "HTTP/1.1 200 OK", url: str = URL
) -> bytes:
    head = "\r\n".join([status, *(headers or ("Content-Type: text/html; charset=utf-8",))])
    content = head.encode() + b"\r\n\r\n" + body
    return record("response", content, url=url, Content_Type="application/http; msgtype=response")


def wet(text: bytes, url: str = URL) -> bytes:
    return record("conversion", text, url=url, Content_Type="text/plain")


@dataclasses.dataclass(frozen=True)
class Page:
    text: str
    title: str | None = None
    licence: str | None = None


def decoded(body: bytes, charset: str | None, url: str | None) -> Page:
    return Page(body.decode(charset or "utf-8", "replace"))


def collect(batches: Any) -> tuple[list[dict[str, Any]], list[Rejection]]:
    documents, rejected = [], []
    for batch in batches:
        documents += batch.documents.to_pylist()
        rejected += batch.rejected
    return documents, rejected


def warc(data: bytes, extract: Any = decoded) -> tuple[list[dict[str, Any]], list[Rejection]]:
    return collect(read_warc(open_plain(io.BytesIO(data), "x"), extract=extract))


def wets(data: bytes) -> tuple[list[dict[str, Any]], list[Rejection]]:
    return collect(read_wet(open_plain(io.BytesIO(data), "x")))


def reasons(rejected: list[Rejection]) -> list[tuple[int, str]]:
    return [(r.position, r.reason) for r in rejected]


def test_pages_become_documents_at_their_offsets() -> None:
    head = record("warcinfo", b"software: x") + record("request", b"GET / HTTP/1.1\r\n\r\n")
    second = response("schön".encode("latin-1"), "Content-Type: text/html; charset=latin-1")
    tail = record("metadata", b"a: b") + record("revisit", b"")
    parts = [head, response(), second, tail]
    seen = []

    def extract(body: bytes, charset: str | None, url: str | None) -> Page:
        seen.append((body, charset, url))
        return decoded(body, charset, url)

    for data in (b"".join(parts), b"".join(map(gzip.compress, parts))):
        documents, rejected = warc(data, extract)
        assert rejected == []
        assert documents == [
            {
                "position": len(head),
                "own_id": None,
                "text": PAGE.decode(),
                "url": URL,
                "licence": None,
                "metadata": '{"date":"2024-05-06T07:08:09Z"}',
            },
            documents[1],
        ]
        assert documents[1]["position"] == len(head) + len(response())
        assert documents[1]["text"] == "schön"
    assert seen[:2] == [(PAGE, "utf-8", URL), ("schön".encode("latin-1"), "latin-1", URL)]


@pytest.mark.parametrize(
    ("data", "reason", "detail"),
    [
        (response(status="HTTP/1.1 404 Not Found"), "http_status", "status 404"),
        (response(status="HTTP/1.0 301 Moved"), "http_status", "status 301"),
        (response(b"GIF89a", "Content-Type: image/gif"), "not_html", "image/gif"),
        (response(b"words", "Content-Type: text/plain"), "not_html", "text/plain"),
        (response(b"just words", "Server: x"), "not_html", "does not begin like HTML"),
        (record("response", b"20240101 1.2.3.4", Content_Type="text/dns"), "not_html", "text/dns"),
        (record("resource", PAGE, Content_Type="text/html"), "record_type", "resource record"),
        (record("conversion", b"text"), "record_type", "conversion record"),
        (response(b""), "no_main_text", "0 bytes"),
        (response(PAGE, "X: " + "y" * 40_000), "corrupt", "HTTP header"),
    ],
)
def test_what_is_no_page_costs_one_rejection(data: bytes, reason: str, detail: str) -> None:
    documents, rejected = warc(response() + data + response())
    assert len(documents) == 2
    assert reasons(rejected) == [(len(response()), reason)]
    assert detail in rejected[0].detail


@pytest.mark.parametrize(
    "page",
    [
        response(PAGE, "Server: x"),
        response(PAGE, "Content-Type: application/octet-stream"),
        response(PAGE, "Content-Type: Application/XHTML+XML;charset=utf-8"),
        response(PAGE, status="Content-Type: text/html"),  # no status line
        response(url=f"<{URL}>"),  # as wget writes it
        response().replace(b"Content-Type: application/http; msgtype=response\r\n", b""),
    ],
)
def test_lenient_pages_are_read(page: bytes) -> None:
    documents, rejected = warc(page)
    assert rejected == []
    assert [(d["text"], d["url"]) for d in documents] == [(PAGE.decode(), URL)]


def chunked(body: bytes) -> bytes:
    return b"%x\r\n%s\r\n%x;ext=1\r\n%s\r\n0\r\n\r\n" % (5, body[:5], len(body) - 5, body[5:])


@pytest.mark.parametrize(
    ("body", "header"),
    [
        (gzip.compress(PAGE), "Content-Encoding: gzip"),
        (PAGE, "Content-Encoding: gzip"),  # the crawler decoded it and kept the header
        (zlib.compress(PAGE), "Content-Encoding: deflate"),
        (zlib.compress(PAGE)[2:-4], "Content-Encoding: deflate"),
        (chunked(PAGE), "Transfer-Encoding: chunked"),
        (PAGE, "Transfer-Encoding: chunked"),
        (chunked(gzip.compress(PAGE)), "Transfer-Encoding: chunked\r\nContent-Encoding: gzip"),
        (PAGE, "Content-Encoding: br"),
        (PAGE, "Content-Encoding: identity"),
        (PAGE, "Content-Encoding: nonsense, \xff"),
    ],
)
def test_http_encodings_are_undone_where_they_are_there(body: bytes, header: str) -> None:
    documents, rejected = warc(response(body, "Content-Type: text/html", header))
    assert rejected == []
    assert [d["text"] for d in documents] == [PAGE.decode()]


def test_a_damaged_body_gives_what_can_be_decoded() -> None:
    body = b"".join(b"<p>%d</p>" % (i * i) for i in range(5_000))
    cut = decode_body(gzip.compress(body)[:-2_000], ["gzip"], 1 << 20)
    assert body.startswith(cut)
    assert len(cut) > 10_000
    assert decode_body(chunked(body)[:-5_000], ["chunked"], 1 << 20) == body[: -5_000 + 7]
    assert decode_body(b"5\r\nhello\r\njunk", ["chunked"], 1 << 20) == b"hello"


def test_a_body_that_is_a_bomb_is_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "MAX_RECORD_BYTES", 100_000)
    bomb = response(gzip.compress(bytes(10_000_000)), "Content-Encoding: gzip")
    documents, rejected = warc(bomb + response())
    assert len(documents) == 1
    assert reasons(rejected) == [(0, "too_large")]
    for codec in ("gzip", "deflate"):
        pack = gzip.compress if codec == "gzip" else zlib.compress
        assert len(decode_body(pack(bytes(1_000_000)), [codec], 1_000)) == 1_001


def test_a_record_above_the_limit_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "MAX_RECORD_BYTES", 1_000)
    data = response(b"<p>" * 1_000) + response()
    documents, rejected = warc(data)
    assert len(documents) == 1
    assert reasons(rejected) == [(0, "too_large")]
    assert "3,000 bytes" in rejected[0].detail
    documents, rejected = wets(wet(b"w" * 1_001) + wet(b"w" * 1_000))
    assert [len(d["text"]) for d in documents] == [1_000]
    assert reasons(rejected) == [(0, "too_large")]


@pytest.mark.parametrize(
    "error",
    [ValueError("v"), RecursionError("r"), UnicodeError("u"), KeyError("k"), OSError(5, "x")],
)
def test_an_extractor_that_raises_costs_one_rejection(error: Exception) -> None:
    def extract(body: bytes, charset: str | None, url: str | None) -> Page:
        if b"bad" in body:
            raise error
        return Page("text")

    documents, rejected = warc(response(b"bad") + response(), extract)
    assert len(documents) == 1
    assert reasons(rejected) == [(0, "extraction_failed")]
    assert type(error).__name__ in rejected[0].detail


@pytest.mark.parametrize(
    ("page", "reason"),
    [
        (None, "no_main_text"),
        (Page(""), "no_main_text"),
        (Page(" \n"), "no_main_text"),
        (Page("\ud800"), "extraction_failed"),
        (Page("text", title="\ud800"), "extraction_failed"),
        (Page("text", licence="\ud800"), "extraction_failed"),
    ],
)
def test_an_extractor_without_text(page: Page | None, reason: str) -> None:
    documents, rejected = warc(response(), lambda body, charset, url: page)
    assert (documents, reasons(rejected)) == ([], [(0, reason)])


def test_what_a_page_says_about_itself_is_kept() -> None:
    page = Page("text", title="Übersicht", licence="https://creativecommons.org/licenses/by/4.0/")
    documents, rejected = warc(response(), lambda body, charset, url: page)
    assert rejected == []
    assert documents[0]["licence"] == page.licence
    assert documents[0]["metadata"] == '{"date":"2024-05-06T07:08:09Z","title":"Übersicht"}'


def test_wet_records_become_documents() -> None:
    info = record("warcinfo", b"Software-Info: x")
    data = info + wet("Grüße".encode(), "http://a.org/") + wet(b"caf\xe9") + wet(b"")
    data += record("conversion", b"%PDF", Content_Type="application/pdf") + response()
    documents, rejected = wets(data)
    assert [(d["text"], d["url"]) for d in documents] == [("Grüße", "http://a.org/"), ("", URL)]
    assert documents[0]["position"] == len(info)
    assert documents[0]["metadata"] == '{"date":"2024-05-06T07:08:09Z"}'
    assert [r.reason for r in rejected] == ["invalid_utf8", "not_text", "record_type"]


WETS = [wet(b"text %d " % i * 30, f"http://a.org/{i}") for i in range(40)]


def boundaries(parts: list[bytes]) -> list[int]:
    return [sum(map(len, parts[:i])) for i in range(len(parts) + 1)]


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


def test_a_header_that_is_too_long_ends_the_file() -> None:
    documents, rejected = wets(wet(b"a") + record("conversion", b"b", X="y" * 50_000) + wet(b"c"))
    assert [d["text"] for d in documents] == ["a"]
    assert reasons(rejected) == [(len(wet(b"a")) - 4, "corrupt")]


@pytest.mark.parametrize(
    "content", [PAGE * 200, b"\x89PNG\r\n\x1a\n" + bytes(100_000), b'{"text": "a"}\n' * 99]
)
def test_a_file_that_is_no_warc_costs_one_rejection(content: bytes) -> None:
    for data in (content, gzip.compress(content)):
        assert reasons(warc(data)[1]) == [(0, "not_warc")]
        assert reasons(wets(data)[1]) == [(0, "not_warc")]


def test_a_failing_disk_is_no_rejection() -> None:
    class Failing(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            if self.tell() > 5_000:
                raise OSError(5, "Input/output error")
            return super().read(min(size or 0, 1_000))

    with pytest.raises(OSError, match="Input/output"):
        collect(read_wet(open_plain(Failing(b"".join(WETS) * 9), "x")))


@settings(max_examples=200, deadline=None)
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


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"\xef\xbb\xbf\n<!DOCTYPE html>", True),
        (b'<?xml version="1.0"?>\n<html xmlns="x">', True),
        (b"<HTML>", True),
        (b'<?xml version="1.0"?><rss version="2.0">', False),
        (b"\x89PNG", False),
        (b"a < b and b > c", False),
        (b" " * 5_000 + b"<html>", False),
    ],
)
def test_sniffing(body: bytes, expected: bool) -> None:
    assert looks_like_html(body) is expected


@real
@pytest.mark.parametrize(
    ("name", "documents", "rejected"),
    [
        ("cc-resiliparse-2020.warc.gz", 16, {}),
        ("cc-whirlwind.warc.gz", 1, {}),
        ("dolma-sample-0000.warc.gz", 22, {"record_type": 2}),
        ("iah-blackbook-2008.warc.gz", 94, {"not_html": 158, "http_status": 47}),
        ("pywb-iana.warc.gz", 16, {"not_html": 28, "http_status": 4}),
    ],
)
def test_real_files(name: str, documents: int, rejected: dict[str, int]) -> None:
    with (DATA / "web" / "real" / name).open("rb") as stream:
        found, dropped = collect(read_warc(open_plain(stream, name), extract=decoded))
    assert len(found) == documents
    assert Counter(r.reason for r in dropped) == rejected
    assert all(d["url"].startswith("http") and "<" in d["text"] for d in found)
    assert len({d["position"] for d in found} | {r.position for r in dropped}) == documents + sum(
        rejected.values()
    )


@real
def test_real_wet_agrees_with_a_reading_by_hand() -> None:
    path = DATA / "web" / "weborganizer.warc.wet.gz"
    plain = gzip.decompress(path.read_bytes())
    with path.open("rb") as stream:
        found, rejected = collect(read_wet(open_plain(stream, path.name)))
    assert rejected == []
    assert len(found) == plain.count(b"WARC-Type: conversion\r\n")
    for document in found:
        head, rest = plain[document["position"] :].split(b"\r\n\r\n", 1)
        assert head.startswith(b"WARC/1.0\r\n")
        assert rest.startswith(document["text"].encode() + b"\r\n\r\n")
