"""Cluster: fit k-means on a sample, assign everything, prune, merge into domains, and name them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator

import apache_beam as beam
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mixcurate.io import embeddings, partfiles, storage
from mixcurate.io.workdir import Heartbeat, TaskResult, Workdir
from mixcurate.kernels import fixedpoint, hashing, kmeans, quality
from mixcurate.kernels.clustering import ClusterParams
from mixcurate.tables import ASSIGNMENTS
from mixcurate.transforms.domains import CLUSTER, BuildDomains, RejectPruned
from mixcurate.transforms.tasks import RunTask, Split, Task, create, task_name

ASSIGN = "assign"


def statistics_path(workdir: Workdir, part: str) -> str:
    """Per-cluster sums of one part."""
    return workdir.path("_stages", ASSIGN, "statistics", f"part-{part}.npy")


def fit_note_path(workdir: Workdir) -> str:
    """What tells which fit the centroids on disk are of."""
    return workdir.path("_stages", CLUSTER, "fit.json")


def read_quality(workdir: Workdir, part: str) -> dict[str, npt.NDArray[np.float32]]:
    """Quality dimensions of a part, computed from its signal columns."""
    columns = [f"signal_{name}" for name in quality.INPUTS]
    table = partfiles.read_table(workdir.part("ingest", part), columns)
    signals = {name: table.column(f"signal_{name}").to_numpy() for name in quality.INPUTS}
    return quality.heuristic_quality(signals)


class SamplePart(beam.DoFn):
    """Pick a part's rows for the fit by hash and leave them in a file; emit the part's name."""

    def __init__(self, workdir: Workdir, seed: int, share: float) -> None:
        self._workdir, self._seed, self._share = workdir, seed, share

    def process(self, part: str) -> Iterator[tuple[int, str]]:
        """Yield (0, part): all samples meet in one task."""
        path = self._workdir.part("ingest", part)
        ids = partfiles.read_table(path, ["id"]).column("id").combine_chunks()
        keys = hashing.uniform_keys(ids, self._seed, "cluster sample")
        rows = np.flatnonzero(hashing.unit_interval(keys) < self._share)
        vectors = embeddings.read_rows(self._workdir.part("embed", part), rows)
        folder = self._workdir.path("_stages", CLUSTER, "sample")
        partfiles.write_array(storage.join(folder, f"{part}.keys.npy"), keys[rows])
        partfiles.write_array(storage.join(folder, f"{part}.vectors.npy"), vectors)
        yield 0, part


class FitCentroids(beam.DoFn):
    """Train k-means on the sample, rows in the order of their hash; write the centroids."""

    def __init__(
        self, workdir: Workdir, params: ClusterParams, k: int, seed: int, mark: str
    ) -> None:
        self._workdir, self._params, self._k = workdir, params, k
        self._seed, self._mark = seed, mark

    def process(self, element: tuple[int, Iterable[str]]) -> Iterator[str]:
        """Yield the digest of the centroids."""
        note = fit_note_path(self._workdir)
        storage.remove(note)  # centroids without a note belong to an interrupted fit
        folder = self._workdir.path("_stages", CLUSTER, "sample")
        parts = sorted(element[1])
        keys = np.concatenate(
            [partfiles.read_array(storage.join(folder, f"{part}.keys.npy")) for part in parts]
        )
        vectors = np.concatenate(
            [partfiles.read_array(storage.join(folder, f"{part}.vectors.npy")) for part in parts]
        )
        sample = kmeans.normalise(vectors[np.argsort(keys, kind="stable")])
        del vectors
        centroids = kmeans.fit(
            sample,
            k=min(self._k, len(sample)),
            iterations=self._params.iterations,
            seed=self._seed,
        )
        path = self._workdir.centroids
        partfiles.write_array(path, centroids)
        storage.write_json(note, {"fingerprint": self._mark})
        storage.remove(folder)
        yield storage.digest(path)


def assign_part(
    path: str, centroids: kmeans.Float32Array
) -> tuple[npt.NDArray[np.int32], kmeans.Float32Array]:
    """The nearest centroid of each row of an embeddings file, a record batch at a time.

    Args:
        path: the file.
        centroids: float32 ``[k, d]``, unit rows.

    Returns:
        cluster int32 ``[n]`` and Euclidean distance float32 ``[n]``.

    Raises:
        InputError: the file cannot be read, or is no embeddings file.
    """
    clusters, distances = [np.zeros(0, np.int32)], [np.zeros(0, np.float32)]
    for vectors in embeddings.iter_embeddings(path):
        cluster, distance = kmeans.assign(kmeans.normalise(vectors), centroids)
        clusters.append(cluster)
        distances.append(distance)
    return np.concatenate(clusters), np.concatenate(distances)


@dataclasses.dataclass(frozen=True)
class AssignPart:
    """Assign each document of a part to its nearest centroid, and add up per-cluster sums."""

    workdir: Workdir
    stage: str = ASSIGN

    def run(self, task: Task, heartbeat: Heartbeat) -> TaskResult:
        """Write the part's assignments and its share of the statistics."""
        centroids = partfiles.read_array(self.workdir.centroids)
        cluster, distance = assign_part(self.workdir.part("embed", task.name), centroids)
        table = pa.Table.from_arrays([pa.array(cluster), pa.array(distance)], schema=ASSIGNMENTS)
        path = self.workdir.part(CLUSTER, task.name)
        partfiles.write_table(path, table)

        documents = self.workdir.part("ingest", task.name)
        tokens = partfiles.read_table(documents, ["n_tokens"]).column("n_tokens").to_numpy()
        dimensions = read_quality(self.workdir, task.name)
        values = [np.ones(len(cluster), np.int64), tokens.astype(np.int64)]
        values += [fixedpoint.to_fixed(v) for v in (distance, *dimensions.values())]
        sums = [fixedpoint.sums_by_group(v, cluster, len(centroids)) for v in values]
        statistics = statistics_path(self.workdir, task.name)
        partfiles.write_array(statistics, np.stack(sums))
        heartbeat.beat(len(cluster), int(values[1].sum()))
        return TaskResult(
            task=task.name,
            fingerprint=task.fingerprint,
            outputs=[self.workdir.output(path), self.workdir.output(statistics)],
            documents_in=len(cluster),
            documents_out=len(cluster),
            tokens=int(values[1].sum()),
        )


class SumStatistics(beam.CombineFn):
    """Add the parts' per-cluster sums: int64 ``[len(STATISTICS), k]``, exact in any order."""

    def __init__(self, workdir: Workdir) -> None:
        self._workdir = workdir

    def create_accumulator(self) -> npt.NDArray[np.int64] | None:
        """Nothing yet."""
        return None

    def add_input(self, total: npt.NDArray[np.int64] | None, part: str) -> npt.NDArray[np.int64]:
        """Add one part's file."""
        mine: npt.NDArray[np.int64] = partfiles.read_array(statistics_path(self._workdir, part))
        return mine if total is None else total + mine

    def merge_accumulators(
        self, totals: Iterable[npt.NDArray[np.int64] | None]
    ) -> npt.NDArray[np.int64] | None:
        """Add partial sums."""
        result = None
        for total in totals:
            if total is not None:
                result = total if result is None else result + total
        return result

    def extract_output(self, total: npt.NDArray[np.int64] | None) -> npt.NDArray[np.int64]:
        """The sums over all parts."""
        if total is None:
            raise ValueError("there are no parts")
        return total


@dataclasses.dataclass(frozen=True)
class Cluster:
    """The whole stage as one pipeline.

    Attributes:
        parts: names of all parts.
        fit_mark: fingerprint of the fit.
        fitted: whether the centroids on disk are already those of this fit.
        assign: tasks of the assignment, done and to do.
        prune: tasks of the pruning; they follow the tables, which are cheap to make again.
    """

    workdir: Workdir
    params: ClusterParams
    seed: int
    k: int
    share: float
    parts: list[str]
    fit_mark: str
    fitted: bool
    assign: Split
    prune: list[Task]

    def build(self, pipeline: beam.Pipeline) -> None:
        """Wire the stage into ``pipeline``; each step waits for the digest of the one before."""
        if self.fitted:
            digest = pipeline | "Fitted before" >> beam.Create([""])
        else:
            digest = (
                create(pipeline, "Sample", self.parts)
                | "Pick rows" >> beam.ParDo(SamplePart(self.workdir, self.seed, self.share))
                | "Sample meets" >> beam.GroupByKey()
                | "Fit"
                >> beam.ParDo(
                    FitCentroids(self.workdir, self.params, self.k, self.seed, self.fit_mark)
                )
            )
        fresh = (
            create(pipeline, "Assign parts", self.assign.todo)
            | "Assign"
            >> beam.ParDo(RunTask(AssignPart(self.workdir)), beam.pvalue.AsSingleton(digest))
            | "Assigned" >> beam.Map(task_name)
        )
        before = pipeline | "Assigned before" >> beam.Create(
            [result.task for result in self.assign.done], reshuffle=False
        )
        tables = (
            (fresh, before)
            | beam.Flatten()
            | "Sum" >> beam.CombineGlobally(SumStatistics(self.workdir)).without_defaults()
            | "Domains"
            >> beam.ParDo(BuildDomains(self.workdir, self.params, self.parts, self.seed))
        )
        _ = create(pipeline, "Prune parts", self.prune) | "Prune" >> beam.ParDo(
            RunTask(RejectPruned(self.workdir)), beam.pvalue.AsSingleton(tables)
        )
