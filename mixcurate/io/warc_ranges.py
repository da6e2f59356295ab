"""WARC files that are compressed record by record, and how a large file is cut into ranges.

Each record is a gzip member, or a Zstandard frame as in the IIPC's WARC/Zstandard specification,
whose dictionary in a first skippable frame is understood. The position of a record is then the
byte offset of its member in the stored file, as in a CDX index. bz2, xz and files compressed as a
whole are read in one piece, and positions are offsets in the decompressed stream.
"""

from __future__ import annotations

import dataclasses
import re
import zlib
from collections.abc import Callable, Iterator
from typing import IO, Any

import zstandard

from mixcurate.io.compression import MAGIC_BYTES, PlainStream, compression_of
from mixcurate.io.records import Rejection
from mixcurate.io.warc_frames import Frame, PlainFraming, Window, frames, gap

_INPUT = 64 << 10
_OUTPUT = 1 << 20
_STEP = 256 << 10
_MAGIC = {"gzip": re.compile(rb"\x1f\x8b\x08[\0-\x1f]"), "zstd": re.compile(rb"\x28\xb5\x2f\xfd")}
_SKIPPABLE = re.compile(rb"[\x50-\x5f]\x2a\x4d\x18", re.S)
_DICTIONARY = b"\x5d\x2a\x4d\x18"  # the skippable frame that holds it
_MAX_DICTIONARY = 16 << 20
_WARC = b"WARC/"
_TRIED = 8  # members that may be damaged at a file's beginning


def warc_ranges(stream: IO[bytes], size: int, task_bytes: int) -> list[tuple[int, int | None]]:
    """Ranges [start, stop) of stored bytes that can be read apart with ``read_warc``.

    Args:
        stream: the stored file, which can seek.
        size: its length in bytes.
        task_bytes: no range is longer.

    Returns:
        ``[(0, None)]`` where the file is small, or compressed otherwise than record by record.
    """
    if size <= task_bytes or not _splittable(stream):
        return [(0, None)]
    step = -(-size // -(-size // task_bytes))
    return [(start, min(start + step, size)) for start in range(0, size, step)]


def read_frames(stream: IO[bytes], start: int, stop: int | None) -> Iterator[Frame | Rejection]:
    """The records that begin in the stored bytes [``start``, ``stop``) of a file."""
    stream.seek(0)
    codec = compression_of(_read(stream, MAGIC_BYTES))
    stream.seek(0)
    if codec in _MAGIC and (start or _record_wise(stream, codec)):
        decoder = _decoder(stream, codec)
        stream.seek(0)
        yield from frames(MemberFraming(Window(stream, stream), codec, decoder), start, stop)
        return
    stream.seek(0)
    if codec is None:
        yield from frames(PlainFraming(Window(stream, stream)), start, stop)
    elif not start:
        yield from stream_frames(PlainStream(stream, ""))


def stream_frames(stream: PlainStream) -> Iterator[Frame | Rejection]:
    """The records of a decompressed stream, by their offsets in it."""
    told = False
    for frame in frames(PlainFraming(Window(stream)), 0, None):
        cut = isinstance(frame, Frame) and frame.present < frame.length
        told = told or cut or (isinstance(frame, Rejection) and frame.reason == "truncated")
        if cut and stream.error:
            assert isinstance(frame, Frame)
            yield dataclasses.replace(frame, damage=stream.error)
        else:
            yield frame
    if stream.error and not told:
        yield Rejection.of(stream.tell(), "truncated", stream.error)


class _ZstdFrame:
    """A Zstandard frame with the interface of zlib's objects; output is at most 32 MiB a call."""

    def __init__(self, decompressor: zstandard.ZstdDecompressor) -> None:
        self._frame = decompressor.decompressobj()
        self.unconsumed_tail = b""

    @property
    def eof(self) -> bool:
        return bool(self._frame.eof)

    @property
    def unused_data(self) -> bytes:
        return self._frame.unused_data + self.unconsumed_tail

    def decompress(self, data: bytes, _max_length: int) -> bytes:
        fed = 1 << 10  # there is no bound on output but by input: 4 bytes can stand for 128 KiB
        self.unconsumed_tail = data[fed:]
        output: bytes = self._frame.decompress(data[:fed])
        return output


class _Member:
    """The decompressed bytes of one member; ``stored`` counts what it took of the file."""

    def __init__(self, window: Window, position: int, decoder: Any) -> None:
        self._window, self._position, self._decoder = window, position, decoder
        self._fed = b""
        self.stored = 0
        self.error: str | None = None

    def read(self, _size: int = _OUTPUT, /) -> bytes:
        """Some bytes; none at the member's end and at damage, which ``error`` tells."""
        while not self._decoder.eof and self.error is None:
            if not self._fed:
                self._fed = self._window.at(self._position + self.stored, _INPUT)
                self.stored += len(self._fed)
                self._window.forget(self._position + self.stored)
            if not self._fed:
                self.error = "the file ends in the record's compressed data"
                break
            try:
                data: bytes = self._decoder.decompress(self._fed, _OUTPUT)
                self._fed = self._decoder.unconsumed_tail
            except (zlib.error, zstandard.ZstdError) as error:
                self.error = f"the compressed data is corrupt: {error}"
                break
            if self._decoder.eof:
                self.stored -= len(self._decoder.unused_data)
                self._fed = b""
            if data:
                return data
        return b""

    @property
    def end(self) -> int:
        """Position behind the member, once it is read."""
        return self._position + self.stored


class MemberFraming:
    """Records in members of their own."""

    def __init__(self, window: Window, codec: str, decoder: Callable[[], Any]) -> None:
        self._window, self._decoder = window, decoder
        self._magic = _MAGIC[codec]
        self._head = 512 if codec == "gzip" else 160 << 10  # a Zstandard block comes whole
        self._known = (-1, False)
        self.end: int | None = 0

    def skip(self, position: int) -> int:
        """Behind zeros, members without content, and skippable frames."""
        while head := self._window.at(position, 64):
            if zeros := len(head) - len(head.lstrip(b"\0")):
                position += zeros
            elif _SKIPPABLE.match(head) and len(head) >= 8:
                position += 8 + int.from_bytes(head[4:8], "little")
            elif self.begins(position) or (end := self._empty(position)) is None:
                break
            else:
                position = end
        return position

    def ended(self, position: int) -> bool:
        """Whether the file has no byte at ``position``."""
        return not self._window.at(position, 1)

    def begins(self, position: int) -> bool:
        """Whether a member begins there whose content begins like a record."""
        if self._known[0] != position:
            head = self._window.at(position, self._head)
            found = self._magic.match(head) is not None and self._first(head) == _WARC
            self._known = (position, found)
        return self._known[1]

    def find(self, position: int) -> int | None:
        """The first member from ``position`` on that begins like a record."""
        while len(chunk := self._window.at(position, _STEP)) >= 4:
            for match in self._magic.finditer(chunk):
                if self.begins(position + match.start()):
                    return position + match.start()
            position += max(1, len(chunk) - 3)  # the magic may be cut by the chunk's end
        return None

    def read(self, position: int) -> Iterator[Frame]:
        """The records of a member, commonly one; of more, the second is at ``position + 1``…"""
        member = _Member(self._window, position, self._decoder())
        held: Frame | None = None
        for number, frame in enumerate(frames(PlainFraming(Window(member)), 0, None)):
            if held is not None:
                yield held
            at = position + number
            if isinstance(frame, Rejection):
                held = Frame(at, b"", 0, 0, f"in the record's compressed data: {frame.detail}")
            else:
                held = dataclasses.replace(frame, position=at)
        while member.read():
            pass
        if held is None:
            held = Frame(position, b"", 0, 0, "the compressed data holds no record")
        yield dataclasses.replace(held, damage=member.error or held.damage)
        self.end = member.end if member.error is None else None

    def broken(self, start: int, end: int | None) -> Rejection:
        """A gap, or a member that the file's end cuts before it tells anything."""
        at = self.skip(start)
        head = self._window.at(at, 512)
        if len(head) < 512 and end is None and (self._magic.match(head) or len(head) < 4):
            return Rejection.of(at, "truncated", "the file ends in a record's compressed data")
        return gap(start, end, b"")

    def continues(self, position: int) -> bool:
        """Whether a whole member comes there, after padding, that does not begin like a record."""
        at = self.skip(position)
        if self.begins(at) or not self._magic.match(self._window.at(at, 4)):
            return False
        member = _Member(self._window, at, self._decoder())
        while member.read():
            pass
        return member.error is None

    def _first(self, head: bytes) -> bytes:
        """The first bytes of a member's content, as far as its ``head`` tells."""
        decoder = self._decoder()
        try:
            data: bytes = b""
            while head and not decoder.eof and len(data) < len(_WARC):
                data += decoder.decompress(head, len(_WARC))
                head = decoder.unconsumed_tail
            return data[: len(_WARC)]
        except (zlib.error, zstandard.ZstdError):
            return b""

    def _empty(self, position: int) -> int | None:
        """The end of a member that has no content, if one is there."""
        if not self._magic.match(self._window.at(position, 4)):
            return None
        member = _Member(self._window, position, self._decoder())
        if member.read() or member.error:
            return None
        return member.end


def _splittable(stream: IO[bytes]) -> bool:
    stream.seek(0)
    codec = compression_of(_read(stream, MAGIC_BYTES))
    if codec is None:
        return True
    stream.seek(0)
    return codec in _MAGIC and _record_wise(stream, codec)


def _record_wise(stream: IO[bytes], codec: str) -> bool:
    """Whether the first member that is whole ends with its first record.

    A record that the member's end cuts may go on in the next one: the file was then cut into
    members of some size (bgzip, pigz), unless the next one begins like a record.
    """
    decoder = _decoder(stream, codec)
    window = Window(stream, stream)
    framing = MemberFraming(window, codec, decoder)
    at = framing.find(framing.skip(0))
    for _ in range(_TRIED):
        if at is None:
            break
        member = _Member(window, at, decoder())
        plain = PlainFraming(Window(member))
        begun = plain.begins(0)  # else the header is broken, or goes on in the next member
        cut = not begun or any(frame.present < frame.length for frame in plain.read(0))
        over = plain.end is not None and plain.ended(plain.skip(plain.end))
        while cut and member.read():
            pass
        if member.error is None and cut and framing.continues(member.end):
            return False
        if member.error is None and begun:
            return over
        at = framing.find(at + 1)
    return False


def _decoder(stream: IO[bytes], codec: str) -> Callable[[], Any]:
    """What makes decoders; of a file with a dictionary, with that dictionary."""
    if codec == "gzip":
        return lambda: zlib.decompressobj(wbits=31)
    stream.seek(0)
    head = _read(stream, 8)
    if not head.startswith(_DICTIONARY):
        return lambda: _ZstdFrame(zstandard.ZstdDecompressor())
    content = _read(stream, min(_MAX_DICTIONARY, int.from_bytes(head[4:8], "little")))
    try:
        if _MAGIC["zstd"].match(content):  # it may be compressed itself
            unpack = zstandard.ZstdDecompressor()
            content = unpack.decompress(content, max_output_size=_MAX_DICTIONARY)
        dictionary = zstandard.ZstdCompressionDict(content)
        decompressor = zstandard.ZstdDecompressor(dict_data=dictionary)
    except zstandard.ZstdError:
        decompressor = zstandard.ZstdDecompressor()  # each record will tell that it cannot be read
    return lambda: _ZstdFrame(decompressor)


def _read(stream: IO[bytes], size: int) -> bytes:
    data = b""
    while len(data) < size and (more := stream.read(size - len(data))):
        data += more
    return data
