"""The cell of each document, and one small reduction over all parts: how much there is in each."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Any

import apache_beam as beam
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mixcurate.io import partfiles, storage
from mixcurate.io.workdir import Workdir
from mixcurate.kernels import cell_counts, tiers
from mixcurate.kernels.allocation import CopyRule, Scale
from mixcurate.kernels.cell_counts import Counted
from mixcurate.kernels.cells import Membership, Partition, cell_numbers
from mixcurate.transforms.score import WEIGHTED
from mixcurate.transforms.tasks import create

__all__ = ["CellsOf", "CountCells", "CountPlan", "Membership", "read_cells", "read_members"]

BoolArray = npt.NDArray[np.bool_]


@dataclasses.dataclass(frozen=True)
class CellsOf:
    """What a worker needs to tell the cell of each document.

    Attributes:
        partition: of the pool.
        membership: which documents can be drawn.
    """

    partition: Partition
    membership: Membership

    def read(self, workdir: Workdir, part: str) -> npt.NDArray[np.int32]:
        """As ``read_cells``."""
        return read_cells(workdir, part, self.partition, self.membership)


@dataclasses.dataclass(frozen=True)
class Members:
    """A part's documents: of each bool ``[n]``, whether it is in one of three separate groups.

    Attributes:
        drawable: in the pool, and neither of the others.
        held_out: of the pool, kept out of every shard.
        left_out: of the pool, left out by ``subsample``.
    """

    drawable: BoolArray
    held_out: BoolArray
    left_out: BoolArray


def read_members(workdir: Workdir, part: str, membership: Membership) -> Members:
    """Which of a part's documents can be drawn, and what became of the others of the pool."""
    assigned = partfiles.read_table(workdir.part("cluster", part), ["domain"])
    pool = assigned.column("domain").to_numpy() >= 0
    if membership.everyone:
        nobody = np.zeros(len(pool), bool)
        return Members(pool, nobody, nobody)
    table = partfiles.read_table(workdir.part("ingest", part), ["id"])
    ids = table.column("id").combine_chunks()
    left = pool & membership.left_out(ids)
    held = pool & ~left & membership.held_out(ids)
    return Members(pool & ~left & ~held, held, left)


def read_cells(
    workdir: Workdir, part: str, partition: Partition, membership: Membership
) -> npt.NDArray[np.int32]:
    """The cell of each document of a part.

    Returns:
        int32 ``[n]``; -1 if it is not in the pool, held out, or left out by ``subsample``.
    """
    columns = read_levels(workdir, part, partition.levels, partition.tier_cuts)
    found = cell_numbers(partition, columns)
    drawable = read_members(workdir, part, membership).drawable
    return np.where(drawable, found, -1).astype(np.int32)


def read_levels(
    workdir: Workdir, part: str, levels: tuple[str, ...], tier_cuts: tuple[float, ...]
) -> dict[str, pa.Array]:
    """The value of each document on each level, ``[n]``."""
    where = {"domain": "cluster", "cluster": "cluster"}
    where |= dict.fromkeys(("source", "licence", "language"), "ingest")
    found: dict[str, pa.Array] = {}
    for level in levels:
        if level == "tier":
            table = partfiles.read_table(workdir.part("score", part), ["quality"])
            found[level] = pa.array(tiers.tiers(table.column(0).to_numpy(), tier_cuts))
        elif level == "side":
            from mixcurate.transforms.preference import preference_path

            table = partfiles.read_table(preference_path(workdir, part), ["side"])
            found[level] = table.column(0).combine_chunks()
        else:
            table = partfiles.read_table(workdir.part(where[level], part), [level])
            found[level] = table.column(0).combine_chunks()
    return found


@dataclasses.dataclass(frozen=True)
class Weighing:
    """How the score stage made expected copies of weights.

    Attributes:
        rule: of copies.
        scales: of each domain, or one of the pool.
    """

    rule: CopyRule
    scales: tuple[Scale, ...]

    def expected(
        self, weight: npt.NDArray[np.float32], domain: npt.NDArray[np.int32]
    ) -> npt.NDArray[np.float64]:
        """Expected copies, float64 ``[n]``."""
        if len(self.scales) == 1:
            return self.rule.expected(weight, self.scales[0])
        found = np.zeros(len(weight))
        for number in np.unique(domain).tolist():
            mine = domain == number
            found[mine] = self.rule.expected(weight[mine], self.scales[number])
        return found


@dataclasses.dataclass(frozen=True)
class CountPlan:
    """What is counted.

    Attributes:
        levels: outermost first.
        tier_cuts: of the recipe.
        by_rank: whether these are shares of tokens, not qualities.
        membership: which documents can be drawn.
        weighing: None if weights do not matter.
    """

    levels: tuple[str, ...]
    tier_cuts: tuple[float, ...]
    by_rank: bool
    membership: Membership
    weighing: Weighing | None = None


def counts_path(workdir: Workdir) -> str:
    """The counts of the whole pool."""
    return workdir.path("_stages", "plan", "counts.parquet")


def cuts_path(workdir: Workdir) -> str:
    """The qualities at which tiers begin."""
    return workdir.path("_stages", "plan", "tiers.json")


class QualityHistogram(beam.DoFn):
    """Tokens of a part by the leading bits of their quality."""

    def __init__(self, workdir: Workdir, plan: CountPlan) -> None:
        self._workdir, self._plan = workdir, plan

    def process(self, part: str) -> Iterator[bytes]:
        """Yield ``tiers.QUALITY`` records as bytes."""
        workdir = self._workdir
        drawable = read_members(workdir, part, self._plan.membership).drawable
        scores = partfiles.read_table(workdir.part("score", part), ["quality"])
        documents = partfiles.read_table(workdir.part("ingest", part), ["n_tokens"])
        tokens = documents.column(0).to_numpy().astype(np.int64)
        quality = scores.column(0).to_numpy()
        yield tiers.quality_histogram(quality[drawable], tokens[drawable]).tobytes()


def merge_qualities(pieces: Iterable[bytes]) -> bytes:
    """One histogram of many."""
    return tiers.merge_qualities([np.frombuffer(p, tiers.QUALITY) for p in pieces]).tobytes()


def find_cuts(histogram: bytes, ranks: tuple[float, ...]) -> tuple[float, ...]:
    """The qualities at which tiers begin."""
    return tiers.cuts_at_ranks(np.frombuffer(histogram, tiers.QUALITY), ranks)


class CountPart(beam.DoFn):
    """How much a part has of each combination of values."""

    def __init__(self, workdir: Workdir, plan: CountPlan) -> None:
        self._workdir, self._plan = workdir, plan

    def process(self, part: str, cuts: tuple[float, ...]) -> Iterator[bytes]:
        """Yield the table as an IPC stream."""
        workdir, plan = self._workdir, self._plan
        drawable = read_members(workdir, part, plan.membership).drawable
        mask = pa.array(drawable)
        columns = {
            level: values.filter(mask)
            for level, values in read_levels(workdir, part, plan.levels, cuts).items()
        }
        documents = partfiles.read_table(workdir.part("ingest", part), ["n_tokens"])
        names = ["quality"] if plan.weighing is None else ["quality", "weight"]
        scores = partfiles.read_table(workdir.part("score", part), names)
        tokens = documents.column(0).to_numpy().astype(np.int64)[drawable]
        weight, weighted = None, np.zeros(len(tokens), np.int64)
        if plan.weighing is not None:
            weight = scores.column("weight").to_numpy()[drawable]
            assigned = partfiles.read_table(workdir.part("cluster", part), ["domain"])
            domain = assigned.column(0).to_numpy()[drawable]
            expected = plan.weighing.expected(weight, domain)
            weighted = np.rint(expected * WEIGHTED).astype(np.int64) * tokens
        quality = scores.column("quality").to_numpy()[drawable]
        found = Counted(tokens, quality, weighted, weight)
        yield to_bytes(cell_counts.count(columns, found))


def to_bytes(table: pa.Table) -> bytes:
    """A table as an IPC stream."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    content: bytes = sink.getvalue().to_pybytes()
    return content


class MergeCounts(beam.CombineFn):
    """Add up parts' counts, the same in any order."""

    def __init__(self, levels: tuple[str, ...]) -> None:
        self._levels = levels

    def create_accumulator(self) -> bytes:
        """Nothing yet."""
        return b""

    def add_input(self, total: bytes, piece: bytes) -> bytes:
        """Add one part."""
        return self.merge_accumulators([total, piece])

    def merge_accumulators(self, totals: Iterable[bytes]) -> bytes:
        """Add partial results."""
        pieces = [piece for piece in totals if piece]
        if len(pieces) < 2:
            return pieces[0] if pieces else b""
        tables = [pa.ipc.open_stream(piece).read_all() for piece in pieces]
        return to_bytes(cell_counts.merge_counts(tables, self._levels))

    def extract_output(self, total: bytes) -> bytes:
        """The counts."""
        return total


def write_counts(total: bytes, workdir: Workdir) -> None:
    """Leave them in a file."""
    partfiles.write_table(counts_path(workdir), pa.ipc.open_stream(total).read_all())


def write_cuts(cuts: tuple[float, ...], workdir: Workdir) -> None:
    """Leave them in a file."""
    storage.write_json(cuts_path(workdir), list(cuts))


@dataclasses.dataclass(frozen=True)
class CountCells:
    """The reduction as one pipeline; it leaves ``counts_path`` and ``cuts_path``."""

    workdir: Workdir
    plan: CountPlan
    parts: list[str]

    def build(self, pipeline: beam.Pipeline) -> None:
        """Wire the reduction into ``pipeline``."""
        plan = self.plan
        parts = create(pipeline, "Parts", self.parts)
        if plan.by_rank and "tier" in plan.levels:
            cuts = (
                parts
                | "Qualities" >> beam.ParDo(QualityHistogram(self.workdir, plan))
                | "Merge qualities" >> beam.CombineGlobally(merge_qualities)
                | "Cuts" >> beam.Map(find_cuts, plan.tier_cuts)
            )
        else:
            cuts = pipeline | "Cuts" >> beam.Create([plan.tier_cuts], reshuffle=False)
        single: Any = beam.pvalue.AsSingleton
        _ = cuts | "Write cuts" >> beam.Map(write_cuts, self.workdir)
        _ = (
            parts
            | "Count" >> beam.ParDo(CountPart(self.workdir, plan), single(cuts))
            | "Add up" >> beam.CombineGlobally(MergeCounts(plan.levels)).without_defaults()
            | "Write counts" >> beam.Map(write_counts, self.workdir)
        )
