"""Domains: prune and merge clusters, name what comes out, and reject what was pruned."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import apache_beam as beam
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mixcurate.io import partfiles, storage
from mixcurate.io.workdir import Heartbeat, TaskResult, Workdir
from mixcurate.kernels import domains, fixedpoint, hashing, quality, topics
from mixcurate.kernels.clustering import ClusterParams
from mixcurate.transforms.tasks import Task

CLUSTER = "cluster"


#: Columns of the per-cluster sums that every part adds to: counts, then fixed-point sums.
STATISTICS = ("n_documents", "n_tokens", "distance", *quality.DIMENSIONS)

#: Parts that are read for naming domains; each brings its share of the sample.
_TOPIC_PARTS = 64


class BuildDomains(beam.DoFn):
    """Prune and merge clusters, name the domains, and write both tables."""

    def __init__(
        self, workdir: Workdir, params: ClusterParams, parts: list[str], seed: int
    ) -> None:
        self._workdir, self._params, self._parts, self._seed = workdir, params, parts, seed

    def process(self, sums: npt.NDArray[np.int64]) -> Iterator[str]:
        """Yield the digest of ``clusters.parquet``."""
        centroids = partfiles.read_array(self._workdir.centroids)
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
        columns = ["id", "source", "path", "position", "n_bytes", "n_tokens"]
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
                table.take(pa.array(pruned)).to_pylist(),
                strict=True,
            )
        ]
        path = self.workdir.rejected(CLUSTER, task.name)
        partfiles.write_rejected(path, rows)
        reasons, sizes = partfiles.tally(rows)
        heartbeat.beat(len(cluster), 0)
        return TaskResult(
            task=task.name,
            fingerprint=task.fingerprint,
            outputs=[self.workdir.output(path)] if rows else [],
            documents_in=len(cluster),
            documents_out=len(cluster) - len(rows),
            tokens=int(tokens.sum() - tokens[pruned].sum()),
            rejected=reasons,
            rejected_sizes=sizes,
        )
