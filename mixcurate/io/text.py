"""Plain text: a file is one document, or the pieces between delimiters are."""

from __future__ import annotations

from collections.abc import Iterator

from mixcurate.io import records
from mixcurate.io.compression import PlainStream
from mixcurate.io.lines import BOM, CHUNK, Readable, as_utf8, read_pieces
from mixcurate.io.records import RawBatch, RawBuilder, Rejection
from mixcurate.tables import EXCERPT


def read_text(
    stream: PlainStream, *, delimiter: str | None = None, start: int = 0, stop: int | None = None
) -> Iterator[RawBatch]:
    """The document of a file, or those between delimiters that begin in ``[start, stop)``.

    Text is UTF-8, or UTF-16 with a byte order mark. A position is the byte offset of the document
    in the decompressed file, of UTF-16 as if it were UTF-8. Pieces of white space are no documents.
    With the delimiter ``"\\n"``, a carriage return before it belongs to it. A piece that is not
    valid or too large costs one rejection; damaged compression costs one (``truncated``) for the
    file, with the piece that it cut. Ranges need a delimiter of one byte.
    """
    builder = RawBuilder()
    text = as_utf8(stream)
    if delimiter is None:
        pieces = iter(_whole(text))
    else:
        pieces = read_pieces(text, start=start, stop=stop, delimiter=delimiter.encode())
    for position, piece in pieces:
        if isinstance(piece, Rejection):
            builder.reject(piece)
        elif piece and not piece.isspace():
            _add(builder, piece.removesuffix(b"\r") if delimiter == "\n" else piece, position)
        yield from builder.full()
    if text.error is not None:
        builder.reject(Rejection.of(text.tell(), "truncated", text.error))
    yield from builder.rest()


def _whole(text: Readable) -> list[tuple[int, bytes | Rejection]]:
    """The file as one piece; nothing where damage ended it."""
    if text.peek(len(BOM)) == BOM:
        text.read(len(BOM))
    data = text.read(records.MAX_RECORD_BYTES + 1)
    if len(data) > records.MAX_RECORD_BYTES:
        head = data[: EXCERPT * 4]
        del data
        while text.read(CHUNK):
            pass
        detail = f"the file has {text.tell():,} bytes of text; the limit for one document is "
        detail += f"{records.MAX_RECORD_BYTES:,}; a `delimiter` cuts it into several"
        return [(0, Rejection.of(0, "too_large", detail, head))]
    if text.error is not None:
        return []
    if not data or data.isspace():
        return [(0, Rejection.of(0, "empty_file", f"{len(data):,} bytes of white space"))]
    return [(0, data)]


def _add(builder: RawBuilder, piece: bytes, position: int) -> None:
    try:
        builder.add(position=position, text=piece.decode("utf-8"))
    except UnicodeDecodeError as error:
        detail = f"byte {error.start} of the document is not UTF-8: {error.reason}"
        builder.reject(Rejection.of(position, "invalid_utf8", detail, piece))
