"""Score: how often each document is to be drawn, from its quality and its diversity."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

import apache_beam as beam
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mixcurate.io import partfiles
from mixcurate.io.workdir import Heartbeat, TaskResult, Workdir
from mixcurate.kernels import allocation, fixedpoint, hashing, score_sketch, weights
from mixcurate.kernels.score_sketch import Scored
from mixcurate.kernels.scoring import WeightParams
from mixcurate.kernels.weights import Documents
from mixcurate.tables import scores_schema
from mixcurate.transforms.pool import (
    DRAW,
    SCORE,
    PoolFacts,
    Read,
    WeighPlan,
    find_pool_facts,
    read_part,
    rule_of,
)
from mixcurate.transforms.quality_columns import read_quality
from mixcurate.transforms.tasks import RunTask, Task, create, task_name

#: Expected copies times tokens are added as multiples of 2 ** -20.
WEIGHTED = 1 << 20


def bins_path(workdir: Workdir, part: str | None = None) -> str:
    """Weights by leading bits, of one part or of the pool: coarse ``allocation.WEIGHTS``."""
    return workdir.path("_stages", SCORE, f"weights/part-{part}.npy" if part else "weights.npy")


def sketch_path(workdir: Workdir, name: str) -> str:
    """A part's sketch, or one of ``score_sketch.TABLES`` of the pool."""
    return workdir.path("_stages", SCORE, f"{name}.parquet")


@dataclasses.dataclass(frozen=True)
class Weighed:
    """What a part's documents in the pool come to, one element each.

    Attributes:
        units: float64 ``[2, n]``, quality and diversity in [0, 1].
        weight: float32 ``[n]``.
        expected: float64 ``[n]``, expected copies.
        copies: int32 ``[n]``.
    """

    units: npt.NDArray[np.float64]
    weight: npt.NDArray[np.float32]
    expected: npt.NDArray[np.float64]
    copies: npt.NDArray[np.int32]


def weigh(
    documents: Documents, keys: hashing.UInt64Array, facts: PoolFacts, params: WeightParams
) -> Weighed:
    """Weights and copies of some documents, given what is known of the pool.

    Args:
        documents: in the pool.
        keys: uint64 ``[n]``, uniform.
        facts: of the pool.
        params: of the weights.
    """
    units = weights.units_of(documents, facts.extent, facts.ranks)
    weight = weights.weights(weights.powers(units, params), facts.mean, documents.group)
    rule, expected = rule_of(params), np.zeros(len(weight))
    for group in np.unique(documents.group).tolist():
        mine = documents.group == group
        expected[mine] = rule.expected(weight[mine], facts.scales[group])
    return Weighed(units, weight, expected, rule.copies(expected, keys))


@dataclasses.dataclass(frozen=True)
class ScorePart:
    """Write the scores of one part; ``facts`` stand in the task's payload."""

    workdir: Workdir
    plan: WeighPlan
    stage: str = SCORE

    def run(self, task: Task, heartbeat: Heartbeat) -> TaskResult:
        """Weigh the part's documents, round, and add to the sketches."""
        read = read_part(self.workdir, task.name, self.plan)
        about = partfiles.read_table(self.workdir.part("ingest", task.name), ["id", "source"])
        keys = hashing.uniform_keys(about.column("id").combine_chunks(), self.plan.seed, DRAW)
        found = weigh(read.documents, keys[read.pool], task.payload["facts"], self.plan.params)
        tokens = read.documents.tokens
        source = about.column("source").combine_chunks().filter(pa.array(read.pool))
        outputs = self._write(task.name, read, found, source)
        heartbeat.beat(len(tokens), int(tokens.sum()))
        fixed = np.rint(found.expected * WEIGHTED).astype(np.int64) * tokens
        sums = fixedpoint.sums_by_group(fixed, read.domain, self.plan.domains)
        return TaskResult(
            task=task.name,
            fingerprint=task.fingerprint,
            outputs=[self.workdir.output(output) for output in outputs],
            documents_in=len(tokens),
            documents_out=len(tokens),
            tokens=int(tokens.sum()),
            details={
                "weighted_tokens": {str(d): int(t) for d, t in enumerate(sums.tolist()) if t},
                "copies": int(found.copies.sum()),
                "copy_tokens": int((found.copies * tokens).sum()),
            },
        )

    def _write(self, part: str, read: Read, found: Weighed, source: pa.Array) -> list[str]:
        """Scores of all documents, those outside the pool with weight 0; bins; sketch."""
        judged = read_quality(self.workdir, part)
        schema = scores_schema(list(judged.dimensions))
        columns = [
            *judged.dimensions.values(),
            judged.overall,
            *(
                _spread(v, read.pool)
                for v in (read.documents.diversity, found.weight, found.copies)
            ),
        ]
        arrays = [pa.array(c, f.type) for c, f in zip(columns, schema, strict=True)]
        paths = [
            self.workdir.part(SCORE, part),
            bins_path(self.workdir, part),
            sketch_path(self.workdir, f"sketch/part-{part}"),
        ]
        partfiles.write_table(paths[0], pa.Table.from_arrays(arrays, schema=schema))
        tokens, domain = read.documents.tokens, read.domain
        bins = allocation.bin_weights(found.weight, tokens, domain, allocation.COARSE)
        partfiles.write_array(paths[1], bins)
        scored = Scored(
            domain=domain,
            source=source,
            tokens=tokens,
            quality=judged.overall[read.pool],
            units=found.units,
            expected=found.expected,
            copies=found.copies,
        )
        partfiles.write_table(paths[2], score_sketch.sketch(scored))
        return paths


def _spread(
    values: npt.NDArray[np.generic], pool: npt.NDArray[np.bool_]
) -> npt.NDArray[np.generic]:
    """Values of the pool among all documents of a part; the others have zero."""
    result = np.zeros(len(pool), values.dtype if values.dtype != np.float64 else np.float32)
    result[pool] = values
    return result


#: What a part adds to the pool's files: weights by bin, and the sketch.
Sketches = tuple[npt.NDArray[np.void], pa.Table]

#: Parts' sketches that are kept before they are merged.
_HELD = 16


class MergeSketches(beam.CombineFn):
    """Add up the parts' files, the same in any order."""

    def __init__(self, workdir: Workdir) -> None:
        self._workdir = workdir

    def create_accumulator(self) -> list[Sketches]:
        """Nothing yet."""
        return []

    def add_input(self, held: list[Sketches], part: str) -> list[Sketches]:
        """Add one part's files."""
        bins = partfiles.read_array(bins_path(self._workdir, part))
        table = partfiles.read_table(sketch_path(self._workdir, f"sketch/part-{part}"))
        return _merged([*held, (bins, table)], _HELD)

    def merge_accumulators(self, held: Iterable[list[Sketches]]) -> list[Sketches]:
        """Add partial results."""
        return _merged([sketches for some in held for sketches in some], _HELD)

    def extract_output(self, held: list[Sketches]) -> Sketches:
        """Those of the pool."""
        return _merged(held, 0)[0]


def _merged(held: list[Sketches], most: int) -> list[Sketches]:
    """The same in one piece, if there are more than ``most``."""
    if len(held) <= most:
        return held
    bins = allocation.merge_bins([bins for bins, _ in held])
    return [(bins, score_sketch.merge_sketches([table for _, table in held]))]


def write_sketches(sketches: Sketches, workdir: Workdir) -> None:
    """Leave them in files."""
    partfiles.write_array(bins_path(workdir), sketches[0])
    for name in score_sketch.TABLES:
        table = score_sketch.table_of(sketches[1], name)
        partfiles.write_table(sketch_path(workdir, name), table)


def with_facts(task: Task, facts: PoolFacts) -> Task:
    """The task with what it needs to know of the pool."""
    return dataclasses.replace(task, payload={"facts": facts})


@dataclasses.dataclass(frozen=True)
class Score:
    """The whole stage as one pipeline.

    Attributes:
        work: what is done with a part.
        parts: names of all parts.
        todo: tasks that are not done.
        done: names of the parts that are.
    """

    work: ScorePart
    parts: list[str]
    todo: list[Task]
    done: list[str]

    def build(self, pipeline: beam.Pipeline) -> None:
        """Wire the stage into ``pipeline``."""
        workdir = self.work.workdir
        known = find_pool_facts(pipeline, workdir, self.work.plan, self.parts)
        facts = beam.pvalue.AsSingleton(known)
        scored = (
            create(pipeline, "Score parts", self.todo)
            | "Add facts" >> beam.Map(with_facts, facts)
            | "Score" >> beam.ParDo(RunTask(self.work))
            | "Scored" >> beam.Map(task_name)
        )
        before = pipeline | "Scored before" >> beam.Create(self.done, reshuffle=False)
        _ = (
            (scored, before)
            | beam.Flatten()
            | "Add up sketches" >> beam.CombineGlobally(MergeSketches(workdir)).without_defaults()
            | "Write sketches" >> beam.Map(write_sketches, workdir)
        )
