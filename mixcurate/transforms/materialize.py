"""Materialize: drawn documents through the exchange into shards that each carry the global mix."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator

import apache_beam as beam

from mixcurate.io.workdir import TaskResult
from mixcurate.kernels import hashing, shards
from mixcurate.transforms.exchange import (
    BoundaryKeys,
    ExchangeParts,
    FindBoundaries,
    KeyHistogram,
    with_limits,
)
from mixcurate.transforms.tasks import RunTask, SkipCommitted, Split, Task, create
from mixcurate.transforms.write_shard import WriteShard

#: What an exchange file has for a shard: its task, extent of the rows in it, digest of the file.
Segment = tuple[str, tuple[int, int], str]


@dataclasses.dataclass(frozen=True)
class PlanShard:
    """Turn a shard's segments into a task."""

    mark: str
    places: tuple[shards.Place, ...]

    def __call__(self, element: tuple[int, Iterable[Segment]]) -> Task:
        """The task of one shard; its fingerprint names every byte that goes into it."""
        number, found = element
        segments = sorted(found)
        mark = hashing.fingerprint(
            self.mark, *(f"{task}:{extent}:{seal}" for task, extent, seal in segments)
        )
        place = self.places[number]
        payload = {
            "split": place.split,
            "phase": place.phase,
            "shard": place.number,
            "n_shards": place.n_shards,
            "segments": [(task, extent) for task, extent, _ in segments],
            "part": number,
        }
        return Task(f"shard-{number:05d}", mark, payload)


def _segments(result: TaskResult) -> Iterator[tuple[int, Segment]]:
    for number, first, length in result.details["segments"]:
        yield number, (result.task, (first, length), result.outputs[0].digest)


@dataclasses.dataclass(frozen=True)
class Materialize:
    """The whole stage as one pipeline."""

    exchange: ExchangeParts
    write: WriteShard
    parts: list[str]
    exchanged: Split
    committed: dict[str, str]

    def build(self, pipeline: beam.Pipeline) -> None:
        """Wire the stage into ``pipeline``."""
        workdir, ranges = self.exchange.workdir, self.exchange.ranges
        parts = create(pipeline, "Parts", self.parts)
        counts = beam.pvalue.AsSingleton(
            parts | "Count keys" >> beam.CombineGlobally(KeyHistogram(workdir, len(ranges)))
        )
        limits = (
            parts
            | "Boundary keys" >> beam.ParDo(BoundaryKeys(workdir, ranges), counts)
            | "Keys meet" >> beam.GroupByKey()
            | "Boundaries" >> beam.ParDo(FindBoundaries(ranges), counts)
        )
        fresh = (
            create(pipeline, "Exchange parts", self.exchanged.todo)
            | "Add boundaries" >> beam.Map(with_limits, beam.pvalue.AsDict(limits))
            | "Exchange" >> beam.ParDo(RunTask(self.exchange))
        )
        before = pipeline | "Exchanged before" >> beam.Create(self.exchanged.done, reshuffle=False)
        _ = (
            (fresh, before)
            | beam.Flatten()
            | "Segments" >> beam.FlatMap(_segments)
            | "Shards" >> beam.GroupByKey()
            | "Plan shards" >> beam.Map(PlanShard(self.write.mark, tuple(shards.places(ranges))))
            | "Skip committed" >> beam.ParDo(SkipCommitted(self.committed))
            | "Write shards" >> beam.ParDo(RunTask(self.write))
        )
