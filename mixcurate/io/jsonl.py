"""JSON Lines: one document a line, read in bounded memory and in any byte ranges."""

from __future__ import annotations

from collections.abc import Iterator

import orjson

from mixcurate.io.compression import PlainStream
from mixcurate.io.lines import BOM, read_pieces
from mixcurate.io.records import FieldParams, RawBatch, RawBuilder, Rejection, add_mapping

_HEAD = 4 << 10


def read_jsonl(
    stream: PlainStream, *, fields: FieldParams, start: int = 0, stop: int | None = None
) -> Iterator[RawBatch]:
    """Documents of the lines whose first byte lies in ``[start, stop)``, and their rejections.

    A position is the byte offset of the line in the decompressed file, so that it is the same
    however the file is split. Whatever a line holds, it costs one rejection; damaged compression
    costs one (``truncated``) for the file, and so does a file that is no JSON Lines at all
    (``not_jsonl``), told by the task that starts at 0.
    """
    builder = RawBuilder()
    head = stream.peek(_HEAD)
    if problem := _not_jsonl(head):
        if start == 0:
            builder.reject(Rejection.of(0, "not_jsonl", problem, head))
        yield from builder.rest()
        return
    for position, line in read_pieces(stream, start=start, stop=stop, is_whole=_is_json):
        if isinstance(line, Rejection):
            builder.reject(line)
        elif line and not line.isspace():
            _add_line(builder, line, position, fields)
        yield from builder.full()
    if stream.error is not None:
        builder.reject(Rejection.of(stream.tell(), "truncated", stream.error))
    yield from builder.rest()


def _add_line(builder: RawBuilder, line: bytes, position: int, fields: FieldParams) -> None:
    """Add the document of one line, or the reason why it has none."""
    try:
        record = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        builder.reject(_broken_line(line, position, str(error)))
        return
    if not isinstance(record, dict):
        detail = f"the line is a JSON {type(record).__name__}, not an object"
        builder.reject(Rejection.of(position, "not_json", detail, line))
        return
    add_mapping(builder, record, position=position, fields=fields)


def _broken_line(line: bytes, position: int, problem: str) -> Rejection:
    try:
        line.decode("utf-8")
    except UnicodeDecodeError as error:
        detail = f"byte {error.start} of the line is not UTF-8: {error.reason}"
        return Rejection.of(position, "invalid_utf8", detail, line)
    return Rejection.of(position, "not_json", problem, line)


def _is_json(line: bytes) -> bool:
    try:
        orjson.loads(line)
    except orjson.JSONDecodeError:
        return False
    return True


def _not_jsonl(head: bytes) -> str | None:
    """Why a file that begins with ``head`` is no JSON Lines; None if it may be.

    One good line, or a first line that begins like an object, is enough: then broken lines are
    told one by one.
    """
    *lines, cut = head.removeprefix(BOM).split(b"\n")
    if len(head) < _HEAD:  # the whole file: its last line is not cut
        lines, cut = [*lines, cut], b""
    lines = [line.strip() for line in lines if line and not line.isspace()]
    first = lines[0] if lines else cut.strip()
    if not first or (lines and _is_json(first)):
        return None
    if first == b"[" or first.startswith(b"[{"):  # the last line may be JSON by itself
        return "the file is one JSON array; each object needs a line of its own"
    if any(map(_is_json, lines)):
        return None
    if b"\0" in head:
        return "no line at the beginning is JSON, and there are zero bytes: a binary file, UTF-16?"
    if first.startswith(b"{") or cut.startswith(b"{"):  # that may be a good one
        return None
    return "no line at the beginning is JSON"
