"""From an input of the recipe to its tasks: which files, cut where."""

from __future__ import annotations

import dataclasses
import difflib
import os
import posixpath
import re
from collections.abc import Iterator
from typing import NamedTuple

from mixcurate.errors import InputError, MixcurateError
from mixcurate.io import huggingface, storage
from mixcurate.io.arrow_ipc import batch_sizes
from mixcurate.io.compression import MAGIC_BYTES, compression_of
from mixcurate.io.inputs import (
    COMMON_CRAWL,
    InputParams,
    ReadTask,
    format_by_name,
    format_of,
    option_problem,
)
from mixcurate.io.lines import is_utf16
from mixcurate.io.parquet import row_group_sizes
from mixcurate.io.path_lists import read_paths
from mixcurate.io.warc_ranges import warc_ranges

_MAGIC = re.compile(r"[*?\[]")


class _Range(NamedTuple):
    """Fields of a ``ReadTask``."""

    start: int
    stop: int | None
    size: int
    row: int = 0


def list_tasks(index: int, params: InputParams, *, base: str, task_bytes: int) -> list[ReadTask]:
    """The tasks of one input, sorted by path and place; the same files give the same tasks.

    Files are cut into tasks of about ``task_bytes`` where their format allows it: plain JSON Lines,
    plain text with a delimiter of one byte and WARC that is not compressed as a whole into byte
    ranges, Parquet into row groups, local Arrow files into record batches. Files that a list of
    paths names elsewhere are not asked for their size, which would take a request each: they are a
    task each.

    Raises:
        InputError: nothing matches, a file's format cannot be told, or an option fits no file.
    """
    given = params.path
    relative = storage.is_local(given) and not os.path.isabs(given)
    pattern = storage.join(base, given) if relative else given
    formats = set()
    tasks = []
    try:
        for file in _files(pattern, params):
            kind = format_of(file.path, params)
            formats.add(kind)
            shown = _shown(file.path, base) if relative else file.path
            listed = [(file, shown, kind)]
            if kind == "paths":
                listed = list(_listed(file.path, params, base))
                formats.update(kind for _, _, kind in listed)
            for found, name, found_kind in listed:
                for part in _ranges(found, found_kind, params, max(1, task_bytes)):
                    start, stop, size, row = part
                    task = (index, found.path, name, found_kind, start, stop, size, found.version)
                    tasks.append(ReadTask(*task, row))
    except MixcurateError:
        raise
    except OSError as error:
        raise InputError(f"cannot list {pattern}: {reason_of(error)}") from error
    except Exception as error:  # libraries of stores and hubs have their own
        if storage.is_local(pattern):
            raise
        raise InputError(f"cannot list {pattern}: {type(error).__name__}: {error}") from error
    if not tasks:
        raise InputError(_nothing_matches(pattern, given))
    if problem := option_problem(params, formats):
        raise InputError(f"{given}: {problem}")
    return sorted(tasks, key=lambda task: (task.shown_path, task.start))


def reason_of(error: OSError) -> str:
    """What the system says of a failure."""
    if isinstance(error, FileNotFoundError):
        return error.strerror or "no such file"
    return error.strerror or str(error) or type(error).__name__


def _files(pattern: str, params: InputParams) -> list[storage.FileInfo]:
    """The files that ``pattern`` stands for: one file, the data of a folder, or matches."""
    if pattern.startswith(("http://", "https://")):  # to ask for more than one would download it
        return [storage.info(pattern)]
    fs, inner = storage.filesystem(pattern)
    if fs.isfile(inner):  # also where the name holds characters that mean something in a pattern
        path = inner if storage.is_local(pattern) else pattern
        return [dataclasses.replace(storage.info(pattern), path=path)]
    folder = pattern if fs.isdir(inner) else _folder_of(pattern)
    if folder == pattern:
        saved = {huggingface.STATE, huggingface.SPLITS} & set(storage.list_names(folder))
        if saved or params.format == "huggingface" or pattern.startswith("hf://"):
            location = inner if storage.is_local(folder) else folder
            return [storage.info(path) for path in huggingface.list_data_files(location)]
    return [
        file
        for file in storage.glob(pattern)
        if not huggingface.is_hidden(file.path, folder) and not _is_marker(file.path)
    ]


def _is_marker(path: str) -> bool:
    """Whether a file is a marker such as Spark's ``_SUCCESS``: an underscore and no data format."""
    return posixpath.basename(path).startswith("_") and format_by_name(path) is None


def _listed(
    path: str, params: InputParams, base: str
) -> Iterator[tuple[storage.FileInfo, str, str]]:
    """File, shown path and format of each line of a list of paths."""
    given = COMMON_CRAWL if params.root is None else params.root
    relative = storage.is_local(given) and not os.path.isabs(given)
    root = storage.join(base, given) if relative else given
    storage.filesystem(root)  # a package for it may be missing
    by_name = params.model_copy(update={"format": "auto"})
    for listed, number in read_paths(path, root=root, first=params.first).items():
        try:
            file = _listed_file(listed)
            kind = format_of(listed, by_name)
        except InputError as error:
            raise InputError(f"{path}, line {number:,}: {error}") from None
        if kind == "paths":
            raise InputError(f"{path}, line {number:,}: {listed} is a list of paths again")
        yield file, _shown(file.path, base) if relative else listed, kind


def _listed_file(path: str) -> storage.FileInfo:
    """What is known of a file that a list names; of files elsewhere nothing is asked."""
    if not storage.is_local(path):
        return storage.FileInfo(path, 0, "unknown")
    path = os.path.abspath(path)
    if not os.path.isfile(path):
        raise InputError(f"{path} is no file; is `root:` right?")
    return storage.info(path)


def _ranges(
    file: storage.FileInfo, kind: str, params: InputParams, task_bytes: int
) -> Iterator[_Range]:
    """The tasks that a file is cut into."""
    if file.size > task_bytes:
        if kind == "jsonl" or (kind == "text" and len((params.delimiter or "").encode()) == 1):
            yield from _byte_ranges(file, task_bytes)
            return
        if kind in ("warc", "wet"):
            yield from _record_ranges(file, task_bytes)
            return
        sizes: list[tuple[int, int]] = []  # rows and bytes of what the file consists of
        if kind == "parquet":
            with storage.open_read(file.path) as stream:
                sizes = [(0, size) for size in row_group_sizes(stream)] if stream.seekable() else []
        elif kind == "arrow" and storage.is_local(file.path):
            sizes = batch_sizes(file.path)
        if len(sizes) > 1:
            yield from _group(sizes, task_bytes)
            return
    yield _Range(0, None, file.size)


def _byte_ranges(file: storage.FileInfo, task_bytes: int) -> Iterator[_Range]:
    """Ranges of equal size, or the whole of a file that cannot be entered in its middle."""
    with storage.open_read(file.path) as stream:
        head = stream.read(MAGIC_BYTES)
        whole = compression_of(head) is not None or is_utf16(head) or not stream.seekable()
    if whole:
        yield _Range(0, None, file.size)
        return
    step = -(-file.size // -(-file.size // task_bytes))
    for start in range(0, file.size, step):
        stop = min(start + step, file.size)
        yield _Range(start, stop, stop - start)


def _record_ranges(file: storage.FileInfo, task_bytes: int) -> Iterator[_Range]:
    """Ranges of a WARC file that is compressed record by record, or the whole of another."""
    with storage.open_read(file.path) as stream:
        whole: list[tuple[int, int | None]] = [(0, None)]
        ranges = warc_ranges(stream, file.size, task_bytes) if stream.seekable() else whole
    for start, stop in ranges:
        yield _Range(start, stop, (file.size if stop is None else stop) - start)


def _group(sizes: list[tuple[int, int]], task_bytes: int) -> Iterator[_Range]:
    """Consecutive row groups or batches that stay below ``task_bytes``, at least one each."""
    start = total = row = first_row = 0
    for index, (rows, size) in enumerate(sizes):
        if index > start and total + size > task_bytes:
            yield _Range(start, index, total, first_row)
            start, total, first_row = index, 0, row
        total += size
        row += rows
    yield _Range(start, len(sizes), total, first_row)


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
