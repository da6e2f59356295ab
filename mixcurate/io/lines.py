"""Pieces of a text between delimiters (lines, mostly), in bounded memory and any byte ranges."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Iterator

from mixcurate.io import records
from mixcurate.io.compression import PlainStream
from mixcurate.io.records import Rejection
from mixcurate.tables import EXCERPT

#: What is read of a stream at once.
CHUNK = 1 << 20
BOM = codecs.BOM_UTF8

_UTF16 = {codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}


class Utf16Stream:
    """The text of a UTF-16 stream as UTF-8; what is not valid becomes invalid UTF-8.

    So each piece of it is judged by itself, by the same rule as in a UTF-8 file. Positions count
    bytes of the UTF-8 text, without the mark.
    """

    def __init__(self, stream: PlainStream) -> None:
        self._stream = stream
        self._decoder = codecs.getincrementaldecoder(_UTF16[stream.read(2)])("surrogatepass")
        self._buffer = b""
        self._ended = False
        self._position = 0

    @property
    def error(self) -> str | None:
        """What ended the stream too early."""
        return self._stream.error

    def tell(self) -> int:
        """Number of bytes of UTF-8 read so far."""
        return self._position

    def peek(self, size: int) -> bytes:
        """As ``PlainStream.peek``."""
        parts = [self._buffer]
        have = len(self._buffer)
        while have < size and not self._ended:
            parts.append(self._next())
            have += len(parts[-1])
        self._buffer = b"".join(parts)
        return self._buffer[:size]

    def read(self, size: int) -> bytes:
        """As ``PlainStream.read``."""
        data = self.peek(size)
        self._buffer = self._buffer[len(data) :]
        self._position += len(data)
        return data

    def seek(self, position: int) -> None:
        """As ``PlainStream.seek``."""
        while self._position < position and self.read(min(CHUNK, position - self._position)):
            pass

    def _next(self) -> bytes:
        data = self._stream.read(CHUNK)
        self._ended = not data
        try:
            return self._decoder.decode(data, final=not data).encode("utf-8", "surrogatepass")
        except UnicodeDecodeError:  # half a character at the end
            self._decoder.reset()
            return b"\xff"


#: The bytes of a text as UTF-8.
Readable = PlainStream | Utf16Stream


def is_utf16(head: bytes) -> bool:
    """Whether a file that begins with ``head`` says so; UTF-32's mark begins with the same."""
    return head[:2] in _UTF16 and head[:4] != codecs.BOM_UTF32_LE


def as_utf8(stream: PlainStream) -> Readable:
    """``stream`` itself, or its text as UTF-8 where a byte order mark says UTF-16."""
    return Utf16Stream(stream) if is_utf16(stream.peek(4)) else stream


def read_pieces(
    stream: Readable,
    *,
    start: int = 0,
    stop: int | None = None,
    delimiter: bytes = b"\n",
    is_whole: Callable[[bytes], bool] = lambda piece: False,  # noqa: ARG005
) -> Iterator[tuple[int, bytes | Rejection]]:
    """Position and bytes of each piece that begins in ``[start, stop)``, empty ones too.

    A position is the offset of the piece's first byte. A UTF-8 byte order mark belongs to the first
    piece, which stays at 0, and is not given. A piece above ``records.MAX_RECORD_BYTES`` comes as
    its rejection and is never held whole. What follows the last delimiter is a piece if there is
    any of it; where damage ended the stream it is left out unless ``is_whole`` says otherwise: the
    caller tells the damage once, for the file. Ranges need a delimiter of one byte.
    """
    kept: list[bytes] = []  # of a piece whose end is not read yet
    n_kept = 0  # its bytes so far, counted on when it is too large to keep them
    if start == 0 and stream.peek(len(BOM)) == BOM:
        n_kept = len(stream.read(len(BOM)))
    position = start and _skip_to_piece(stream, start, delimiter)
    tail = b""  # where a delimiter may have begun
    while stop is None or position < stop:
        chunk = stream.read(CHUNK)
        *ended, rest = (tail + chunk).split(delimiter)
        for piece in ended:
            length = n_kept + len(piece)
            yield position, _whole(position, length, [*kept, piece] if kept else [piece])
            position += length + len(delimiter)
            kept, n_kept = [], 0
            if stop is not None and position >= stop:
                return
        hold = min(len(delimiter) - 1, len(rest)) if chunk else 0
        tail = rest[len(rest) - hold :]
        rest = rest[: len(rest) - hold]
        n_kept += len(rest)
        if n_kept <= records.MAX_RECORD_BYTES:
            kept.append(rest)
        else:  # the first bytes are enough for an excerpt
            kept = [b"".join([*kept[:2], rest])[: EXCERPT * 4]]
        if not chunk:
            break
    if n_kept and (stream.error is None or is_whole(b"".join(kept))):
        yield position, _whole(position, n_kept, kept)


def _skip_to_piece(stream: Readable, start: int, delimiter: bytes) -> int:
    """Go to the first piece that begins at ``start`` or later; its position."""
    stream.seek(start - 1)  # a piece begins at `start` exactly if this byte ends one
    while chunk := stream.peek(CHUNK):
        end = chunk.find(delimiter)
        stream.read(len(chunk) if end < 0 else end + 1)
        if end >= 0:
            break
    return stream.tell()


def _whole(position: int, length: int, pieces: list[bytes]) -> bytes | Rejection:
    if length <= records.MAX_RECORD_BYTES:
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)
    detail = f"{length:,} bytes up to the delimiter; the limit is {records.MAX_RECORD_BYTES:,}"
    return Rejection.of(position, "too_large", detail, b"".join(pieces[:2]))
