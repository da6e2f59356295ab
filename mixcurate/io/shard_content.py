"""What a shard really holds: read through, counted, and checked for its structure.

Memory is bounded by what the format's reader holds: a record batch or a few hundred rows.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
from collections.abc import Iterable, Iterator
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from mixcurate.errors import CorpusError
from mixcurate.io import storage
from mixcurate.io.shard_formats.table import FORMATS
from mixcurate.tables import CORPUS

#: What documents and tokens are added up by.
GROUPS = ("domain", "source", "licence", "language")

_CHUNK = 4 << 20

#: What a null is called where documents are counted; a cell of it may be two groups of rows.
_UNKNOWN = "unknown"
_MOST_STRANGERS = 3

#: Documents, tokens, and tokens of first copies.
Sums = list[int]

_Key = TypeVar("_Key")


@dataclasses.dataclass
class Content:
    """The numbers of one shard; what its format does not keep is None or missing.

    Attributes:
        documents: rows.
        tokens: their tokens.
        groups: by each of ``GROUPS``: [documents, tokens, tokens of first copies].
        cells: the same by the values of the columns of ``levels``.
        largest: tokens of the largest document by these values.
        columns: hash of each column's values in order: equal where two formats hold the same.
        id_hashes: uint64, sorted, where they were asked for.
        strangers: some ids that should not be here.
    """

    documents: int | None = None
    tokens: int | None = None
    groups: dict[str, dict[str, Sums]] = dataclasses.field(default_factory=dict)
    cells: dict[tuple[str | int, ...], Sums] = dataclasses.field(default_factory=dict)
    largest: dict[tuple[str | int, ...], int] = dataclasses.field(default_factory=dict)
    columns: dict[str, str] = dataclasses.field(default_factory=dict)
    id_hashes: npt.NDArray[np.uint64] | None = None
    strangers: list[str] = dataclasses.field(default_factory=list)


def read_shard(
    paths: list[str],
    name: str,
    *,
    levels: tuple[str, ...] = (),
    keep_ids: bool = False,
    forbidden: npt.NDArray[np.uint64] | None = None,
) -> Content:
    """Read a shard of the format ``name`` to its end.

    Args:
        paths: its files.
        name: one of ``FORMATS``.
        levels: columns whose values together are a cell, or none.
        keep_ids: whether the hashes of its ids are wanted: 8 bytes for each document.
        forbidden: sorted hashes of ids that must not be here.

    Raises:
        CorpusError: it cannot be read, or is not built as the format wants it.
    """
    content = Content()
    ids: list[npt.NDArray[np.uint64]] = []

    def counted() -> Iterator[pa.RecordBatch]:
        for batch in FORMATS[name].read_rows(streams):
            _count(content, batch, levels)
            if "id" in batch.schema.names and (keep_ids or forbidden is not None):
                hashes = _hash_ids(batch.column("id"))
                _find_strangers(content, batch.column("id"), hashes, forbidden)
                if keep_ids:
                    ids.append(hashes)
            yield batch

    try:
        with contextlib.ExitStack() as stack:
            streams = [stack.enter_context(storage.open_read(path)) for path in paths]
            content.columns = hash_columns(counted())
    except (CorpusError, OSError) as error:
        raise CorpusError(f"expected a sound {name} shard, found {error}") from error
    if keep_ids and ids:
        content.id_hashes = np.sort(np.concatenate(ids))
    return content


def file_hashes(path: str) -> dict[str, str]:
    """sha256 and xxh64 of a file's bytes, as the manifest tells them."""
    sha256, xxh64 = hashlib.sha256(), xxhash.xxh64()
    with storage.open_read(path) as stream:
        while chunk := stream.read(_CHUNK):
            sha256.update(chunk)
            xxh64.update(chunk)
    return {"sha256": sha256.hexdigest(), "xxh64": xxh64.hexdigest()}


def hash_columns(batches: Iterable[pa.RecordBatch]) -> dict[str, str]:
    """Hash of each column's values, which does not depend on how it is cut into batches.

    A null counts as an empty text: not every format can tell them apart.
    """
    states: dict[str, _ColumnHash] = {}
    for batch in batches:
        for name in batch.schema.names:
            states.setdefault(name, _ColumnHash()).update(batch.column(name))
    return {name: state.hexdigest() for name, state in states.items()}


class _ColumnHash:
    def __init__(self) -> None:
        self._lengths, self._values = xxhash.xxh3_128(), xxhash.xxh3_128()

    def update(self, column: pa.Array) -> None:
        if pa.types.is_primitive(column.type):
            self._values.update(column.to_numpy(zero_copy_only=False).tobytes())
            return
        whole = column.fill_null("").cast(pa.large_string())
        offsets = np.frombuffer(whole.buffers()[1], np.int64)[whole.offset :][: len(whole) + 1]
        if len(whole):
            self._lengths.update(np.diff(offsets).tobytes())
            data = whole.buffers()[2]
            if data is not None:
                self._values.update(data.slice(offsets[0], offsets[-1] - offsets[0]))

    def hexdigest(self) -> str:
        return self._lengths.hexdigest() + self._values.hexdigest()


def _hash_ids(ids: pa.Array) -> npt.NDArray[np.uint64]:
    names = ids.cast(pa.binary()).to_pylist()
    return np.array([xxhash.xxh3_64_intdigest(name) for name in names], np.uint64)


def _find_strangers(
    content: Content,
    ids: pa.Array,
    hashes: npt.NDArray[np.uint64],
    forbidden: npt.NDArray[np.uint64] | None,
) -> None:
    if forbidden is None or len(content.strangers) >= _MOST_STRANGERS:
        return
    at = np.minimum(np.searchsorted(forbidden, hashes), len(forbidden) - 1)
    for row in np.flatnonzero(forbidden[at] == hashes)[:_MOST_STRANGERS]:
        content.strangers.append(ids[int(row)].as_py())


def _count(content: Content, batch: pa.RecordBatch, levels: tuple[str, ...]) -> None:
    names = batch.schema.names
    for field in CORPUS:
        if field.name in names and not field.nullable and batch.column(field.name).null_count:
            raise CorpusError(f"a document without {field.name!r}")
    content.documents = (content.documents or 0) + batch.num_rows
    if "n_tokens" not in names:
        return
    tokens = batch.column("n_tokens").to_numpy().astype(np.int64)
    content.tokens = (content.tokens or 0) + int(tokens.sum())
    if "copy" not in names:
        return
    for by in GROUPS:
        if by in names:
            mine = content.groups.setdefault(by, {})
            for (value,), sums, _ in _group(batch, (by,)):
                add(mine, str(value), sums)
    if levels and set(levels) <= set(names):
        for values, sums, most in _group(batch, levels):
            add(content.cells, values, sums)
            content.largest[values] = max(most, content.largest.get(values, 0))


def _group(
    batch: pa.RecordBatch, by: tuple[str, ...]
) -> Iterable[tuple[tuple[str | int, ...], Sums, int]]:
    """(values, [documents, tokens, tokens of first copies], most tokens) for each group."""
    tokens = batch.column("n_tokens").cast(pa.int64())
    first = pc.if_else(pc.equal(batch.column("copy"), 0), tokens, 0)
    arrays = [*(batch.column(name) for name in by), tokens, first]
    keys = [f"key_{i}" for i in range(len(by))]
    table = pa.table(arrays, names=[*keys, "tokens", "first"])
    found = table.group_by(keys, use_threads=False).aggregate(
        [([], "count_all"), ("tokens", "sum"), ("first", "sum"), ("tokens", "max")]
    )
    for row in found.to_pylist():
        sums = [row["count_all"], row["tokens_sum"], row["first_sum"]]
        values = tuple(_UNKNOWN if row[key] is None else row[key] for key in keys)
        yield values, sums, row["tokens_max"]


def add(sums: dict[_Key, Sums], key: _Key, numbers: Sums) -> None:
    """Add numbers to those of ``key``."""
    sums[key] = [a + b for a, b in zip(sums.get(key, [0, 0, 0]), numbers, strict=True)]
