"""What must hold for any bytes in any format; the fuzzer looks for those where it does not.

An input is the content of a file, and eight bytes behind it that choose how it is read. So every
input can be replayed without the fuzzer: ``check("jsonl", data, folder)``.
"""

from __future__ import annotations

import bz2
import contextlib
import dataclasses
import gzip
import io
import itertools
import json
import lzma
import re
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import zstandard

from mixcurate.errors import InputError
from mixcurate.io import compression, delimited, lines, records, storage
from mixcurate.io.compression import compression_of, open_plain
from mixcurate.io.lines import is_utf16
from mixcurate.io.path_lists import read_paths
from mixcurate.io.readers import InputParams, ReadTask, list_tasks, read
from mixcurate.io.records import RawBatch
from mixcurate.io.storage import is_local
from mixcurate.tables import EXCERPT, RAW

CHOICES = 8

#: Formats and the ending of their files; `lines` is text with a delimiter.
ENDINGS = {
    "warc": "warc",
    "wet": "wet",
    "jsonl": "jsonl",
    "csv": "csv",
    "text": "txt",
    "lines": "txt",
    "tar": "tar",
    "parquet": "parquet",
    "arrow": "arrow",
}
_TABLES = ("parquet", "arrow")
_LARGE = 64 << 10
_MANY = 20_000
_FIELDS: list[dict[str, Any]] = [
    {},
    {"text_field": "a.b"},
    {"text_field": "a.0.b", "id_field": "id"},
    {"id_field": "url", "url_field": "text"},
    {"text_field": "json", "licence_field": "a.b"},
]
_DELIMITERS = {"csv": [None, ";", "\t"], "lines": ["\n", "\0", "\n\n", "é"]}


@dataclasses.dataclass(frozen=True)
class Page:
    text: str
    title: str | None = None
    licence: str | None = None


@dataclasses.dataclass(frozen=True)
class Choices:
    """How a content is stored and read, from the eight bytes behind it."""

    fields: int
    small_limits: bool
    repair: bool
    packing: int
    damage: int
    cuts: bytes
    parts: int

    @staticmethod
    def of(data: bytes) -> Choices:
        one, two, packing, damage, *cuts, parts = data.rjust(CHOICES, b"\0")
        flags = (not two & 1, bool(two & 2))
        return Choices(one, *flags, packing, damage, bytes(cuts), parts % 7)


@dataclasses.dataclass
class Found:
    """All that reading a file gave."""

    documents: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    rejected: list[tuple[int, str, str, str]] = dataclasses.field(default_factory=list)


def extract(body: bytes, charset: str | None, url: str | None) -> Page | None:
    """A cheap extractor that does what real ones do to a hostile page: fail, or find odd text."""
    if body.startswith(b"<none"):
        return None
    return Page(body.decode(charset or "utf-8"), title=url, licence=charset)


class _ManyRowsError(Exception):
    """A small table claims so many empty rows that they would take the time of all other inputs."""


def check(name: str, data: bytes, folder: Path) -> None:
    """Read a file of format ``name`` in every way that its choices name, and compare."""
    content, choices = data[:-CHOICES], Choices.of(data[-CHOICES:])
    if is_large(content):  # what that takes is asked by `test_bombs`
        return
    if choices.repair and name == "tar":
        content = _with_checksums(content)
    with limits(choices.small_limits), contextlib.suppress(_ManyRowsError):
        if name == "paths":
            _check_list(content, choices, folder)
        else:
            _check_file(name, content, choices, folder)


def _check_file(name: str, content: bytes, choices: Choices, folder: Path) -> None:
    params = params_of(name, choices, folder)
    path = params.path
    whole = read_tasks([task_of(params)], params, content)
    size = len(content)
    is_plain = compression_of(content) is None
    if name in _TABLES:
        if choices.parts:
            Path(path).write_bytes(content)
            tasks = list_tasks(0, params, base=str(folder), task_bytes=size // choices.parts)
            assert_same(read_tasks(tasks, params, content), whole, "in tasks")
        return
    if is_plain and not is_utf16(content):
        assert all(document["position"] < size for document in whole.documents)
        assert all(position <= size + 512 for position, *_ in whole.rejected)
    if not is_plain:
        return
    if len((params.delimiter or "\n").encode()) == 1 and name in ("jsonl", "lines"):
        edges = sorted({0, size, *[cut * size // 255 for cut in choices.cuts]})
        if size and not is_utf16(content):
            ranges = zip(edges, edges[1:], strict=False)
            tasks = [task_of(params, start, stop) for start, stop in ranges]
            assert_same(read_tasks(tasks, params, content), whole, f"in ranges {edges}")
    stored = packed(content, choices)
    assert_same(read_tasks([task_of(params)], params, stored), whole, "packed")
    read_tasks([task_of(params)], params, damaged(stored, choices))


def params_of(name: str, choices: Choices, folder: Path) -> InputParams:
    kind = "text" if name == "lines" else name
    delimiters = _DELIMITERS.get(name, [None])
    return InputParams(
        path=str(folder / f"a.{ENDINGS[name]}"),
        format=kind,  # type: ignore[arg-type]
        delimiter=delimiters[choices.fields // len(_FIELDS) % len(delimiters)],
        **_FIELDS[choices.fields % len(_FIELDS)],
    )


def task_of(params: InputParams, start: int = 0, stop: int | None = None) -> ReadTask:
    return ReadTask(0, params.path, "x", params.format, start, stop, 0, "")


def read_tasks(tasks: list[ReadTask], params: InputParams, stored: bytes) -> Found:
    """Read tasks of a file with the bytes ``stored`` in order, and check every batch."""
    found = Found()
    with _opened(stored):
        for task in tasks:
            for batch in read(task, params, extract=extract):
                _add_batch(found, batch)
                if len(found.documents) + len(found.rejected) > _MANY:
                    raise _ManyRowsError
    positions = [document["position"] for document in found.documents]
    assert positions == sorted(set(positions)), "documents are not in the order of the file"
    assert all(position >= 0 for position in positions)
    for document in found.documents:
        assert isinstance(json.loads(document["metadata"] or "{}"), dict)
    return found


@contextlib.contextmanager
def _opened(stored: bytes) -> Iterator[None]:
    """Whatever is opened holds ``stored``: a file would take longer than all the rest."""

    def open_read(path: str) -> io.BytesIO:
        return io.BytesIO(stored)

    with mock.patch.object(storage, "open_read", open_read):
        yield


def _add_batch(found: Found, batch: RawBatch) -> None:
    assert batch.documents.schema == RAW
    batch.documents.validate(full=True)
    assert batch.documents.num_rows or batch.rejected
    found.documents += batch.documents.to_pylist()
    for rejection in batch.rejected:
        assert 0 <= rejection.position < 1 << 62
        assert re.fullmatch("[a-z0-9_]+", rejection.reason)
        assert len(rejection.excerpt) <= EXCERPT
        assert len(rejection.detail.encode()) < 4_000
        rejection.excerpt.encode()  # no lone surrogates
        # Of a piece that is too large, how much is shown depends on where reads end.
        excerpt = rejection.excerpt[:40] if rejection.reason == "too_large" else rejection.excerpt
        found.rejected.append((rejection.position, rejection.reason, rejection.detail, excerpt))


def assert_same(found: Found, whole: Found, how: str) -> None:
    for name in ("documents", "rejected"):
        here, there = getattr(found, name), getattr(whole, name)
        pairs = itertools.zip_longest(here, there)
        difference = next((pair for pair in pairs if pair[0] != pair[1]), None)
        assert difference is None, f"{name} {how}: {difference[0]!r} and not {difference[1]!r}"


def _check_list(content: bytes, choices: Choices, folder: Path) -> None:
    """A list of paths names files or is refused; nothing is opened but the list itself."""
    roots = ["https://example.org/x", str(folder), "s3://bucket"]
    root = roots[choices.fields % 3]
    first = choices.parts or None
    whole = _paths_of(content, root, first)
    if compression_of(content) is None:
        stored = packed(content, choices)
        assert _paths_of(stored, root, first) == whole
        _paths_of(damaged(stored, choices), root, first)


def _paths_of(stored: bytes, root: str, first: int | None) -> list[str] | str:
    with _opened(stored):
        try:
            paths = list(read_paths("a.paths", root=root, first=first))
        except InputError as error:
            return str(error)
    assert paths
    for path in paths:
        assert ".." not in path.split("://")[-1].split("/")
        assert path.startswith(root) or not is_local(root)
    return paths


@contextlib.contextmanager
def limits(small: bool) -> Iterator[None]:
    """Limits so small that an input of the fuzzer reaches them all."""
    if not small:
        yield
        return
    values = [
        (records, "MAX_RECORD_BYTES", 300),
        (records, "BATCH_DOCUMENTS", 3),
        (records, "BATCH_BYTES", 400),
        (lines, "CHUNK", 64),
        (delimited, "MAX_ROW_BYTES", 200),
        (compression, "_INPUT", 48),
        (compression, "_OUTPUT", 80),
        (compression, "_ZSTD_INPUT", 40),
    ]
    with contextlib.ExitStack() as stack:
        for module, name, value in values:
            assert hasattr(module, name)
            stack.enter_context(mock.patch.object(module, name, value))
        yield


def packed(content: bytes, choices: Choices, *, whole: bool = False) -> bytes:
    """``content``, compressed in one member or frame, or in two."""
    half = choices.cuts[0] * len(content) // 255
    parts = [content[:half], content[half:]] if choices.packing & 8 and not whole else [content]
    pack: Callable[[bytes], bytes] = [
        lambda part: gzip.compress(part, 1, mtime=0),
        zstandard.ZstdCompressor(level=1).compress,
        lambda part: bz2.compress(part, 1),
        lambda part: lzma.compress(part, preset=0),
    ][choices.packing % 4]
    return b"".join(map(pack, parts))


def damaged(stored: bytes, choices: Choices) -> bytes:
    """``stored``, cut off or with one byte changed."""
    at = choices.cuts[-1] * len(stored) // 256
    if choices.damage < 64:
        return stored[:at]
    changed = stored[:at] + bytes([stored[at] ^ choices.damage]) + stored[at + 1 :]
    return stored if is_large(changed) else changed


def is_large(stored: bytes) -> bool:
    """Whether a few bytes stand for many."""
    stream = open_plain(io.BytesIO(stored), "x")
    stream.seek(_LARGE)
    return stream.tell() >= _LARGE


def _with_checksums(content: bytes) -> bytes:
    """A tar whose headers have the checksums that changes to them have broken."""
    stream = io.BytesIO(content)
    for start in range(0, len(content) - 511, 512):
        block = content[start : start + 512]
        if block[257:262] == b"ustar":
            total = tarfile.calc_chksums(block)[0]  # type: ignore[attr-defined]
            stream.seek(start + 148)
            stream.write(b"%06o\0 " % total)
    return stream.getvalue()


def with_lengths(content: bytes) -> bytes:
    """A WARC whose first records have the length that changes to their content have broken."""
    parts = content.split(b"WARC/1.0\r\n")
    for index, part in enumerate(parts[1:], 1):
        head, blank, body = part.partition(b"\r\n\r\n")
        length = len(body.removesuffix(b"\r\n\r\n"))
        parts[index] = re.sub(rb"Content-Length: \d+$", b"Content-Length: %d" % length, head)
        parts[index] += blank + body
    return b"WARC/1.0\r\n".join(parts)
