"""Diversity: clusters of the pool, the distances of its documents there, and what they add up to.

The clusters are fitted on a sample of the pool, or are those of the cluster stage. Each part
measures its documents and leaves two integers a cluster; their sums, in any order, give the table
of clusters. A document's diversity is read from both.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Any

import apache_beam as beam
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from mixcurate.errors import JobError
from mixcurate.io import embeddings, partfiles, storage
from mixcurate.io.workdir import Heartbeat, TaskResult, Workdir
from mixcurate.kernels import diversity, kmeans
from mixcurate.kernels.scoring import DiversityParams
from mixcurate.kernels.semantic import unit_grid
from mixcurate.transforms.cluster import assign_part
from mixcurate.transforms.diversity_columns import (
    DIVERSITY,
    diversity_path,
    measured_path,
)
from mixcurate.transforms.fit import normalise_rows
from mixcurate.transforms.sample import SamplePart, gather_sample, rows_path, vectors_path
from mixcurate.transforms.tasks import RunTask, Split, Task, create, task_name

#: Lloyd iterations at most, as in the paper; the fit ends sooner where they gain little.
ITERATIONS = 50

#: Documents whose neighbours are looked for at once: those of one cluster should be many.
_ROWS = 65_536

#: Documents of a part: cluster -1 and no distance outside the pool. ``neighbours`` where asked for.
_MEASURED = [
    pa.field("cluster", pa.int32(), nullable=False),
    pa.field("distance", pa.float32(), nullable=False),
    pa.field("neighbours", pa.float32(), nullable=False),
]

#: ``clusters.parquet``.
_CLUSTERS = pa.schema(
    [
        pa.field("cluster", pa.int32(), nullable=False),
        pa.field("n_documents", pa.int64(), nullable=False),
        pa.field("compactness", pa.float64(), nullable=False),
        pa.field("separation", pa.float64(), nullable=False),
        pa.field("diversity", pa.float64(), nullable=False),
    ]
)

Int32Array = npt.NDArray[np.int32]
Float32Array = npt.NDArray[np.float32]


@dataclasses.dataclass(frozen=True)
class DiversityPlan:
    """How the pool is measured.

    Attributes:
        k: clusters to fit; None takes those of the cluster stage.
        metric: of the cluster stage.
        share: of the pool that is sampled; 0 where no sample is needed.
        mark: fingerprint of the clusters and the sample.
    """

    params: DiversityParams
    k: int | None
    metric: kmeans.Metric
    share: float
    seed: int
    mark: str

    @property
    def neighbours(self) -> bool:
        """Whether documents are measured by their neighbours in the sample."""
        return self.params.compactness == "neighbours"


class FitClusters(beam.DoFn):
    """Fit the clusters, or take those that there are; leave the sample by cluster if asked for."""

    def __init__(self, workdir: Workdir, plan: DiversityPlan) -> None:
        self._workdir, self._plan = workdir, plan

    def process(self, element: tuple[int, Iterable[str]]) -> Iterator[str]:
        """Yield the digest of the centroids."""
        note = diversity_path(self._workdir, "fit.json")
        storage.remove(note)  # centroids without a note belong to an interrupted fit
        plan, about = self._plan, dict[str, Any](notes=[], sample=0)
        sample = np.zeros((0, 0), np.float32)
        if plan.share > 0:
            sample = gather_sample(self._workdir, element[1], DIVERSITY)
            about["sample"] = len(sample)
        if plan.k is None:
            centroids, metric = partfiles.read_array(self._workdir.centroids), plan.metric
        else:
            if len(sample) == 0:
                raise JobError("no document of the pool has a vector; run the cluster stage again")
            normalise_rows(sample)
            found = kmeans.fit(
                sample, k=min(plan.k, len(sample)), seed=plan.seed, iterations=ITERATIONS
            )
            centroids, metric, about["notes"] = found.centroids, "cosine", found.notes
        if plan.neighbours:
            self._write_sample(sample, kmeans.assign(sample, centroids, metric).cluster)
        path = diversity_path(self._workdir, "centroids.npy")
        unit = kmeans.normalise(centroids) if metric == "euclidean" else centroids
        partfiles.write_array(path, unit)
        for left in (vectors_path, rows_path):  # what is needed of them is kept by cluster
            storage.remove(left(self._workdir, DIVERSITY))
        storage.write_json(note, about | {"fingerprint": plan.mark, "k": len(centroids)})
        yield storage.digest(path)

    def _write_sample(self, sample: Float32Array, cluster: Int32Array) -> None:
        """Leave the sample's documents by cluster, for neighbours to be found there."""
        order = np.argsort(cluster, kind="stable")
        for start in range(0, len(sample), _ROWS):
            sample[start : start + _ROWS] = unit_grid(sample[start : start + _ROWS])
        partfiles.write_array(diversity_path(self._workdir, "neighbours.npy"), sample[order])
        rows = partfiles.read_table(rows_path(self._workdir, DIVERSITY), ["part", "row"])
        table = rows.take(pa.array(order)).append_column("cluster", pa.array(cluster[order]))
        partfiles.write_table(diversity_path(self._workdir, "neighbours.parquet"), table)


@dataclasses.dataclass(frozen=True)
class MeasurePart:
    """Measure the documents of a part, and leave what they add to their clusters."""

    workdir: Workdir
    plan: DiversityPlan
    stage: str = DIVERSITY

    def run(self, task: Task, heartbeat: Heartbeat) -> TaskResult:
        """Write the part's clusters and distances, and its sums."""
        centroids = partfiles.read_array(diversity_path(self.workdir, "centroids.npy"))
        cluster, distance = self._assigned(task.name, centroids)
        own = distance = diversity.as_distance(distance, self.plan.params.distance)
        arrays = [cluster, distance]
        if self.plan.neighbours:
            near = self._near(task.name, cluster, len(centroids))
            own = np.where(np.isfinite(near), near, distance)
            arrays.append(own)
        path = measured_path(self.workdir, task.name)
        schema = pa.schema(_MEASURED[: len(arrays)])
        table = pa.Table.from_arrays([pa.array(array) for array in arrays], schema=schema)
        partfiles.write_table(path, table)
        sums = self.sums_path(task.name)
        partfiles.write_array(sums, diversity.sums(cluster, own, len(centroids)))
        heartbeat.beat(len(cluster), 0)
        return TaskResult(
            task=task.name,
            fingerprint=task.fingerprint,
            outputs=[self.workdir.output(output) for output in (path, sums)],
            documents_in=len(cluster),
            documents_out=len(cluster),
            details={"pool": int((cluster >= 0).sum())},
        )

    def sums_path(self, part: str) -> str:
        """What a part adds: int64 ``[2, k]``."""
        return diversity_path(self.workdir, "sums", f"part-{part}.npy")

    def read_sums(self, part: str) -> npt.NDArray[np.int64]:
        """The same, read."""
        found: npt.NDArray[np.int64] = partfiles.read_array(self.sums_path(part))
        return found

    def _assigned(self, part: str, centroids: Float32Array) -> tuple[Int32Array, Float32Array]:
        """Cluster and Euclidean distance of each document; -1 and NaN outside the pool."""
        table = partfiles.read_table(self.workdir.part("cluster", part))
        pool = table.column("domain").to_numpy() >= 0
        vectors = self.workdir.part("embed", part)
        if self.plan.k is not None:
            return assign_part(vectors, centroids, among=pool)
        cluster = np.where(pool, table.column("cluster").to_numpy(), -1).astype(np.int32)
        if self.plan.metric == "cosine":
            distance = table.column("distance").to_numpy()
            return cluster, np.where(pool, distance, np.nan).astype(np.float32)
        found, start = [np.zeros(0, np.float32)], 0
        for batch in embeddings.iter_embeddings(vectors):
            mine = cluster[start : start + len(batch)]
            found.append(diversity.centroid_distances(batch, centroids, mine))
            start += len(batch)
        return cluster, np.concatenate(found)

    def _near(self, part: str, cluster: Int32Array, k: int) -> Float32Array:
        """Mean distance of each document to its neighbours; NaN where it has too few."""
        table = partfiles.read_table(diversity_path(self.workdir, "neighbours.parquet"))
        counts = np.bincount(table.column("cluster").to_numpy(), minlength=k)
        sample = diversity.Sample(
            _mapped(diversity_path(self.workdir, "neighbours.npy")),
            np.concatenate([[0], np.cumsum(counts)]),
        )
        here = pc.equal(table.column("part"), part).to_numpy()
        itself = np.full(len(cluster), -1, np.int64)
        itself[table.column("row").to_numpy()[here]] = np.flatnonzero(here)
        found, start = [np.zeros(0, np.float32)], 0
        for vectors in _together(self.workdir.part("embed", part)):
            rows = slice(start, start + len(vectors))
            found.append(
                diversity.neighbour_distances(
                    vectors, cluster[rows], itself[rows], sample, self.plan.params
                )
            )
            start += len(vectors)
        return np.concatenate(found)


def _together(path: str) -> Iterator[npt.NDArray[np.floating]]:
    """Record batches of a part, joined to ``_ROWS`` rows or a little more."""
    held: list[npt.NDArray[np.floating]] = []
    for vectors in embeddings.iter_embeddings(path):
        held.append(vectors)
        if sum(len(batch) for batch in held) >= _ROWS:
            yield np.concatenate(held)
            held = []
    if held:
        yield np.concatenate(held)


def _mapped(path: str) -> Float32Array:
    """An array; of a local file only what is used of it, shared by all processes."""
    if not storage.is_local(path):
        found: Float32Array = partfiles.read_array(path)
        return found
    mapped: Float32Array = np.load(path, mmap_mode="r", allow_pickle=False)
    return mapped


def add_sums(sums: Iterable[npt.NDArray[np.int64]]) -> npt.NDArray[np.int64]:
    """Add the sums of parts, exact in any order."""
    total = np.zeros((2, 1), np.int64)
    for one in sums:
        total = total + one
    return total


class WriteClusters(beam.DoFn):
    """Leave the table of clusters."""

    def __init__(self, work: MeasurePart) -> None:
        self._work = work

    def process(self, sums: npt.NDArray[np.int64]) -> Iterator[str]:
        """Yield its path."""
        workdir = self._work.workdir
        centroids = partfiles.read_array(diversity_path(workdir, "centroids.npy"))
        found = diversity.measure(sums, centroids, self._work.plan.params)
        number = np.arange(len(centroids), dtype=np.int32)
        columns = [
            number, found.n_documents, found.compactness, found.separation, found.diversity,
        ]  # fmt: skip
        table = pa.Table.from_arrays([pa.array(c) for c in columns], schema=_CLUSTERS)
        path = diversity_path(workdir, "clusters.parquet")
        partfiles.write_table(path, table)
        yield path


@dataclasses.dataclass(frozen=True)
class Diversity:
    """The step as one pipeline.

    Attributes:
        work: what is done with a part.
        parts: names of all parts.
        fitted: whether the centroids on disk are already those of this plan.
        tasks: of the parts, done and to do.
    """

    work: MeasurePart
    parts: list[str]
    fitted: bool
    tasks: Split

    def build(self, pipeline: beam.Pipeline) -> None:
        """Wire it into ``pipeline``; parts wait for the digest of the centroids."""
        workdir, plan = self.work.workdir, self.work.plan
        if self.fitted:
            digest = pipeline | "Fitted before" >> beam.Create([""])
        else:
            if plan.share > 0:
                pick = SamplePart(workdir, plan.seed, plan.share, DIVERSITY, pool=True)
                parts = create(pipeline, "Sample", self.parts) | "Pick rows" >> beam.ParDo(pick)
                met = parts | "Sample meets" >> beam.GroupByKey()
            else:
                met = pipeline | "No sample" >> beam.Create([(0, list[str]())])
            digest = met | "Fit" >> beam.ParDo(FitClusters(workdir, plan))
        fresh = (
            create(pipeline, "Measure parts", self.tasks.todo)
            | "Measure" >> beam.ParDo(RunTask(self.work), beam.pvalue.AsSingleton(digest))
            | "Measured" >> beam.Map(task_name)
        )
        before = pipeline | "Measured before" >> beam.Create(
            [result.task for result in self.tasks.done], reshuffle=False
        )
        _ = (
            (fresh, before)
            | beam.Flatten()
            | "Read sums" >> beam.Map(self.work.read_sums)
            | "Add" >> beam.CombineGlobally(add_sums).without_defaults()
            | "Write clusters" >> beam.ParDo(WriteClusters(self.work))
        )
