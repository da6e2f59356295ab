"""Select: turn token targets into the documents that are drawn, exactly, in two narrow passes.

Of each part only what ``draw_pool`` has kept is read. The first pass counts tokens per leading
bits of the draw key, the second collects the few bins that targets fall in; then every part knows
by itself which of its copies are drawn (``mixcurate.kernels.draw``).
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
from mixcurate.kernels import draw
from mixcurate.kernels.allocation import CopyRule
from mixcurate.kernels.cells import cell_numbers
from mixcurate.kernels.draw import Pool, Thresholds
from mixcurate.kernels.epochs import epoch_keys
from mixcurate.tables import REJECTED
from mixcurate.transforms.cells import CellsOf
from mixcurate.transforms.draw_pool import PoolPart, read_pool
from mixcurate.transforms.select_counts import counts_of
from mixcurate.transforms.tasks import RunTask, Task, create

SELECT = "select"

PLAN = "plan"


@dataclasses.dataclass(frozen=True)
class DrawPlan:
    """What every worker knows of the draw.

    Attributes:
        cells: the cell of each document, and which can be drawn.
        goals: int64 ``[n_cells, phases]``, tokens by the end of each phase.
        most: float64 ``[n_cells]``, a key that no drawn copy exceeds.
        largest: int64 ``[n_cells]``, tokens of the largest document.
        max_copies: most copies of one document.
        rule: how weights become copies; None draws all documents alike.
        bits: leading mantissa bits of a histogram bin.
        exact: whether the last document of each cell and phase is cut.
    """

    cells: CellsOf
    goals: npt.NDArray[np.int64]
    most: npt.NDArray[np.float64]
    largest: npt.NDArray[np.int64]
    max_copies: int
    rule: CopyRule | None
    bits: int
    exact: bool = False

    @property
    def seed(self) -> int:
        """Of the draw and the shuffle."""
        return self.cells.membership.seed

    @property
    def phases(self) -> int:
        """How many phases; the holdout is the range after them."""
        return int(self.goals.shape[1])

    @property
    def limits(self) -> dict[str, Any]:
        """What bounds the copies that are looked at."""
        return {"most": self.most, "max_copies": self.max_copies, "bits": self.bits}


def selection_path(workdir: Workdir, part: str) -> str:
    """The drawn copies of one part."""
    return workdir.path("_stages", SELECT, "selection", f"part-{part}.arrow")


@dataclasses.dataclass(frozen=True)
class Part:
    """One part as the draw reads it, and what it goes by."""

    there: PoolPart
    pool: Pool


def read_part(workdir: Workdir, part: str, plan: DrawPlan) -> Part:
    """Read a part for the draw."""
    there = read_pool(workdir, part)
    found = cell_numbers(plan.cells.partition, there.levels)
    weight = np.ones(len(found)) if there.weight is None else there.weight.astype(np.float64)
    pool = Pool(
        cell=np.where(there.members.drawable, found, -1).astype(np.int32),
        tokens=there.tokens.astype(np.int64),
        weight=weight,
        key=there.key,
        rule=plan.rule or CopyRule(),
        factor=there.factor,
        fresh=plan.rule is None or plan.rule.method == "top",
    )
    return Part(there, pool)


class Histogram(beam.DoFn):
    """Tokens per cell and leading bits of the draw key in one part."""

    def __init__(self, workdir: Workdir, plan: DrawPlan) -> None:
        self._workdir, self._plan = workdir, plan

    def process(self, part: str) -> Iterator[bytes]:
        """Yield ``BIN`` records as bytes."""
        pool = read_part(self._workdir, part, self._plan).pool
        yield draw.histogram(pool, **self._plan.limits).tobytes()


def merge_bins(pieces: Iterable[bytes]) -> bytes:
    """One histogram of many."""
    empty = [np.zeros(0, draw.BIN)]
    return draw.merge_histograms(empty + [np.frombuffer(p, draw.BIN) for p in pieces]).tobytes()


def find_wanted(bins: bytes, plan: DrawPlan) -> bytes:
    """The bins that thresholds may lie in, as bytes."""
    return draw.wanted_bins(
        np.frombuffer(bins, draw.BIN),
        plan.goals,
        slack=plan.largest if plan.exact else None,
        label=plan.cells.partition.label,
    ).tobytes()


class Candidates(beam.DoFn):
    """The copies of one part that lie in the bins that targets fall in."""

    def __init__(self, workdir: Workdir, plan: DrawPlan) -> None:
        self._workdir, self._plan = workdir, plan

    def process(self, part: str, wanted: bytes) -> Iterator[tuple[int, bytes]]:
        """Yield (0, ``CANDIDATE`` records as bytes): they all meet in one place."""
        pool = read_part(self._workdir, part, self._plan).pool
        records = np.frombuffer(wanted, draw.WANTED)
        yield 0, draw.candidates(pool, records, **self._plan.limits).tobytes()


class FindThresholds(beam.DoFn):
    """The last drawn copy of each cell and phase."""

    def __init__(self, plan: DrawPlan) -> None:
        self._plan = plan

    def process(self, element: tuple[int, Iterable[bytes]], wanted: bytes) -> Iterator[Thresholds]:
        """Yield the thresholds."""
        plan = self._plan
        found = np.concatenate([np.frombuffer(piece, draw.CANDIDATE) for piece in element[1]])
        records = np.frombuffer(wanted, draw.WANTED)
        yield draw.thresholds(records, found, plan.goals, bits=plan.bits, exact=plan.exact)


#: A row a copy: its document's row in the part, which copy it is, the range of shards it goes to,
#: its place in the shuffle, how many tokens are kept of it (null: all), and its domain and cell.
SELECTION = pa.schema(
    [
        pa.field("row", pa.int32(), nullable=False),
        pa.field("copy", pa.int32(), nullable=False),
        pa.field("range", pa.uint8(), nullable=False),
        pa.field("shuffle", pa.uint64(), nullable=False),
        pa.field("keep_tokens", pa.int32()),
        pa.field("domain", pa.int32(), nullable=False),
        pa.field("cell", pa.int32(), nullable=False),  # -1 of the holdout
    ]
)


@dataclasses.dataclass(frozen=True)
class SelectPart:
    """Write the drawn copies of one part and its held out documents, and count them."""

    workdir: Workdir
    plan: DrawPlan
    stage: str = SELECT

    def run(self, task: Task, heartbeat: Heartbeat) -> TaskResult:
        """Draw, given the thresholds in the task's payload."""
        part = read_part(self.workdir, task.name, self.plan)
        selection = self._select(part, task.payload["thresholds"])
        path = selection_path(self.workdir, task.name)
        partfiles.write_batch(path, selection)
        outputs = [self.workdir.output(path)]
        rejected = self._rejected(task.name, part, selection.column("row").to_numpy())
        if rejected.num_rows:
            rejected_path = self.workdir.rejected(PLAN, task.name)
            partfiles.write_table(rejected_path, rejected)
            outputs.append(self.workdir.output(rejected_path))
        reasons, sizes = partfiles.tally_table(rejected)
        domain = part.there.domain
        counts = counts_of(selection, part.pool, domain, part.there.n_bytes, self.plan.phases)
        taken = len(np.unique(selection.column("row").to_numpy()))
        tokens = sum(numbers[1] for numbers in counts["ranges"])
        heartbeat.beat(taken, tokens)
        return TaskResult(
            task=task.name,
            fingerprint=task.fingerprint,
            outputs=outputs,
            documents_in=int((domain >= 0).sum()),
            documents_out=taken,
            tokens=tokens,
            rejected=reasons,
            rejected_sizes=sizes,
            details=counts,
        )

    def _select(self, part: Part, thresholds: Thresholds) -> pa.RecordBatch:
        """The drawn copies, and the held out documents after the last phase."""
        plan = self.plan
        found = draw.drawn(part.pool, thresholds, plan.max_copies)
        held = np.flatnonzero(part.there.members.held_out).astype(np.int32)
        whole = np.full(len(held), -1, np.int32)
        row = np.concatenate([found.row, held])
        copy = np.concatenate([found.copy, np.zeros(len(held), np.int32)])
        where = np.concatenate([found.phase, np.full(len(held), plan.phases, np.uint8)])
        keep = np.concatenate([found.keep, whole])
        shuffle = np.zeros(len(row), np.uint64)
        for number in np.unique(copy).tolist():
            mine = copy == number
            shuffle[mine] = epoch_keys(part.there.shuffle[row[mine]], number + 1)
        order = np.lexsort((copy, row))
        arrays = [pa.array(x[order]) for x in (row, copy, where, shuffle)]
        arrays.append(pa.array(keep[order], mask=keep[order] < 0))
        arrays += [pa.array(x[row[order]]) for x in (part.there.domain, part.pool.cell)]
        return pa.RecordBatch.from_arrays(arrays, schema=SELECTION)

    def _rejected(self, name: str, part: Part, taken: npt.NDArray[np.int32]) -> pa.Table:
        """Documents of the pool that are not in the selection, with the reason."""
        left = part.there.members.drawable.copy()
        left[taken] = False
        drawn = self._rows(
            name, left, "not_drawn", f"its {self._unit} reaches its target without it"
        )
        share = self.plan.cells.membership.subsample
        detail = f"mixture.subsample keeps {share:g} of the documents"
        out = self._rows(name, part.there.members.left_out, "not_in_subsample", detail)
        return pa.concat_tables([drawn, out]).combine_chunks()

    @property
    def _unit(self) -> str:
        levels = self.plan.cells.partition.levels
        return levels[0] if len(levels) == 1 else "cell"

    def _rows(self, part: str, mask: npt.NDArray[np.bool_], reason: str, detail: str) -> pa.Table:
        """Rows of ``rejected/`` for the documents of a mask."""
        if not mask.any():
            return REJECTED.empty_table()
        columns = ["id", "source", "path", "position", "n_bytes", "n_tokens"]
        table = partfiles.read_table(self.workdir.part("ingest", part), columns)
        table = table.filter(pa.array(mask))
        why = {"stage": PLAN, "reason": reason, "detail": detail, "excerpt": ""}
        arrays = [
            pa.repeat(pa.scalar(why[field.name], field.type), table.num_rows)
            if field.name in why
            else table.column(field.name)
            for field in REJECTED
        ]
        return pa.Table.from_arrays(arrays, schema=REJECTED)


def with_thresholds(task: Task, thresholds: Thresholds) -> Task:
    """The task with the thresholds it needs."""
    return dataclasses.replace(task, payload={"thresholds": thresholds})


def write_thresholds(thresholds: Thresholds, path: str) -> None:
    """Leave the thresholds for the plan."""
    value = {"key": thresholds.key.tolist(), "tie": thresholds.tie.tolist()}
    storage.write_json(path, value)


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
        wanted: Any = beam.pvalue.AsSingleton(
            parts
            | "Histogram" >> beam.ParDo(Histogram(workdir, plan))
            | "Merge bins" >> beam.CombineGlobally(merge_bins)
            | "Wanted bins" >> beam.Map(find_wanted, plan)
        )
        thresholds = (
            parts
            | "Candidates" >> beam.ParDo(Candidates(workdir, plan), wanted)
            | "Candidates meet" >> beam.GroupByKey()
            | "Thresholds" >> beam.ParDo(FindThresholds(plan), wanted)
        )
        _ = thresholds | "Write thresholds" >> beam.Map(write_thresholds, thresholds_path(workdir))
        _ = (
            create(pipeline, "Select parts", self.todo)
            | "Add thresholds" >> beam.Map(with_thresholds, beam.pvalue.AsSingleton(thresholds))
            | "Select" >> beam.ParDo(RunTask(self.work))
        )
