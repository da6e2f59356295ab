"""The body of an HTTP response as a crawler stored it: undone transfer encodings, told types."""

from __future__ import annotations

import io
import re
import zlib
from typing import Any

from fastwarc.stream_io import BrotliReader

from mixcurate.io.compression import open_plain

_CHUNK_HEAD = re.compile(rb"(?:\r?\n)?([0-9A-Fa-f]{1,8})[ \t]*(?:;[^\r\n]*)?\r?\n")
_HTML = re.compile(rb"<(!doctype\s+html|html|head|title|body|h1|div|table|p|br|a)[\s/>]", re.I)
_SNIFFED = 1024


def decode_body(body: bytes, encodings: list[str], limit: int) -> bytes:
    """``body`` without its transfer and content ``encodings`` (as applied: the last first).

    At most ``limit + 1`` bytes, so that a bomb is seen and never unpacked. Crawlers often store a
    decoded body under the headers of the encoded one: what is not encoded stays as it is, and of
    a damaged body what can be decoded is given.
    """
    for encoding in reversed(encodings):
        if encoding == "chunked":
            body = _join_chunks(body) or body
        elif encoding == "br":
            body = _drain(BrotliReader(io.BytesIO(body)), limit) or body
        elif encoding == "deflate":
            body = _inflate(body, limit) or body
        elif encoding in ("gzip", "x-gzip", "zstd"):
            body = _drain(open_plain(io.BytesIO(body), encoding), limit) or body
    return body


def looks_like_html(body: bytes) -> bool:
    """Whether a body that nobody declared is HTML: a telling tag near its beginning."""
    return _HTML.search(body[:_SNIFFED]) is not None


def _join_chunks(body: bytes) -> bytes:
    """The chunks up to the last, or to the damage; fastwarc's reader knows no extensions."""
    parts = []
    end = 0
    while (head := _CHUNK_HEAD.match(body, end)) and (size := int(head[1], 16)):
        end = head.end() + size
        parts.append(body[head.end() : end])
    return b"".join(parts)


def _drain(reader: Any, limit: int) -> bytes:
    """Up to ``limit + 1`` bytes, or what comes before the damage."""
    parts = []
    left = limit + 1
    try:
        while left and (data := reader.read(min(left, 64 << 10))):
            parts.append(data)
            left -= len(data)
    except OSError:  # fastwarc's word for data that it cannot decode
        pass
    return b"".join(parts)


def _inflate(body: bytes, limit: int) -> bytes:
    """Deflate with or without its zlib header: servers send both."""
    for wbits in (15, -15):
        try:
            return zlib.decompressobj(wbits).decompress(body, limit + 1)
        except zlib.error:
            continue
    return b""
