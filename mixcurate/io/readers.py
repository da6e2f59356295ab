"""From a task to batches of raw documents: the one entry to every format.

A task is a plain value that any worker can read by itself; tasks of a file never overlap.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO

from mixcurate.errors import InputError
from mixcurate.io import storage
from mixcurate.io.arrow_ipc import read_arrow
from mixcurate.io.compression import open_plain
from mixcurate.io.delimited import read_delimited
from mixcurate.io.inputs import InputParams, ReadTask, plain_name
from mixcurate.io.jsonl import read_jsonl
from mixcurate.io.listing import list_tasks, reason_of
from mixcurate.io.parquet import read_parquet
from mixcurate.io.records import RawBatch, RawBuilder, Rejection
from mixcurate.io.tar import read_tar
from mixcurate.io.text import read_text
from mixcurate.io.warc import HtmlExtractor, read_warc, read_wet

__all__ = ["InputParams", "ReadTask", "list_tasks", "read"]


def read(task: ReadTask, params: InputParams, *, extract: HtmlExtractor) -> Iterator[RawBatch]:
    """Documents and rejections of one task; whatever the file holds, it does not raise.

    Raises:
        InputError: the file cannot be opened, or the disk or network fails.
    """
    try:
        with storage.open_read(task.path) as stream:
            yield from _read(stream, task, params, extract)
    except OSError as error:
        raise InputError(f"cannot read {task.path}: {reason_of(error)}") from error


def _read(
    stream: IO[bytes], task: ReadTask, params: InputParams, extract: HtmlExtractor
) -> Iterator[RawBatch]:
    if task.format in ("parquet", "arrow"):
        return _read_table(stream, task, params)
    plain = open_plain(stream, task.path)
    if not plain.peek(1) and plain.error is None:
        return _empty_file()
    match task.format:
        case "jsonl":
            return read_jsonl(plain, fields=params, start=task.start, stop=task.stop)
        case "text":
            return read_text(plain, delimiter=params.delimiter, start=task.start, stop=task.stop)
        case "csv":
            delimiter = "\t" if plain_name(task.path).endswith(".tsv") else ","
            return read_delimited(plain, fields=params, delimiter=params.delimiter or delimiter)
        case "tar":
            return read_tar(plain, fields=params)
    if not stream.seekable():
        return read_wet(plain) if task.format == "wet" else read_warc(plain, extract=extract)
    stream.seek(0)  # records are found in the stored file, so that it can be entered in its middle
    if task.format == "wet":
        return read_wet(stream, start=task.start, stop=task.stop)
    return read_warc(stream, extract=extract, start=task.start, stop=task.stop)


def _read_table(stream: IO[bytes], task: ReadTask, params: InputParams) -> Iterator[RawBatch]:
    """Formats that are entered at their end."""
    if not stream.read(1):
        return _empty_file()
    if not stream.seekable():
        raise InputError(
            f"cannot read {task.path}: its server gives no parts of a file, which {task.format}"
            " needs; download it and name the copy"
        )
    stream.seek(0)
    if task.format == "parquet":
        return read_parquet(stream, fields=params, start=task.start, stop=task.stop)
    return read_arrow(stream, fields=params, start=task.start, stop=task.stop, row=task.row)


def _empty_file() -> Iterator[RawBatch]:
    builder = RawBuilder()
    builder.reject(Rejection.of(0, "empty_file", "the file holds no bytes"))
    return builder.rest()
