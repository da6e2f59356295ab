"""Embed: one model per worker, shared by its threads; a part of documents in, vectors out."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Iterator
from typing import Any

import apache_beam as beam
from apache_beam.metrics import Metrics

from mixcurate.io import partfiles
from mixcurate.io.workdir import Heartbeat, TaskResult, Workdir
from mixcurate.models.encoders import EmbedParams, Encoder
from mixcurate.transforms.tasks import RunTask, Task, create

EMBED = "embed"

_LOADED: dict[tuple[EmbedParams, int], Encoder] = {}
_LOADING = threading.Lock()


def shared_encoder(params: EmbedParams, threads: int) -> Encoder:
    """The worker's one copy of the model, loaded by whichever thread comes first."""
    from mixcurate.models.torch_encoder import TorchEncoder

    with _LOADING:
        if (params, threads) not in _LOADED:
            _LOADED[params, threads] = TorchEncoder(params, threads)
        return _LOADED[params, threads]


@dataclasses.dataclass(frozen=True)
class EmbedPart:
    """Embed the documents of one part."""

    workdir: Workdir
    params: EmbedParams
    threads: int
    stage: str = EMBED

    def run(self, task: Task, heartbeat: Heartbeat) -> TaskResult:
        """Read the texts, embed them, write float16 vectors aligned with the documents."""
        encoder = shared_encoder(self.params, self.threads)
        table = partfiles.read_table(self.workdir.part("ingest", task.name), ["text"])
        texts: list[str] = table.column("text").to_pylist()
        vectors, stats = encoder.encode(texts, heartbeat.beat)
        path = self.workdir.part(EMBED, task.name)
        partfiles.write_embeddings(path, vectors)
        counts: dict[str, Any] = dataclasses.asdict(stats) | {"dimension": encoder.dimension}
        return TaskResult(
            task=task.name,
            fingerprint=task.fingerprint,
            outputs=[self.workdir.output(path)],
            documents_in=len(texts),
            documents_out=len(vectors),
            tokens=stats.tokens,
            details=counts,
        )


class EmbedTask(RunTask):
    """``RunTask`` that also loads the model before the first part and reports its own metrics."""

    def __init__(self, work: EmbedPart) -> None:
        super().__init__(work)
        self._embed = work
        self._padding = Metrics.counter("mixcurate.embed", "padding_tokens")
        self._forward = Metrics.distribution("mixcurate.embed", "forward_milliseconds")

    def setup(self) -> None:
        """Load the model once per worker."""
        shared_encoder(self._embed.params, self._embed.threads)

    def process(self, task: Task, after: object = None) -> Iterator[TaskResult]:
        """Emit the task's result."""
        for result in super().process(task, after):
            details = result.details
            self._padding.inc(details["padded_tokens"] - details["tokens"])
            self._forward.update(int(1000 * details["forward_seconds"]))
            yield result


@dataclasses.dataclass(frozen=True)
class Embed:
    """The whole stage as one pipeline."""

    work: EmbedPart
    todo: list[Task]
    resource_hints: bool

    def build(self, pipeline: beam.Pipeline) -> None:
        """Wire the stage into ``pipeline``.

        The accelerator hint sits on the embed step alone, between two fusion breaks, and only on
        Dataflow: a local runner would run the hinted step in workers of its own.
        """
        embed = beam.ParDo(EmbedTask(self.work))
        if self.resource_hints:
            params = self.work.params
            hints = {"min_ram": params.min_ram, "max_active_bundles_per_worker": "1"}
            if params.accelerator:
                hints["accelerator"] = params.accelerator
            embed = embed.with_resource_hints(**hints)
        results = create(pipeline, "Parts", self.todo) | "Embed" >> embed
        _ = results | "Results" >> beam.Map(_name) | "Release the GPU" >> beam.Reshuffle()


def _name(result: TaskResult) -> str:
    return result.task
