"""Folders of the Hugging Face ``datasets`` library, and the Arrow files that they are made of."""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO, Any

import pyarrow as pa

from mixcurate.errors import InputError
from mixcurate.io import storage
from mixcurate.io.parquet import add_rows, reraise_io
from mixcurate.io.records import FieldParams, RawBatch, RawBuilder, Rejection

#: What a saved dataset and a saved dict of splits keep in their folders.
STATE = "state.json"
SPLITS = "dataset_dict.json"

_DATA_SUFFIXES = (".parquet", ".arrow", ".jsonl", ".jsonl.gz", ".jsonl.zst")
_FILE_MAGIC = b"ARROW1"
_MESSAGE = b"\xff" * 4


def list_data_files(folder: str) -> list[str]:
    """The data files of a dataset folder: what ``save_to_disk`` lists, else every file of data.

    Raises:
        InputError: there are none, or what lists them is broken.
    """
    names = storage.list_names(folder)
    if SPLITS in names:
        splits = _read_list(storage.join(folder, SPLITS), "splits")
        folders = [storage.join(folder, name) for name in sorted(_inside(splits, folder))]
        files = [file for split in folders for file in _saved(split)]
    elif STATE in names:
        files = _saved(folder)
    else:
        found = [file.path for file in storage.glob(folder)]
        files = [p for p in found if p.endswith(_DATA_SUFFIXES) and not is_hidden(p, folder)]
    if not files:
        raise InputError(
            f"no data in the dataset folder {folder}: no {STATE} or {SPLITS} that lists files, and"
            f" no file ending with {', '.join(_DATA_SUFFIXES)}"
        )
    return files


def read_arrow(stream: IO[bytes], *, fields: FieldParams) -> Iterator[RawBatch]:
    """Documents of an Arrow IPC stream or file; a position is a row number.

    Broken data costs one rejection (``not_arrow``, or ``truncated`` after readable batches); the
    rows before it are kept.
    """
    builder = RawBuilder()
    row = 0
    for batch in _batches(stream):
        if isinstance(batch, pa.RecordBatch):
            yield from add_rows(batch, row, builder, fields)
            row += batch.num_rows
        else:
            builder.reject(Rejection.of(row, batch[0], batch[1][:500]))
    yield from builder.rest()


def _batches(stream: IO[bytes]) -> Iterator[pa.RecordBatch | tuple[str, str]]:
    """Record batches, and at the end the reason and detail of what stopped them, if it did."""
    is_file = stream.read(len(_FILE_MAGIC)) == _FILE_MAGIC
    stream.seek(0)
    if is_file and (file := _open_file(stream)):
        try:
            for index in range(file.num_record_batches):
                yield file.get_batch(index)
        except (pa.ArrowException, OSError, MemoryError) as error:
            yield "truncated", str(reraise_io(error))
        return
    reason = "not_arrow"
    try:
        # A file is a stream between its magic and a footer: without the footer it is read as one.
        stream.seek(8 if is_file else 0)
        reader = pa.ipc.open_stream(stream)
        reason = "truncated"
        yield from reader
    except (pa.ArrowException, OSError, MemoryError) as error:
        yield reason, str(reraise_io(error))
        return
    if is_file:
        yield "truncated", "the file has no readable footer"
    elif not _has_end(stream):
        yield "truncated", "the stream has no end mark: it may be cut between two batches"


def _open_file(stream: IO[bytes]) -> Any:
    """A reader of the Arrow file format, or None where the file has lost its footer."""
    try:
        return pa.ipc.open_file(stream)
    except (pa.ArrowException, OSError, MemoryError) as error:
        reraise_io(error)
        return None


def _has_end(stream: IO[bytes]) -> bool:
    """Whether a stream ends with its mark, an empty message. Before Arrow 0.15 it had no prefix."""
    stream.seek(0)
    mark = bytes(4) if stream.read(4) != _MESSAGE else _MESSAGE + bytes(4)
    stream.seek(-len(mark), 2)
    return stream.read(8) == mark


def _saved(folder: str) -> list[str]:
    """The Arrow files that the state of a saved dataset lists."""
    path = storage.join(folder, STATE)
    entries = _read_list(path, "_data_files")
    names = [entry.get("filename") if isinstance(entry, dict) else None for entry in entries]
    return [storage.join(folder, name) for name in _inside(names, path)]


def _read_list(path: str, key: str) -> list[Any]:
    """The list under ``key`` of a small JSON file."""
    try:
        value = storage.read_json(path)
        entries = value[key]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise InputError(f"cannot read {key!r} of {path}: {error}") from error
    if not isinstance(entries, list):
        raise InputError(f"{key!r} of {path} is not a list; `save_to_disk` writes one")
    return entries


def _inside(names: list[Any], path: str) -> list[str]:
    """``names`` if all of them lead to places below the folder of ``path``."""
    for name in names:
        if not isinstance(name, str) or name.startswith("/") or ".." in name.split("/"):
            raise InputError(f"{path} lists {name!r}, which is no file name below its folder")
    return names


def is_hidden(path: str, folder: str) -> bool:
    """Whether a file found below ``folder`` is hidden there, or lies in a hidden folder.

    Unfinished files, caches, version control and the logs of table formats hide so.
    """
    inner = storage.filesystem(folder)[1].rstrip("/")
    *folders, name = path.split("://", 1)[-1].removeprefix(inner).split("/")
    return name.startswith(".") or any(part.startswith((".", "_")) for part in folders)
