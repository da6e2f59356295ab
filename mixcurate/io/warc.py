"""WARC and WET: web pages as they were crawled, and the text that Common Crawl made of them.

fastwarc does the framing. It recovers from damage in silence, so what it leaves out is measured
here: a record that is shorter than it declares, bytes between records that belong to none.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import orjson
from fastwarc.warc import ArchiveIterator, WarcHeader

from mixcurate.io import records
from mixcurate.io.compression import PlainStream
from mixcurate.io.http_body import decode_body, looks_like_html
from mixcurate.io.records import RawBatch, RawBuilder, Rejection
from mixcurate.tables import EXCERPT


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

#: Bytes between two records that are no loss: writers end a record with more or fewer newlines.
_PADDING = 16


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


def read_warc(stream: PlainStream, *, extract: HtmlExtractor) -> Iterator[RawBatch]:
    """The main text of each HTML page that was answered with 200, and a rejection for the others.

    Records that hold no page (``warcinfo``, ``request``, ``metadata``, ``revisit``) are skipped.
    A position is the record's byte offset in the decompressed file.
    """

    def page(record: Any, body: bytes, url: str | None) -> ExtractedPage | Rejection:
        return _page(record, body, url, extract)

    return _read(stream, _Kind("response", _check_response, page))


def read_wet(stream: PlainStream) -> Iterator[RawBatch]:
    """The text of each ``conversion`` record; everything else as ``read_warc``."""
    return _read(stream, _Kind("conversion", _check_conversion, _plain_text))


def _read(stream: PlainStream, kind: _Kind) -> Iterator[RawBatch]:
    builder = RawBuilder()
    cut = False
    for record in _records(stream):
        rejection = record if isinstance(record, Rejection) else _add(builder, record, kind)
        if rejection is not None:
            cut = cut or rejection.reason == "truncated"
            builder.reject(rejection)
        yield from builder.full()
    if stream.error is not None and not cut:
        builder.reject(Rejection.of(stream.tell(), "truncated", stream.error))
    yield from builder.rest()


def _records(stream: PlainStream) -> Iterator[Any]:
    """The records that fastwarc finds, and a rejection for each stretch that it leaves out."""
    tape = _Tape(stream)
    head = stream.peek(EXCERPT * 4)
    source: Any = tape  # fastwarc declares that it wants seek and close, and calls neither
    archive = ArchiveIterator(source, parse_http=False, stream_detect=False, quirks_mode=True)
    end: int | None = 0  # where the record before ends, None if it does not say
    found = False
    try:
        for record in archive:
            position = record.stream_pos
            if end is not None and position - end > _PADDING:
                yield _gap(end, position)
            found = True
            content = tape.header_end(position)
            length = _declared_length(record)
            end = None if content is None or length is None else content + length
            if content is None and tape.ended:
                detail = f"the file ends in the header of a record; {stream.error or 'it is cut'}"
                yield Rejection.of(position, "truncated", detail)
            elif length is None:
                detail = "the record has no usable Content-Length, so that its content is unknown"
                yield Rejection.of(position, "corrupt", detail)
            else:
                yield record
    except OSError as error:
        if error.errno is not None:  # of the disk or the network, not of fastwarc
            raise
        yield Rejection.of(end or 0, "corrupt", f"what follows cannot be read: {error}")
        return
    if not found and stream.tell():
        yield Rejection.of(0, "not_warc", f"no WARC record in {stream.tell():,} bytes", head)
    elif end is not None and stream.tell() - end > _PADDING:
        yield _gap(end, stream.tell())


def _declared_length(record: Any) -> int | None:
    """Content-Length if fastwarc understands it the same way: it takes what it cannot read as 0."""
    text = (record.headers.get(WarcHeader.CONTENT_LENGTH) or "").strip()
    usable = text.isdecimal() and len(text) < 20 and int(text) == record.content_length
    return int(text) if usable else None


def _gap(start: int, end: int) -> Rejection:
    detail = f"{end - start:,} bytes that belong to no record, up to byte {end:,}"
    return Rejection.of(start, "corrupt", detail)


class _Tape:
    """What fastwarc reads from: it remembers the last bytes, to find where a header ends."""

    _KEEP = 128 << 10  # fastwarc reads 64 KiB at once, and no header above 32 KiB

    def __init__(self, stream: PlainStream) -> None:
        self._stream = stream
        self.recent = b""
        self.ended = False

    def read(self, size: int) -> bytes:
        data = self._stream.read(size)
        self.recent = self.recent[-self._KEEP :] + data
        self.ended = not data
        return data

    def tell(self) -> int:
        return self._stream.tell()

    def header_end(self, position: int) -> int | None:
        """Where the content of the record at ``position`` begins; None if its header is cut."""
        start = self._stream.tell() - len(self.recent)
        end = -1
        for blank in (b"\n\r\n", b"\n\n"):  # whichever comes first
            found = self.recent.find(blank, max(0, position - start), None if end < 0 else end)
            end = end if found < 0 else found + len(blank)
        return None if end < 0 else start + end


def _add(builder: RawBuilder, record: Any, kind: _Kind) -> Rejection | None:
    """Add the document of one record, or tell why it has none; None also for a skipped record."""
    position = record.stream_pos
    url = record.headers.get(WarcHeader.WARC_TARGET_URI)
    url = url.strip("<> ") if url else None  # wget writes <http://…>
    wanted = str(record.record_type) == kind.name
    rejection = kind.check(record) if wanted else _other_record(record, kind)
    declared = record.content_length  # of an HTTP record now without its HTTP header
    if rejection is None and wanted and declared > records.MAX_RECORD_BYTES:
        detail = f"the content has {declared:,} bytes; the limit is {records.MAX_RECORD_BYTES:,}"
        rejection = Rejection.of(position, "too_large", detail, url or "")
    if rejection is not None or not wanted:
        got = record.consume()
        return rejection if got >= declared else _cut(position, declared, got, url)
    body = _read_full(record.reader, declared)
    if len(body) < declared:
        return _cut(position, declared, len(body), url)
    page = kind.convert(record, body, url)
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
    return Rejection.of(record.stream_pos, "record_type", detail, url)


def _cut(position: int, declared: int, got: int, url: str | None) -> Rejection:
    detail = f"the record declares {declared:,} bytes and the file has {got:,} of them"
    return Rejection.of(position, "truncated", detail, url or "")


def _read_full(reader: Any, size: int) -> bytes:
    """``size`` bytes of a record, fewer only where the file ends."""
    data: bytes = reader.read(size)
    while len(data) < size and (more := reader.read(size - len(data))):
        data += more
    return data


def _check_response(record: Any) -> Rejection | None:
    """Parse the HTTP header and tell by it whether the response is a page."""
    position = record.stream_pos
    url = record.headers.get(WarcHeader.WARC_TARGET_URI) or ""
    block_type = _media_type(record.headers.get(WarcHeader.CONTENT_TYPE))
    if block_type not in ("", "application/http"):
        return Rejection.of(position, "not_html", f"the record is {block_type}", url)
    record.is_http = True
    try:
        record.parse_http(auto_decode="none", quirks_mode=True)
    except OSError as error:
        if error.errno is not None:
            raise
        return Rejection.of(position, "corrupt", f"the HTTP header: {error}", url)
    status = record.http_headers.status_code
    if status not in (None, 200):
        return Rejection.of(position, "http_status", f"status {status}", url)
    media = _media_type(record.http_headers.get("Content-Type"))
    if media not in _HTML and media not in _UNKNOWN:
        return Rejection.of(position, "not_html", f"content type {media[:80]}", url)
    return None


def _page(
    record: Any, body: bytes, url: str | None, extract: HtmlExtractor
) -> ExtractedPage | Rejection:
    """What the page of a response holds, whose header is parsed."""
    position = record.stream_pos
    headers = record.http_headers
    encodings = f"{headers.get('Content-Encoding') or ''},{headers.get('Transfer-Encoding') or ''}"
    limit = records.MAX_RECORD_BYTES
    body = decode_body(body, [name.strip() for name in encodings.lower().split(",")], limit)
    if len(body) > limit:
        detail = f"the page has more than {limit:,} bytes when it is decoded"
        return Rejection.of(position, "too_large", detail, url or "")
    if _media_type(headers.get("Content-Type")) not in _HTML and not looks_like_html(body):
        detail = "no content type is declared and the content does not begin like HTML"
        return Rejection.of(position, "not_html", detail, body)
    charset = (record.http_charset or "").strip("\"' ") or None
    try:
        page = extract(body, charset, url)
        if page:
            for found in (page.text, page.title, page.licence):
                (found or "").encode("utf-8")  # no lone surrogates: no table could hold them
    except Exception as error:  # noqa: BLE001 - parsers raise all there is for hostile pages
        detail = f"{type(error).__name__}: {error}"[:500]
        return Rejection.of(position, "extraction_failed", detail, url or "")
    if page is None or not page.text or page.text.isspace():
        return Rejection.of(position, "no_main_text", f"{len(body):,} bytes of HTML", url or "")
    return page


def _check_conversion(record: Any) -> Rejection | None:
    media = _media_type(record.headers.get(WarcHeader.CONTENT_TYPE))
    if media in ("", "text/plain"):
        return None
    url = record.headers.get(WarcHeader.WARC_TARGET_URI) or ""
    return Rejection.of(record.stream_pos, "not_text", f"content type {media[:80]}", url)


def _plain_text(record: Any, body: bytes, url: str | None) -> _Text | Rejection:  # noqa: ARG001
    try:
        return _Text(body.decode("utf-8"))
    except UnicodeDecodeError as error:
        detail = f"byte {error.start} of the content is not UTF-8: {error.reason}"
        return Rejection.of(record.stream_pos, "invalid_utf8", detail, body)


def _media_type(header: str | None) -> str:
    return (header or "").split(";", 1)[0].strip().lower()
