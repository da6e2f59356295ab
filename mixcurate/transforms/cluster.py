"""Cluster, first half: fit k-means on a sample, assign every document, and measure each cluster."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Any

import apache_beam as beam
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mixcurate.io import embeddings, partfiles, storage
from mixcurate.io.workdir import Heartbeat, TaskResult, Workdir
from mixcurate.kernels import cluster_statistics, grouping, kmeans
from mixcurate.kernels.cluster_statistics import OVERALL, Batch
from mixcurate.kernels.nearest import usable
from mixcurate.tables import ASSIGNED
from mixcurate.transforms.cluster_files import (
    counts_path,
    fit_note_path,
    grouping_path,
    sums_path,
)
from mixcurate.transforms.fit import FitCentroids, FitPlan
from mixcurate.transforms.quality_columns import read_carried, read_quality
from mixcurate.transforms.sample import SamplePart
from mixcurate.transforms.tasks import RunTask, Split, Task, create, task_name

ASSIGN = "assign"

#: What a part adds to the statistics: its sums, and its counts.
Statistics = tuple[npt.NDArray[np.int64], pa.Table]

#: Tables of counts that are kept before they are merged.
_COUNTS_HELD = 16


def assigned_path(workdir: Workdir, part: str) -> str:
    """Nearest cluster of each document of a part."""
    return workdir.path("_stages", ASSIGN, "assigned", f"part-{part}.parquet")


def assign_part(
    path: str,
    centroids: kmeans.Float32Array,
    metric: kmeans.Metric = "cosine",
    *,
    among: npt.NDArray[np.bool_] | None = None,
) -> tuple[npt.NDArray[np.int32], kmeans.Float32Array]:
    """The nearest centroid of each row of an embeddings file, a record batch at a time.

    Args:
        path: the file.
        centroids: float32 ``[k, d]``, unit rows.
        metric: cosine or euclidean.
        among: rows that are assigned, bool ``[n]``; None assigns all.

    Returns:
        cluster int32 ``[n]``, -1 where a vector is not finite or is zero, or its row not among
        those that are assigned; distance float32 ``[n]``.

    Raises:
        InputError: the file cannot be read, or is no embeddings file.
    """
    clusters, distances = [np.zeros(0, np.int32)], [np.zeros(0, np.float32)]
    start = 0
    for vectors in embeddings.iter_embeddings(path):
        here = slice(start, start + len(vectors))
        start += len(vectors)
        rows = slice(None) if among is None or among[here].all() else np.flatnonzero(among[here])
        cluster = np.full(len(vectors), -1, np.int32)
        distance = np.full(len(vectors), np.nan, np.float32)
        asked = vectors[rows]
        found, far = kmeans.assign(asked, centroids, metric=metric)
        good = usable(asked)
        cluster[rows] = np.where(good, found, -1)
        distance[rows] = np.where(good, far, np.nan)
        clusters.append(cluster)
        distances.append(distance)
    return np.concatenate(clusters), np.concatenate(distances)


@dataclasses.dataclass(frozen=True)
class AssignPart:
    """Assign each document of a part to its nearest centroid, and measure the clusters.

    Attributes:
        dimensions: quality dimensions that documents carry and that are asked for.
        tiers: whether the distribution of quality is needed.
    """

    workdir: Workdir
    dimensions: tuple[str, ...] = ()
    tiers: bool = False
    stage: str = ASSIGN

    def run(self, task: Task, heartbeat: Heartbeat) -> TaskResult:
        """Write the part's assignments and its share of the statistics."""
        about = storage.read_json(fit_note_path(self.workdir))
        centroids = partfiles.read_array(self.workdir.centroids)
        cluster, distance = assign_part(
            self.workdir.part("embed", task.name), centroids, about["metric"]
        )
        arrays = [cluster, distance, self._groups(task.name, cluster, about)]
        table = pa.Table.from_arrays([pa.array(array) for array in arrays], schema=ASSIGNED)
        path = assigned_path(self.workdir, task.name)
        partfiles.write_table(path, table)

        columns = ["n_tokens", "language", "source"]
        documents = partfiles.read_table(self.workdir.part("ingest", task.name), columns)
        tokens = documents.column("n_tokens").to_numpy().astype(np.int64)
        judged = read_quality(self.workdir, task.name)
        carried = read_carried(self.workdir, task.name, self.dimensions)
        batch = Batch(
            cluster,
            distance,
            tokens,
            {OVERALL: judged.overall} | judged.dimensions | carried,
            {name: documents.column(name).combine_chunks() for name in ("language", "source")},
        )
        counted = [cluster_statistics.counts(batch)]
        if self.tiers:
            known = cluster >= 0
            counted.append(cluster_statistics.quality_counts(judged.overall[known], tokens[known]))
        sums = cluster_statistics.sums(batch, len(centroids), about["unit"])
        partfiles.write_array(self._statistics(task.name, "npy"), sums)
        merged = cluster_statistics.merge_counts(counted)
        partfiles.write_table(self._statistics(task.name, "parquet"), merged)
        heartbeat.beat(len(cluster), int(tokens.sum()))
        outputs = [path, self._statistics(task.name, "npy"), self._statistics(task.name, "parquet")]
        return TaskResult(
            task=task.name,
            fingerprint=task.fingerprint,
            outputs=[self.workdir.output(output) for output in outputs],
            documents_in=len(cluster),
            documents_out=len(cluster),
            tokens=int(tokens.sum()),
        )

    def _groups(
        self, part: str, cluster: npt.NDArray[np.int32], about: dict[str, Any]
    ) -> npt.NDArray[np.int32]:
        """Group of each document; -1 where clusters have none, or a vector is of no use."""
        if not about["grouped"]:
            return np.full(len(cluster), -1, np.int32)
        found = partfiles.read_array(grouping_path(self.workdir))
        batches = embeddings.iter_embeddings(self.workdir.part("embed", part))
        groups = [grouping.groups_of(found, vectors) for vectors in batches]
        return np.concatenate([np.zeros(0, np.int32), *groups])

    def _statistics(self, part: str, suffix: str) -> str:
        return self.workdir.path("_stages", ASSIGN, "statistics", f"part-{part}.{suffix}")

    def read_statistics(self, part: str) -> Statistics:
        """What a part has added."""
        sums = partfiles.read_array(self._statistics(part, "npy"))
        return sums, partfiles.read_table(self._statistics(part, "parquet"))


class SumStatistics(beam.CombineFn):
    """Add the parts' statistics, exact in any order."""

    def __init__(self, work: AssignPart) -> None:
        self._work = work

    def create_accumulator(self) -> list[Statistics]:
        """Nothing yet."""
        return []

    def add_input(self, held: list[Statistics], part: str) -> list[Statistics]:
        """Add one part's files."""
        return _merged([*held, self._work.read_statistics(part)], _COUNTS_HELD)

    def merge_accumulators(self, held: Iterable[list[Statistics]]) -> list[Statistics]:
        """Add partial results."""
        return _merged([statistics for some in held for statistics in some], _COUNTS_HELD)

    def extract_output(self, held: list[Statistics]) -> Statistics:
        """The statistics of all parts."""
        return _merged(held, 1)[0]


def _merged(held: list[Statistics], most: int) -> list[Statistics]:
    """The same statistics in at most ``most`` pieces."""
    if len(held) <= most:
        return held
    sums = np.sum([sums for sums, _ in held], axis=0)
    return [(sums, cluster_statistics.merge_counts([table for _, table in held]))]


class WriteStatistics(beam.DoFn):
    """Leave the statistics of all parts in files."""

    def __init__(self, workdir: Workdir) -> None:
        self._workdir = workdir

    def process(self, statistics: Statistics) -> Iterator[str]:
        """Yield the path of the sums."""
        path = sums_path(self._workdir)
        partfiles.write_array(path, statistics[0])
        merged = cluster_statistics.merge_counts([statistics[1]])
        partfiles.write_table(counts_path(self._workdir), merged)
        yield path


@dataclasses.dataclass(frozen=True)
class FitAndAssign:
    """The first half of the stage as one pipeline.

    Attributes:
        parts: names of all parts.
        fitted: whether the centroids on disk are already those of this fit.
        work: what is done with a part.
        assign: tasks of the assignment, done and to do.
    """

    plan: FitPlan
    parts: list[str]
    fitted: bool
    work: AssignPart
    assign: Split

    def build(self, pipeline: beam.Pipeline) -> None:
        """Wire it into ``pipeline``; each step waits for the digest of the one before."""
        workdir = self.work.workdir
        if self.fitted:
            digest = pipeline | "Fitted before" >> beam.Create([""])
        else:
            digest = (
                create(pipeline, "Sample", self.parts)
                | "Pick rows" >> beam.ParDo(SamplePart(workdir, self.plan.seed, self.plan.share))
                | "Sample meets" >> beam.GroupByKey()
                | "Fit" >> beam.ParDo(FitCentroids(workdir, self.plan))
            )
        fresh = (
            create(pipeline, "Assign parts", self.assign.todo)
            | "Assign" >> beam.ParDo(RunTask(self.work), beam.pvalue.AsSingleton(digest))
            | "Assigned" >> beam.Map(task_name)
        )
        before = pipeline | "Assigned before" >> beam.Create(
            [result.task for result in self.assign.done], reshuffle=False
        )
        _ = (
            (fresh, before)
            | beam.Flatten()
            | "Sum" >> beam.CombineGlobally(SumStatistics(self.work)).without_defaults()
            | "Write statistics" >> beam.ParDo(WriteStatistics(workdir))
        )
