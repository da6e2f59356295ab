"""Cluster, second half: the domain of every document, and a rejected row for each that has none."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Any

import apache_beam as beam
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mixcurate.io import partfiles
from mixcurate.io.workdir import Heartbeat, TaskResult, Workdir
from mixcurate.kernels import fixedpoint
from mixcurate.kernels.prototypes import Limit, are_prototypes
from mixcurate.tables import ASSIGNMENTS
from mixcurate.transforms.cluster import assigned_path
from mixcurate.transforms.cluster_files import CLUSTER
from mixcurate.transforms.prototypes import prototype_keys
from mixcurate.transforms.quality_columns import read_overall
from mixcurate.transforms.semantic import read_drops
from mixcurate.transforms.tasks import RunTask, Task, create, task_name

Int64Array = npt.NDArray[np.int64]

#: Rows of the sums per domain: documents, tokens, then fixed-point sums.
DOMAIN_SUMS = ("n_documents", "n_tokens", "quality", "distance", "squared_distance")

_COLUMNS = ["id", "source", "path", "position", "n_bytes", "n_tokens"]


#: Why a cluster is dropped, as its documents are told.
_REASONS = {"low_quality": "low_quality_cluster", "dropped_domain": "dropped_domain"}


def domain_of_path(workdir: Workdir) -> str:
    """Domain of each cluster and tier: int32 ``[k, tiers]``, -1 where there is none."""
    return workdir.path("_stages", CLUSTER, "domain_of.npy")


def domain_of_group_path(workdir: Workdir) -> str:
    """Domain of each group and tier: int32 ``[groups, tiers]``, -1 where there is none."""
    return workdir.path("_stages", CLUSTER, "domain_of_group.npy")


def domain_sums_path(workdir: Workdir, part: str | None = None) -> str:
    """Sums per domain of one part, or of all: int64 ``[len(DOMAIN_SUMS), domains]``."""
    name = "domains.npy" if part is None else f"domains/part-{part}.npy"
    return workdir.path("_stages", CLUSTER, name)


@dataclasses.dataclass(frozen=True)
class LabelRules:
    """What decides about a document beside its cluster.

    Attributes:
        bounds: of quality between tiers, rising; empty for one tier.
        n_domains: number of domains.
        unit: distances are added as multiples of it.
        grouped: whether documents have groups of their own.
        dedup: whether semantic duplicates were looked for.
        prototypes: the last document that is dropped as a prototype; None drops none.
        seed: of the job.
    """

    bounds: tuple[float, ...]
    n_domains: int
    unit: float
    grouped: bool
    dedup: bool
    prototypes: Limit | None
    seed: int


@dataclasses.dataclass(frozen=True)
class LabelPart:
    """Give each document of a part its domain, or a reason why it has none."""

    workdir: Workdir
    rules: LabelRules
    stage: str = CLUSTER

    def run(self, task: Task, heartbeat: Heartbeat) -> TaskResult:
        """Write the part's assignments, its rejected rows and its share of the domains' sums."""
        assigned = partfiles.read_table(assigned_path(self.workdir, task.name))
        cluster = assigned.column("cluster").to_numpy()
        distance = assigned.column("distance").to_numpy()
        score = read_overall(self.workdir, task.name)
        tier = np.searchsorted(np.array(self.rules.bounds), score, side="right")
        domain_of = partfiles.read_array(domain_of_path(self.workdir))
        domain = np.where(cluster >= 0, domain_of[cluster, tier], -1).astype(np.int32)
        if self.rules.grouped:
            # a document may be of another domain than most of its cluster; never of a dropped one
            of_group = partfiles.read_array(domain_of_group_path(self.workdir))
            group = assigned.column("group").to_numpy()
            own = np.where((domain >= 0) & (group >= 0), of_group[group, tier], -1)
            domain = np.where(own >= 0, own, domain).astype(np.int32)
        why = self._reasons(task.name, cluster, distance, domain)
        domain[list(why)] = -1
        path = self.workdir.part(CLUSTER, task.name)
        arrays = [assigned.column("cluster"), assigned.column("distance"), pa.array(domain)]
        partfiles.write_table(path, pa.Table.from_arrays(arrays, schema=ASSIGNMENTS))

        documents = partfiles.read_table(self.workdir.part("ingest", task.name), _COLUMNS)
        tokens = documents.column("n_tokens").to_numpy().astype(np.int64)
        sums_path = domain_sums_path(self.workdir, task.name)
        partfiles.write_array(sums_path, self._sums(domain, tokens, score, distance))
        rejected = self.workdir.rejected(CLUSTER, task.name)
        rows = _rejected_rows(documents, why)
        partfiles.write_rejected(rejected, rows)
        reasons, sizes = partfiles.tally(rows)
        heartbeat.beat(len(cluster), 0)
        outputs = [path, sums_path] + [rejected] * bool(rows)
        return TaskResult(
            task=task.name,
            fingerprint=task.fingerprint,
            outputs=[self.workdir.output(output) for output in outputs],
            documents_in=len(cluster),
            documents_out=len(cluster) - len(rows),
            tokens=int(tokens[domain >= 0].sum()),
            rejected=reasons,
            rejected_sizes=sizes,
        )

    def _reasons(
        self,
        part: str,
        cluster: npt.NDArray[np.int32],
        distance: npt.NDArray[np.float32],
        domain: npt.NDArray[np.int32],
    ) -> dict[int, tuple[str, str]]:
        """Reason and detail of each row that is dropped; the first that holds counts."""
        why: dict[int, tuple[str, str]] = {}
        table = partfiles.read_table(
            self.workdir.path("clusters.parquet"), ["drop_reason", "drop_detail"]
        )
        reason = table.column("drop_reason").to_pylist()
        detail = table.column("drop_detail").to_pylist()
        for row in np.flatnonzero(domain < 0).tolist():
            number = int(cluster[row])
            if number < 0:
                why[row] = ("invalid_embedding", "its vector is zero or not finite")
            else:
                why[row] = (_REASONS[reason[number]], f"cluster {number}: {detail[number]}")
        if self.rules.dedup:
            dropped, kept, cosine = read_drops(self.workdir, part)
            for row, other, near in zip(dropped.tolist(), kept, cosine.tolist(), strict=True):
                why.setdefault(row, ("semantic_duplicate", f"cosine {near:.4f} to {other}"))
        if self.rules.prototypes is not None:
            ids = partfiles.read_table(self.workdir.part("ingest", part), ["id"]).column("id")
            keys = prototype_keys(ids.combine_chunks(), self.rules.seed)
            near = np.where(domain >= 0, distance, np.nan).astype(np.float32)
            for row in np.flatnonzero(are_prototypes(near, keys, self.rules.prototypes)).tolist():
                text = f"distance {distance[row]:.4f} to the centroid of cluster {cluster[row]}"
                why.setdefault(row, ("prototype", text))
        return dict(sorted(why.items()))

    def _sums(
        self,
        domain: npt.NDArray[np.int32],
        tokens: Int64Array,
        score: npt.NDArray[np.float32],
        distance: npt.NDArray[np.float32],
    ) -> Int64Array:
        pool = domain >= 0
        far = distance[pool].astype(np.float64) / self.rules.unit
        values = [
            np.ones(int(pool.sum()), np.int64),
            tokens[pool],
            fixedpoint.to_fixed(score[pool]),
            fixedpoint.to_fixed(far),
            fixedpoint.to_fixed(far * far),
        ]
        return np.stack(
            [fixedpoint.sums_by_group(v, domain[pool], self.rules.n_domains) for v in values]
        )


def _rejected_rows(documents: pa.Table, why: dict[int, tuple[str, str]]) -> list[dict[str, Any]]:
    taken = documents.take(pa.array(list(why), pa.int64())).to_pylist()
    return [
        document | {"stage": CLUSTER, "reason": reason, "detail": detail, "excerpt": ""}
        for document, (reason, detail) in zip(taken, why.values(), strict=True)
    ]


class SumDomains(beam.CombineFn):
    """Add the parts' sums per domain, exact in any order."""

    def __init__(self, workdir: Workdir) -> None:
        self._workdir = workdir

    def create_accumulator(self) -> Int64Array | None:
        """Nothing yet."""
        return None

    def add_input(self, total: Int64Array | None, part: str) -> Int64Array:
        """Add one part's file."""
        mine: Int64Array = partfiles.read_array(domain_sums_path(self._workdir, part))
        return mine if total is None else total + mine

    def merge_accumulators(self, totals: Iterable[Int64Array | None]) -> Int64Array | None:
        """Add partial sums."""
        result = None
        for total in totals:
            if total is not None:
                result = total if result is None else result + total
        return result

    def extract_output(self, total: Int64Array | None) -> Int64Array:
        """The sums over all parts."""
        if total is None:
            raise ValueError("there are no parts")
        return total


class WriteDomainSums(beam.DoFn):
    """Leave the sums over all parts in a file."""

    def __init__(self, workdir: Workdir) -> None:
        self._workdir = workdir

    def process(self, sums: Int64Array) -> Iterator[str]:
        """Yield its path."""
        path = domain_sums_path(self._workdir)
        partfiles.write_array(path, sums)
        yield path


@dataclasses.dataclass(frozen=True)
class Label:
    """The second half of the stage as one pipeline."""

    work: LabelPart
    done: list[str]
    todo: list[Task]

    def build(self, pipeline: beam.Pipeline) -> None:
        """Wire it into ``pipeline``."""
        fresh = (
            create(pipeline, "Label parts", self.todo)
            | "Label" >> beam.ParDo(RunTask(self.work))
            | "Labelled" >> beam.Map(task_name)
        )
        before = pipeline | "Labelled before" >> beam.Create(self.done, reshuffle=False)
        _ = (
            (fresh, before)
            | beam.Flatten()
            | "Sum" >> beam.CombineGlobally(SumDomains(self.work.workdir)).without_defaults()
            | "Write sums" >> beam.ParDo(WriteDomainSums(self.work.workdir))
        )
