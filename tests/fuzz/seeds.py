"""Small good files of every format, as their real writers make them: where the fuzzer begins."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import lzma
import tarfile
from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

from tests.fuzz.properties import CHOICES

ROWS: list[dict[str, Any]] = [
    {"text": "one, two\nthree", "url": "http://x.org/1", "licence": "CC0", "id": "1", "n": 1.5},
    {"text": "Grüße \u2028 😀", "url": None, "id": "2", "a": {"b": "inner"}},
    {"text": "", "id": "3", "a": [{"b": "in a list"}]},
    {"text": 'a "quoted" text' * 4, "a.b": "dotted", "big": 1 << 63},
]

#: Words that a mutation can put in: what the formats give a meaning to.
WORDS = {
    "warc": [
        *["WARC/1.0\\x0d\\x0a", "WARC/1.1", "WARC-Type: response", "WARC-Type: conversion"],
        *["Content-Length: ", "Content-Type: ", "text/html; charset=", "\\x0d\\x0a\\x0d\\x0a"],
        *["HTTP/1.1 200 OK\\x0d\\x0a", "Transfer-Encoding: chunked", "Content-Encoding: gzip"],
        *["Content-Encoding: br", "Content-Encoding: deflate", "99999999999999999999", "-1"],
    ],
    "jsonl": [
        '{\\"text\\":',
        "\\\\ud800",
        "[[[[",
        '{\\"a\\":{',
        "\\xef\\xbb\\xbf",
        "1e999",
        "null",
    ],
    "csv": ["text,n", '\\"\\"', '\\",\\"', "\\x0d\\x0a", "\\xff\\xfe", "\\xef\\xbb\\xbf"],
    "tar": ["ustar\\x00", "ustar  \\x00", "././@LongLink", "path=", "size=", "GNU.sparse.name="],
    "html": [
        *["<div>", "</div>", "<p>", "<table><tr><td>", "<!--", "<![CDATA[", "&#0;", "<svg>"],
        *["<script>", "<a href=", "<article>", "<meta charset=", "<?xml encoding=", "<noscript>"],
    ],
}


def seeds(name: str) -> list[bytes]:
    """Contents of format ``name``, each with choices behind it."""
    contents = list(_SEEDS[name]())
    variants = [bytes([0, 1, *[0] * 6]), bytes([1, 2, 1, 7, 80, 130, 200, 3])]
    variants += [bytes([2, 1, 9, 90, 40, 100, 220, 2]), bytes([8, 2, 3, 30, 250, 128, 30, 6])]
    assert all(len(variant) == CHOICES for variant in variants)
    return [content + variant for content in contents for variant in variants]


def dictionary(name: str) -> str:
    """The words of a format as libFuzzer reads them."""
    words = WORDS.get({"wet": "warc"}.get(name, name), [])
    return "".join(f'"{word}"\n' for word in words) or '"\\xff"\n'  # it must not be empty


def _packed(content: bytes) -> Iterator[bytes]:
    yield content
    yield gzip.compress(content[:50], mtime=0) + gzip.compress(content[50:], mtime=0)
    yield zstandard.compress(content)
    yield bz2.compress(content)
    yield lzma.compress(content)


def _jsonl() -> Iterator[bytes]:
    yield from _packed(b"".join(json.dumps(row).encode() + b"\n" for row in ROWS))
    yield b"\xef\xbb\xbf{}\r\n\r\n[1]\n{broken\n" + json.dumps(ROWS[0]).encode()


def _csv() -> Iterator[bytes]:
    sink = io.StringIO()
    writer = csv.writer(sink)
    writer.writerow(["text", "url", "licence", "id"])
    for row in ROWS:
        writer.writerow([row.get(name) for name in ("text", "url", "licence", "id")])
    yield from _packed(sink.getvalue().encode())
    yield sink.getvalue().encode("utf-16")
    yield b'a.b;n\n1;2\n"open;3\n4;5\nx"y;6\n'


def _text() -> Iterator[bytes]:
    text = "\n\n".join(str(row["text"]) for row in ROWS)
    yield from _packed(text.encode())
    yield text.encode("utf-16")
    yield text.encode("latin-1", "replace")


def record(kind: str, content: bytes, media: str) -> bytes:
    """One WARC record."""
    head = f"WARC/1.0\r\nWARC-Type: {kind}\r\nWARC-Target-URI: <http://x.org/>\r\n"
    head += f"WARC-Date: 2024-05-06T07:08:09Z\r\nContent-Type: {media}\r\n"
    return head.encode() + b"Content-Length: %d\r\n\r\n%s\r\n\r\n" % (len(content), content)


def response(body: bytes, header: str = "Server: x", charset: str = "utf-8") -> bytes:
    """One HTTP response in a WARC record."""
    head = f"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset={charset}\r\n{header}"
    return record("response", head.encode() + b"\r\n\r\n" + body, "application/http")


def _warc() -> Iterator[bytes]:
    page = b"<html><p>A page.</p>"
    yield from _packed(
        record("warcinfo", b"software: x", "application/warc-fields") + response(page) * 2
    )
    yield response(gzip.compress(page, mtime=0), "Content-Encoding: gzip")
    yield response(b"5\r\n<html\r\n3;x=y\r\n>ab\r\n0\r\n\r\n", "Transfer-Encoding: chunked")
    yield response(b"\x0b\x02\x80hello\x03", "Content-Encoding: br") + response(b"<none>")
    yield b"junk" * 9 + response(page) + b"junk" * 9 + response(page)[:-20]


def _wet() -> Iterator[bytes]:
    texts = [record("conversion", str(row["text"]).encode(), "text/plain") for row in ROWS]
    yield from _packed(b"".join(texts))


def _tar() -> Iterator[bytes]:
    for form in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT):
        sink = io.BytesIO()
        with tarfile.open(fileobj=sink, mode="w", format=form, bufsize=512) as archive:
            for i, row in enumerate(ROWS[:2]):
                stem = ("ü" * 60 if i and form != tarfile.USTAR_FORMAT else "") + str(i)
                for ending in ("json", "txt", "cls"):
                    content = json.dumps(row).encode() if ending == "json" else b"content"
                    header = tarfile.TarInfo(f"{stem}.{ending}")
                    header.size = len(content)
                    archive.addfile(header, io.BytesIO(content))
            link = tarfile.TarInfo("2.txt")
            link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
            archive.addfile(link)
        archive_bytes = sink.getvalue().rstrip(b"\0")  # tarfile fills up to 10 KiB
        yield archive_bytes + bytes(-len(archive_bytes) % 512 + 1024)
    yield gzip.compress(sink.getvalue(), mtime=0)


def _tables() -> Iterator[pa.Table]:
    rows = [{key: row.get(key) for key in ("text", "url", "id")} for row in ROWS]
    plain = pa.Table.from_pylist(rows)
    yield plain
    yield pa.table({"text": plain["text"].dictionary_encode(), "b": pa.array([b"\xff"] * 4)})
    yield pa.table({"a": [{"b": "inner", "c": [1, None]}] * 5, "id": pa.array([None] * 5)})


def _parquet() -> Iterator[bytes]:
    for table in _tables():
        for options in ({"compression": "none"}, {"compression": "zstd", "version": "1.0"}):
            sink = io.BytesIO()
            pq.write_table(table, sink, row_group_size=2, store_schema=False, **options)
            yield sink.getvalue()


def _arrow() -> Iterator[bytes]:
    for table in _tables():
        for new in (pa.ipc.new_file, pa.ipc.new_stream):
            for codec in (None, "lz4"):
                sink = io.BytesIO()
                options = pa.ipc.IpcWriteOptions(compression=codec)
                with new(sink, table.schema, options=options) as writer:
                    writer.write_table(table.combine_chunks(), max_chunksize=2)
                yield sink.getvalue()


def _paths() -> Iterator[bytes]:
    lines = ["crawl-data/a.warc.gz", "b/c.jsonl", "https://x.org/d.parquet?e", "s3://f/g.tar"]
    yield from _packed("\n".join(lines).encode())
    yield b"../a.jsonl\r\n/etc/passwd.txt\nfile:///x.txt\n\n" + lines[0].encode()


def _html() -> Iterator[bytes]:
    words = "The old bridge over the river was closed, because its pillars are renewed. " * 3
    page = "<!DOCTYPE html><html lang=en><head><title>Bridge</title><meta charset=utf-8></head>"
    page += f"<body><nav><a href=/>Home</a></nav><article><h1>Bridge</h1><p>{words}</p><table><tr>"
    page += f"<td>Length<td>3</tr></table><ul><li>{words}</ul></article></body></html>"
    yield page.encode()
    yield page.encode("utf-16")
    yield b"<div>" * 300 + words.encode() + b"<svg><math><p>"


_SEEDS: dict[str, Callable[[], Iterator[bytes]]] = {
    "warc": _warc,
    "wet": _wet,
    "jsonl": _jsonl,
    "csv": _csv,
    "text": _text,
    "lines": _text,
    "tar": _tar,
    "parquet": _parquet,
    "arrow": _arrow,
    "paths": _paths,
    "html": _html,
}
NAMES = list(_SEEDS)
