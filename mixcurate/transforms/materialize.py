"""Materialize: drawn documents through the exchange into shards that each carry the global mix."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator

import apache_beam as beam

from mixcurate.io.workdir import TaskResult
from mixcurate.kernels import hashing
from mixcurate.transforms.exchange import (
    BoundaryKeys,
    ExchangePart,
    FindBoundaries,
    KeyHistogram,
    with_boundaries,
)
from mixcurate.transforms.tasks import RunTask, SkipCommitted, Split, Task, create
from mixcurate.transforms.write_shard import WriteShard


@dataclasses.dataclass(frozen=True)
class PlanShard:
    """Turn a shard's segments into a task."""

    mark: str
    n_shards: int

    def __call__(self, element: tuple[int, Iterable[tuple[str, int, str]]]) -> Task:
        """The task of one shard; its fingerprint names every byte that goes into it."""
        number, found = element
        segments = sorted(found)
        mark = hashing.fingerprint(
            self.mark, *(f"{part}:{batch}:{seal}" for part, batch, seal in segments)
        )
        payload = {
            "split": "train",
            "phase": "main",
            "shard": number,
            "n_shards": self.n_shards,
            "segments": [(part, batch) for part, batch, _ in segments],
        }
        return Task(f"shard-{number:05d}", mark, payload)


def _segments(result: TaskResult) -> Iterator[tuple[int, tuple[str, int, str]]]:
    """(shard, (part, batch in the part's exchange file, digest of that file))."""
    batch = 0
    for shard, count in enumerate(result.details["counts"]):
        if count:
            yield shard, (result.task, batch, result.outputs[0].digest)
            batch += 1


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
            | "Plan shards" >> beam.Map(PlanShard(self.write.mark, n_shards))
            | "Skip committed" >> beam.ParDo(SkipCommitted(self.committed))
            | "Write shards" >> beam.ParDo(RunTask(self.write))
        )
