"""Streaming decompression of hostile files: bounded memory, and damage that is told, not raised.

The codec is chosen by the content's first bytes, because names lie. A cut or corrupt file gives
every byte before the damage and then reads as ended; ``PlainStream.error`` says what was wrong.
"""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Callable
from typing import IO, Protocol

import zstandard

#: What is read of a file at once, and what one decoder call may give.
_INPUT = 32 << 10
_OUTPUT = 256 << 10

#: Zstandard's output has no bound, so its input has: a block of 4 bytes can stand for 128 KiB, and
#: this much gives 32 MiB at the most.
_ZSTD_INPUT = 1 << 10

#: Memory that an xz file may ask for.
_XZ_MEMORY = 256 << 20

_DAMAGE = (EOFError, OSError, ValueError, zlib.error, lzma.LZMAError, zstandard.ZstdError)


class _Decoder(Protocol):
    """One gzip member, Zstandard frame, bz2 or xz stream; the interface of ``bz2``'s objects."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int = ..., /) -> bytes: ...


class _Gzip:
    """A gzip member through zlib, which can bound its output."""

    def __init__(self) -> None:
        self._member = zlib.decompressobj(wbits=31)
        self._damage: zlib.error | None = None

    @property
    def eof(self) -> bool:
        return self._member.eof

    @property
    def needs_input(self) -> bool:
        return not self._member.unconsumed_tail and self._damage is None

    @property
    def unused_data(self) -> bytes:
        return self._member.unused_data

    def decompress(self, data: bytes, max_length: int = _OUTPUT, /) -> bytes:
        if self._damage is not None:
            raise self._damage
        fed = self._member.unconsumed_tail + data
        before = self._member.copy()  # zlib forgets what a call made before it met the damage
        try:
            return self._member.decompress(fed, max_length)
        except zlib.error as damage:
            self._damage = damage
            return _salvage(before, fed)


def _salvage(member: zlib._Decompress, fed: bytes) -> bytes:
    """All output of ``fed`` before its damage: in steps, then the last step byte by byte."""
    parts = []
    try:
        while True:
            before = member.copy()
            parts.append(member.decompress(fed, 4096))
            fed = member.unconsumed_tail
    except zlib.error:
        pass
    try:
        for byte in range(len(fed)):
            parts.append(before.decompress(fed[byte : byte + 1]))
    except zlib.error:
        pass
    return b"".join(parts)


class _Zstd:
    """A Zstandard frame. ``ZstdDecompressor.stream_reader`` would end silently at a cut."""

    needs_input = True

    def __init__(self) -> None:
        self._frame = zstandard.ZstdDecompressor().decompressobj()

    @property
    def eof(self) -> bool:
        return self._frame.eof

    @property
    def unused_data(self) -> bytes:
        return self._frame.unused_data

    def decompress(self, data: bytes, max_length: int = _OUTPUT, /) -> bytes:  # noqa: ARG002
        return self._frame.decompress(data)


_DECODERS: dict[str, Callable[[], _Decoder]] = {
    "gzip": _Gzip,
    "zstd": _Zstd,
    "bz2": bz2.BZ2Decompressor,
    "xz": lambda: lzma.LZMADecompressor(memlimit=_XZ_MEMORY),
}

#: Bytes that `compression_of` looks at.
MAGIC_BYTES = 10


def compression_of(head: bytes) -> str | None:
    """The compression of content that begins with ``head``: gzip, zstd, bz2, xz or None."""
    if head.startswith(b"\x1f\x8b\x08"):
        return "gzip"
    skippable = len(head) >= 4 and head[1:4] == b"\x2a\x4d\x18" and head[0] >> 4 == 5
    if head.startswith(b"\x28\xb5\x2f\xfd") or skippable:
        return "zstd"
    # `BZh9` alone could begin a text; a block or the end of the stream follows in a bz2 file.
    if head.startswith(b"BZh") and head[4:10] in (b"1AY&SY", b"\x17\x72\x45\x38\x50\x90"):
        return "bz2"
    return "xz" if head.startswith(b"\xfd7zXZ\x00") else None


class PlainStream:
    """The decompressed bytes of a stream, read forwards only."""

    def __init__(self, stream: IO[bytes], name: str) -> None:
        self.name = name
        """What the stream is called in messages."""
        self.error: str | None = None
        """What ended the stream too early; None as long as nothing did."""
        self._stream = stream
        self._fed = _read_full(stream, b"", MAGIC_BYTES)
        self.codec = compression_of(self._fed)
        """Name of the compression, or None where the content is plain."""
        self._decoder = _DECODERS[self.codec]() if self.codec else None
        self._chunk = _ZSTD_INPUT if self.codec == "zstd" else _INPUT
        self._ended = False
        self._buffer = b""
        self._offset = 0  # of the buffer, so that a short read does not copy the rest of it
        self._position = 0

    def tell(self) -> int:
        """Number of decompressed bytes read so far."""
        return self._position

    def peek(self, size: int) -> bytes:
        """The next ``size`` bytes, fewer only at the end; they stay to be read."""
        have = len(self._buffer) - self._offset
        if have < size:
            parts = [self._buffer[self._offset :]] if have else []
            while have < size and (data := self._next(size - have)):
                parts.append(data)
                have += len(data)
            self._buffer, self._offset = b"".join(parts), 0
        return self._buffer[self._offset : self._offset + size]

    def read(self, size: int) -> bytes:
        """The next ``size`` bytes, fewer only at the end or before damage."""
        data = self.peek(size)
        self._offset += len(data)
        self._position += len(data)
        return data

    def seek(self, position: int) -> None:
        """Go forwards to ``position`` or the end; only what is compressed is read on the way."""
        near = position - self._position <= len(self._buffer) - self._offset + _OUTPUT
        if self._decoder is None and not near and self._stream.seekable():
            self._stream.seek(0, 2)
            position = min(position, self._stream.tell())
            self._stream.seek(position)
            self._position, self._buffer, self._offset, self._fed = position, b"", 0, b""
        while self._position < position:
            if not self.read(min(_OUTPUT, position - self._position)):
                return

    def _next(self, size: int) -> bytes:
        """Some more bytes (of a plain file at least ``size``); none at the end."""
        fed, self._fed = self._fed, b""
        if self._decoder is None:
            return fed or self._stream.read(max(size, _INPUT))
        while not self._ended:
            at_end = False
            if not fed and self._decoder.needs_input:
                fed = self._stream.read(self._chunk)
                at_end = not fed
            try:
                # Nothing to feed is the end of the file: the decoder may still hold some bytes.
                data = self._decoder.decompress(fed, _OUTPUT)
            except _DAMAGE as error:
                return self._end(f"the {self.codec} data is corrupt: {error}")
            if self._decoder.eof:
                self._next_member()
            elif at_end and not data:
                return self._end(f"the {self.codec} data ends too early")
            if data:
                return data
            fed, self._fed = self._fed, b""
        return b""

    def _end(self, error: str | None) -> bytes:
        self._ended, self.error = True, error
        return b""

    def _next_member(self) -> None:
        """Start a decoder on what follows a finished member, or end."""
        assert self._decoder is not None
        assert self.codec is not None
        rest = self._decoder.unused_data
        while not (rest := rest.lstrip(b"\0")):  # tapes and some writers pad with zeros
            if not (rest := self._stream.read(self._chunk)):
                self._end(None)
                return
        rest = _read_full(self._stream, rest, MAGIC_BYTES)
        if compression_of(rest) != self.codec:
            self._end(f"after the {self.codec} data comes something else")
            return
        self._fed = rest
        self._decoder = _DECODERS[self.codec]()


def open_plain(stream: IO[bytes], name: str) -> PlainStream:
    """The decompressed content of ``stream``, whatever ``name`` says about its compression.

    Each read takes a bounded piece, so that a bomb costs time but no memory.
    """
    return PlainStream(stream, name)


def _read_full(stream: IO[bytes], data: bytes, size: int) -> bytes:
    """``data`` filled up to ``size`` bytes from ``stream``, which may read short."""
    while len(data) < size and (more := stream.read(size - len(data))):
        data += more
    return data
