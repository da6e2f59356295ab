"""From an input of the recipe to batches of raw documents: which files, in what tasks, read how.

A task is a plain value that any worker can read by itself; tasks of a file never overlap.
"""

from __future__ import annotations

import dataclasses
import difflib
import os
import posixpath
import re
from collections.abc import Iterator
from typing import IO, Literal

from mixcurate.errors import InputError
from mixcurate.io import huggingface, storage
from mixcurate.io.compression import MAGIC_BYTES, compression_of, open_plain
from mixcurate.io.jsonl import read_jsonl
from mixcurate.io.parquet import read_parquet, row_group_sizes
from mixcurate.io.records import FieldParams, RawBatch, RawBuilder, Rejection
from mixcurate.io.warc import HtmlExtractor, read_warc, read_wet

Format = Literal["auto", "warc", "wet", "jsonl", "parquet", "huggingface"]


class InputParams(FieldParams):
    """One input: files that share a source, a format and field names."""

    path: str
    """File, folder or pattern (`crawl/*.warc.gz`); relative to the recipe's folder."""
    source: str = "web"
    """Name of the source; a column of every document."""
    format: Format = "auto"
    """`auto` tells by the file's name."""
    licence: str | None = None
    """Licence of documents that do not bring their own."""


@dataclasses.dataclass(frozen=True)
class ReadTask:
    """What one worker reads at once: a file, a byte range of it, or some of its row groups."""

    input: int
    """Which input of the recipe."""
    path: str
    """What is opened."""
    shown_path: str
    """What tables record: as the recipe writes it, so that ids do not depend on the machine."""
    format: str
    """`warc`, `wet`, `jsonl`, `parquet` or `arrow`."""
    start: int
    """First byte (JSON Lines) or row group (Parquet)."""
    stop: int | None
    """End of the range, exclusive; None reads to the end."""
    size: int
    """Stored bytes of the range."""
    version: str
    """What changes when the file does."""


_COMPRESSED = re.compile(r"\.(gz|gzip|zst|zstd|bz2|xz)$")
_FORMATS = {
    "wet": (".wet", ".wet.warc"),  # before `warc`, whose ending it shares
    "warc": (".warc",),
    "jsonl": (".jsonl", ".ndjson", ".jsonlines", ".json"),
    "parquet": (".parquet", ".pq"),
    "arrow": (".arrow", ".feather"),
}
_MAGIC = re.compile(r"[*?\[]")


def list_tasks(index: int, params: InputParams, *, base: str, task_bytes: int) -> list[ReadTask]:
    """The tasks of one input, sorted by path and place; the same files give the same tasks.

    Plain JSON Lines are cut into byte ranges and Parquet into row groups of about ``task_bytes``.

    Raises:
        InputError: nothing matches, or a file's format cannot be told.
    """
    given = params.path
    relative = storage.is_local(given) and not os.path.isabs(given)
    pattern = storage.join(base, given) if relative else given
    try:
        tasks = [
            ReadTask(index, file.path, shown, kind, start, stop, size, file.version)
            for file in _files(pattern, params)
            for shown in [_shown(file.path, base) if relative else file.path]
            for kind in [_format_of(file.path, params)]
            for start, stop, size in _ranges(file, kind, max(1, task_bytes))
        ]
    except OSError as error:
        raise InputError(f"cannot list {pattern}: {_reason(error)}") from error
    if not tasks:
        raise InputError(_nothing_matches(pattern, given))
    return sorted(tasks, key=lambda task: (task.shown_path, task.start))


def read(task: ReadTask, params: InputParams, *, extract: HtmlExtractor) -> Iterator[RawBatch]:
    """Documents and rejections of one task; whatever the file holds, it does not raise.

    Raises:
        InputError: the file cannot be opened, or the disk or network fails.
    """
    try:
        with storage.open_read(task.path) as stream:
            yield from _read(stream, task, params, extract)
    except OSError as error:
        raise InputError(f"cannot read {task.path}: {_reason(error)}") from error


def _read(
    stream: IO[bytes], task: ReadTask, params: InputParams, extract: HtmlExtractor
) -> Iterator[RawBatch]:
    if task.format in ("parquet", "arrow"):
        if not stream.read(1):
            return _empty_file()
        stream.seek(0)
        if task.format == "arrow":
            return huggingface.read_arrow(stream, fields=params)
        return read_parquet(stream, fields=params, start=task.start, stop=task.stop)
    plain = open_plain(stream, task.path)
    if not plain.peek(1) and plain.error is None:
        return _empty_file()
    if task.format == "jsonl":
        return read_jsonl(plain, fields=params, start=task.start, stop=task.stop)
    return read_wet(plain) if task.format == "wet" else read_warc(plain, extract=extract)


def _empty_file() -> Iterator[RawBatch]:
    builder = RawBuilder()
    builder.reject(Rejection.of(0, "empty_file", "the file holds no bytes"))
    return builder.rest()


def _files(pattern: str, params: InputParams) -> list[storage.FileInfo]:
    """The files that ``pattern`` stands for: one file, the data of a folder, or matches."""
    fs, inner = storage.filesystem(pattern)
    if fs.isfile(inner):  # also where the name holds characters that mean something in a pattern
        path = inner if storage.is_local(pattern) else pattern
        return [dataclasses.replace(storage.info(pattern), path=path)]
    folder = pattern if fs.isdir(inner) else _folder_of(pattern)
    if folder == pattern:
        saved = {huggingface.STATE, huggingface.SPLITS} & set(storage.list_names(folder))
        if saved or params.format == "huggingface":
            location = inner if storage.is_local(folder) else folder
            return [storage.info(path) for path in huggingface.list_data_files(location)]
    return [
        file
        for file in storage.glob(pattern)
        if not huggingface.is_hidden(file.path, folder) and not _is_marker(file.path)
    ]


def _is_marker(path: str) -> bool:
    """Whether a file is a marker such as Spark's ``_SUCCESS``: an underscore and no data format."""
    return posixpath.basename(path).startswith("_") and _format_by_name(path) is None


def _format_by_name(path: str) -> str | None:
    whole = posixpath.basename(path).lower()
    name = _COMPRESSED.sub("", whole)
    for kind, suffixes in _FORMATS.items():
        if name.endswith(suffixes) and (name == whole or kind not in ("parquet", "arrow")):
            return kind
    return None


def _format_of(path: str, params: InputParams) -> str:
    if params.format not in ("auto", "huggingface"):
        return params.format
    if kind := _format_by_name(path):
        return kind
    known = ", ".join(suffix for suffixes in _FORMATS.values() for suffix in suffixes)
    raise InputError(
        f"cannot tell the format of {path} by its name. Set `format:` (warc, wet, jsonl, parquet)"
        f" for this input, or narrow its path to the data. Known endings: {known}"
        " (the text formats also with .gz, .zst, .bz2, .xz)"
    )


def _ranges(
    file: storage.FileInfo, kind: str, task_bytes: int
) -> Iterator[tuple[int, int | None, int]]:
    """Start, stop and size of each task of a file."""
    if file.size > task_bytes and kind == "jsonl":
        with storage.open_read(file.path) as stream:
            packed = compression_of(stream.read(MAGIC_BYTES)) is not None
        if not packed:
            step = -(-file.size // -(-file.size // task_bytes))
            for start in range(0, file.size, step):
                stop = min(start + step, file.size)
                yield start, stop, stop - start
            return
    if file.size > task_bytes and kind == "parquet":
        with storage.open_read(file.path) as stream:
            sizes = row_group_sizes(stream)
        if len(sizes) > 1:
            yield from _group(sizes, task_bytes)
            return
    yield 0, None, file.size


def _group(sizes: list[int], task_bytes: int) -> Iterator[tuple[int, int, int]]:
    """Consecutive row groups that together stay below ``task_bytes``, at least one each."""
    start = total = 0
    for index, size in enumerate(sizes):
        if index > start and total + size > task_bytes:
            yield start, index, total
            start, total = index, 0
        total += size
    yield start, len(sizes), total


def _shown(path: str, base: str) -> str:
    """``path`` relative to ``base``, with ``/`` on every system."""
    if storage.is_local(path):
        return os.path.relpath(path, base or ".").replace(os.sep, "/")
    return path.removeprefix(base.rstrip("/") + "/")


def _folder_of(pattern: str) -> str:
    """The deepest folder of ``pattern`` that is named without wildcards."""
    parts = posixpath.dirname(pattern).split("/")
    plain = next((i for i, part in enumerate(parts) if _MAGIC.search(part)), len(parts))
    return "/".join(parts[:plain]) or ("/" if pattern.startswith("/") else ".")


def _nothing_matches(pattern: str, given: str) -> str:
    fs, inner = storage.filesystem(pattern)
    if fs.isdir(inner):
        return f"no file matches {given}: the folder {pattern} holds no data files"
    folder = _folder_of(pattern)
    if not storage.exists(folder):
        return f"no file matches {given}: the folder {folder} does not exist"
    if any(map(fs.isdir, fs.glob(inner))):
        return f"no file matches {given} in {folder}, only folders do: add /** to read their files"
    names = storage.list_names(folder)
    stem = _MAGIC.sub("", posixpath.basename(pattern.rstrip("/")))
    close = difflib.get_close_matches(stem, names, n=3, cutoff=0.5)
    hint = f"; similar names there: {', '.join(sorted(close))}" if close else ""
    return f"no file matches {given} in the folder {folder} ({len(names)} names){hint}"


def _reason(error: OSError) -> str:
    return error.strerror or str(error) or type(error).__name__
