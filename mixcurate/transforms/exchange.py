"""The exchange: each part's drawn documents, written contiguous by output shard."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Any

import apache_beam as beam
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from mixcurate.io import exchange, partfiles, storage
from mixcurate.io.workdir import Heartbeat, Output, TaskResult, Workdir
from mixcurate.kernels import shards
from mixcurate.kernels.shards import ShardRange
from mixcurate.models.cut_tokens import cut
from mixcurate.models.tokenizer import token_counter
from mixcurate.transforms.cells import CellsOf
from mixcurate.transforms.select import selection_path
from mixcurate.transforms.tasks import Task

EXCHANGE = "exchange"


def exchange_path(workdir: Workdir, part: str) -> str:
    """The exchange file of one part."""
    return workdir.path("_stages", EXCHANGE, "files", f"part-{part}.arrow")


def trace_path(workdir: Workdir, part: str) -> str:
    """Where the rows of that file come from, in the same order."""
    return workdir.path("_stages", EXCHANGE, "traces", f"part-{part}.arrow")


@dataclasses.dataclass(frozen=True)
class _Keys:
    """What places a part's copies."""

    shuffle: npt.NDArray[np.uint64]
    range: npt.NDArray[np.uint8]


def _read_keys(workdir: Workdir, part: str) -> _Keys:
    return _keys(partfiles.read_table(selection_path(workdir, part), ["shuffle", "range"]))


def _keys(selection: pa.Table) -> _Keys:
    return _Keys(selection.column("shuffle").to_numpy(), selection.column("range").to_numpy())


class KeyHistogram(beam.CombineFn):
    """Copies per range and leading bits of the shuffle key: int64 ``[n_ranges, 65536]``."""

    def __init__(self, workdir: Workdir, n_ranges: int) -> None:
        self._workdir, self._n_ranges = workdir, n_ranges

    def create_accumulator(self) -> npt.NDArray[np.int64]:
        """No copies yet."""
        nothing = np.zeros(0, np.uint64), np.zeros(0, np.uint8)
        return shards.range_histogram(*nothing, self._n_ranges)

    def add_input(self, total: npt.NDArray[np.int64], part: str) -> npt.NDArray[np.int64]:
        """Count one part."""
        keys = _read_keys(self._workdir, part)
        return total + shards.range_histogram(keys.shuffle, keys.range, self._n_ranges)

    def merge_accumulators(self, totals: Iterable[npt.NDArray[np.int64]]) -> npt.NDArray[np.int64]:
        """Add counts."""
        total: npt.NDArray[np.int64] = np.sum(list(totals), axis=0)
        return total

    def extract_output(self, total: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """The counts."""
        return total


class BoundaryKeys(beam.DoFn):
    """The keys of one part that lie in the bins where shards of a range meet."""

    def __init__(self, workdir: Workdir, ranges: tuple[ShardRange, ...]) -> None:
        self._workdir, self._ranges = workdir, ranges

    def process(self, part: str, counts: npt.NDArray[np.int64]) -> Iterator[tuple[int, bytes]]:
        """Yield (range, keys as bytes)."""
        keys = _read_keys(self._workdir, part)
        for number, one in enumerate(self._ranges):
            if one.shards > 1:
                bins, _ = _boundary_bins(counts[number], one.shards)
                mine = keys.shuffle[keys.range == number]
                yield number, shards.keys_in_bins(mine, bins).tobytes()


class FindBoundaries(beam.DoFn):
    """The smallest shuffle key of each shard of a range after its first."""

    def __init__(self, ranges: tuple[ShardRange, ...]) -> None:
        self._ranges = ranges

    def process(
        self, element: tuple[int, Iterable[bytes]], counts: npt.NDArray[np.int64]
    ) -> Iterator[tuple[int, list[int]]]:
        """Yield (range, keys)."""
        number, pieces = element
        found = np.concatenate([np.frombuffer(piece, np.uint64) for piece in pieces])
        bins, ranks = _boundary_bins(counts[number], self._ranges[number].shards)
        yield number, shards.boundaries(found, bins, ranks).tolist()


def _boundary_bins(
    counts: npt.NDArray[np.int64], n_shards: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    return shards.boundary_bins(counts, shards.first_ranks(int(counts.sum()), n_shards))


@dataclasses.dataclass(frozen=True)
class _Drawn:
    """The documents of a part, and the copies that are drawn of them, sorted by shard and key.

    Attributes:
        documents: columns of the corpus that the part has as they are, one chunk each.
        rows: int64 ``[m]``, the document of each copy.
        made: columns of the corpus by copy.
        keep: int32 ``[m]``, tokens to keep of it; -1 for all.
    """

    documents: pa.Table
    rows: npt.NDArray[np.int64]
    made: dict[str, pa.Array]
    keep: npt.NDArray[np.int32]

    @property
    def n_bytes(self) -> int:
        """Bytes of the copies' texts, before any is cut."""
        lengths = pc.binary_length(_array(self.documents, "text")).to_numpy()
        return int(lengths[self.rows].sum())


@dataclasses.dataclass(frozen=True)
class ExchangePart:
    """Read one part's drawn documents and write them contiguous by output shard.

    Attributes:
        workdir: where everything is.
        ranges: the runs of shards.
        tokenizer: what a token is, for documents that are cut.
        cells: how the pool is divided; None where cells are domains.
        stage: the stage of the tasks.
    """

    workdir: Workdir
    ranges: tuple[ShardRange, ...]
    tokenizer: str = "embedded"
    cells: CellsOf | None = None
    stage: str = EXCHANGE

    def run(self, task: Task, heartbeat: Heartbeat) -> TaskResult:
        """Write the part's exchange file, and its traces.

        Raises:
            JobError: the disk is full.
        """
        selection = partfiles.read_table(selection_path(self.workdir, task.name))
        keys = _keys(selection)
        counts = [one.shards for one in self.ranges]
        shard = shards.shard_in_ranges(keys.shuffle, keys.range, task.payload["limits"], counts)
        order = np.lexsort((keys.shuffle, shard))
        drawn = self._drawn(task.name, selection.take(pa.array(order)))
        tokens = drawn.made["n_tokens"].to_numpy().copy()
        path, rows = exchange_path(self.workdir, task.name), self._rows(drawn, tokens)
        with storage.tells_full_disk(self.workdir.root, drawn.n_bytes):
            written = exchange.write_exchange(path, rows, shard[order], exchange.EXCHANGE)
            traced = self._write_traces(task.name, drawn, tokens, shard[order])
        total = int(tokens.sum(dtype=np.int64))
        heartbeat.beat(len(order), total)
        return TaskResult(
            task=task.name,
            fingerprint=task.fingerprint,
            outputs=[
                self._output(exchange_path(self.workdir, task.name), written),
                self._output(trace_path(self.workdir, task.name), traced),
            ],
            documents_in=len(order),
            documents_out=len(order),
            tokens=total,
            details={
                "segments": [
                    (number, extent, trace)
                    for (number, *extent), (_, *trace) in zip(
                        written.segments, traced.segments, strict=True
                    )
                ],
            },
        )

    def _output(self, path: str, written: exchange.Written) -> Output:
        relative = path.removeprefix(self.workdir.root).lstrip("/")
        return Output(relative, written.bytes, written.digest)

    def _drawn(self, part: str, selection: pa.Table) -> _Drawn:
        """Everything about a part's copies but the order of their texts."""
        rows = selection.column("row").to_numpy().astype(np.int64)
        columns = ["id", "text", "source", "url", "language", "licence", "path", "position"]
        documents = partfiles.read_table(self.workdir.part("ingest", part), [*columns, "n_tokens"])
        documents = documents.combine_chunks()
        scores = partfiles.read_table(self.workdir.part("score", part), ["quality", "diversity"])
        assigned = partfiles.read_table(self.workdir.part("cluster", part), ["domain"])
        names = partfiles.read_table(self.workdir.path("domains.parquet"), ["name"])
        domain = _array(assigned, "domain").take(pa.array(rows))
        made = {
            "domain": domain,
            "domain_name": _array(names, "name").take(domain),
            "quality": _array(scores, "quality").take(pa.array(rows)),
            "diversity": _array(scores, "diversity").take(pa.array(rows)),
            "copy": _array(selection, "copy"),
            "n_tokens": _array(documents, "n_tokens").take(pa.array(rows)),
            "shuffle": _array(selection, "shuffle"),
        }
        keep = pc.fill_null(_array(selection, "keep_tokens"), -1).to_numpy()
        return _Drawn(documents, rows, made, keep)

    def _rows(self, drawn: _Drawn, tokens: npt.NDArray[np.int32]) -> Iterator[pa.RecordBatch]:
        """The corpus rows, a small batch at a time; ``tokens`` is brought up to date for cuts."""
        kept = [name for name in exchange.EXCHANGE.names if name not in drawn.made]
        start = 0
        for batch in exchange.gather(drawn.documents.select(kept), drawn.rows):
            end = start + batch.num_rows
            columns = {name: batch.column(name) for name in kept}
            made = {name: values.slice(start, end - start) for name, values in drawn.made.items()}
            columns |= made
            if (drawn.keep[start:end] >= 0).any():
                texts, counts = self._cut(columns["text"], drawn.keep[start:end])
                tokens[start:end] = np.where(counts >= 0, counts, tokens[start:end])
                columns |= {"text": texts, "n_tokens": pa.array(tokens[start:end])}
            arrays = [columns[name] for name in exchange.EXCHANGE.names]
            yield pa.RecordBatch.from_arrays(arrays, schema=exchange.EXCHANGE)
            start = end

    def _cut(
        self, texts: pa.Array, keep: npt.NDArray[np.int32]
    ) -> tuple[pa.Array, npt.NDArray[np.int32]]:
        """The texts with some of them cut, and what these have then; -1 for the others."""
        wanted = np.flatnonzero(keep >= 0)
        found = texts.to_pylist()
        whole = [found[row] for row in wanted.tolist()]
        pieces, numbers = cut(token_counter(self.tokenizer, 1), whole, keep[wanted])
        for row, piece in zip(wanted.tolist(), pieces, strict=True):
            found[row] = piece
        counts = np.full(len(keep), -1, np.int32)
        counts[wanted] = numbers
        return pa.array(found, texts.type), counts

    def _write_traces(
        self,
        part: str,
        drawn: _Drawn,
        tokens: npt.NDArray[np.int32],
        shard: npt.NDArray[np.int32],
    ) -> exchange.Written:
        """Where the rows come from."""
        columns: dict[str, Any] = dict(drawn.made)
        columns["n_tokens"] = pa.array(tokens)
        columns["missed"] = pa.array(drawn.keep - tokens, mask=drawn.keep < 0)
        columns["cell"] = columns["domain"]
        if self.cells is not None:
            columns["cell"] = pa.array(self.cells.read(self.workdir, part)[drawn.rows])
        rows = pa.array(drawn.rows)
        for name in ("id", "source", "path", "position", "language"):
            columns[name] = _array(drawn.documents, name).take(rows)
        arrays = [columns[name] for name in exchange.TRACE.names]
        batch = pa.RecordBatch.from_arrays(arrays, schema=exchange.TRACE)
        path = trace_path(self.workdir, part)
        return exchange.write_exchange(path, [batch], shard, exchange.TRACE)


def _array(table: pa.Table, name: str) -> pa.Array:
    """A column as one array; of one chunk it is not copied."""
    column = table.column(name)
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def with_limits(task: Task, limits: dict[int, list[int]]) -> Task:
    """The task with the shuffle keys at which the shards of each range begin."""
    return dataclasses.replace(task, payload={"limits": limits})
