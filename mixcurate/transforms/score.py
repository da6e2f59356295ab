"""Score: quality and diversity of each document, and the sampling weight that follows from them.

Two small reductions over the pool (the range of the scores, the sum of the exponentials), then one
pass that writes; nothing is ever collected.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator

import apache_beam as beam
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mixcurate.io import partfiles
from mixcurate.io.workdir import Heartbeat, TaskResult, Workdir
from mixcurate.kernels import fixedpoint, hashing, quality, weights
from mixcurate.kernels.scoring import WeightParams
from mixcurate.kernels.weights import Range
from mixcurate.tables import scores_schema
from mixcurate.transforms.quality_columns import read_quality
from mixcurate.transforms.tasks import RunTask, Task, create

SCORE = "score"


@dataclasses.dataclass(frozen=True)
class Scores:
    """What is known of one part's documents before weighing."""

    dimensions: dict[str, npt.NDArray[np.float32]]
    quality: npt.NDArray[np.float32]
    diversity: npt.NDArray[np.float32]
    domain: npt.NDArray[np.int32]

    @property
    def pool(self) -> npt.NDArray[np.bool_]:
        """Documents that have a domain."""
        return self.domain >= 0


def read_scores(workdir: Workdir, part: str) -> Scores:
    """Quality of a part's documents, and the diversity and domain of their clusters."""
    clusters = partfiles.read_table(workdir.path("clusters.parquet"))
    diversity = weights.diversity(
        clusters.column("mean_distance").to_numpy(), clusters.column("separation").to_numpy()
    )
    assigned = partfiles.read_table(workdir.part("cluster", part), ["cluster", "domain"])
    cluster = np.maximum(assigned.column("cluster").to_numpy(), 0)  # -1: not in the pool either
    dimensions = read_quality(workdir, part)
    return Scores(
        dimensions=dimensions,
        quality=quality.overall(dimensions),
        diversity=diversity[cluster],
        domain=assigned.column("domain").to_numpy(),
    )


class MeasureRanges(beam.DoFn):
    """Range of quality and diversity over a part's pool."""

    def __init__(self, workdir: Workdir) -> None:
        self._workdir = workdir

    def process(self, part: str) -> Iterator[tuple[Range, Range]]:
        """Yield (range of quality, range of diversity)."""
        scores = read_scores(self._workdir, part)
        yield Range.of(scores.quality[scores.pool]), Range.of(scores.diversity[scores.pool])


def merge_ranges(ranges: Iterable[tuple[Range, Range]]) -> tuple[Range, Range]:
    """The ranges over all parts; order does not matter."""
    first, second = Range(), Range()
    for one, other in ranges:
        first, second = first.merge(one), second.merge(other)
    return first, second


class SumExponentials(beam.DoFn):
    """Documents of a part's pool, and the exact fixed-point sum of exp((p - 1) / tau)."""

    def __init__(self, workdir: Workdir, params: WeightParams) -> None:
        self._workdir, self._params = workdir, params

    def process(self, part: str, ranges: tuple[Range, Range]) -> Iterator[tuple[int, int]]:
        """Yield (documents, sum in fixed point)."""
        scores = read_scores(self._workdir, part)
        pool = scores.pool
        values = weights.unnormalised(
            scores.quality[pool], scores.diversity[pool], ranges, self._params
        )
        yield int(pool.sum()), int(fixedpoint.to_fixed(values).sum())


def add_pairs(pairs: Iterable[tuple[int, int]]) -> tuple[int, int]:
    """Add pairs of integers."""
    first = second = 0
    for one, other in pairs:
        first, second = first + one, second + other
    return first, second


@dataclasses.dataclass(frozen=True)
class ScorePart:
    """Write the scores of one part."""

    workdir: Workdir
    params: WeightParams
    seed: int
    stage: str = SCORE

    def run_with(
        self, task: Task, ranges: tuple[Range, Range], totals: tuple[int, int]
    ) -> TaskResult:
        """Score the part, given the ranges and the normaliser of the pool."""
        scores = read_scores(self.workdir, task.name)
        pool = scores.pool
        values = weights.unnormalised(scores.quality, scores.diversity, ranges, self.params)
        mean = fixedpoint.from_fixed(np.array(totals[1])) / max(totals[0], 1)
        weight = np.where(pool, values / mean, 0.0).astype(np.float32)
        documents = self.workdir.part("ingest", task.name)
        table = partfiles.read_table(documents, ["id", "n_tokens"])
        keys = hashing.uniform_keys(table.column("id").combine_chunks(), self.seed, "copies")
        columns = [
            *scores.dimensions.values(),
            scores.quality,
            scores.diversity,
            weight,
            weights.copies(weight, keys) * pool,
        ]
        schema = scores_schema(list(quality.DIMENSIONS))
        path = self.workdir.part(SCORE, task.name)
        arrays = [pa.array(c, field.type) for c, field in zip(columns, schema, strict=True)]
        partfiles.write_table(path, pa.Table.from_arrays(arrays, schema=schema))
        tokens = table.column("n_tokens").to_numpy().astype(np.int64)
        return TaskResult(
            task=task.name,
            fingerprint=task.fingerprint,
            outputs=[self.workdir.output(path)],
            documents_in=int(pool.sum()),
            documents_out=int(pool.sum()),
            tokens=int(tokens[pool].sum()),
            details={"weighted_tokens": _weighted_tokens(scores.domain, weight, tokens)},
        )

    def run(self, task: Task, heartbeat: Heartbeat) -> TaskResult:
        """Score a task whose payload holds the pool's ranges and normaliser."""
        result = self.run_with(task, task.payload["ranges"], task.payload["totals"])
        heartbeat.beat(result.documents_in, result.tokens)
        return result


def _weighted_tokens(
    domain: npt.NDArray[np.int32], weight: npt.NDArray[np.float32], tokens: npt.NDArray[np.int64]
) -> dict[str, int]:
    """Sum of weight * tokens per domain, in fixed point of 20 bits: exact in any order."""
    pool = domain >= 0
    fixed = np.rint(weight[pool].astype(np.float64) * (1 << 20)).astype(np.int64) * tokens[pool]
    sums = fixedpoint.sums_by_group(fixed, domain[pool], int(domain.max(initial=-1)) + 1)
    return {str(number): int(total) for number, total in enumerate(sums.tolist()) if total}


def with_totals(task: Task, ranges: tuple[Range, Range], totals: tuple[int, int]) -> Task:
    """The task with what it needs to know of the pool."""
    return dataclasses.replace(task, payload={"ranges": ranges, "totals": totals})


@dataclasses.dataclass(frozen=True)
class Score:
    """The whole stage as one pipeline."""

    work: ScorePart
    parts: list[str]
    todo: list[Task]

    def build(self, pipeline: beam.Pipeline) -> None:
        """Wire the stage into ``pipeline``."""
        workdir = self.work.workdir
        parts = create(pipeline, "Parts", self.parts)
        ranges = (
            parts
            | "Ranges" >> beam.ParDo(MeasureRanges(workdir))
            | "Range of the pool" >> beam.CombineGlobally(merge_ranges)
        )
        pool = beam.pvalue.AsSingleton(ranges)
        totals = (
            parts
            | "Exponentials" >> beam.ParDo(SumExponentials(workdir, self.work.params), pool)
            | "Normaliser" >> beam.CombineGlobally(add_pairs)
        )
        _ = (
            create(pipeline, "Score parts", self.todo)
            | "Add totals" >> beam.Map(with_totals, pool, beam.pvalue.AsSingleton(totals))
            | "Score" >> beam.ParDo(RunTask(self.work))
        )
