"""Files of items behind a table of offsets, as MDS shards and litdata chunks are built.

A file is ``u32 n | u32 offsets[n + 1] | config | items``; an item is the u32 sizes of its values,
then the values. Items are put together by Arrow for a whole batch at once. They are kept until all
of a shard's are there, because the table comes first.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from typing import IO, Literal

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from mixcurate.errors import CorpusError, OutputError
from mixcurate.io.shard_formats import binary_rows
from mixcurate.tables import CORPUS

Kind = Literal["str", "json", "int32", "float32", "int64", "float64"]

_WIDTHS = {"int32": 4, "float32": 4, "int64": 8, "float64": 8}
_MOST = 2**32 - 1
_ITEMS = 256


@dataclasses.dataclass(frozen=True)
class Layout:
    """How a row of the corpus is an item.

    Attributes:
        name: of the format.
        columns: each column and how it is stored; ``json`` is text or null.
        all_sizes: whether the sizes of numbers are stored too.
        config: bytes between the table and the items.
    """

    name: str
    columns: tuple[tuple[str, Kind], ...]
    all_sizes: bool
    config: bytes = b""

    @property
    def sized(self) -> list[str]:
        """Columns whose sizes stand before the values."""
        return [name for name, kind in self.columns if self.all_sizes or kind not in _WIDTHS]


@contextlib.contextmanager
def item_writer(stream: IO[bytes], shard: int, layout: Layout) -> Iterator[ItemWriter]:
    """A writer of one shard. The file is written at the end: its offsets come first."""
    writer = ItemWriter(stream, shard, layout)
    yield writer
    writer.finish()


class ItemWriter:
    """Collects the items of a shard; ``finish`` writes its file."""

    def __init__(self, stream: IO[bytes], shard: int, layout: Layout) -> None:
        self._stream, self._shard, self._layout = stream, shard, layout
        self._items: list[pa.LargeBinaryArray] = []
        self._size = 8 + len(layout.config)

    def write(self, batch: pa.RecordBatch) -> None:
        """Append rows of schema ``CORPUS``.

        Raises:
            OutputError: the file would be larger than its offsets can tell.
        """
        items = _encode(batch, self._layout)
        self._items.append(items)
        self._size += binary_rows.data(items).size + 4 * len(items)
        if self._size > _MOST:
            raise OutputError(
                f"shard {self._shard} has more than {_MOST:,} bytes, which is all that the "
                f"format {self._layout.name} can hold: make output.shard_bytes smaller"
            )

    def finish(self) -> None:
        """Write the table, the config and the items."""
        sizes = [binary_rows.lengths(items) for items in self._items]
        n = sum(map(len, sizes))
        offsets = np.zeros(n + 1, np.int64)
        np.cumsum(np.concatenate([np.empty(0, np.int64), *sizes]), out=offsets[1:])
        offsets += 4 + 4 * len(offsets) + len(self._layout.config)
        self._stream.write(np.uint32(n).tobytes() + offsets.astype("<u4").tobytes())
        self._stream.write(self._layout.config)
        for items in self._items:
            self._stream.write(binary_rows.data(items))


def _encode(batch: pa.RecordBatch, layout: Layout) -> pa.LargeBinaryArray:
    values = {name: _values(batch.column(name), kind) for name, kind in layout.columns}
    sizes = np.column_stack([binary_rows.lengths(values[name]) for name in layout.sized])
    return binary_rows.join([binary_rows.fixed(sizes.astype("<u4")), *values.values()])


def _values(column: pa.Array, kind: Kind) -> pa.LargeBinaryArray:
    if kind in _WIDTHS:
        return binary_rows.fixed(column.to_numpy().astype(np.dtype(kind).newbyteorder("<")))
    if kind == "json":
        return pa.array([orjson.dumps(value) for value in column.to_pylist()], pa.large_binary())
    return binary_rows.from_text(column)


def read_items(stream: IO[bytes], layout: Layout) -> Iterator[pa.RecordBatch]:
    """The rows again; memory is the table and a few hundred items.

    Raises:
        CorpusError: the file is cut, or not built like this.
    """
    try:
        yield from _read(stream, layout)
    except (pa.ArrowException, ValueError) as error:
        raise CorpusError(str(error)) from error


def _read(stream: IO[bytes], layout: Layout) -> Iterator[pa.RecordBatch]:
    n = int(np.frombuffer(_exactly(stream, 4), "<u4")[0])
    offsets = np.frombuffer(_exactly(stream, 4 * (n + 1)), "<u4").astype(np.int64)
    if _exactly(stream, len(layout.config)) != layout.config:
        raise CorpusError("another config than that of our columns")
    if offsets[0] != 4 + 4 * (n + 1) + len(layout.config) or (np.diff(offsets) < 0).any():
        raise CorpusError("offsets that do not ascend from the end of the head")
    for start in range(0, n, _ITEMS):
        bounds = offsets[start : start + _ITEMS + 1]
        data = _exactly(stream, int(bounds[-1] - bounds[0]))
        yield _decode(data, bounds - bounds[0], layout)
    if stream.read(1):
        raise CorpusError("bytes after the last item")


def _exactly(stream: IO[bytes], size: int) -> bytes:
    data = stream.read(size)
    if len(data) < size:
        raise CorpusError("the end of the file where its items should be")
    return data


def _decode(data: bytes, bounds: npt.NDArray[np.int64], layout: Layout) -> pa.RecordBatch:
    """A batch from the bytes of its items."""
    sized = layout.sized
    head = 4 * len(sized)
    if (np.diff(bounds) < head).any():
        raise CorpusError("an item without its sizes")
    heads = np.frombuffer(data, np.uint8)[bounds[:-1, None] + np.arange(head)]
    sizes = heads.reshape(-1).view("<u4").reshape(-1, len(sized)).astype(np.int64)
    at = bounds[:-1] + head
    columns: dict[str, pa.Array] = {}
    for name, kind in layout.columns:
        width = _WIDTHS.get(kind)
        mine = sizes[:, sized.index(name)] if name in sized else np.full(len(at), width)
        if width and (mine != width).any():
            raise CorpusError(f"a {name!r} that is no {kind}")
        values = [data[a:b] for a, b in zip(at.tolist(), (at + mine).tolist(), strict=True)]
        at = at + mine
        columns[name] = _column(values, name, kind)
    if (at != bounds[1:]).any():
        raise CorpusError("an item whose values do not fill it")
    return pa.RecordBatch.from_arrays([columns[name] for name in CORPUS.names], schema=CORPUS)


def _column(values: list[bytes], name: str, kind: Kind) -> pa.Array:
    field = CORPUS.field(name)
    if kind in _WIDTHS:
        numbers = np.frombuffer(b"".join(values), np.dtype(kind).newbyteorder("<"))
        return pa.array(numbers).cast(field.type)
    if kind == "json":
        return pa.array([orjson.loads(value) for value in values], field.type)
    texts = pa.array([value.decode() for value in values], field.type)
    return pc.if_else(pc.equal(texts, ""), None, texts) if field.nullable else texts
