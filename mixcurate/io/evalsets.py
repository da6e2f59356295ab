"""Evaluation sets given as files: their items' texts, and the index of them on disk.

Whoever gives a set wants every item of it searched. So a record that cannot be read is an error
here, unlike in an input, where it costs one rejected row.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from mixcurate.errors import InputError
from mixcurate.io import storage
from mixcurate.io.compression import open_plain
from mixcurate.io.partfiles import write_array
from mixcurate.io.readers import InputParams, ReadTask, list_tasks
from mixcurate.io.records import field_list

#: What ``read_set`` gives: one row an item.
ITEMS = pa.schema(
    [
        pa.field("path", pa.string(), nullable=False),
        pa.field("position", pa.int64(), nullable=False),  # record of the file, from 0
        pa.field("text", pa.large_string(), nullable=False),
    ]
)

#: Larger files are no evaluation sets: they are read whole.
MAX_BYTES = 2 << 30

_PACKED = re.compile(r"\.(gz|gzip|zst|zstd|bz2|xz)$")
_INDEX = "index.json"
_CHUNK = 1 << 20


def read_set(path: str, fields: list[str], *, base: str) -> pa.Table:
    """The items of one evaluation set, in the order of its files.

    JSON Lines, a JSON array of objects, CSV, TSV (each also compressed), Parquet and Arrow.

    Args:
        path: file, folder or pattern.
        fields: dotted paths of what makes up an item, joined by line breaks; below a list, a number
            is one element and anything else stands for every element. Empty takes all texts of a
            record, however deep, in their order.
        base: folder that a relative ``path`` starts from.

    Raises:
        InputError: no file matches, one cannot be read, no record has some field, or no record
            has any text.
    """
    found: list[tuple[str, int, str]] = []
    missing, seen, n_records = set(fields), set[str](), 0
    for task in list_tasks(0, InputParams(path=path), base=base, task_bytes=1 << 62):
        for position, record in enumerate(_records(task)):
            n_records += 1
            seen |= record.keys()
            values = [(name, _at(record, name)) for name in fields] or [("", list(record.values()))]
            missing -= {name for name, value in values if value is not None}
            text = "\n".join(part for _, value in values for part in _texts(value, bool(fields)))
            if text and not text.isspace():
                found.append((task.shown_path, position, text))
    if missing and n_records:
        raise InputError(
            f"evaluation set {path}: no record has the field {', '.join(sorted(missing))}; they"
            f" have: {field_list(seen)}"
        )
    if not found:
        raise InputError(f"evaluation set {path}: none of its {n_records:,} records has a text")
    columns = list(zip(*found, strict=True))
    arrays = [pa.array(column, field.type) for column, field in zip(columns, ITEMS, strict=True)]
    return pa.Table.from_arrays(arrays, schema=ITEMS)


def write_index(folder: str, plain: dict[str, Any], arrays: dict[str, npt.NDArray[Any]]) -> None:
    """Store an index: each array as ``.npy``, and last the rest as JSON."""
    for name, array in arrays.items():
        write_array(storage.join(folder, f"{name}.npy"), array)
    storage.write_json(storage.join(folder, _INDEX), {"plain": plain, "arrays": sorted(arrays)})


def read_index(folder: str) -> tuple[dict[str, Any], dict[str, npt.NDArray[Any]]]:
    """Back from ``write_index``. Local arrays are mapped: all processes of a machine share them.

    Raises:
        InputError: there is none, or it is broken.
    """
    try:
        stored = storage.read_json(storage.join(folder, _INDEX))
        return stored["plain"], {name: _array(folder, name) for name in stored["arrays"]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"cannot read the index of evaluation sets in {folder}: {error}"
        ) from error


def _array(folder: str, name: str) -> npt.NDArray[Any]:
    path = storage.join(folder, f"{name}.npy")
    if storage.is_local(path):
        mapped: npt.NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
        return np.asarray(mapped)
    array: npt.NDArray[Any] = np.load(io.BytesIO(storage.read_bytes(path)), allow_pickle=False)
    return array


def _records(task: ReadTask) -> Iterator[dict[str, Any]]:
    """The records of one file."""
    try:
        with storage.open_read(task.path) as stream:
            if task.format == "parquet":
                batches: Iterable[pa.RecordBatch] = pq.ParquetFile(stream).iter_batches(1_000)
            elif task.format == "arrow":
                batches = _arrow(stream.read(MAX_BYTES))
            else:
                yield from _parse(_content(stream, task.path), task.path)
                return
            for batch in batches:
                yield from batch.to_pylist()
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"cannot read the evaluation set {task.path}: {error}") from error


def _arrow(data: bytes) -> Iterator[pa.RecordBatch]:
    if data.startswith(b"ARROW1"):
        file = pa.ipc.open_file(data)
        return (file.get_batch(number) for number in range(file.num_record_batches))
    return iter(pa.ipc.open_stream(data))


def _content(stream: Any, path: str) -> bytes:
    plain = open_plain(stream, path)
    parts, size = [], 0
    while part := plain.read(_CHUNK):
        parts.append(part)
        size += len(part)
        if size > MAX_BYTES:
            raise InputError(f"{path} has more than {MAX_BYTES:,} bytes: no evaluation set?")
    if plain.error is not None:
        raise InputError(f"the evaluation set {path} is damaged: {plain.error}")
    return b"".join(parts).removeprefix(b"\xef\xbb\xbf")


def _parse(data: bytes, path: str) -> Iterator[dict[str, Any]]:
    """Records of JSON Lines, a JSON array, CSV or TSV."""
    name = _PACKED.sub("", path.lower())
    if name.endswith((".csv", ".tsv")):
        yield from _parse_table(data, path, "\t" if name.endswith(".tsv") else ",")
        return
    if data.lstrip()[:1] == b"[":
        yield from (_object(value, path, i) for i, value in enumerate(_loads(data, path, None)))
        return
    for number, line in enumerate(data.split(b"\n"), start=1):
        if line and not line.isspace():
            yield _object(_loads(line, path, number), path, number)


def _parse_table(data: bytes, path: str, delimiter: str) -> Iterator[dict[str, Any]]:
    try:
        csv.field_size_limit(max(csv.field_size_limit(), 16 << 20))
        text = io.StringIO(data.decode(), newline="")
        for row in csv.DictReader(text, delimiter=delimiter, strict=True):
            yield {name: cell for name, cell in row.items() if name is not None}
    except (csv.Error, UnicodeDecodeError) as error:
        raise InputError(f"the evaluation set {path} is no readable table: {error}") from error


def _loads(data: bytes, path: str, line: int | None) -> Any:
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError as error:
        place = f"line {line:,} of " if line else ""
        raise InputError(f"{place}the evaluation set {path} is not JSON: {error}") from error


def _object(value: Any, path: str, number: int) -> dict[str, Any]:
    if isinstance(value, dict):
        return value
    kind = type(value).__name__
    raise InputError(f"record {number:,} of the evaluation set {path} is a {kind}, not an object")


def _at(value: Any, path: str) -> Any:
    """What is at a dotted path; None if nothing is."""
    if isinstance(value, dict):
        if path in value:
            return value[path]
        key, _, rest = path.partition(".")
        return _at(value[key], rest) if rest and key in value else None
    if isinstance(value, list):
        key, _, rest = path.partition(".")
        if key.isdecimal():
            inner = value[int(key)] if len(key) < 10 and int(key) < len(value) else None
            return _at(inner, rest) if rest else inner
        inside = [_at(item, path) for item in value]
        return inside if any(item is not None for item in inside) else None
    return None


def _texts(value: Any, numbers: bool) -> Iterator[str]:
    """The texts in a value, in order; of a field that was named also its numbers."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _texts(inner, numbers)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner, numbers)
    elif numbers and isinstance(value, int | float) and not isinstance(value, bool):
        yield str(value)
