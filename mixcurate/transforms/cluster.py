"""Cluster: fit k-means on a sample, assign everything, prune, merge into domains, and name them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Any

import apache_beam as beam
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mixcurate.io import partfiles, storage
from mixcurate.io.workdir import Heartbeat, TaskResult, Workdir
from mixcurate.kernels import domains, fixedpoint, hashing, kmeans, quality, topics
from mixcurate.kernels.clustering import ClusterParams
from mixcurate.tables import ASSIGNMENTS
from mixcurate.transforms.tasks import RunTask, Split, Task, create

ASSIGN = "assign"
CLUSTER = "cluster"

#: Columns of the per-cluster sums that every part adds to: counts, then fixed-point sums.
STATISTICS = ("n_documents", "n_tokens", "distance", *quality.DIMENSIONS)

#: Parts that are read for naming domains; each brings its share of the sample.
_TOPIC_PARTS = 64


def statistics_path(workdir: Workdir, part: str) -> str:
    """Per-cluster sums of one part."""
    return workdir.path("_stages", ASSIGN, "statistics", f"part-{part}.npy")


def centroids_path(workdir: Workdir) -> str:
    """The centroids, float32 ``[k, d]``."""
    return workdir.path("centroids.npy")


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
        vectors = partfiles.read_embeddings(self._workdir.part("embed", part))[rows]
        folder = self._workdir.path("_stages", CLUSTER, "sample")
        _save(storage.join(folder, f"{part}.keys.npy"), keys[rows])
        _save(storage.join(folder, f"{part}.vectors.npy"), vectors)
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
        keys = np.concatenate([_load(storage.join(folder, f"{part}.keys.npy")) for part in parts])
        vectors = np.concatenate(
            [_load(storage.join(folder, f"{part}.vectors.npy")) for part in parts]
        )
        sample = kmeans.normalise(vectors[np.argsort(keys, kind="stable")])
        del vectors
        centroids = kmeans.fit(
            sample,
            k=min(self._k, len(sample)),
            iterations=self._params.iterations,
            seed=self._seed,
        )
        path = centroids_path(self._workdir)
        _save(path, centroids)
        storage.write_json(note, {"fingerprint": self._mark})
        storage.remove(folder)
        yield storage.digest(path)


@dataclasses.dataclass(frozen=True)
class AssignPart:
    """Assign each document of a part to its nearest centroid, and add up per-cluster sums."""

    workdir: Workdir
    stage: str = ASSIGN

    def run(self, task: Task, heartbeat: Heartbeat) -> TaskResult:
        """Write the part's assignments and its share of the statistics."""
        centroids = _load(centroids_path(self.workdir))
        vectors = kmeans.normalise(partfiles.read_embeddings(self.workdir.part("embed", task.name)))
        cluster, distance = kmeans.assign(vectors, centroids)
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
        _save(statistics, np.stack(sums))
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
        mine: npt.NDArray[np.int64] = _load(statistics_path(self._workdir, part))
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


class BuildDomains(beam.DoFn):
    """Prune and merge clusters, name the domains, and write both tables."""

    def __init__(
        self, workdir: Workdir, params: ClusterParams, parts: list[str], seed: int
    ) -> None:
        self._workdir, self._params, self._parts, self._seed = workdir, params, parts, seed

    def process(self, sums: npt.NDArray[np.int64]) -> Iterator[str]:
        """Yield the digest of ``clusters.parquet``."""
        centroids = _load(centroids_path(self._workdir))
        clusters = cluster_table(centroids, sums, self._params)
        path = self._workdir.path("clusters.parquet")
        partfiles.write_table(path, clusters)
        texts, labels = self._sample(clusters.column("domain").to_numpy())
        table = domain_table(centroids, clusters, texts, labels, self._params.topics.keywords)
        partfiles.write_table(self._workdir.path("domains.parquet"), table)
        yield storage.digest(path)

    def _sample(self, domain_of: npt.NDArray[np.int32]) -> tuple[list[str], npt.NDArray[np.int32]]:
        """A sample of documents for naming: the same number of each domain as far as there are."""
        parts = self._parts[:_TOPIC_PARTS]
        n_domains = max(int(domain_of.max()) + 1, 1)
        quota = -(-self._params.topics.sample_documents // (len(parts) * n_domains))
        texts: list[str] = []
        labels: list[npt.NDArray[np.int32]] = []
        for part in parts:
            cluster = partfiles.read_table(self._workdir.part(CLUSTER, part), ["cluster"])
            label = domain_of[cluster.column("cluster").to_numpy()]
            path = self._workdir.part("ingest", part)
            ids = partfiles.read_table(path, ["id"]).column("id").combine_chunks()
            order = np.argsort(hashing.uniform_keys(ids, self._seed, "topics"), kind="stable")
            rows = np.sort(
                np.concatenate(
                    [order[label[order] == number][:quota] for number in range(n_domains)]
                )
            )
            table = partfiles.read_table(path, ["text"])
            texts += [
                text[: topics.READ_CHARACTERS]
                for text in table.column("text").take(pa.array(rows)).to_pylist()
            ]
            labels.append(label[rows])
        return texts, np.concatenate(labels)


def cluster_table(
    centroids: npt.NDArray[np.float32], sums: npt.NDArray[np.int64], params: ClusterParams
) -> pa.Table:
    """``clusters.parquet``: one row per cluster."""
    by_name = dict(zip(STATISTICS, sums, strict=True))
    count = np.maximum(by_name["n_documents"], 1)
    means = {
        name: fixedpoint.from_fixed(by_name[name]) / count
        for name in ("distance", *quality.DIMENSIONS)
    }
    mean_quality = np.mean([means[name] for name in quality.DIMENSIONS], axis=0)
    reasons = domains.prune(by_name["n_documents"], mean_quality, params.prune)
    kept = np.array([reason is None for reason in reasons])
    domain = domains.merge(centroids, kept, by_name["n_tokens"], params.merge)
    return pa.table(
        {
            "cluster": pa.array(np.arange(len(centroids), dtype=np.int32)),
            "n_documents": by_name["n_documents"],
            "n_tokens": by_name["n_tokens"],
            "mean_distance": means["distance"],
            "separation": domains.separation(centroids),
            "mean_quality": mean_quality,
            **{f"mean_quality_{name}": means[name] for name in quality.DIMENSIONS},
            "kept": kept,
            "drop_reason": pa.array(reasons, pa.string()),
            "domain": domain,
        }
    )


def domain_table(
    centroids: npt.NDArray[np.float32],
    clusters: pa.Table,
    texts: list[str],
    labels: npt.NDArray[np.int32],
    n_keywords: int,
) -> pa.Table:
    """``domains.parquet``: one row per domain."""
    columns = {
        name: clusters.column(name).to_numpy()
        for name in ("domain", "n_documents", "n_tokens", "mean_quality", "mean_distance")
    }
    n_domains = int(columns["domain"].max()) + 1
    words = topics.keywords(texts, labels, n_domains, n_keywords)
    rows: list[dict[str, Any]] = []
    for number, name in enumerate(topics.names(words)):
        mine = columns["domain"] == number
        documents = int(columns["n_documents"][mine].sum())
        rows.append(
            {
                "domain": number,
                "domain_id": domains.domain_id(centroids[mine]),
                "name": name,
                "keywords": words[number],
                "n_clusters": int(mine.sum()),
                "n_documents": documents,
                "n_tokens": int(columns["n_tokens"][mine].sum()),
            }
            | {
                measure: float((columns[measure] * columns["n_documents"])[mine].sum() / documents)
                for measure in ("mean_quality", "mean_distance")
            }
        )
    schema = pa.schema(
        [
            ("domain", pa.int32()),
            ("domain_id", pa.string()),
            ("name", pa.string()),
            ("keywords", pa.list_(pa.string())),
            ("n_clusters", pa.int32()),
            ("n_documents", pa.int64()),
            ("n_tokens", pa.int64()),
            ("mean_quality", pa.float64()),
            ("mean_distance", pa.float64()),
        ]
    )
    return pa.Table.from_pylist(rows, schema=schema)


@dataclasses.dataclass(frozen=True)
class RejectPruned:
    """Write a rejected row for each document of a part whose cluster was pruned."""

    workdir: Workdir
    stage: str = CLUSTER

    def run(self, task: Task, heartbeat: Heartbeat) -> TaskResult:
        """Tell kept documents from pruned ones."""
        clusters = partfiles.read_table(self.workdir.path("clusters.parquet"))
        kept = clusters.column("kept").to_numpy()
        mean = clusters.column("mean_quality").to_numpy()
        assigned = partfiles.read_table(self.workdir.part(CLUSTER, task.name), ["cluster"])
        cluster = assigned.column("cluster").to_numpy()
        pruned = np.flatnonzero(~kept[cluster])
        columns = ["id", "source", "path", "position", "n_tokens"]
        table = partfiles.read_table(self.workdir.part("ingest", task.name), columns)
        tokens = table.column("n_tokens").to_numpy().astype(np.int64)
        rows = [
            document
            | {
                "stage": CLUSTER,
                "reason": "low_quality_cluster",
                "detail": f"cluster {cluster[row]} has mean quality {mean[cluster[row]]:.3f}",
                "excerpt": "",
            }
            for row, document in zip(
                pruned.tolist(),
                table.drop_columns(["n_tokens"]).take(pa.array(pruned)).to_pylist(),
                strict=True,
            )
        ]
        path = self.workdir.rejected(CLUSTER, task.name)
        partfiles.write_rejected(path, rows)
        heartbeat.beat(len(cluster), 0)
        return TaskResult(
            task=task.name,
            fingerprint=task.fingerprint,
            outputs=[self.workdir.output(path)] if rows else [],
            documents_in=len(cluster),
            documents_out=len(cluster) - len(rows),
            tokens=int(tokens.sum() - tokens[pruned].sum()),
            rejected={"low_quality_cluster": len(rows)} if rows else {},
        )


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
            | "Assigned" >> beam.Map(_name)
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


def _name(result: TaskResult) -> str:
    return result.task


def _save(path: str, array: npt.NDArray[Any]) -> None:
    with storage.open_atomic(path) as stream:
        np.save(stream, array, allow_pickle=False)


def _load(path: str) -> Any:
    with storage.open_read(path) as stream:
        return np.load(stream, allow_pickle=False)
