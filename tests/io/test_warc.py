from __future__ import annotations

import gzip
import zlib
from collections import Counter
from pathlib import Path

import pytest

from mixcurate.io import records
from mixcurate.io.compression import open_plain
from mixcurate.io.http_body import decode_body, looks_like_html
from mixcurate.io.warc import read_warc, read_wet
from tests.io.warc_records import (
    PAGE,
    URL,
    Page,
    chunked,
    collect,
    decoded,
    reasons,
    record,
    response,
    warc,
    wet,
    wets,
)

DATA = Path(__file__).parents[2].parent / "shared" / "data"
real = pytest.mark.skipif(not DATA.exists(), reason="the shared data is not here")


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


@pytest.mark.parametrize(
    ("body", "header"),
    [
        (gzip.compress(PAGE, mtime=0), "Content-Encoding: gzip"),
        (PAGE, "Content-Encoding: gzip"),  # the crawler decoded it and kept the header
        (zlib.compress(PAGE), "Content-Encoding: deflate"),
        (zlib.compress(PAGE)[2:-4], "Content-Encoding: deflate"),
        (chunked(PAGE), "Transfer-Encoding: chunked"),
        (PAGE, "Transfer-Encoding: chunked"),
        (
            chunked(gzip.compress(PAGE, mtime=0)),
            "Transfer-Encoding: chunked\r\nContent-Encoding: gzip",
        ),
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
