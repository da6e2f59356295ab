"""How much there is in each cell: one small reduction over all parts.

On the way, what the draw needs of each document is kept (``draw_pool``).
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
from mixcurate.io.workdir import Workdir
from mixcurate.kernels import cell_counts, tiers
from mixcurate.kernels.allocation import CopyRule, Scale
from mixcurate.kernels.cell_counts import Counted
from mixcurate.transforms.cells import read_members
from mixcurate.transforms.draw_pool import PoolPlan, write_pool
from mixcurate.transforms.score import WEIGHTED
from mixcurate.transforms.tasks import create


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
        pool: what is kept of each document, the levels among it.
        tier_cuts: of the recipe.
        by_rank: whether these are shares of tokens, not qualities.
        weighing: None if weights do not matter.
    """

    pool: PoolPlan
    tier_cuts: tuple[float, ...]
    by_rank: bool
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
        drawable = read_members(workdir, part, self._plan.pool.membership).drawable
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
    """How much a part has of each combination of values; what the draw needs of it is kept."""

    def __init__(self, workdir: Workdir, plan: CountPlan) -> None:
        self._workdir, self._plan = workdir, plan

    def process(self, part: str, cuts: tuple[float, ...]) -> Iterator[bytes]:
        """Yield the table as an IPC stream."""
        plan = self._plan
        pool = write_pool(self._workdir, part, plan.pool, cuts)
        drawable = pool.members.drawable
        mask = pa.array(drawable)
        columns = {level: values.filter(mask) for level, values in pool.levels.items()}
        tokens = pool.tokens[drawable].astype(np.int64)
        weight, weighted = None, np.zeros(len(tokens), np.int64)
        if plan.weighing is not None and pool.weight is not None:
            weight = pool.weight[drawable]
            expected = plan.weighing.expected(weight, pool.domain[drawable])
            weighted = np.rint(expected * WEIGHTED).astype(np.int64) * tokens
        found = Counted(tokens, pool.quality[drawable], weighted, weight)
        yield to_bytes(cell_counts.count(columns, found))


def to_bytes(table: pa.Table) -> bytes:
    """A table as an IPC stream."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    content: bytes = sink.getvalue().to_pybytes()
    return content


@dataclasses.dataclass(frozen=True)
class MergeCounts:
    """Add up parts' counts, the same in any order.

    Attributes:
        levels: that they are by.
    """

    levels: tuple[str, ...]

    def __call__(self, pieces: Iterable[bytes]) -> bytes:
        """One table of many; nothing of none."""
        tables = [pa.ipc.open_stream(piece).read_all() for piece in pieces if piece]
        return to_bytes(cell_counts.merge_counts(tables, self.levels)) if tables else b""


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
        if plan.by_rank and "tier" in plan.pool.levels:
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
            | "Add up" >> beam.CombineGlobally(MergeCounts(plan.pool.levels)).without_defaults()
            | "Write counts" >> beam.Map(write_counts, self.workdir)
        )
