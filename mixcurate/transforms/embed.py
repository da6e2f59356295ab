"""Embed: one model per worker, shared by its threads; a part of documents in, vectors out."""

from __future__ import annotations

import collections
import dataclasses
import threading
from collections.abc import Iterator
from typing import Any

import apache_beam as beam
import numpy as np
import numpy.typing as npt
from apache_beam.metrics import Metrics

from mixcurate.io import partfiles
from mixcurate.io.embeddings import EmbeddingsWriter, iter_embeddings
from mixcurate.io.workdir import Heartbeat, Output, TaskResult, Workdir
from mixcurate.kernels.copies import CopyArray, hash_words
from mixcurate.models.encoder import Encoder
from mixcurate.models.encoders import EncoderSpec, EncodeStats
from mixcurate.models.resolve import load
from mixcurate.tables import EmbeddingKind
from mixcurate.transforms.reuse import (
    Origin,
    by_source,
    computed_path,
    gather,
    hashes_path,
    read_copies,
)
from mixcurate.transforms.tasks import RunTask, Task, create, task_name

EMBED = "embed"

#: Parts whose own rows are done, but that still wait for vectors of other parts.
COMPUTE = "compute"


Float32Array = npt.NDArray[np.float32]

_LOADED: dict[tuple[EncoderSpec, int], Encoder] = {}
_LOADING = threading.Lock()


def shared_encoder(spec: EncoderSpec, threads: int) -> Encoder:
    """The process's one copy of the model, loaded by whichever thread comes first."""
    with _LOADING:
        if (spec, threads) not in _LOADED:
            _LOADED[spec, threads] = load(spec, threads)
        return _LOADED[spec, threads]


@dataclasses.dataclass(frozen=True)
class EmbedPart:
    """Embed the documents of one part, but for those whose vectors exist elsewhere.

    A part with rows that another part of this run computes is left unfinished under the stage
    ``compute``; ``CompletePart`` ends it.
    """

    workdir: Workdir
    spec: EncoderSpec
    threads: int
    store: EmbeddingKind = "float16"
    origins: tuple[Origin, ...] = ()
    stage: str = EMBED

    def run(self, task: Task, heartbeat: Heartbeat) -> TaskResult:
        """Read texts window by window, embed them, and write vectors aligned with the documents."""
        encoder = shared_encoder(self.spec, self.threads)
        final = self.stage == EMBED
        path = self.workdir.part(EMBED, task.name)
        if not final:
            path = computed_path(self.workdir, task.name)
        stats = EncodeStats()
        copies = read_copies(self.workdir, task.name)[: None if self.origins else 0]
        with EmbeddingsWriter(path, encoder.dimension, self.store) as writer:
            rows = 0
            for vectors in self._vectors(task.name, encoder, copies, stats, heartbeat):
                writer.write(_storable(vectors, self.store, stats))
                rows += len(vectors)
        outputs = [self.workdir.output(path)]
        if final:
            outputs.append(write_hashes(self.workdir, task.name))
        details: dict[str, Any] = {
            **dataclasses.asdict(stats),
            "load_seconds": encoder.load_seconds,
            "copied": len(copies),
            "dimension": encoder.dimension,
            "encoder": reuse_identity(self.spec, self.store),
            "model": model_line(self.spec, self.store),
        }
        return TaskResult(
            task=task.name,
            fingerprint=task.fingerprint,
            outputs=outputs,
            documents_in=rows,
            documents_out=rows,
            tokens=stats.tokens,
            details=details,
        )

    def _vectors(
        self,
        part: str,
        encoder: Encoder,
        copies: CopyArray,
        stats: EncodeStats,
        heartbeat: Heartbeat,
    ) -> Iterator[Float32Array]:
        """Vectors of the part in order; rows that wait for another part are zeros."""
        sources = by_source(copies)
        wanted = np.unique(sources.within["source_row"])  # needed again further down the part
        kept = np.zeros((len(wanted), encoder.dimension), np.float32)
        windows: collections.deque[tuple[int, npt.NDArray[np.bool_]]] = collections.deque()

        def texts() -> Iterator[list[str]]:
            start = 0
            path = self.workdir.part("ingest", part)
            for batch in partfiles.iter_batches(path, ["text"], rows=encoder.window):
                compute = np.ones(batch.num_rows, bool)
                compute[_between(copies, start, batch.num_rows)["row"]] = False
                windows.append((start, compute))
                column = batch.column("text")
                yield (column if compute.all() else column.filter(compute)).to_pylist()
                start += batch.num_rows

        for computed in encoder.encode(texts(), stats, heartbeat.beat):
            start, compute = windows.popleft()
            vectors = computed
            if not compute.all():
                vectors = np.zeros((len(compute), encoder.dimension), np.float32)
                vectors[compute] = computed
                gather(_between(sources.others, start, len(compute)), self.origins, vectors)
            inside = (wanted >= start) & (wanted < start + len(compute))
            kept[inside] = vectors[wanted[inside] - start]
            within = _between(sources.within, start, len(compute))
            vectors[within["row"]] = kept[np.searchsorted(wanted, within["source_row"])]
            yield vectors


def _between(copies: CopyArray, start: int, count: int) -> CopyArray:
    """The copies of ``count`` rows from ``start``, rows counted from there."""
    low, high = np.searchsorted(copies["row"], [start, start + count])
    found = copies[low:high].copy()
    found["row"] -= np.uint32(start)
    return found


def _storable(vectors: Float32Array, store: str, stats: EncodeStats) -> Float32Array:
    """Vectors that the file can hold: what overflows float16 is zeroed and counted."""
    if store != "float16":
        return vectors
    good = np.asarray((np.abs(vectors) <= np.finfo(np.float16).max).all(axis=1))
    stats.not_finite += int((~good).sum())
    return vectors if good.all() else np.where(good[:, None], vectors, np.float32(0))


def reuse_identity(spec: EncoderSpec, store: str) -> str:
    """Names what an embedding depends on, down to the numbers it is stored in."""
    return f"{spec.identity} {store}"


def model_line(spec: EncoderSpec, store: str) -> str:
    """The same for people."""
    return f"{spec.description}, stored as {store}"


def write_hashes(workdir: Workdir, part: str) -> Output:
    """Keep the content hashes of a part, so that its vectors are found when documents have gone."""
    table = partfiles.read_table(workdir.part("ingest", part), ["content_hash"])
    path = hashes_path(workdir.root, part)
    partfiles.write_array(path, hash_words(table.column("content_hash")))
    return workdir.output(path)


@dataclasses.dataclass(frozen=True)
class CompletePart:
    """Fill what a computed part has waited for, now that all parts are computed."""

    workdir: Workdir
    store: EmbeddingKind
    origins: tuple[Origin, ...]
    stage: str = EMBED

    def run(self, task: Task, heartbeat: Heartbeat) -> TaskResult:
        """Write the part with the vectors of other parts in their places."""
        computed = TaskResult.from_json(dict(task.payload["computed"]))
        later = by_source(read_copies(self.workdir, task.name)).later
        path = self.workdir.part(EMBED, task.name)
        source = computed_path(self.workdir, task.name)
        start = 0
        with EmbeddingsWriter(path, computed.details["dimension"], self.store) as writer:
            for batch in iter_embeddings(source):
                vectors = np.array(batch, np.float32)
                gather(_between(later, start, len(vectors)), self.origins, vectors)
                writer.write(vectors)
                start += len(vectors)
        heartbeat.beat(start, 0)
        outputs = [self.workdir.output(path), write_hashes(self.workdir, task.name)]
        return dataclasses.replace(computed, fingerprint=task.fingerprint, outputs=outputs)


class EmbedTask(RunTask):
    """``RunTask`` that also loads the model before the first part and reports its own metrics."""

    def __init__(self, work: EmbedPart) -> None:
        super().__init__(work)
        self._embed = work
        self._padding = Metrics.counter("mixcurate.embed", "padding_tokens")
        self._copied = Metrics.counter("mixcurate.embed", "copied_documents")
        self._not_finite = Metrics.counter("mixcurate.embed", "not_finite_documents")
        self._device = Metrics.distribution("mixcurate.embed", "device_milliseconds")
        self._wait = Metrics.distribution("mixcurate.embed", "wait_milliseconds")
        self._load = Metrics.distribution("mixcurate.embed", "load_milliseconds")
        self._loaded = False

    def setup(self) -> None:
        """Load the model once per worker."""
        shared_encoder(self._embed.spec, self._embed.threads)

    def work_of(self, task: Task) -> EmbedPart:
        """The same work under another stage for a part that will have to wait."""
        if task.payload.get("waits"):
            return dataclasses.replace(self._embed, stage=COMPUTE)
        return self._embed

    def process(self, task: Task, after: object = None) -> Iterator[TaskResult]:
        """Emit the task's result."""
        for result in super().process(task, after):
            details = result.details
            if not self._loaded:  # here, because Beam drops what setup reports
                self._load.update(int(1000 * details["load_seconds"]))
                self._loaded = True
            self._padding.inc(details["padded_tokens"] - details["tokens"])
            self._copied.inc(details["copied"])
            self._not_finite.inc(details["not_finite"])
            self._device.update(int(1000 * details["forward_seconds"]))
            self._wait.update(int(1000 * details["wait_seconds"]))
            yield result


@dataclasses.dataclass(frozen=True)
class Embed:
    """The whole stage as one pipeline."""

    work: EmbedPart
    todo: list[Task]
    hints: dict[str, str]

    def build(self, pipeline: beam.Pipeline) -> None:
        """Wire the stage into ``pipeline``.

        The hints (accelerator, memory) sit on the embed step alone, between two fusion breaks, and
        are given only on Dataflow: a local runner would run a hinted step in workers of its own.
        """
        embed = beam.ParDo(EmbedTask(self.work))
        if self.hints:
            embed = embed.with_resource_hints(**self.hints)
        results = create(pipeline, "Parts", self.todo) | "Embed" >> embed
        _ = results | "Results" >> beam.Map(task_name) | "Release the GPU" >> beam.Reshuffle()


@dataclasses.dataclass(frozen=True)
class Complete:
    """The second pass, over parts that have waited; no model is needed."""

    work: CompletePart
    todo: list[Task]

    def build(self, pipeline: beam.Pipeline) -> None:
        """Wire the pass into ``pipeline``."""
        _ = create(pipeline, "Waiting parts", self.todo) | "Complete" >> beam.ParDo(
            RunTask(self.work)
        )
