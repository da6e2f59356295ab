"""Reads one bomb in a process of its own: ``python -m tests.fuzz.bombs NAME FOLDER``.

The bomb is made here, too: what counts is memory, above what was taken before reading began.
Prints what came of it as JSON: number of documents, of each reason, and megabytes.
"""

from __future__ import annotations

import collections
import gzip
import io
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from mixcurate.errors import InputError
from mixcurate.io import storage
from mixcurate.io.path_lists import read_paths
from mixcurate.io.readers import InputParams, ReadTask, read
from mixcurate.models.extract import main_text

SIZE = 160 << 20
_BLOCK = b"0" * (4 << 20)


class Endless(io.RawIOBase):
    """A file of ``size`` bytes that are made when they are read."""

    def __init__(self, head: bytes, size: int) -> None:
        self._head, self._left = head, size

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        data, self._head = self._head[:size], self._head[size:]
        if not data:
            data = _BLOCK[: min(size, self._left)]
            self._left -= len(data)
        return data


def _gzipped(head: bytes, ending: bytes = b"") -> bytes:
    members = gzip.compress(_BLOCK, 1) * (SIZE // len(_BLOCK))
    return gzip.compress(head) + members + gzip.compress(ending)


def _one_member(head: bytes) -> bytes:
    return gzip.compress(head + b"0" * SIZE, 1)


def _record(kind: str, length: int) -> bytes:
    head = f"WARC/1.0\r\nWARC-Type: {kind}\r\nContent-Type: application/http\r\n"
    return f"{head}Content-Length: {length}\r\n\r\nHTTP/1.1 200 OK\r\n\r\n<html>".encode()


def _page(html: bytes) -> bytes:
    content = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n" + html
    head = "WARC/1.0\r\nWARC-Type: response\r\nContent-Type: application/http\r\n"
    return f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content + b"\r\n\r\n"


def _attributes() -> bytes:
    return _page(b"<p " + b"".join(b"a%d=1 " % i for i in range(100_000)) + b">words of a text")


def _nested(opening: bytes, closing: bytes, count: int) -> bytes:
    return b'{"text": "x", "a": ' + opening * count + b"1" + closing * count + b"}\n"


#: Format, and content.
BOMBS: dict[str, tuple[str, Callable[[], bytes]]] = {
    "line": ("jsonl", lambda: _gzipped(b'{"text": "')),
    "lists": ("jsonl", lambda: _nested(b"[", b"]", 100_000)),
    "objects": ("jsonl", lambda: _nested(b'{"a":', b"}", 900)),
    "record in members": ("warc", lambda: _gzipped(_record("response", 10 << 30))),
    "record in a member": ("warc", lambda: _one_member(_record("response", 10 << 30))),
    "record of another type": ("warc", lambda: _one_member(_record("metadata", SIZE - 100))),
    "record that is not there": ("warc", lambda: _record("response", 10 << 30)),
    "no record": ("warc", lambda: _one_member(b"")),
    "text record": ("wet", lambda: _one_member(_record("conversion", SIZE - 100))),
    "page": ("warc", lambda: gzip.compress(_page(b"<p>" + b"0" * (60 << 20)), 1)),
    "elements": ("warc", lambda: _page(b"<div>" * 100_000 + b"words of a text " * 50)),
    "tables": ("warc", lambda: _page(b"<table><tr><td>" * 30_000 + b"words of a text " * 50)),
    "attributes": ("warc", _attributes),
    "list of paths": ("paths", lambda: _gzipped(b"a.warc.gz\n")),
}


def _peak() -> int:
    """The most memory that this process has had, in MiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) >> 10


def _reasons(path: str, kind: str) -> Iterator[str]:
    if kind == "paths":
        try:
            yield from ("path" for _ in read_paths(path, root="https://x.org", first=None))
        except InputError:
            yield "refused"
        return
    task = ReadTask(0, path, "x", kind, 0, None, 0, "")
    for batch in read(task, InputParams(path="unused"), extract=main_text):
        yield from ["document"] * batch.documents.num_rows
        yield from (rejection.reason for rejection in batch.rejected)


def main() -> None:
    name, folder = sys.argv[1:]
    if name == "endless line":
        storage.open_read = lambda path: Endless(b'{"text": "', 1 << 30)  # type: ignore[assignment]
        kind, path = "jsonl", Path("unused")
    else:
        kind, path = BOMBS[name][0], Path(folder) / "bomb"
    before = _peak()
    found = collections.Counter(_reasons(str(path), kind))
    json.dump([found, _peak() - before], sys.stdout)


if __name__ == "__main__":
    main()
