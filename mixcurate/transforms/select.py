"""Select: turn token targets into the documents that are drawn, exactly, in two narrow passes.

Of each part only ids, tokens, clusters and weights are read. The first pass counts tokens per
leading bits of the draw key, the second collects the one bin a target falls in; then every part
knows by itself which of its copies are drawn (``mixcurate.kernels.draw``).
"""

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
from mixcurate.kernels import draw, hashing, licences
from mixcurate.kernels.allocation import CopyRule
from mixcurate.kernels.draw import Boundary, Pool, Threshold
from mixcurate.transforms.pool import DRAW
from mixcurate.transforms.tasks import RunTask, Task, create

SELECT = "select"

_COLUMNS = ["id", "n_tokens", "n_bytes", "licence"]

PLAN = "plan"


@dataclasses.dataclass(frozen=True)
class DrawPlan:
    """What every worker knows of the draw.

    Attributes:
        targets: tokens per domain.
        most: per domain, a key that no drawn copy exceeds.
        max_copies: most copies of one document.
        rule: how weights become copies; None draws all documents alike.
        bits: leading mantissa bits of a histogram bin.
        seed: of the draw and the shuffle.
        licences: factors of licences, as in the recipe.
    """

    targets: list[int]
    most: list[float]
    max_copies: int
    rule: CopyRule | None
    bits: int
    seed: int
    licences: dict[str, float] = dataclasses.field(default_factory=dict)


def selection_path(workdir: Workdir, part: str) -> str:
    """The drawn copies of one part."""
    return workdir.path("_stages", SELECT, "selection", f"part-{part}.parquet")


def read_pool(workdir: Workdir, part: str, plan: DrawPlan) -> tuple[Pool, pa.Table]:
    """The pool of one part, and its documents' id and size columns."""
    assigned = partfiles.read_table(workdir.part("cluster", part), ["domain"])
    documents = partfiles.read_table(workdir.part("ingest", part), _COLUMNS)
    domain = assigned.column("domain").to_numpy()
    if plan.rule is not None:
        scores = partfiles.read_table(workdir.part("score", part), ["weight"])
        weight = scores.column("weight").to_numpy().astype(np.float64)
    else:
        weight = np.ones(len(domain))
    ids = documents.column("id").combine_chunks()
    tokens = documents.column("n_tokens").to_numpy().astype(np.int64)
    keys = hashing.uniform_keys(ids, plan.seed, DRAW)
    if plan.licences:
        found = documents.column("licence").combine_chunks()
        keys = draw.prefer(keys, licences.factors(found, plan.licences))
    return Pool(domain, tokens, weight, keys, plan.rule or CopyRule()), documents


class Histogram(beam.DoFn):
    """Tokens per domain and leading bits of the draw key in one part."""

    def __init__(self, workdir: Workdir, plan: DrawPlan) -> None:
        self._workdir, self._plan = workdir, plan

    def process(self, part: str) -> Iterator[bytes]:
        """Yield ``BIN`` records as bytes."""
        plan = self._plan
        pool, _ = read_pool(self._workdir, part, plan)
        bins = draw.histogram(
            pool, most=np.array(plan.most), max_copies=plan.max_copies, bits=plan.bits
        )
        yield bins.tobytes()


def merge_bins(pieces: Iterable[bytes]) -> bytes:
    """One histogram of many."""
    empty = [np.zeros(0, draw.BIN)]
    return draw.merge_histograms(empty + [np.frombuffer(p, draw.BIN) for p in pieces]).tobytes()


class Candidates(beam.DoFn):
    """The copies of one part that lie in the bin of their domain's target."""

    def __init__(self, workdir: Workdir, plan: DrawPlan) -> None:
        self._workdir, self._plan = workdir, plan

    def process(self, part: str, bins: bytes) -> Iterator[tuple[int, bytes]]:
        """Yield (0, ``CANDIDATE`` records as bytes): they all meet in one place."""
        plan = self._plan
        pool, _ = read_pool(self._workdir, part, plan)
        found = draw.candidates(
            pool,
            _boundaries(bins, plan),
            most=np.array(plan.most),
            max_copies=plan.max_copies,
            bits=plan.bits,
        )
        yield 0, found.tobytes()


class FindThresholds(beam.DoFn):
    """The last drawn copy of each domain."""

    def __init__(self, plan: DrawPlan) -> None:
        self._plan = plan

    def process(
        self, element: tuple[int, Iterable[bytes]], bins: bytes
    ) -> Iterator[list[Threshold]]:
        """Yield one threshold per domain."""
        found = np.concatenate([np.frombuffer(piece, draw.CANDIDATE) for piece in element[1]])
        targets = np.array(self._plan.targets)
        yield draw.thresholds(_boundaries(bins, self._plan), found, targets)


def _boundaries(bins: bytes, plan: DrawPlan) -> dict[int, Boundary]:
    return draw.boundaries(np.frombuffer(bins, draw.BIN), np.array(plan.targets))


@dataclasses.dataclass(frozen=True)
class SelectPart:
    """Write the drawn copies of one part, and count them per domain."""

    workdir: Workdir
    plan: DrawPlan
    stage: str = SELECT

    def run(self, task: Task, heartbeat: Heartbeat) -> TaskResult:
        """Draw, given the thresholds in the task's payload."""
        plan = self.plan
        pool, documents = read_pool(self.workdir, task.name, plan)
        rows, copies = draw.drawn(pool, task.payload["thresholds"], plan.max_copies)
        ids = documents.column("id").combine_chunks()
        shuffle = np.zeros(len(rows), np.uint64)
        for copy in np.unique(copies).tolist():
            mine = copies == copy
            keys = hashing.uniform_keys(ids, plan.seed, f"shuffle copy {copy}")
            shuffle[mine] = keys[rows[mine]]
        path = selection_path(self.workdir, task.name)
        table = pa.table({"row": rows, "copy": copies, "shuffle": shuffle})
        partfiles.write_table(path, table)
        outputs = [self.workdir.output(path)]
        drawn = np.zeros(len(pool.domain), bool)
        drawn[rows] = True
        left = np.flatnonzero((pool.domain >= 0) & ~drawn)
        rejected = self._not_drawn(task.name, left)
        if rejected:
            rejected_path = self.workdir.rejected(PLAN, task.name)
            partfiles.write_rejected(rejected_path, rejected)
            outputs.append(self.workdir.output(rejected_path))
        reasons, sizes = partfiles.tally(rejected)
        n_bytes = documents.column("n_bytes").to_numpy()
        heartbeat.beat(int(drawn.sum()), int(pool.tokens[rows].sum()))
        return TaskResult(
            task=task.name,
            fingerprint=task.fingerprint,
            outputs=outputs,
            documents_in=int((pool.domain >= 0).sum()),
            documents_out=int(drawn.sum()),
            tokens=int(pool.tokens[rows].sum()),
            rejected=reasons,
            rejected_sizes=sizes,
            details={
                "copies": len(rows),
                "bytes": int(n_bytes[rows].sum()),
                "domains": _per_domain(pool, rows, drawn),
            },
        )

    def _not_drawn(self, part: str, rows: npt.NDArray[np.intp]) -> list[dict[str, object]]:
        if not len(rows):
            return []
        columns = ["id", "source", "path", "position", "n_bytes", "n_tokens"]
        table = partfiles.read_table(self.workdir.part("ingest", part), columns)
        why = {
            "stage": PLAN,
            "reason": "not_drawn",
            "detail": "its domain reaches its target without it",
            "excerpt": "",
        }
        return [row | why for row in table.take(pa.array(rows)).to_pylist()]


def _per_domain(
    pool: Pool, rows: npt.NDArray[np.int32], drawn: npt.NDArray[np.bool_]
) -> dict[str, list[int]]:
    """Per domain: copies, tokens, distinct documents, distinct tokens."""
    result: dict[str, list[int]] = {}
    for number in np.unique(pool.domain[rows]).tolist():
        mine = rows[pool.domain[rows] == number]
        unique = drawn & (pool.domain == number)
        result[str(number)] = [
            len(mine),
            int(pool.tokens[mine].sum()),
            int(unique.sum()),
            int(pool.tokens[unique].sum()),
        ]
    return result


def with_thresholds(task: Task, thresholds: list[Threshold]) -> Task:
    """The task with the thresholds it needs."""
    return dataclasses.replace(task, payload={"thresholds": thresholds})


def write_thresholds(thresholds: list[Threshold], path: str) -> None:
    """Leave the thresholds for the plan."""
    storage.write_json(path, [dataclasses.asdict(threshold) for threshold in thresholds])


def thresholds_path(workdir: Workdir) -> str:
    """Where the thresholds are left."""
    return workdir.path("_stages", SELECT, "thresholds.json")


@dataclasses.dataclass(frozen=True)
class Select:
    """The draw as one pipeline."""

    work: SelectPart
    parts: list[str]
    todo: list[Task]

    def build(self, pipeline: beam.Pipeline) -> None:
        """Wire the stage into ``pipeline``."""
        workdir, plan = self.work.workdir, self.work.plan
        parts = create(pipeline, "Parts", self.parts)
        bins: Any = beam.pvalue.AsSingleton(
            parts
            | "Histogram" >> beam.ParDo(Histogram(workdir, plan))
            | "Merge bins" >> beam.CombineGlobally(merge_bins)
        )
        thresholds = (
            parts
            | "Candidates" >> beam.ParDo(Candidates(workdir, plan), bins)
            | "Candidates meet" >> beam.GroupByKey()
            | "Thresholds" >> beam.ParDo(FindThresholds(plan), bins)
        )
        _ = thresholds | "Write thresholds" >> beam.Map(write_thresholds, thresholds_path(workdir))
        _ = (
            create(pipeline, "Select parts", self.todo)
            | "Add thresholds" >> beam.Map(with_thresholds, beam.pvalue.AsSingleton(thresholds))
            | "Select" >> beam.ParDo(RunTask(self.work))
        )
