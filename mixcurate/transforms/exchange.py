"""The exchange: the drawn documents of some parts, written contiguous by output shard.

Several parts share a file, so that what a shard reads of it is worth a request, and is not cut into
batches of a few rows, however small the parts are.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator

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
from mixcurate.transforms.select import selection_path
from mixcurate.transforms.tasks import Task

EXCHANGE = "exchange"

#: Text that an exchange file has for each shard, copies included, ...
_SEGMENT_BYTES = 256 << 10
#: ... which is no reason to hold more than this at once; and how many files there are at least.
_FILE_BYTES = 64 << 20
_FILES = 32


def groups(n_bytes: dict[str, int], n_shards: int) -> list[list[str]]:
    """Which parts share an exchange file: those that follow each other, up to some size.

    Args:
        n_bytes: of each part, what is drawn of it.
        n_shards: that it goes to.
    """
    most = min(_SEGMENT_BYTES * n_shards, _FILE_BYTES, sum(n_bytes.values()) // _FILES)
    found: list[list[str]] = []
    held = 0
    for part in sorted(n_bytes):
        if not found or held + n_bytes[part] > most:
            found.append([])
            held = 0
        found[-1].append(part)
        held += n_bytes[part]
    return found


def exchange_path(workdir: Workdir, name: str) -> str:
    """The exchange file of the task ``name``."""
    return workdir.path("_stages", EXCHANGE, "files", f"{name}.arrow")


@dataclasses.dataclass(frozen=True)
class _Keys:
    """What places a part's copies."""

    shuffle: npt.NDArray[np.uint64]
    range: npt.NDArray[np.uint8]


def _read_keys(workdir: Workdir, part: str) -> _Keys:
    selection = partfiles.read_batch(selection_path(workdir, part))
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
    """The documents that are drawn of some parts, and the copies of them.

    Attributes:
        documents: columns of the exchange that documents have as they are; of a part by itself all
            documents, of several those that are drawn.
        rows: int64 ``[m]``, the document of each copy.
        made: columns of the exchange by copy, ``[m]`` each.
        keep: int32 ``[m]``, tokens to keep of it; -1 for all.
        range: uint8 ``[m]``, the run of shards that it goes to.
    """

    documents: pa.RecordBatch
    rows: npt.NDArray[np.int64]
    made: dict[str, pa.Array]
    keep: npt.NDArray[np.int32]
    range: npt.NDArray[np.uint8]

    @property
    def n_bytes(self) -> int:
        """Bytes of the copies' texts, before any is cut."""
        lengths = pc.binary_length(self.documents.column("text")).to_numpy()
        return int(lengths[self.rows].sum())

    def ordered(self, order: npt.NDArray[np.intp]) -> _Drawn:
        """With the copies in another order; the documents stay where they are."""
        taken = pa.array(order)
        made = {name: values.take(taken) for name, values in self.made.items()}
        return _Drawn(self.documents, self.rows[order], made, self.keep[order], self.range[order])


def _together(parts: list[_Drawn]) -> _Drawn:
    """Those of several parts as one."""
    if len(parts) == 1:
        return parts[0]
    sizes = [part.documents.num_rows for part in parts]
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    return _Drawn(
        pa.concat_batches([part.documents for part in parts]),
        np.concatenate([part.rows + start for part, start in zip(parts, starts, strict=True)]),
        {name: pa.concat_arrays([part.made[name] for part in parts]) for name in parts[0].made},
        np.concatenate([part.keep for part in parts]),
        np.concatenate([part.range for part in parts]),
    )


@dataclasses.dataclass(frozen=True)
class ExchangeParts:
    """Read the drawn documents of some parts and write them contiguous by output shard.

    The payload of a task: ``parts`` (names), ``limits`` (of each range the shuffle keys at which
    its shards begin).

    Attributes:
        workdir: where everything is.
        ranges: the runs of shards.
        domain_names: of all domains by number.
        tokenizer: what a token is, for documents that are cut.
        stage: the stage of the tasks.
    """

    workdir: Workdir
    ranges: tuple[ShardRange, ...]
    domain_names: tuple[str, ...]
    tokenizer: str = "embedded"
    stage: str = EXCHANGE

    def run(self, task: Task, heartbeat: Heartbeat) -> TaskResult:
        """Write the exchange file of the parts.

        Raises:
            JobError: the disk is full.
        """
        parts = task.payload["parts"]
        drawn = _together([self._read(part, alone=len(parts) == 1) for part in parts])
        keys, counts = drawn.made["shuffle"].to_numpy(), [one.shards for one in self.ranges]
        shard = shards.shard_in_ranges(keys, drawn.range, task.payload["limits"], counts)
        order = np.lexsort((keys, shard))
        drawn = drawn.ordered(order)
        path, tokens = exchange_path(self.workdir, task.name), np.zeros(len(order), np.int32)
        with storage.tells_full_disk(self.workdir.root, drawn.n_bytes):
            written = exchange.write_exchange(path, self._rows(drawn, tokens), shard[order])
        total = int(tokens.sum(dtype=np.int64))
        heartbeat.beat(len(order), total)
        relative = path.removeprefix(self.workdir.root).lstrip("/")
        return TaskResult(
            task=task.name,
            fingerprint=task.fingerprint,
            outputs=[Output(relative, written.bytes, written.digest)],
            documents_in=len(order),
            documents_out=len(order),
            tokens=total,
            details={"segments": written.segments},
        )

    def _read(self, part: str, *, alone: bool) -> _Drawn:
        """What is drawn of one part; if it is not alone, the rest of its documents is let go."""
        selection = partfiles.read_batch(selection_path(self.workdir, part))
        of_copy = selection.column("row")
        rows = of_copy.to_numpy().astype(np.int64)
        columns = ["id", "text", "source", "url", "language", "licence", "path", "position"]
        documents = partfiles.read_table(self.workdir.part("ingest", part), [*columns, "n_tokens"])
        scores = partfiles.read_table(self.workdir.part("score", part), ["quality", "diversity"])
        domain = selection.column("domain")
        made = {
            "domain": domain,
            "domain_name": pa.array(self.domain_names, pa.string()).take(domain),
            "quality": _array(scores, "quality").take(of_copy),
            "diversity": _array(scores, "diversity").take(of_copy),
            "copy": selection.column("copy"),
            "shuffle": selection.column("shuffle"),
            "cell": selection.column("cell"),
            "missed": pa.nulls(len(rows), pa.int32()),
        }
        arrays = [_array(documents, field.name) for field in documents.schema]
        if not alone:
            taken, rows = np.unique(rows, return_inverse=True)
            arrays = [array.take(pa.array(taken)) for array in arrays]
        return _Drawn(
            pa.RecordBatch.from_arrays(arrays, schema=documents.schema),
            rows,
            made,
            pc.fill_null(selection.column("keep_tokens"), -1).to_numpy(),
            selection.column("range").to_numpy(),
        )

    def _rows(self, drawn: _Drawn, tokens: npt.NDArray[np.int32]) -> Iterator[pa.RecordBatch]:
        """The exchange's rows, a small batch at a time; ``tokens`` is filled with theirs."""
        start = 0
        for batch in exchange.gather(drawn.documents, drawn.rows):
            end = start + batch.num_rows
            columns = dict(zip(batch.schema.names, batch.columns, strict=True))
            columns |= {name: v.slice(start, end - start) for name, v in drawn.made.items()}
            if (drawn.keep[start:end] >= 0).any():
                columns |= self._cut(columns, drawn.keep[start:end])
            tokens[start:end] = columns["n_tokens"].to_numpy()
            arrays = [columns[name] for name in exchange.EXCHANGE.names]
            yield pa.RecordBatch.from_arrays(arrays, schema=exchange.EXCHANGE)
            start = end

    def _cut(self, rows: dict[str, pa.Array], keep: npt.NDArray[np.int32]) -> dict[str, pa.Array]:
        """Columns of rows of which some are cut: their texts, tokens, and what the cuts missed."""
        wanted = np.flatnonzero(keep >= 0)
        found = rows["text"].to_pylist()
        whole = [found[row] for row in wanted.tolist()]
        pieces, numbers = cut(token_counter(self.tokenizer, 1), whole, keep[wanted])
        for row, piece in zip(wanted.tolist(), pieces, strict=True):
            found[row] = piece
        tokens = rows["n_tokens"].to_numpy().copy()
        tokens[wanted] = numbers
        return {
            "text": pa.array(found, rows["text"].type),
            "n_tokens": pa.array(tokens),
            "missed": pa.array(keep - tokens, mask=keep < 0),
        }


def _array(table: pa.Table, name: str) -> pa.Array:
    """A column as one array; of one chunk it is not copied."""
    column = table.column(name)
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def with_limits(task: Task, limits: dict[int, list[int]]) -> Task:
    """The task with the shuffle keys at which the shards of each range begin."""
    return dataclasses.replace(task, payload=task.payload | {"limits": limits})
