"""Semantic deduplication: documents of a cluster meet by their vectors, and one of a kind is kept.

Each part writes its vectors by bucket, each bucket compares its clusters one by one, and each part
then collects what it loses. Nothing depends on how documents are cut into parts: what comes first
is settled by distance or quality, then by a hash of the id.

A bucket's task holds one group of documents at a time: three times its vectors as float32. Groups
have some ``max_group`` documents, at most, and buckets some ``BUCKET_BYTES`` of vectors.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Any, Literal

import apache_beam as beam
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mixcurate.io import embeddings, exchange, partfiles, storage
from mixcurate.io.workdir import Heartbeat, TaskResult, Workdir
from mixcurate.kernels.clustering import SemanticDedupParams
from mixcurate.kernels.hashing import fingerprint
from mixcurate.transforms.semantic_compare import COMPARE, DROPPED, CompareBucket, bucket_path
from mixcurate.transforms.semantic_exchange import EXCHANGE, ExchangePart
from mixcurate.transforms.tasks import RunTask, Split, Task, create, split

DROPS = "semantic"

VERSION = "1"

#: Vectors of a bucket, as float32.
BUCKET_BYTES = 256_000_000


def drops_path(workdir: Workdir, part: str) -> str:
    """What one part loses, sorted by row."""
    return workdir.path("_stages", DROPS, "drops", f"part-{part}.parquet")


def found_path(workdir: Workdir) -> str:
    """What is written last: the mark of the search, and how many each part loses."""
    return workdir.path("_stages", DROPS, "found.json")


def read_drops(
    workdir: Workdir, part: str
) -> tuple[npt.NDArray[np.int64], list[str], npt.NDArray[np.float64]]:
    """The documents that a part loses.

    Returns:
        rows int64 ``[m]``, rising; the id of the document that is kept for each; and the cosine of
        the two, float64 ``[m]``.
    """
    table = partfiles.read_table(drops_path(workdir, part), ["row", "kept_id", "cosine"])
    rows, ids, cosine = (table.column(name) for name in table.column_names)
    return rows.to_numpy(), ids.to_pylist(), cosine.to_numpy()


@dataclasses.dataclass(frozen=True)
class CollectDrops:
    """Gather what all buckets drop of one part."""

    workdir: Workdir
    stage: str = DROPS

    def run(self, task: Task, heartbeat: Heartbeat) -> TaskResult:
        """Write the part's drops, even if there are none."""
        found = [(bucket_path(self.workdir, b), n) for b, n in task.payload["segments"]]
        with exchange.open_batches(found) as batches:
            table = pa.Table.from_batches(batches, DROPPED).sort_by("row")
            path = drops_path(self.workdir, task.name)
            partfiles.write_table(path, table)
        heartbeat.beat(table.num_rows, 0)
        return TaskResult(
            task=task.name,
            fingerprint=task.fingerprint,
            outputs=[self.workdir.output(path)],
            documents_in=table.num_rows,
            documents_out=table.num_rows,
        )


class Resume(RunTask):
    """Run a ``Work`` on each task that is not committed; emit the results of all."""

    def __init__(
        self, work: CompareBucket | CollectDrops, committed: dict[str, TaskResult]
    ) -> None:
        super().__init__(work)
        self._committed = committed

    def process(self, task: Task, after: object = None) -> Iterator[TaskResult]:
        """Emit the task's result, old or new."""
        result = self._committed.get(task.name)
        if result is not None and result.fingerprint == task.fingerprint:
            yield result
        else:
            yield from super().process(task, after)


def _by_bucket(result: TaskResult) -> Iterator[tuple[int, tuple[str, int, str]]]:
    """(bucket, (part, batch in the part's exchange file, digest of that file))."""
    for batch, bucket in enumerate(result.details["buckets"]):
        yield bucket, (result.task, batch, result.outputs[0].digest)


def _by_part(result: TaskResult) -> Iterator[tuple[str, tuple[str, int, str]]]:
    """(part, (bucket, batch in the bucket's file, digest of that file))."""
    for batch, part in enumerate(result.details["parts"]):
        yield part, (result.task, batch, result.outputs[0].digest)


def _task(name: str, mark: str, found: Iterable[tuple[str, int, str]]) -> Task:
    """A task on segments of files; its fingerprint names every byte that goes into it."""
    segments = sorted(found)
    seals = (f"{file}:{batch}:{seal}" for file, batch, seal in segments)
    payload = {"segments": [(file, batch) for file, batch, _ in segments]}
    return Task(name, fingerprint(mark, *seals), payload)


def _bucket_task(element: tuple[int, Iterable[tuple[str, int, str]]], mark: str) -> Task:
    return _task(f"bucket-{element[0]:06d}", mark, element[1])


def _count(result: TaskResult) -> tuple[str, int]:
    return result.task, result.documents_out


def _commit(counts: list[tuple[str, int]], workdir: Workdir, mark: str) -> None:
    """Make the drops of all parts count; the vectors that have moved are of no more use."""
    storage.write_json(found_path(workdir), {"mark": mark, "dropped": dict(counts)})
    clear(workdir)


def _part_task(element: tuple[str, dict[str, Iterable[Any]]], mark: str) -> Task:
    return _task(element[0], mark, element[1]["found"])


@dataclasses.dataclass(frozen=True)
class Clusters:
    """What is compared.

    Attributes:
        kept: whether the documents of a cluster are, bool ``[k]``.
        documents: how many a cluster has, int64 ``[k]``.
        metric: that of their distances.
    """

    kept: npt.NDArray[np.bool_]
    documents: npt.NDArray[np.int64]
    metric: Literal["cosine", "euclidean"]


@dataclasses.dataclass(frozen=True)
class SemanticDedup:
    """The search from the assigned clusters to the rows that each part loses.

    Attributes:
        exchange: what is done with a part.
        compare: what is done with a bucket.
        parts: names of all parts.
        mark: fingerprint of the search.
        exchanged: tasks of the parts, done and to do.
        compared: results of buckets that are on disk.
        collected: results of parts that have collected what they lose.
        finished: whether the drops on disk are those of this very search.
    """

    exchange: ExchangePart
    compare: CompareBucket
    parts: list[str]
    mark: str
    exchanged: Split
    compared: dict[str, TaskResult]
    collected: dict[str, TaskResult]
    finished: bool

    def build(self, pipeline: beam.Pipeline) -> None:
        """Wire the search into ``pipeline``: only places of vectors cross a shuffle."""
        workdir = self.compare.workdir
        fresh = create(
            pipeline, "Vectors of parts", self.exchanged.todo
        ) | "Exchange" >> beam.ParDo(RunTask(self.exchange))
        before = pipeline | "Exchanged before" >> beam.Create(self.exchanged.done, reshuffle=False)
        found = (
            (fresh, before)
            | beam.Flatten()
            | "By bucket" >> beam.FlatMap(_by_bucket)
            | "Buckets" >> beam.GroupByKey()
            | "Plan buckets" >> beam.Map(_bucket_task, self.mark)
            | "Compare" >> beam.ParDo(Resume(self.compare, self.compared))
            | "By part" >> beam.FlatMap(_by_part)
        )
        every = create(pipeline, "Parts", [(name, None) for name in self.parts])
        _ = (
            {"part": every, "found": found}
            | "Drops of a part" >> beam.CoGroupByKey()
            | "Plan parts" >> beam.Map(_part_task, self.mark)
            | "Collect" >> beam.ParDo(Resume(CollectDrops(workdir), self.collected))
            | "Counts" >> beam.Map(_count)
            | "All counts" >> beam.combiners.ToList()
            | "Commit" >> beam.Map(_commit, workdir, self.mark)
        )


def plan(
    workdir: Workdir,
    params: SemanticDedupParams,
    *,
    seed: int,
    clusters: Clusters,
    parts: list[str],
    upstream: str,
) -> SemanticDedup:
    """The search with what is left to do of it; what belongs to another one is removed.

    Args:
        workdir: with embeddings, documents, centroids and assigned clusters.
        params: of the search.
        seed: of the order among equals.
        clusters: what is compared.
        parts: names of all parts.
        upstream: fingerprint of the documents, their vectors and their clusters.
    """
    mark = fingerprint(
        DROPS, VERSION, upstream, params.model_dump_json(), str(seed), clusters.metric,
        *(f"{n} {kept}" for n, kept in zip(clusters.documents, clusters.kept, strict=True)),
    )  # fmt: skip
    finished = _is_finished(workdir, mark, parts)
    exchanged = Split([], [])
    if not finished:
        storage.remove(found_path(workdir))
        tasks = [Task(name, fingerprint(EXCHANGE, mark, name)) for name in parts]
        exchanged = split(workdir, EXCHANGE, tasks)
        for name, result in workdir.committed(DROPS).items():
            if name not in parts:
                workdir.discard(DROPS, result)
    vector = embeddings.embeddings_info(workdir.part("embed", parts[0]))
    work = ExchangePart(
        workdir=workdir,
        params=params,
        seed=seed,
        metric=clusters.metric,
        kept=clusters.kept,
        documents=clusters.documents,
        bucket_documents=max(1, BUCKET_BYTES // (4 * vector.dimension)),
    )
    compare = CompareBucket(workdir, params, seed)
    compared, collected = (_whole(workdir, stage) for stage in (COMPARE, DROPS))
    return SemanticDedup(work, compare, parts, mark, exchanged, compared, collected, finished)


def _is_finished(workdir: Workdir, mark: str, parts: list[str]) -> bool:
    path = found_path(workdir)
    return (
        storage.exists(path)
        and storage.read_json(path)["mark"] == mark
        and all(storage.exists(drops_path(workdir, part)) for part in parts)
    )


def _whole(workdir: Workdir, stage: str) -> dict[str, TaskResult]:
    """Committed tasks whose outputs are there."""
    found = workdir.committed(stage)
    return {name: result for name, result in found.items() if workdir.is_whole(result)}


def clear(workdir: Workdir) -> None:
    """Remove the vectors that have moved; what the parts lose stays."""
    for stage in (EXCHANGE, COMPARE):
        storage.remove(workdir.path("_stages", stage))
