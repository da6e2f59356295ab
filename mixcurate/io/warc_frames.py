"""Where the records of a WARC file begin and end, told in the same way from wherever one starts.

A file that holds one gzip member or Zstandard frame for each record (as the WARC standard advises),
or that is not compressed, can be read in ranges of its stored bytes: a range gives the records that
begin inside it. The rules never look back before a record, so that any set of ranges gives the same
records, positions and damage as the whole file. The one thing that can break this is an archive
stored inside a record, uncompressed: a range that starts in it takes its records for real ones.

After damage, reading goes on at the next place where a record begins: a compressed member that
starts with ``WARC/``, or a ``WARC/1.1`` that ends its line and begins a header with a type and a
length.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from typing import IO, Protocol

from mixcurate.io import records
from mixcurate.io.records import Rejection
from mixcurate.tables import EXCERPT

#: Bytes that the header of a record may have, and the HTTP header in it.
HEADER = 64 << 10

_STEP = 256 << 10
_BLANK = re.compile(rb"\n\r?\n")
_LINE = re.compile(rb"WARC/[0-9]\.[0-9]+[ \t]*\r?\n")
_TYPE = re.compile(rb"^WARC-Type[ \t]*:", re.I | re.M)
_LENGTH = re.compile(rb"^Content-Length[ \t]*:[ \t]*([0-9]{1,19})[ \t]*\r?$", re.I | re.M)


@dataclasses.dataclass(frozen=True)
class Frame:
    """One record as it is stored."""

    position: int
    """Where it begins: in the stored file, or in the decompressed stream (see ``read_warc``)."""
    data: bytes
    """Header and content; the content is cut where it is longer than any document may be."""
    length: int
    """Bytes of content that the header declares."""
    present: int
    """Bytes of content that the file holds, at most ``length``."""
    damage: str | None = None
    """Why the content cannot be trusted, if it cannot."""


class Framing(Protocol):
    """How records follow each other in some kind of file."""

    def skip(self, position: int) -> int:
        """Behind the padding that may stand at ``position``."""
        ...

    def ended(self, position: int) -> bool:
        """Whether the file has no byte at ``position``."""
        ...

    def begins(self, position: int) -> bool:
        """Whether a record begins there."""
        ...

    def find(self, position: int) -> int | None:
        """The first place from ``position`` on where a record begins."""
        ...

    def read(self, position: int) -> Iterator[Frame]:
        """The records at ``position``; ``end`` tells then where they end."""
        ...

    @property
    def end(self) -> int | None:
        """Where what was read last ends; None where damage hides it."""
        ...

    def broken(self, start: int, end: int | None) -> Rejection:
        """What to say about bytes where a record should begin, up to ``end`` or the file's."""
        ...


def frames(framing: Framing, start: int, stop: int | None) -> Iterator[Frame | Rejection]:
    """The records that begin in [``start``, ``stop``), and a rejection for bytes of none.

    Whoever reads the record before such bytes reports them, also where they lie behind ``stop``.
    """
    end = at = framing.find(start) if start else 0
    while end is not None and at is not None:
        at = framing.skip(end)
        if framing.ended(at):
            return
        if not framing.begins(at):
            found = framing.find(at + 1)
            yield framing.broken(end, found)
            end = found
            continue
        if stop is not None and at >= stop:
            return
        yield from framing.read(at)
        end = framing.find(at + 1) if framing.end is None else framing.end


class Readable(Protocol):
    """What a window looks at."""

    def read(self, size: int, /) -> bytes:
        """The next bytes, fewer than ``size`` where that suits it, none at the end."""
        ...


class Window:
    """Bytes of a stream by position. It goes back only if the stream can seek, or a little."""

    def __init__(self, stream: Readable, seekable: IO[bytes] | None = None) -> None:
        self._stream, self._seekable = stream, seekable
        self.can_seek = seekable is not None
        self.base = 0
        """Position of the first byte that is still there."""
        self._data = b""
        self._ended = False
        if seekable is not None:
            seekable.seek(0)

    def at(self, position: int, size: int) -> bytes:
        """``size`` bytes from ``position`` on, fewer only where the stream ends."""
        end = self.base + len(self._data)
        if self._seekable is not None and not self.base <= position <= end:
            self._seekable.seek(position)
            self.base, self._data, self._ended = position, b"", False
        while not self._ended and (missing := position + size - self.base - len(self._data)) > 0:
            parts = [self._data]
            while missing > 0 and (more := self._stream.read(max(missing, _STEP))):
                parts.append(more)
                missing -= len(more)
            self._ended = missing > 0
            self._data = b"".join(parts)
        return self._data[position - self.base : position - self.base + size]

    def forget(self, position: int) -> None:
        """Bytes before ``position`` are not asked for again; what is not read yet is skipped."""
        end = self.base + len(self._data)
        if position - self.base > _STEP and position <= end:
            self._data = self._data[position - self.base :]
            self.base = position
        elif position > end and self._seekable is None:
            self.base, self._data = end, b""
            while self.base < position and not self._ended:
                gone = self._stream.read(min(_STEP, position - self.base))
                self._ended = not gone
                kept = max(0, self.base + len(gone) - position)  # a member reads as it likes
                self._data = gone[len(gone) - kept :]
                self.base += len(gone) - kept


class PlainFraming:
    """Records that follow each other, uncompressed, with empty lines between them."""

    def __init__(self, window: Window) -> None:
        self._window = window
        self._known: tuple[int, bytes | None] = (-1, None)
        self.end: int | None = 0

    def skip(self, position: int) -> int:
        """Behind the newlines."""
        while chunk := self._window.at(position, 64):
            rest = chunk.lstrip(b"\r\n")
            position += len(chunk) - len(rest)
            if rest:
                break
        return position

    def ended(self, position: int) -> bool:
        """Whether the stream has no byte at ``position``."""
        return not self._window.at(position, 1)

    def begins(self, position: int) -> bool:
        """Whether a whole header with a type and a length stands there."""
        return self._header(position) is not None

    def find(self, position: int) -> int | None:
        """The next ``WARC/1.1`` that begins a header, after a newline or, as some write, without.

        A record is read without a newline before it where the one ahead ends: the same must be
        true for whoever begins inside that one.
        """
        position = max(position, self._window.base)  # what is forgotten was looked through before
        self._window.forget(position)
        while chunk := self._window.at(position, _STEP):
            match = -1
            while (match := chunk.find(b"WARC/", match + 1)) >= 0:
                if self.begins(position + match):
                    return position + match
            if len(chunk) < _STEP:
                return None
            position += _STEP - 8  # the word may be cut by the chunk's end
            self._window.forget(position)
        return None

    def read(self, position: int) -> Iterator[Frame]:
        """The one record at ``position``, unless another one begins before it is over."""
        header = self._header(position)
        assert header is not None
        length = _length(header)
        content = position + len(header)
        kept = length if length <= records.MAX_RECORD_BYTES + HEADER else HEADER
        data = self._window.at(position, len(header) + kept)
        present = min(len(data) - len(header), length)
        self.end = content + length
        damage = None
        if kept < length:
            present = self._present(content, length)
        if present < length or not self._follows(self.end):
            inner = self.find(content) if self._window.base <= content else None
            if inner is not None and inner < self.end:
                damage = f"another record begins at byte {inner:,}, before this one is over"
            if inner is None and present < length:
                self.end = content + present
            elif damage or present < length:
                self.end = None
        yield Frame(position, data, length, present, damage)

    def broken(self, start: int, end: int | None) -> Rejection:
        """A gap, a cut header, or a header without a length."""
        at = self.skip(start) if start >= self._window.base else start
        head = self._window.at(at, HEADER) if at >= self._window.base else b""
        blank = _BLANK.search(head)
        begun = head.startswith(b"WARC/") or (head and b"WARC/".startswith(head))
        if begun and not blank:
            if len(head) < HEADER:
                return Rejection.of(at, "truncated", "the file ends in the header of a record")
            return Rejection.of(at, "corrupt", f"a header of more than {HEADER:,} bytes")
        if blank and head.startswith(b"WARC/") and not _LENGTH.search(head, 0, blank.end()):
            detail = "the record has no usable Content-Length, so that its content is unknown"
            return Rejection.of(at, "corrupt", detail)
        return gap(start, end, head)

    def _header(self, position: int) -> bytes | None:
        """The header at ``position`` with its empty line, if it is one."""
        if self._known[0] != position:
            header = None
            if _LINE.match(self._window.at(position, 32)):
                for size in (_STEP >> 6, HEADER):
                    head = self._window.at(position, size)
                    if blank := _BLANK.search(head):
                        header = head[: blank.end()]
                        break
            usable = header and _TYPE.search(header) and _length(header) >= 0
            self._known = (position, header if usable else None)
        return self._known[1]

    def _present(self, content: int, length: int) -> int:
        """How much of a content is there that is too long to be kept."""
        last = min(content + length - 1, content + (1 << 42))  # systems refuse to seek farther
        if not self._window.can_seek:
            self._window.forget(last)  # else all up to there would be kept
        if self._window.at(last, 1) and last == content + length - 1:
            return length
        self._window.forget(last)
        return min(length, max(0, self._window.base - content))

    def _follows(self, position: int) -> bool:
        after = self.skip(position)
        return self.ended(after) or self.begins(after)


def gap(start: int, end: int | None, head: bytes) -> Rejection:
    """Bytes that belong to no record; ``end`` is None where none follows any more."""
    if start == 0 and end is None:
        return Rejection.of(0, "not_warc", "the file holds no WARC record", head[: EXCERPT * 4])
    upto = "the end" if end is None else f"byte {end:,}"
    count = "bytes" if end is None else f"{end - start:,} bytes"
    return Rejection.of(start, "corrupt", f"{count} that belong to no record, up to {upto}")


def _length(header: bytes) -> int:
    """Content-Length, -1 if there is none that can be used."""
    found = _LENGTH.search(header)
    return int(found[1]) if found else -1
