"""The members of a tar archive in order, in bounded memory, whatever the archive holds."""

from __future__ import annotations

import dataclasses
import tarfile
from collections.abc import Iterator
from typing import Literal

from mixcurate.io.compression import PlainStream
from mixcurate.io.records import Rejection

_BLOCK = tarfile.BLOCKSIZE
_ZEROS = bytes(_BLOCK)

#: Most bytes of an extended header (a long name, PAX records), and most of them before a member.
_MAX_HEADER = 64 << 10
_MAX_HEADERS = 16

#: Longest name; a filesystem takes no longer path either.
_MAX_NAME = 4096

_KINDS: dict[bytes, Literal["file", "folder", "link", "device"]] = {
    tarfile.REGTYPE: "file",
    tarfile.AREGTYPE: "file",
    tarfile.CONTTYPE: "file",
    tarfile.DIRTYPE: "folder",
    tarfile.LNKTYPE: "link",
    tarfile.SYMTYPE: "link",
    tarfile.CHRTYPE: "device",
    tarfile.BLKTYPE: "device",
    tarfile.FIFOTYPE: "device",
}
#: Types whose header is followed by no content, whatever size it tells.
_EMPTY = {"link", "device", "folder"}
_CHECKSUM = slice(148, 156)

#: Largest content; a header can claim more than any filesystem can seek to.
_MAX_SIZE = 1 << 40
_PAX = {tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE}
_EXTENDED = _PAX | {tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK}


@dataclasses.dataclass
class Member:
    """One member; its content can be read until the next one is asked for."""

    name: str
    """With U+FFFD where it is not UTF-8."""
    kind: str
    """``file``, ``folder``, ``link``, ``device``, ``sparse file`` or ``member of unknown type``."""
    size: int
    position: int
    """Offset of its first header, extended ones included."""
    end: int
    """Where its content ends."""
    stream: PlainStream

    def read(self) -> bytes:
        """The whole content, fewer bytes where the file ends."""
        return self.stream.read(self.size)


@dataclasses.dataclass
class _Extended:
    """What the extended headers before a member say of it."""

    position: int
    count: int = 0
    name: str | None = None
    size: int | None = None
    sparse: bool = False
    problem: Rejection | None = None


def read_members(stream: PlainStream) -> Iterator[Member | Rejection]:
    """The members of an archive, and a rejection for what is none.

    Archives that were concatenated are read on, as ``tar --ignore-zeros`` does. After damage the
    next block that is a header is looked for. A member that the end of the file cuts is given
    first, and then a rejection of the same position.
    """
    head = stream.peek(_BLOCK)
    found = ended = False  # ended: the last block was of zeros
    bad: int | None = None  # where a stretch of blocks begins that are no headers
    extended: _Extended | None = None
    while len(block := stream.read(_BLOCK)) == _BLOCK:
        position = stream.tell() - _BLOCK
        ended = block == _ZEROS
        header = None if ended else _parse(block)
        if header is None:
            bad = position if bad is None and not ended else bad
            continue
        if bad is not None and found:
            yield _gap(bad, position)
        bad, found = None, True
        extended = extended or _Extended(position)
        if header.type in _EXTENDED:
            _extend(extended, header, stream)
            continue
        member = _member(header, block, extended, stream)
        yield extended.problem or member
        extended = None
        if not _skip(stream, member.end):
            detail = f"member {member.name!r} has {member.size:,} bytes, and the file ends in it"
            yield Rejection.of(member.position, "truncated", f"{detail}; {stream.error or ''}")
            return
    if block.strip(b"\0") and bad is None and stream.error is None:
        bad = stream.tell() - len(block)
    if not found:
        yield _nothing(bad, stream, head)
    elif bad is not None:
        yield _gap(bad, stream.tell())
    elif stream.error is not None or not ended:
        detail = stream.error or "the archive has no end mark: it may be cut between two members"
        yield Rejection.of(stream.tell(), "truncated", detail)
    elif extended is not None and extended.problem is not None:
        yield extended.problem


def _parse(block: bytes) -> tarfile.TarInfo | None:
    """The header in a block, or None where its checksum or its numbers are wrong."""
    if not block[_CHECKSUM].strip(b" \0").isdigit():  # soon told, for whole files of other kinds
        return None
    try:
        header = tarfile.TarInfo.frombuf(block, "utf-8", "replace")
    except (tarfile.HeaderError, ValueError):
        return None
    return header if 0 <= header.size <= _MAX_SIZE else None


def _member(
    header: tarfile.TarInfo, block: bytes, extended: _Extended, stream: PlainStream
) -> Member:
    """The member of a header; the stream is then at its content."""
    size = header.size if extended.size is None else extended.size
    kind = _KINDS.get(header.type, "member of unknown type")
    if header.type == tarfile.GNUTYPE_SPARSE:
        more = block[482]
        while more and len(block := stream.read(_BLOCK)) == _BLOCK:  # the rest of its map
            more = block[504]
    if extended.sparse or header.type == tarfile.GNUTYPE_SPARSE:
        kind = "sparse file"
    name = header.name if extended.name is None else extended.name
    size = 0 if kind in _EMPTY else size
    end = stream.tell() + size
    return Member(name[:_MAX_NAME], kind, size, extended.position, end, stream)


def _extend(extended: _Extended, header: tarfile.TarInfo, stream: PlainStream) -> None:
    """Take in an extended header. A problem of it is one of the member that follows."""
    end = stream.tell() + header.size
    extended.count += 1
    if header.size > _MAX_HEADER or extended.count > _MAX_HEADERS:
        detail = f"extended header {extended.count:,} of a member has {header.size:,} bytes; there"
        detail += f" may be {_MAX_HEADERS} of {_MAX_HEADER:,}"
        problem = Rejection.of(extended.position, "too_large", detail)
        extended.problem = extended.problem or problem
    elif header.type == tarfile.GNUTYPE_LONGNAME:
        name = stream.read(header.size).split(b"\0", 1)[0]
        extended.name = name.decode("utf-8", "replace")
    elif header.type in _PAX:
        try:
            _pax(extended, stream.read(header.size))
        except ValueError as error:
            problem = Rejection.of(extended.position, "corrupt", f"PAX header: {error}"[:500])
            extended.problem = extended.problem or problem
    _skip(stream, end)  # what is global (or the target of a link) says nothing of a text


def _pax(extended: _Extended, data: bytes) -> None:
    """Read the records ``length key=value`` of a PAX header.

    Raises:
        ValueError: it is broken.
    """
    start = 0
    while start < len(data) and data[start]:
        digits, space, _ = data[start : start + 20].partition(b" ")
        length = int(digits) if digits.isdigit() and space else 0
        record = data[start : start + length]
        key, equals, value = record[len(digits) + 1 :].partition(b"=")
        if not equals or not record.endswith(b"\n") or len(record) < length:
            raise ValueError(f"no record at byte {start}")
        value = value[:-1]
        if key in (b"path", b"GNU.sparse.name"):
            extended.name = value.decode("utf-8", "replace")
        elif key == b"size":
            size = int(value) if value.isdigit() and len(value) < 20 else _MAX_SIZE + 1
            if size > _MAX_SIZE:
                raise ValueError("no usable size")
            extended.size = size
        extended.sparse = extended.sparse or key.startswith(b"GNU.sparse.")
        start += length


def _skip(stream: PlainStream, end: int) -> bool:
    """Go to the block after content that ends at ``end``; whether all of it is there."""
    if stream.tell() < end:
        stream.seek(end - 1)  # a seek succeeds beyond the end of a file as well
        if not stream.read(1):
            return False
    stream.read(-end % _BLOCK)
    return True


def _gap(start: int, end: int) -> Rejection:
    detail = f"{end - start:,} bytes that are no member, up to byte {end:,}"
    return Rejection.of(start, "corrupt", detail)


def _nothing(bad: int | None, stream: PlainStream, head: bytes) -> Rejection:
    """The rejection of a file without a member."""
    if bad is None and stream.error is None:
        return Rejection.of(0, "empty_file", "the archive has no members")
    detail = f"no tar header in {stream.tell():,} bytes; {stream.error or ''}".rstrip("; ")
    return Rejection.of(0, "not_tar", detail, head)
