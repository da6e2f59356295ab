"""Embeddings of a part on disk: an uncompressed Arrow IPC file, written and read in batches.

Uncompressed, so that a reader on the same machine maps the file and copies nothing. A batch has
``ROWS`` rows whoever wrote it, so that neither side's memory depends on the size of the part.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from types import TracebackType
from typing import Any, NamedTuple, Self, get_args

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mixcurate.errors import InputError
from mixcurate.io import storage
from mixcurate.tables import EmbeddingKind, embeddings_schema

#: Rows of a record batch; the last one of a file may have fewer.
ROWS = 16_384

#: Largest int8 that is used: -128 has no positive counterpart.
_LARGEST = np.float32(127)

Floats = npt.NDArray[np.floating]
Float32Array = npt.NDArray[np.float32]


class EmbeddingsInfo(NamedTuple):
    """What an embeddings file holds."""

    rows: int
    dimension: int
    kind: EmbeddingKind


class EmbeddingsWriter:
    """Writes one embeddings file; it appears under its name only if the block ends well.

    The bytes depend on the vectors and their order, not on how they were split over calls.
    """

    def __init__(self, path: str, dimension: int, kind: EmbeddingKind = "float16") -> None:
        self._path, self._kind = path, kind
        self._schema = embeddings_schema(dimension, kind)
        self._values = np.empty((ROWS, dimension), np.dtype(kind))
        self._scales = np.empty(ROWS, np.float32)
        self._held = self._written = 0
        self._file: contextlib.AbstractContextManager[None]
        self._sink: Any

    def __enter__(self) -> Self:
        self._file = self._opened()
        self._file.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.__exit__(kind, error, trace)

    @contextlib.contextmanager
    def _opened(self) -> Iterator[None]:
        with (
            storage.open_atomic(self._path) as stream,
            pa.ipc.new_file(stream, self._schema) as self._sink,
        ):
            yield
            if self._held or not self._written:  # a file always has a batch: readers expect one
                self._flush()

    def write(self, vectors: Floats) -> None:
        """Add rows to the end of the file.

        Args:
            vectors: float32 ``[n, d]``; any float is taken.

        Raises:
            ValueError: another dimension than the file's, or a vector that the file's kind can
                only hold as infinity or not-a-number: k-means would give it no cluster.
        """
        rows, dimension = self._values.shape
        if vectors.ndim != 2 or vectors.shape[1] != dimension:
            raise ValueError(f"{self._path} takes [n, {dimension}], got {list(vectors.shape)}")
        done = 0
        while done < len(vectors):
            piece = vectors[done : done + rows - self._held]
            self._add(piece)
            done += len(piece)
            if self._held == rows:
                self._flush()

    def _add(self, piece: Floats) -> None:
        """Encode rows into the free space of the batch that is being collected."""
        space = slice(self._held, self._held + len(piece))
        values = self._values[space]
        if self._kind == "int8":
            values[:], scales = _quantise(piece)
            self._scales[space] = scales
            finite = np.isfinite(scales)
        else:
            with np.errstate(over="ignore"):  # refused below, with the row's number
                values[:] = piece
            finite = np.asarray(np.isfinite(values).all(axis=1))
        if not finite.all():
            row = self._written + self._held + int(np.argmin(finite))
            raise ValueError(f"row {row:,} for {self._path} is not finite as {self._kind}")
        self._held += len(piece)

    def _flush(self) -> None:
        """Write the collected rows as a record batch."""
        types = [field.type for field in self._schema]
        flat = pa.array(self._values[: self._held].reshape(-1), types[0].value_type)
        columns = [pa.FixedSizeListArray.from_arrays(flat, type=types[0])]
        columns += [pa.array(self._scales[: self._held], kind) for kind in types[1:]]
        self._sink.write_batch(pa.RecordBatch.from_arrays(columns, schema=self._schema))
        self._written += self._held
        self._held = 0


def iter_embeddings(path: str) -> Iterator[Floats]:
    """Embeddings of one part in order, a record batch at a time.

    Yields:
        float16 or float32 ``[n, d]``, as the file has them; float32 for int8. Floats of a local
        file are read-only views of a memory map.

    Raises:
        InputError: the file cannot be read, or is no embeddings file.
    """
    part = _open(path)
    for number in range(part.batches):
        yield _decoded(*part.batch(number))


def read_embeddings(path: str) -> Floats:
    """Embeddings of one part as one array.

    A file of one batch is given as ``iter_embeddings`` gives it; more batches are copied together.

    Returns:
        float16 or float32 ``[n, d]``, as the file has them; float32 for int8.

    Raises:
        InputError: the file cannot be read, or is no embeddings file.
    """
    found = list(iter_embeddings(path))
    if not found:
        _, dimension, kind = embeddings_info(path)
        return np.zeros((0, dimension), np.float16 if kind == "float16" else np.float32)
    return found[0] if len(found) == 1 else np.concatenate(found)


def read_rows(path: str, rows: npt.NDArray[np.intp]) -> Float32Array:
    """Some rows of one part; only their pages of a local file are read.

    Args:
        path: the part.
        rows: intp ``[m]``, row numbers in any order; repeats are allowed.

    Returns:
        float32 ``[m, d]``, in the order of ``rows``.

    Raises:
        InputError: the file cannot be read, or is no embeddings file.
        IndexError: a row that the part does not have.
    """
    part = _open(path)
    ends = np.cumsum([part.batch_rows(number) for number in range(part.batches)], dtype=np.intp)
    n = int(ends[-1]) if len(ends) else 0
    if len(rows) and not (rows.min() >= 0 and rows.max() < n):
        raise IndexError(f"{path} has {n:,} rows, asked for {rows.min():,} to {rows.max():,}")
    result = np.empty((len(rows), part.dimension), np.float32)
    batch_of = np.searchsorted(ends, rows, side="right")
    for number in np.unique(batch_of).tolist():
        mine = np.flatnonzero(batch_of == number)
        values, scales = part.batch(number)
        local = rows[mine] - (ends[number] - len(values))
        result[mine] = _decoded(values[local], None if scales is None else scales[local])
    return result


def embeddings_info(path: str) -> EmbeddingsInfo:
    """Rows, dimension and kind of one part; reads no vector of a local file.

    Raises:
        InputError: the file cannot be read, or is no embeddings file.
    """
    part = _open(path)
    rows = sum(part.batch_rows(number) for number in range(part.batches))
    return EmbeddingsInfo(rows, part.dimension, part.kind)


@dataclasses.dataclass(frozen=True)
class _Part:
    """An open embeddings file."""

    path: str
    reader: Any
    dimension: int
    kind: EmbeddingKind

    @property
    def batches(self) -> int:
        return int(self.reader.num_record_batches)

    def batch_rows(self, number: int) -> int:
        """Rows of a batch: of a memory map, this reads its header alone."""
        with _readable(self.path):
            return int(self.reader.get_batch(number).num_rows)

    def batch(self, number: int) -> tuple[npt.NDArray[Any], Float32Array | None]:
        """Values as stored ``[n, d]``, and for int8 scales ``[n]``."""
        with _readable(self.path):
            batch = self.reader.get_batch(number)
            batch.validate()  # lengths only: a header that promises more than there is ends here
            column, *scales = batch.columns
            values = column.flatten().to_numpy(zero_copy_only=True)
            values = values.reshape(batch.num_rows, self.dimension)
            return values, scales[0].to_numpy(zero_copy_only=True) if scales else None


@contextlib.contextmanager
def _readable(path: str) -> Iterator[None]:
    """Arrow's and the system's complaints about a file as ours."""
    try:
        yield
    except (pa.ArrowException, OSError, ValueError) as error:
        raise InputError(f"{path} is no readable embeddings file: {error}") from error


def _open(path: str) -> _Part:
    with _readable(path):
        if storage.is_local(path):
            source: object = pa.memory_map(path)
        else:
            source = pa.BufferReader(storage.read_bytes(path))
        reader = pa.ipc.open_file(source)
        dimension, kind = _recognise(reader.schema)
    return _Part(path, reader, dimension, kind)


def _recognise(schema: pa.Schema) -> tuple[int, EmbeddingKind]:
    first = schema.field(0).type if len(schema) else pa.null()
    if pa.types.is_fixed_size_list(first):
        kind: EmbeddingKind
        for kind in get_args(EmbeddingKind):
            if schema.equals(embeddings_schema(first.list_size, kind)):
                return first.list_size, kind
    columns = ", ".join(f"{field.name} ({field.type})" for field in schema)
    raise ValueError(f"its columns are {columns or 'none'}")


def _quantise(vectors: Floats) -> tuple[npt.NDArray[np.int8], Float32Array]:
    """int8 ``[n, d]`` and float32 scales ``[n]``; a row that is not finite has no finite scale."""
    rows = np.asarray(vectors, np.float32)
    scales = np.abs(rows).max(axis=1, initial=0) / _LARGEST
    usable = np.where((scales > 0) & np.isfinite(scales), scales, np.inf)[:, None]
    with np.errstate(invalid="ignore"):
        # of denormals, a scale is so coarse that a quotient can exceed the largest int8
        steps = np.clip(np.rint(rows / usable), -_LARGEST, _LARGEST)
        return np.nan_to_num(steps, copy=False).astype(np.int8), scales


def _decoded(values: npt.NDArray[Any], scales: Float32Array | None) -> Floats:
    return values if scales is None else values.astype(np.float32) * scales[:, None]
