"""Materialize: drawn documents through the exchange into shards that each carry the global mix."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
from collections.abc import Iterable, Iterator
from typing import IO, Any

import apache_beam as beam
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mixcurate.io import exchange, formats, partfiles, storage
from mixcurate.io.workdir import Heartbeat, Output, TaskResult, Workdir
from mixcurate.kernels import hashing, shards
from mixcurate.transforms.select import selection_path
from mixcurate.transforms.tasks import RunTask, SkipCommitted, Split, Task, create

EXCHANGE = "exchange"
MATERIALIZE = "materialize"

#: Rows of a record batch in a shard; readers map whole batches.
_BATCH_ROWS = 1_000


def exchange_path(workdir: Workdir, part: str) -> str:
    """The exchange file of one part."""
    return workdir.path("_stages", EXCHANGE, "files", f"part-{part}.arrow")


def _shuffle_keys(workdir: Workdir, part: str) -> npt.NDArray[np.uint64]:
    table = partfiles.read_table(selection_path(workdir, part), ["shuffle"])
    keys: npt.NDArray[np.uint64] = table.column("shuffle").to_numpy()
    return keys


class KeyHistogram(beam.CombineFn):
    """Copies per leading bits of the shuffle key over all parts: int64 ``[65536]``."""

    def __init__(self, workdir: Workdir) -> None:
        self._workdir = workdir

    def create_accumulator(self) -> npt.NDArray[np.int64]:
        """No copies yet."""
        return shards.key_histogram(np.zeros(0, np.uint64))

    def add_input(self, total: npt.NDArray[np.int64], part: str) -> npt.NDArray[np.int64]:
        """Count one part."""
        return total + shards.key_histogram(_shuffle_keys(self._workdir, part))

    def merge_accumulators(self, totals: Iterable[npt.NDArray[np.int64]]) -> npt.NDArray[np.int64]:
        """Add counts."""
        total: npt.NDArray[np.int64] = np.sum(list(totals), axis=0)
        return total

    def extract_output(self, total: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """The counts."""
        return total


class BoundaryKeys(beam.DoFn):
    """The keys of one part that lie in the bins where shards meet."""

    def __init__(self, workdir: Workdir, n_shards: int) -> None:
        self._workdir, self._n_shards = workdir, n_shards

    def process(self, part: str, counts: npt.NDArray[np.int64]) -> Iterator[tuple[int, bytes]]:
        """Yield (0, keys as bytes)."""
        bins, _ = _boundary_bins(counts, self._n_shards)
        keys = shards.keys_in_bins(_shuffle_keys(self._workdir, part), bins)
        yield 0, keys.tobytes()


class FindBoundaries(beam.DoFn):
    """The smallest shuffle key of each shard after the first."""

    def __init__(self, n_shards: int) -> None:
        self._n_shards = n_shards

    def process(
        self, element: tuple[int, Iterable[bytes]], counts: npt.NDArray[np.int64]
    ) -> Iterator[list[int]]:
        """Yield the keys."""
        found = np.concatenate([np.frombuffer(piece, np.uint64) for piece in element[1]])
        bins, ranks = _boundary_bins(counts, self._n_shards)
        yield shards.boundaries(found, bins, ranks).tolist()


def _boundary_bins(
    counts: npt.NDArray[np.int64], n_shards: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    return shards.boundary_bins(counts, shards.first_ranks(int(counts.sum()), n_shards))


@dataclasses.dataclass(frozen=True)
class ExchangePart:
    """Read one part's drawn documents and write them contiguous by output shard."""

    workdir: Workdir
    n_shards: int
    stage: str = EXCHANGE

    def run(self, task: Task, heartbeat: Heartbeat) -> TaskResult:
        """Write the part's exchange file."""
        selection = partfiles.read_table(selection_path(self.workdir, task.name))
        rows = selection.column("row").to_numpy()
        limits = np.array(task.payload["boundaries"], np.uint64)
        shard = shards.shard_of(selection.column("shuffle").to_numpy(), limits)
        table = self._rows(task.name, selection)
        path = exchange_path(self.workdir, task.name)
        counts = exchange.write_exchange(path, table, shard, self.n_shards)
        tokens = int(np.sum(table.column("n_tokens").to_numpy(), dtype=np.int64))
        heartbeat.beat(len(rows), tokens)
        return TaskResult(
            task=task.name,
            fingerprint=task.fingerprint,
            outputs=[self.workdir.output(path)],
            documents_in=len(rows),
            documents_out=len(rows),
            tokens=tokens,
            details={"counts": counts},
        )

    def _rows(self, part: str, selection: pa.Table) -> pa.Table:
        """The corpus rows of a part's drawn copies."""
        rows = selection.column("row")
        columns = ["id", "text", "source", "url", "language", "licence", "n_tokens"]
        documents = partfiles.read_table(self.workdir.part("ingest", part), columns).take(rows)
        scores = partfiles.read_table(
            self.workdir.part("score", part), ["quality", "diversity"]
        ).take(rows)
        assigned = partfiles.read_table(self.workdir.part("cluster", part), ["domain"])
        domain = assigned.column("domain").take(rows)
        names = partfiles.read_table(self.workdir.path("domains.parquet"), ["name"])
        made = {
            "domain": domain,
            "domain_name": names.column("name").take(domain),
            "quality": scores.column("quality"),
            "diversity": scores.column("diversity"),
            "copy": selection.column("copy"),
            "shuffle": selection.column("shuffle"),
        }
        arrays = [
            made[field.name] if field.name in made else documents.column(field.name)
            for field in exchange.EXCHANGE
        ]
        return pa.Table.from_arrays(arrays, schema=exchange.EXCHANGE)


class _HashingStream:
    """Passes bytes on and hashes them on the way, so that a shard is never read again."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._sha256 = hashlib.sha256()
        self.size = 0

    def write(self, data: Any) -> int:
        """Write and hash."""
        self._sha256.update(data)
        view = memoryview(data)
        self.size += view.nbytes
        return self._stream.write(data)

    def flush(self) -> None:
        """Flush the stream below."""
        self._stream.flush()

    @property
    def closed(self) -> bool:
        """Whether the stream below is closed."""
        return self._stream.closed

    def hexdigest(self) -> str:
        """sha256 of everything written."""
        return self._sha256.hexdigest()


@dataclasses.dataclass(frozen=True)
class WriteShard:
    """Gather one shard's rows from the exchange, order them by hash, write every format."""

    workdir: Workdir
    corpus: str
    formats: tuple[str, ...]
    n_shards: int
    mark: str
    stage: str = MATERIALIZE

    def run(self, task: Task, heartbeat: Heartbeat) -> TaskResult:
        """Write one shard."""
        number: int = task.payload["shard"]
        segments = [(exchange_path(self.workdir, p), b) for p, b in task.payload["segments"]]
        with exchange.open_segments(segments) as batches:
            table = pa.Table.from_batches(batches).combine_chunks()
        # stable, and segments come by part and row: equal keys have a fixed order too
        order = np.argsort(table.column("shuffle").to_numpy(), kind="stable")
        rows = table.drop_columns(["shuffle"])
        files, outputs = self._write(number, rows, order)
        tokens = rows.column("n_tokens").to_numpy().astype(np.int64)
        heartbeat.beat(len(order), int(tokens.sum()))
        return TaskResult(
            task=task.name,
            fingerprint=task.fingerprint,
            outputs=outputs,
            documents_in=sum(batch.num_rows for batch in batches),
            documents_out=len(order),
            tokens=int(tokens.sum()),
            details={
                "files": files,
                "mark": self.mark,
                "corpus": self.corpus,
                **_shares(rows, tokens),
            },
        )

    def _write(
        self, number: int, rows: pa.Table, order: npt.NDArray[np.intp]
    ) -> tuple[list[dict[str, Any]], list[Output]]:
        """Write the rows once for each format, in pieces; hash what is written."""
        files: list[dict[str, Any]] = []
        outputs: list[Output] = []
        paths = [formats.shard_path(name, number, self.n_shards) for name in self.formats]
        with contextlib.ExitStack() as stack:
            streams = [
                _HashingStream(
                    stack.enter_context(storage.open_atomic(storage.join(self.corpus, path)))
                )
                for path in paths
            ]
            with contextlib.ExitStack() as open_writers:
                writers = [
                    open_writers.enter_context(formats.shard_writer(name, stream, number))  # type: ignore[arg-type]
                    for name, stream in zip(self.formats, streams, strict=True)
                ]
                for start in range(0, len(order), _BATCH_ROWS):
                    piece = rows.take(pa.array(order[start : start + _BATCH_ROWS]))
                    for batch in piece.combine_chunks().to_batches():
                        for writer in writers:
                            writer.write(batch)
        for name, path, stream in zip(self.formats, paths, streams, strict=True):
            digest = stream.hexdigest()
            files.append({"format": name, "path": path, "bytes": stream.size, "sha256": digest})
            full = storage.join(self.corpus, path)
            relative = full.removeprefix(self.workdir.root).lstrip("/")
            inside = full.startswith(self.workdir.root.rstrip("/") + "/")
            outputs.append(Output(relative if inside else full, stream.size, f"sha256:{digest}"))
        return files, outputs


def _shares(rows: pa.Table, tokens: npt.NDArray[np.int64]) -> dict[str, dict[str, list[int]]]:
    """Per domain, source and licence: copies, tokens, tokens of first copies."""
    first = rows.column("copy").to_numpy() == 0
    result: dict[str, dict[str, list[int]]] = {}
    for by in ("domain", "source", "licence"):
        found: dict[str, list[int]] = {}
        values = rows.column(by).combine_chunks().dictionary_encode(null_encoding="encode")
        codes = values.indices.to_numpy(zero_copy_only=False)
        for code, value in enumerate(values.dictionary.to_pylist()):
            mine = codes == code
            found["unknown" if value is None else str(value)] = [
                int(mine.sum()),
                int(tokens[mine].sum()),
                int(tokens[mine & first].sum()),
            ]
        result[by] = found
    return result


@dataclasses.dataclass(frozen=True)
class PlanShard:
    """Turn a shard's segments into a task."""

    mark: str

    def __call__(self, element: tuple[int, Iterable[tuple[str, int, str]]]) -> Task:
        """The task of one shard; its fingerprint names every byte that goes into it."""
        number, found = element
        segments = sorted(found)
        mark = hashing.fingerprint(
            self.mark, *(f"{part}:{batch}:{seal}" for part, batch, seal in segments)
        )
        payload = {"shard": number, "segments": [(part, batch) for part, batch, _ in segments]}
        return Task(f"shard-{number:05d}", mark, payload)


def _segments(result: TaskResult) -> Iterator[tuple[int, tuple[str, int, str]]]:
    """(shard, (part, batch in the part's exchange file, digest of that file))."""
    batch = 0
    for shard, count in enumerate(result.details["counts"]):
        if count:
            yield shard, (result.task, batch, result.outputs[0].digest)
            batch += 1


def with_boundaries(task: Task, boundaries: list[int]) -> Task:
    """The task with the shuffle keys at which shards begin."""
    return dataclasses.replace(task, payload={"boundaries": boundaries})


@dataclasses.dataclass(frozen=True)
class Materialize:
    """The whole stage as one pipeline."""

    exchange: ExchangePart
    write: WriteShard
    parts: list[str]
    exchanged: Split
    committed: dict[str, str]

    def build(self, pipeline: beam.Pipeline) -> None:
        """Wire the stage into ``pipeline``."""
        workdir, n_shards = self.exchange.workdir, self.exchange.n_shards
        parts = create(pipeline, "Parts", self.parts)
        counts = beam.pvalue.AsSingleton(
            parts | "Count keys" >> beam.CombineGlobally(KeyHistogram(workdir))
        )
        boundaries = (
            parts
            | "Boundary keys" >> beam.ParDo(BoundaryKeys(workdir, n_shards), counts)
            | "Keys meet" >> beam.GroupByKey()
            | "Boundaries" >> beam.ParDo(FindBoundaries(n_shards), counts)
        )
        fresh = (
            create(pipeline, "Exchange parts", self.exchanged.todo)
            | "Add boundaries" >> beam.Map(with_boundaries, beam.pvalue.AsSingleton(boundaries))
            | "Exchange" >> beam.ParDo(RunTask(self.exchange))
        )
        before = pipeline | "Exchanged before" >> beam.Create(self.exchanged.done, reshuffle=False)
        _ = (
            (fresh, before)
            | beam.Flatten()
            | "Segments" >> beam.FlatMap(_segments)
            | "Shards" >> beam.GroupByKey()
            | "Plan shards" >> beam.Map(PlanShard(self.write.mark))
            | "Skip committed" >> beam.ParDo(SkipCommitted(self.committed))
            | "Write shards" >> beam.ParDo(RunTask(self.write))
        )
