"""Rows of a corpus by number: its Arrow shards, mapped into memory, and what the manifest tells."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import os
import shutil
import tempfile
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from mixcurate.errors import CorpusError, InputError, nearest
from mixcurate.io import storage
from mixcurate.kernels.hashing import fingerprint
from mixcurate.tables import CORPUS

Int32Array = npt.NDArray[np.int32]
Int64Array = npt.NDArray[np.int64]

_MANIFEST = "manifest.json"

#: Local shards that stay mapped, which costs address space only.
_MAPPED = 256


@dataclasses.dataclass(frozen=True)
class Groups:
    """What weights are given to: domains by name, or sources.

    Attributes:
        column: of the shards, that tells a document's group.
        names: of the groups.
        values: of the column, in the order of the names.
        tokens: of each group in the corpus.
    """

    column: str
    names: list[str]
    values: list[Any]
    tokens: list[int]


@dataclasses.dataclass
class _Shard:
    """An open shard.

    Attributes:
        batches: its record batches, on mapped memory.
        starts: first row of each, and the number of rows, int64 ``[b + 1]``.
        checked: batches and their columns whose offsets and text are known to be good.
        groups: number of the group of each row, int32 ``[n]``, once it was asked for.
        tokens: of each row, int32 ``[n]``, once they were asked for.
    """

    batches: list[pa.RecordBatch]
    starts: Int64Array
    checked: set[tuple[int, str]]
    groups: Int32Array | None = None
    tokens: Int32Array | None = None


class CorpusShards:
    """The Arrow shards of one split of a corpus.

    Local shards are mapped; those of an object store are fetched when they are first needed, into
    a folder where at most ``cached`` of them stay.

    Raises:
        CorpusError: there is no manifest, no such split or phase, or no Arrow shards.
    """

    def __init__(
        self, corpus: str, split: str, phase: str | None, cache: str | None, cached: int
    ) -> None:
        self.corpus, self._cache, self._cached = corpus, cache, cached
        self.manifest = _read_manifest(corpus)
        entries = _pick(corpus, self.manifest, split, phase)
        self._entries = entries
        self.counts = tuple(int(entry["n_documents"]) for entry in entries)
        self.phases = tuple(str(entry.get("phase", "main")) for entry in entries)
        self._open: collections.OrderedDict[int, _Shard] = collections.OrderedDict()
        self._scratch: tempfile.TemporaryDirectory[str] | None = None

    def __getstate__(self) -> dict[str, Any]:
        """For a worker process, which opens shards of its own."""
        return self.__dict__ | {"_open": collections.OrderedDict(), "_scratch": None}

    def content(self) -> str:
        """Names the documents: changes when any shard does."""
        return fingerprint(*(entry["sha256"] for entry in self._entries))

    def groups(self, by: str) -> Groups:
        """Domains or sources, as the manifest lists them."""
        listed = self.manifest["domains" if by == "domain" else "sources"]
        names = [entry["name"] for entry in listed]
        values = [entry["domain"] if by == "domain" else entry["name"] for entry in listed]
        if by != "domain":
            tokens = [int(entry["achieved_tokens"]) for entry in listed]
            return Groups(by, names, values, tokens)
        held: collections.Counter[str] = collections.Counter()
        for entry in self._entries:
            held.update(entry["tokens_by_domain"])
        return Groups(by, names, values, [held[str(value)] for value in values])

    def read(self, shard: Int64Array, row: Int64Array, columns: list[str]) -> pa.RecordBatch:
        """Rows in the order in which they are asked for; neighbours in a batch are not copied.

        Args:
            shard: number of the shard of each, int64 ``[n]``.
            row: number of the row in its shard, int64 ``[n]``.
            columns: to read, in this order.

        Raises:
            CorpusError: a shard is damaged.
        """
        batch = np.empty_like(row)
        for number in np.unique(shard).tolist():
            mine = shard == number
            starts = self._shard(number).starts
            batch[mine] = np.searchsorted(starts, row[mine], side="right") - 1
        pieces, order = [], []
        for number, index in sorted(set(zip(shard.tolist(), batch.tolist(), strict=True))):
            places = np.flatnonzero((shard == number) & (batch == index))
            rows = row[places] - self._shard(number).starts[index]
            pieces.append(_rows(self._checked(number, index, columns), rows))
            order.append(places)
        if len(pieces) == 1:
            return pieces[0]
        places = np.concatenate(order)
        whole = pa.concat_batches(pieces)
        if (np.diff(places) == 1).all():
            return whole
        return whole.take(pa.array(np.argsort(places)))

    def numbers(self, shard: int, groups: Groups) -> tuple[Int32Array, Int32Array]:
        """Group and tokens of each row of a shard, int32 ``[n]`` each."""
        found = self._shard(shard)
        if found.groups is None or found.tokens is None:
            wanted = [groups.column, "n_tokens"]
            batches = [self._checked(shard, i, wanted) for i in range(len(found.batches))]
            table = pa.Table.from_batches(batches)
            column = table.column(0)
            values = pa.array(groups.values, column.type)
            codes = pc.index_in(column, value_set=values)
            if codes.null_count:
                strange = column.filter(codes.is_null())[0].as_py()
                raise self._damaged(shard, f"{groups.column} {strange!r} is not in the manifest")
            found.groups = codes.to_numpy().astype(np.int32)
            found.tokens = table.column(1).to_numpy().astype(np.int32)
        return found.groups, found.tokens

    def _checked(self, shard: int, index: int, columns: list[str]) -> pa.RecordBatch:
        """Columns of a record batch whose offsets are good: wrong ones would end the process."""
        found = self._shard(shard)
        batch = found.batches[index].select(columns)
        if not found.checked.issuperset((index, name) for name in columns):
            try:
                batch.validate(full=True)
            except pa.ArrowException as error:
                raise self._damaged(shard, f"record batch {index}: {error}") from error
            found.checked.update((index, name) for name in columns)
        return batch

    def _shard(self, number: int) -> _Shard:
        if number in self._open:
            self._open.move_to_end(number)
            return self._open[number]
        local = storage.is_local(self.corpus)
        path = storage.join(self.corpus, self._entries[number]["path"])
        mapped = path if local else self._fetch(number, path)
        while len(self._open) >= (_MAPPED if local else max(1, self._cached)):
            gone, _ = self._open.popitem(last=False)
            if not local and self._cache is None:
                with contextlib.suppress(FileNotFoundError):
                    os.remove(self._local_name(gone))
        self._open[number] = self._map(number, mapped)
        return self._open[number]

    def _map(self, number: int, path: str) -> _Shard:
        entry = self._entries[number]
        try:
            size = os.path.getsize(path)
        except OSError as error:
            raise self._damaged(number, error.strerror or str(error)) from error
        if size != entry["bytes"]:
            raise self._damaged(number, f"expected {entry['bytes']:,} bytes, found {size:,}")
        try:
            batches = list(pa.ipc.open_stream(pa.memory_map(path)))
            batches = [batch for batch in batches if batch.num_rows]
            lacking = _lacking(batches[0].schema) if batches else []
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            raise self._damaged(number, str(error)) from error
        if lacking:
            raise self._damaged(number, f"it lacks columns {', '.join(lacking)}")
        rows = np.array([batch.num_rows for batch in batches], np.int64)
        if rows.sum() != entry["n_documents"]:
            expected = f"expected {entry['n_documents']:,} documents, found {rows.sum():,}"
            raise self._damaged(number, expected)
        return _Shard(batches, np.concatenate([[0], np.cumsum(rows)]), set())

    def _damaged(self, number: int, why: str) -> CorpusError:
        path = self._entries[number]["path"]
        return CorpusError(
            f"{path} of {self.corpus} is damaged: {why}. 'mixcurate verify' checks all shards; "
            "copy it again, or run 'mixcurate materialize'"
        )

    def _local_name(self, number: int) -> str:
        folder = self._cache
        if folder is None:
            self._scratch = self._scratch or tempfile.TemporaryDirectory(prefix="mixcurate-")
            folder = self._scratch.name
        return os.path.join(folder, self._entries[number]["sha256"] + ".arrow")

    def _fetch(self, number: int, path: str) -> str:
        """A local copy of a remote shard, whole or not at all; several processes may share it."""
        local = self._local_name(number)
        if os.path.exists(local) and os.path.getsize(local) == self._entries[number]["bytes"]:
            return local
        try:
            with storage.open_read(path) as source, storage.open_atomic(local) as target:
                shutil.copyfileobj(source, target, 4 << 20)
        except FileNotFoundError as error:
            raise self._damaged(number, "it is missing") from error
        return local


def _lacking(schema: pa.Schema) -> list[str]:
    """Columns of a corpus that are not there, or of another type."""
    kinds = dict(zip(schema.names, schema.types, strict=True))
    return [
        f"{field.name} ({field.type})" for field in CORPUS if kinds.get(field.name) != field.type
    ]


def _rows(batch: pa.RecordBatch, rows: Int64Array) -> pa.RecordBatch:
    first, n = int(rows[0]), len(rows)
    if int(rows[-1]) - first == n - 1 and (np.diff(rows) == 1).all():
        return batch.slice(first, n)
    return batch.take(pa.array(rows))


def _read_manifest(corpus: str) -> dict[str, Any]:
    path = storage.join(corpus, _MANIFEST)
    try:
        manifest = storage.read_json(path)
    except FileNotFoundError as error:
        why = "the corpus is unfinished (run mixcurate again), or this is not its folder"
        raise CorpusError(f"{corpus} has no {_MANIFEST}: {why}") from error
    except orjson.JSONDecodeError as error:
        raise CorpusError(f"{path} is not JSON: {error}") from error
    wanted = {"shards", "domains", "sources"}
    if not isinstance(manifest, dict) or not wanted <= set(manifest):
        raise CorpusError(f"{path} is not a manifest of a corpus: expected keys {sorted(wanted)}")
    return manifest


def _pick(
    corpus: str, manifest: dict[str, Any], split: str, phase: str | None
) -> list[dict[str, Any]]:
    """The Arrow shards of a split and phase, in order."""
    formats = sorted({shard["format"] for shard in manifest["shards"]})
    shards = [shard for shard in manifest["shards"] if shard["format"] == "arrow"]
    if not shards:
        raise CorpusError(
            f"{corpus} has no Arrow shards, only {', '.join(formats) or 'none at all'}. Add "
            "'arrow' to output.formats of the recipe and run 'mixcurate materialize': nothing "
            "before it is computed again"
        )
    splits = {str(shard.get("split", "train")) for shard in shards}
    if split not in splits:
        raise InputError(f"{corpus} has no split {split!r}: {nearest(split, splits)}")
    shards = [shard for shard in shards if shard.get("split", "train") == split]
    phases = {str(shard.get("phase", "main")) for shard in shards}
    if phase is None:
        return shards
    if phase not in phases:
        raise InputError(f"{corpus} has no phase {phase!r}: {nearest(phase, phases)}")
    return [shard for shard in shards if shard.get("phase", "main") == phase]
