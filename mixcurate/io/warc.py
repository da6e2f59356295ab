"""WARC and WET: web pages as they were crawled, and the text that Common Crawl made of them.

Where records begin and end is told by ``warc_frames``; fastwarc reads their headers.
"""

from __future__ import annotations

import dataclasses
import io
import re
from collections.abc import Callable, Iterator
from typing import IO, Any, Protocol

import orjson
from fastwarc.warc import ArchiveIterator, WarcHeader

from mixcurate.io import records
from mixcurate.io.compression import PlainStream
from mixcurate.io.http_body import decode_body, looks_like_html
from mixcurate.io.records import RawBatch, RawBuilder, Rejection
from mixcurate.io.warc_frames import Frame
from mixcurate.io.warc_ranges import read_frames, stream_frames


class ExtractedPage(Protocol):
    """What an extractor found on a page."""

    @property
    def text(self) -> str:
        """The main text."""
        ...

    @property
    def title(self) -> str | None:
        """The page's title, if it has one."""
        ...

    @property
    def licence(self) -> str | None:
        """The licence that the page itself declares, as it writes it: an address or a name."""
        ...


#: What a page holds, from its bytes, the charset that HTTP declares, and its URL; None if it has no
#: main text. It may raise anything: parsers do.
HtmlExtractor = Callable[[bytes, str | None, str | None], ExtractedPage | None]

_NO_DOCUMENT = {"warcinfo", "request", "metadata", "revisit"}
_HTML = {"text/html", "application/xhtml+xml"}
#: Types that servers send when they do not know: the content tells.
_UNKNOWN = {"", "unknown", "unknown/unknown", "application/octet-stream", "application/unknown"}

_URL = re.compile(rb"^WARC-Target-URI[ \t]*:[ \t]*<?([^\s>]*)", re.I | re.M)


@dataclasses.dataclass(frozen=True)
class _Kind:
    """The one kind of records that become documents, and how."""

    name: str
    check: Callable[[Any], Rejection | None]
    """Told by the headers: why the record is not wanted."""
    convert: Callable[[Any, bytes, str | None], ExtractedPage | Rejection]
    """What a record holds, from its content and URL."""


@dataclasses.dataclass(frozen=True)
class _Text:
    """A text that comes without anything about it."""

    text: str
    title: str | None = None
    licence: str | None = None


def read_warc(
    stream: IO[bytes] | PlainStream,
    *,
    extract: HtmlExtractor,
    start: int = 0,
    stop: int | None = None,
) -> Iterator[RawBatch]:
    """The main text of each HTML page that was answered with 200, and a rejection for the others.

    Records that hold no page (``warcinfo``, ``request``, ``metadata``, ``revisit``) are skipped.
    A position is the offset of the record in the stored file, of its gzip member or Zstandard
    frame where it is compressed record by record (as in a CDX index), and the offset in the
    decompressed stream where the file is compressed as a whole.

    Args:
        stream: the stored file, which can seek; or a decompressed stream, read to its end.
        extract: what finds the main text.
        start: only records from this byte of the stored file on; see ``warc_ranges``.
        stop: only records that begin before this byte; None reads to the end.
    """

    def page(record: Any, body: bytes, url: str | None) -> ExtractedPage | Rejection:
        return _page(record, body, url, extract)

    return _read(stream, start, stop, _Kind("response", _check_response, page))


def read_wet(
    stream: IO[bytes] | PlainStream, *, start: int = 0, stop: int | None = None
) -> Iterator[RawBatch]:
    """The text of each ``conversion`` record; everything else as ``read_warc``."""
    return _read(stream, start, stop, _Kind("conversion", _check_conversion, _plain_text))


def _read(
    stream: IO[bytes] | PlainStream, start: int, stop: int | None, kind: _Kind
) -> Iterator[RawBatch]:
    plain = isinstance(stream, PlainStream)
    found = stream_frames(stream) if plain else read_frames(stream, start, stop)  # type: ignore[arg-type]
    builder = RawBuilder()
    for frame in found:
        rejection = frame if isinstance(frame, Rejection) else _add_frame(builder, frame, kind)
        if rejection is not None:
            builder.reject(rejection)
        yield from builder.full()
    yield from builder.rest()


def _add_frame(builder: RawBuilder, frame: Frame, kind: _Kind) -> Rejection | None:
    """Add the document of a frame, or tell why it has none."""
    url = _url_of(frame.data)
    if frame.damage is not None or frame.present < frame.length:
        cut = f"the record declares {frame.length:,} bytes and the file has {frame.present:,}"
        detail = f"{cut} of them" if frame.damage is None else frame.damage
        cut_off = frame.damage is None or frame.present < frame.length or "ends" in frame.damage
        return Rejection.of(frame.position, "truncated" if cut_off else "corrupt", detail, url)
    archive = ArchiveIterator(
        io.BytesIO(frame.data), parse_http=False, stream_detect=False, quirks_mode=True
    )
    try:
        record = next(iter(archive), None)
    except OSError as error:
        return Rejection.of(frame.position, "corrupt", f"the record's header: {error}", url)
    if record is None or record.content_length != frame.length:
        detail = "the record's header cannot be understood"
        return Rejection.of(frame.position, "corrupt", detail, frame.data)
    rejection = _add(builder, record, frame.position, kind)
    return rejection and dataclasses.replace(rejection, position=frame.position)


def _url_of(data: bytes) -> str:
    found = _URL.search(data[: 8 << 10])
    return found[1].decode("utf-8", "replace") if found else ""


def _add(builder: RawBuilder, record: Any, position: int, kind: _Kind) -> Rejection | None:
    """Add the document of one record, or tell why it has none; None also for a skipped record."""
    url = record.headers.get(WarcHeader.WARC_TARGET_URI)
    url = url.strip("<> ") if url else None  # wget writes <http://…>
    wanted = str(record.record_type) == kind.name
    rejection = kind.check(record) if wanted else _other_record(record, kind)
    declared = record.content_length  # of an HTTP record now without its HTTP header
    if rejection is None and wanted and declared > records.MAX_RECORD_BYTES:
        detail = f"the content has {declared:,} bytes; the limit is {records.MAX_RECORD_BYTES:,}"
        rejection = _refuse("too_large", detail, url or "")
    if rejection is not None or not wanted:
        return rejection
    page = kind.convert(record, record.reader.read(declared), url)
    if isinstance(page, Rejection):
        return page
    about = {"date": record.headers.get(WarcHeader.WARC_DATE), "title": page.title}
    about = {name: value for name, value in about.items() if value}
    metadata = orjson.dumps(about).decode() if about else None
    builder.add(position=position, text=page.text, url=url, licence=page.licence, metadata=metadata)
    return None


def _other_record(record: Any, kind: _Kind) -> Rejection | None:
    found = str(record.record_type)
    if found in _NO_DOCUMENT:
        return None
    detail = f"a {found} record; documents are made of {kind.name} records only"
    url = record.headers.get(WarcHeader.WARC_TARGET_URI) or ""
    return _refuse("record_type", detail, url)


def _refuse(reason: str, detail: str, excerpt: bytes | str) -> Rejection:
    """A rejection whose position is filled in by who knows it."""
    return Rejection.of(0, reason, detail, excerpt)


def _check_response(record: Any) -> Rejection | None:
    """Parse the HTTP header and tell by it whether the response is a page."""
    url = record.headers.get(WarcHeader.WARC_TARGET_URI) or ""
    block_type = _media_type(record.headers.get(WarcHeader.CONTENT_TYPE))
    if block_type not in ("", "application/http"):
        return _refuse("not_html", f"the record is {block_type}", url)
    record.is_http = True
    try:
        record.parse_http(auto_decode="none", quirks_mode=True)
    except OSError as error:
        if error.errno is not None:
            raise
        return _refuse("corrupt", f"the HTTP header: {error}", url)
    status = record.http_headers.status_code
    if status not in (None, 200):
        return _refuse("http_status", f"status {status}", url)
    media = _media_type(record.http_headers.get("Content-Type"))
    if media not in _HTML and media not in _UNKNOWN:
        return _refuse("not_html", f"content type {media[:80]}", url)
    return None


def _page(
    record: Any, body: bytes, url: str | None, extract: HtmlExtractor
) -> ExtractedPage | Rejection:
    """What the page of a response holds, whose header is parsed."""
    headers = record.http_headers
    encodings = f"{headers.get('Content-Encoding') or ''},{headers.get('Transfer-Encoding') or ''}"
    limit = records.MAX_RECORD_BYTES
    body = decode_body(body, [name.strip() for name in encodings.lower().split(",")], limit)
    if len(body) > limit:
        detail = f"the page has more than {limit:,} bytes when it is decoded"
        return _refuse("too_large", detail, url or "")
    if _media_type(headers.get("Content-Type")) not in _HTML and not looks_like_html(body):
        detail = "no content type is declared and the content does not begin like HTML"
        return _refuse("not_html", detail, body)
    charset = (record.http_charset or "").strip("\"' ") or None
    try:
        page = extract(body, charset, url)
        if page:
            for found in (page.text, page.title, page.licence):
                (found or "").encode("utf-8")  # no lone surrogates: no table could hold them
    except Exception as error:  # noqa: BLE001 - parsers raise all there is for hostile pages
        detail = f"{type(error).__name__}: {error}"[:500]
        return _refuse("extraction_failed", detail, url or "")
    if page is None or not page.text or page.text.isspace():
        return _refuse("no_main_text", f"{len(body):,} bytes of HTML", url or "")
    return page


def _check_conversion(record: Any) -> Rejection | None:
    media = _media_type(record.headers.get(WarcHeader.CONTENT_TYPE))
    if media in ("", "text/plain"):
        return None
    url = record.headers.get(WarcHeader.WARC_TARGET_URI) or ""
    return _refuse("not_text", f"content type {media[:80]}", url)


def _plain_text(record: Any, body: bytes, url: str | None) -> _Text | Rejection:  # noqa: ARG001
    try:
        return _Text(body.decode("utf-8"))
    except UnicodeDecodeError as error:
        detail = f"byte {error.start} of the content is not UTF-8: {error.reason}"
        return _refuse("invalid_utf8", detail, body)


def _media_type(header: str | None) -> str:
    return (header or "").split(";", 1)[0].strip().lower()
