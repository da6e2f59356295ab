"""Which documents are drawn first: by likeness to given texts, or by the centrality of their host.

Each part gets a table with a row a document: its side, a number of ``cells.SIDES``, and its
preference in (0, 1], both 0 outside the pool. Likeness is a matter of one pass. For centrality,
tokens are counted by score first, so that documents have ranks; then the sides are cut where the
central one has its share of the pool's tokens, to within one document, in the two passes of the
draw.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Any, Literal

import apache_beam as beam
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mixcurate.io import embeddings, partfiles, storage
from mixcurate.io.workdir import Heartbeat, TaskResult, Workdir
from mixcurate.kernels import draw, hosts, token_ranks
from mixcurate.kernels.allocation import CopyRule
from mixcurate.kernels.cells import RANKED, SIDES
from mixcurate.kernels.draw import Pool, Thresholds
from mixcurate.kernels.hashing import uniform_keys
from mixcurate.kernels.target_likeness import most_like
from mixcurate.kernels.token_ranks import STEP, TokenRanks
from mixcurate.transforms.tasks import RunTask, Task, create, task_name

PREFERENCE = "preference"

#: ``parts/part-*.parquet``.
_TABLE = pa.schema(
    [
        pa.field("side", pa.int8(), nullable=False),
        pa.field("preference", pa.float64(), nullable=False),
    ]
)

#: What is kept of a part between the passes.
_GATHERED = np.dtype([("score", "<f8"), ("key", "<u8"), ("tokens", "<i4"), ("pool", "?")])

#: A single cell, drawn once: no key is too large; leading bits of the mantissa in a histogram.
_EVERYTHING, _BITS = np.array([np.inf]), 16

Float64Array = npt.NDArray[np.float64]


def stage_path(workdir: Workdir, *names: str) -> str:
    """A file of the step: ``texts.npy``, ``hosts.npy``, ``scores.npy``, ``sides.json``."""
    return workdir.path("_stages", PREFERENCE, *names)


def preference_path(workdir: Workdir, part: str) -> str:
    """Side and preference of each document of a part."""
    return stage_path(workdir, "parts", f"part-{part}.parquet")


def read_preference(workdir: Workdir, part: str) -> Float64Array:
    """Preference of each document of a part: float64 ``[n]``, 0 outside the pool."""
    table = partfiles.read_table(preference_path(workdir, part), ["preference"])
    found: Float64Array = table.column("preference").to_numpy()
    return found


@dataclasses.dataclass(frozen=True)
class PreferencePlan:
    """What documents are preferred by.

    Attributes:
        by: likeness to the texts of ``texts.npy``, or centrality by ``hosts.npy`` (hashes of names,
            rising) and ``scores.npy``.
        central_share: of the pool's tokens, on the central side.
        with_quality: rank by centrality x quality, and by quality / centrality.
        with_parents: whether a host without a score has that of the domain above it.
        seed: of the hashes that decide between documents of one host.
    """

    by: Literal["likeness", "centrality"]
    central_share: float = 0.5
    with_quality: bool = False
    with_parents: bool = False
    seed: int = 0

    def pool(self, rows: npt.NDArray[np.void], ranks: TokenRanks) -> Pool:
        """The documents with their ranks, as the draw wants them."""
        cell = np.where(rows["pool"], 0, -1).astype(np.int32)
        tokens, keys = rows["tokens"].astype(np.int64), np.ascontiguousarray(rows["key"])
        rank = ranks.of(np.ascontiguousarray(rows["score"]), keys)
        return Pool(cell, tokens, rank, keys, CopyRule("top"))

    def target(self, ranks: TokenRanks) -> npt.NDArray[np.int64]:
        """Tokens of the central side: int64 ``[1, 1]``."""
        return np.array([[round(self.central_share * int(ranks.bins["tokens"].sum()))]])


class GatherScores(beam.DoFn):
    """Keep what is needed of a part, and count its tokens by score."""

    def __init__(self, workdir: Workdir, plan: PreferencePlan) -> None:
        self._workdir, self._plan = workdir, plan

    def process(self, part: str) -> Iterator[bytes]:
        """Yield the counts of ``token_ranks`` as bytes."""
        workdir = self._workdir
        keys = _mapped(stage_path(workdir, "hosts.npy"))
        scores = _mapped(stage_path(workdir, "scores.npy"))
        documents = partfiles.read_table(workdir.part("ingest", part), ["id", "url", "n_tokens"])
        found = hosts.hosts_of(documents.column("url").combine_chunks())
        rows = np.empty(documents.num_rows, _GATHERED)
        rows["score"] = hosts.scores_of(found, keys, scores, with_parents=self._plan.with_parents)
        rows["key"] = uniform_keys(
            documents.column("id").combine_chunks(), self._plan.seed, PREFERENCE
        )
        rows["tokens"] = documents.column("n_tokens").to_numpy()
        rows["pool"] = _pool(workdir, part)
        partfiles.write_array(_gathered_path(workdir, part), rows)
        mine = rows[rows["pool"]]
        yield token_ranks.count(mine["score"], mine["tokens"].astype(np.int64)).tobytes()


def merge_counts(pieces: Iterable[bytes]) -> bytes:
    """One table of many."""
    return token_ranks.merge([token_ranks.from_bytes(piece) for piece in pieces]).tobytes()


class CountRanks(beam.DoFn):
    """Tokens of a part by leading bits of the rank."""

    def __init__(self, workdir: Workdir, plan: PreferencePlan) -> None:
        self._workdir, self._plan = workdir, plan

    def process(self, part: str, counts: bytes) -> Iterator[bytes]:
        """Yield ``draw.BIN`` records as bytes."""
        pool = self._plan.pool(_gathered(self._workdir, part), _ranks(counts))
        yield draw.histogram(pool, most=_EVERYTHING, max_copies=1, bits=_BITS).tobytes()


def merge_bins(pieces: Iterable[bytes]) -> bytes:
    """One histogram of many."""
    empty = [np.zeros(0, draw.BIN)]
    return draw.merge_histograms(empty + [np.frombuffer(p, draw.BIN) for p in pieces]).tobytes()


class Candidates(beam.DoFn):
    """The documents of a part among which the sides are cut."""

    def __init__(self, workdir: Workdir, plan: PreferencePlan) -> None:
        self._workdir, self._plan = workdir, plan

    def process(self, part: str, counts: bytes, bins: bytes) -> Iterator[tuple[int, bytes]]:
        """Yield (0, ``draw.CANDIDATE`` records as bytes): they all meet in one place."""
        ranks = _ranks(counts)
        wanted = draw.wanted_bins(np.frombuffer(bins, draw.BIN), self._plan.target(ranks))
        pool = self._plan.pool(_gathered(self._workdir, part), ranks)
        found = draw.candidates(pool, wanted, most=_EVERYTHING, max_copies=1, bits=_BITS)
        yield 0, found.tobytes()


class CutSides(beam.DoFn):
    """The last document of the central side."""

    def __init__(self, workdir: Workdir, plan: PreferencePlan) -> None:
        self._workdir, self._plan = workdir, plan

    def process(
        self, element: tuple[int, Iterable[bytes]], counts: bytes, bins: bytes
    ) -> Iterator[Thresholds]:
        """Yield it; leave what the driver tells of the pool."""
        ranks = _ranks(counts)
        target = self._plan.target(ranks)
        found = np.concatenate([np.frombuffer(piece, draw.CANDIDATE) for piece in element[1]])
        wanted = draw.wanted_bins(np.frombuffer(bins, draw.BIN), target)
        none = ranks.bins["tokens"][ranks.bins["most"] == 0].sum()
        about = {"tokens": int(ranks.bins["tokens"].sum()), "without_score": int(none)}
        storage.write_json(stage_path(self._workdir, "sides.json"), about)
        yield draw.thresholds(wanted, found, target, bits=_BITS)


def with_facts(task: Task, counts: bytes, limit: Thresholds) -> Task:
    """The task with what it needs to know of the pool."""
    return dataclasses.replace(task, payload={"counts": counts, "limit": limit})


@dataclasses.dataclass(frozen=True)
class PreferPart:
    """Write side and preference of the documents of one part."""

    workdir: Workdir
    plan: PreferencePlan
    stage: str = PREFERENCE

    def run(self, task: Task, heartbeat: Heartbeat) -> TaskResult:
        """Compare or rank, and write the table."""
        pool = _pool(self.workdir, task.name)
        if self.plan.by == "likeness":
            side, found = np.full(len(pool), RANKED, np.int8), self._likeness(task.name)
        else:
            side, found = self._centrality(task)
        preference = np.where(pool, np.clip(found, STEP, 1.0), 0.0)
        table = pa.Table.from_arrays(
            [pa.array(np.where(pool, side, 0).astype(np.int8)), pa.array(preference)],
            schema=_TABLE,
        )
        path = preference_path(self.workdir, task.name)
        partfiles.write_table(path, table)
        heartbeat.beat(len(pool), 0)
        return TaskResult(
            task=task.name,
            fingerprint=task.fingerprint,
            outputs=[self.workdir.output(path)],
            documents_in=len(pool),
            documents_out=len(pool),
        )

    def _likeness(self, part: str) -> Float64Array:
        """(1 + the greatest cosine) / 2."""
        texts = _mapped(stage_path(self.workdir, "texts.npy"))
        found = [np.zeros(0)]
        for vectors in embeddings.iter_embeddings(self.workdir.part("embed", part)):
            found.append(most_like(vectors, texts))
        likeness: Float64Array = np.concatenate(found) / 2 + 0.5
        return likeness

    def _centrality(self, task: Task) -> tuple[npt.NDArray[np.int8], Float64Array]:
        """By rank, whatever the measure's scale: quality must count beside it."""
        rows = _gathered(self.workdir, task.name)
        pool = self.plan.pool(rows, _ranks(task.payload["counts"]))
        side = np.zeros(len(rows), np.int8)
        side[draw.drawn(pool, task.payload["limit"], 1).row] = SIDES.index("central")
        rank = pool.weight
        if not self.plan.with_quality:
            return side, np.where(side == 1, rank, 1 - rank)
        scores = partfiles.read_table(self.workdir.part("score", task.name), ["quality"])
        quality = np.clip(scores.column("quality").to_numpy().astype(np.float64), 0.0, 1.0)
        # q / c, brought into (0, 1): t / (1 + t) rises with t
        return side, np.where(side == 1, rank * quality, quality / (quality + rank))


def _pool(workdir: Workdir, part: str) -> npt.NDArray[np.bool_]:
    assigned = partfiles.read_table(workdir.part("cluster", part), ["domain"])
    pool: npt.NDArray[np.bool_] = assigned.column("domain").to_numpy() >= 0
    return pool


def _gathered_path(workdir: Workdir, part: str) -> str:
    return stage_path(workdir, "gathered", f"part-{part}.npy")


def _gathered(workdir: Workdir, part: str) -> npt.NDArray[np.void]:
    rows: npt.NDArray[np.void] = partfiles.read_array(_gathered_path(workdir, part))
    return rows


def _ranks(counts: bytes) -> TokenRanks:
    return TokenRanks(token_ranks.from_bytes(counts))


def _mapped(path: str) -> Any:
    """An array; of a local file only what is used of it, shared by all processes."""
    if not storage.is_local(path):
        return partfiles.read_array(path)
    return np.load(path, mmap_mode="r", allow_pickle=False)


@dataclasses.dataclass(frozen=True)
class Prefer:
    """The step as one pipeline."""

    work: PreferPart
    parts: list[str]
    todo: list[Task]

    def build(self, pipeline: beam.Pipeline) -> None:
        """Wire it into ``pipeline``."""
        tasks = create(pipeline, "Prefer parts", self.todo)
        if self.work.plan.by == "centrality":
            tasks = tasks | "Add facts" >> beam.Map(with_facts, *self._facts(pipeline))
        _ = tasks | "Prefer" >> beam.ParDo(RunTask(self.work)) | "Named" >> beam.Map(task_name)

    def _facts(self, pipeline: beam.Pipeline) -> tuple[Any, Any]:
        """What every part needs to know of the pool, as side inputs."""
        workdir, plan = self.work.workdir, self.work.plan
        single: Any = beam.pvalue.AsSingleton
        parts = create(pipeline, "Parts", self.parts)
        counts = single(
            parts
            | "Scores" >> beam.ParDo(GatherScores(workdir, plan))
            | "Merge scores" >> beam.CombineGlobally(merge_counts)
        )
        bins = single(
            parts
            | "Ranks" >> beam.ParDo(CountRanks(workdir, plan), counts)
            | "Merge ranks" >> beam.CombineGlobally(merge_bins)
        )
        threshold = (
            parts
            | "Candidates" >> beam.ParDo(Candidates(workdir, plan), counts, bins)
            | "Candidates meet" >> beam.GroupByKey()
            | "Cut" >> beam.ParDo(CutSides(workdir, plan), counts, bins)
        )
        return counts, single(threshold)
