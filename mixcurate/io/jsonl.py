"""JSON Lines: one document a line, read in bounded memory and in any byte ranges."""

from __future__ import annotations

from collections.abc import Iterator

import orjson

from mixcurate.io import records
from mixcurate.io.compression import PlainStream
from mixcurate.io.records import FieldParams, RawBatch, RawBuilder, Rejection, add_mapping
from mixcurate.tables import EXCERPT

_CHUNK = 1 << 20
_HEAD = 4 << 10
_BOM = b"\xef\xbb\xbf"


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
    for position, line in _lines(stream, start, stop):
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


def _lines(
    stream: PlainStream, start: int, stop: int | None
) -> Iterator[tuple[int, bytes | Rejection]]:
    """Position and bytes of each line that begins in ``[start, stop)``.

    A line above ``MAX_RECORD_BYTES`` comes as its rejection and is never held whole. The last line
    of a damaged stream is left out unless it is whole JSON: the damage is told once, for the file.
    """
    kept: list[bytes] = []  # pieces of a line whose end is not read yet
    n_kept = 0  # its bytes so far, counted on when the line is too large to keep them
    if start == 0 and stream.peek(len(_BOM)) == _BOM:
        n_kept = len(stream.read(len(_BOM)))  # it belongs to the first line, which stays at 0
    position = start and _skip_to_line(stream, start)
    while stop is None or position < stop:
        chunk = stream.read(_CHUNK)
        *ended, rest = chunk.split(b"\n")
        for piece in ended:
            length = n_kept + len(piece)
            yield position, _whole(position, length, [*kept, piece] if kept else [piece])
            position += length + 1
            kept, n_kept = [], 0
            if stop is not None and position >= stop:
                return
        n_kept += len(rest)
        if n_kept <= records.MAX_RECORD_BYTES:
            kept.append(rest)
        else:  # the first bytes are enough for an excerpt
            kept = [b"".join([*kept[:2], rest])[: EXCERPT * 4]]
        if not chunk:
            break
    if n_kept and (stream.error is None or _is_json(b"".join(kept))):
        yield position, _whole(position, n_kept, kept)


def _skip_to_line(stream: PlainStream, start: int) -> int:
    """Go to the first line that begins at ``start`` or later; its position."""
    stream.seek(start - 1)  # a line begins at `start` exactly if this byte ends one
    while chunk := stream.peek(_CHUNK):
        end = chunk.find(b"\n")
        stream.read(len(chunk) if end < 0 else end + 1)
        if end >= 0:
            break
    return stream.tell()


def _whole(position: int, length: int, pieces: list[bytes]) -> bytes | Rejection:
    if length <= records.MAX_RECORD_BYTES:
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)
    detail = f"the line has {length:,} bytes; the limit is {records.MAX_RECORD_BYTES:,}"
    return Rejection.of(position, "too_large", detail, b"".join(pieces[:2]))


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
    *lines, cut = head.removeprefix(_BOM).split(b"\n")
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
