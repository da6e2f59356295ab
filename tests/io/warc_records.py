"""WARC records made by hand, and short ways to read them."""

from __future__ import annotations

import dataclasses
import io
from typing import Any

from mixcurate.io.compression import open_plain
from mixcurate.io.records import Rejection
from mixcurate.io.warc import read_warc, read_wet

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


def chunked(body: bytes) -> bytes:
    return b"%x\r\n%s\r\n%x;ext=1\r\n%s\r\n0\r\n\r\n" % (5, body[:5], len(body) - 5, body[5:])


WETS = [wet(b"text %d " % i * 30, f"http://a.org/{i}") for i in range(40)]


def boundaries(parts: list[bytes]) -> list[int]:
    return [sum(map(len, parts[:i])) for i in range(len(parts) + 1)]
