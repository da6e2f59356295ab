"""The cells, counted in one pass over the pool, and what else a strategy needs to know of them."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mixcurate.errors import PlanError
from mixcurate.io import partfiles, storage
from mixcurate.io.workdir import Success
from mixcurate.kernels import cell_counts, fixedpoint
from mixcurate.kernels.allocation import WEIGHTS, Scale
from mixcurate.kernels.cells import Membership, Partition, cell_numbers
from mixcurate.kernels.mixture import MixtureParams
from mixcurate.kernels.strategies.facts import Facts
from mixcurate.transforms.cells import CellsOf
from mixcurate.transforms.count_cells import (
    CountCells,
    CountPlan,
    Weighing,
    counts_path,
    cuts_path,
)
from mixcurate.transforms.draw_pool import PoolPlan, WeightColumn
from mixcurate.transforms.pool import facts_path, rule_of
from mixcurate.transforms.score import WEIGHTED
from pipelines.job import Job

Int64Array = npt.NDArray[np.int64]

#: Most cells: each has thresholds, and a row of the plan.
_MOST_CELLS = 250_000

#: Documents that one core counts in a second; only decides about processes.
_DOCUMENTS_PER_SECOND = 500_000


@dataclasses.dataclass(frozen=True)
class Counts:
    """The cells, and how much there is in each.

    Attributes:
        cells: the partition, and which documents can be drawn.
        documents: int64 ``[n]``.
        tokens: int64 ``[n]``.
        largest: int64 ``[n]``, tokens of the largest document.
        quality: float64 ``[n]``, mean; zero where there is no document.
        weighted: float64 ``[n]``, sums of expected copies x tokens; zero if not asked for.
        bins: ``allocation.WEIGHTS`` by cell, of ``cell_counts.WEIGHT_LOW_BITS``.
    """

    cells: CellsOf
    documents: Int64Array
    tokens: Int64Array
    largest: Int64Array
    quality: npt.NDArray[np.float64]
    weighted: npt.NDArray[np.float64]
    bins: npt.NDArray[np.void]


def by_preference(params: MixtureParams) -> bool:
    """Whether documents are drawn in the order of a preference, from one or two sides."""
    ranked = "target" in params.strategies and params.target.method == "rds"
    return "centrality" in params.strategies or ranked


def levels_of(params: MixtureParams) -> tuple[str, ...]:
    """The levels that shares are of.

    Raises:
        PlanError: a strategy that orders documents itself is to share among other units.
    """
    if not by_preference(params):
        return tuple(params.by)
    if len(params.strategies) > 1 or params.by != ["domain"]:
        alone = "centrality" if "centrality" in params.strategies else "target"
        raise PlanError(
            f"mixture.strategy: {alone!r} chooses the documents themselves, so that it cannot be "
            f"combined with 'by: {params.by}' or another strategy in a phase; leave these out"
        )
    return ("side",)


def count_cells(job: Job, scored: Success) -> Counts:
    """Find the cells and count them, in one pass over the pool.

    Raises:
        PlanError: more cells than a plan can have.
    """
    params = job.recipe.mixture
    membership = Membership(job.recipe.seed, params.holdout, params.subsample)
    weighed, levels = "samplemix" in params.strategies, levels_of(params)
    column: WeightColumn | None = "weight" if weighed else None
    if by_preference(params):
        column = "preference"
    plan = CountPlan(
        PoolPlan(levels, membership, column, params.licences),
        tier_cuts=tuple(params.tiers.cuts),
        by_rank=params.tiers.scale == "rank",
        weighing=_weighing(job) if weighed else None,
    )
    stage = CountCells(job.workdir, plan, [part.name for part in scored.parts])
    seconds = scored.documents_out / _DOCUMENTS_PER_SECOND
    job.run_pipeline("plan-count", stage.build, work_seconds=seconds)
    table = partfiles.read_table(counts_path(job.workdir))
    cuts = tuple(storage.read_json(cuts_path(job.workdir))) if "tier" in levels else ()
    partition = _partition(job, levels, table, cuts)
    if len(partition.paths) > _MOST_CELLS:
        raise PlanError(
            f"mixture.by: {list(levels)} gives {len(partition.paths):,} cells; a plan has at "
            f"most {_MOST_CELLS:,}"
        )
    return _counted(CellsOf(partition, membership), table)


def _weighing(job: Job) -> Weighing:
    found = storage.read_json(facts_path(job.workdir))
    each = zip(found["scale"], found["whole"], strict=True)
    scales = tuple(Scale(scale, whole) for scale, whole in each)
    return Weighing(rule_of(job.recipe.score.weight), scales)


def _partition(
    job: Job, levels: tuple[str, ...], table: pa.Table, cuts: tuple[float, ...]
) -> Partition:
    """The cells there are; of domains or tiers alone also those where nothing can be drawn."""
    names: list[str] = []
    paths = set(zip(*(table.column(level).to_pylist() for level in levels), strict=True))
    if "domain" in levels:
        domains = partfiles.read_table(job.workdir.path("domains.parquet"), ["name"])
        names = domains.column("name").to_pylist()
    if levels == ("domain",):
        paths |= {(number,) for number in range(len(names))}
    if levels == ("tier",):
        paths |= {(number,) for number in range(len(cuts) + 1)}
    return Partition.of(levels, paths, cuts, names)


def _counted(cells: CellsOf, counts: pa.Table) -> Counts:
    n, levels = len(cells.partition.paths), cells.partition.levels
    table = cell_counts.by_cell(counts, levels)
    number = _numbers(cells.partition, table)

    def column(name: str) -> Int64Array:
        values = np.zeros(n, np.int64)
        values[number] = table.column(name).to_numpy()
        return values

    documents = column("documents")
    bins = np.zeros(counts.num_rows, WEIGHTS)
    bins["domain"] = _numbers(cells.partition, counts)
    for name in ("bin", "documents", "tokens", "low", "low_tokens"):
        bins[name] = counts.column(name).to_numpy()
    return Counts(
        cells=cells,
        documents=documents,
        tokens=column("tokens"),
        largest=column("largest"),
        quality=fixedpoint.from_fixed(column("quality")) / np.maximum(documents, 1),
        weighted=column("weighted") / WEIGHTED,
        bins=bins[np.argsort(bins["domain"], kind="stable")],
    )


def _numbers(partition: Partition, table: pa.Table) -> npt.NDArray[np.int32]:
    return cell_numbers(
        partition, {level: table.column(level).combine_chunks() for level in partition.levels}
    )


def gather(job: Job, counts: Counts, params: MixtureParams) -> Facts:
    """What the strategies of a mixture need to know of the cells.

    Raises:
        PlanError: a strategy that goes by vectors shares among something that has none.
    """
    partition = counts.cells.partition
    facts = Facts(
        names=list(partition.names),
        documents=counts.documents,
        tokens=counts.tokens,
        budget=params.budget_tokens or int(counts.tokens.sum()),
        max_epochs=params.max_epochs,
        weighted_tokens=counts.weighted,
        quality=counts.quality,
    )
    if by_preference(params):
        return facts
    if params.strategies & {"smart", "mig", "target"}:
        facts = dataclasses.replace(facts, centroids=_centroids(job, partition, params))
    if "entropy" in params.strategies:
        from pipelines.facts_entropy import gather as gather_entropy

        facts = gather_entropy(job, facts, counts.cells)
    if "file" in params.strategies:
        from pipelines.facts_file import gather as gather_file

        facts = gather_file(job, facts, counts.cells)
    if "target" in params.strategies:
        from pipelines.facts_target import gather as gather_target

        facts = gather_target(job, facts, counts.cells)
    return facts


def _centroids(job: Job, partition: Partition, params: MixtureParams) -> npt.NDArray[np.float32]:
    """Unit vectors of the cells: of a domain the mean of its clusters', weighted by tokens."""
    if partition.levels not in {("domain",), ("cluster",)}:
        name = min(params.strategies & {"smart", "mig", "target"})
        raise PlanError(
            f"mixture.by: strategy {name!r} goes by vectors of domains or clusters; it cannot "
            f"share among {list(partition.levels)}; set by: domain or by: cluster"
        )
    centroids = partfiles.read_array(job.workdir.centroids).astype(np.float64)
    clusters = partfiles.read_table(
        job.workdir.path("clusters.parquet"), ["cluster", "n_tokens", "domain"]
    )
    level = partition.levels[0]
    values = pa.array([path[0] for path in partition.paths], pa.int64())
    wanted = clusters.column(level).combine_chunks().cast(pa.int64())
    place = cell_numbers(partition, {level: wanted})
    weights = np.where(place >= 0, clusters.column("n_tokens").to_numpy(), 0).astype(np.float64)
    vectors = np.zeros((len(values), centroids.shape[1]))
    mine = np.flatnonzero(place >= 0)
    rows = clusters.column("cluster").to_numpy()[mine]
    np.add.at(vectors, place[mine], centroids[rows] * np.maximum(weights[mine], 1)[:, None])
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: npt.NDArray[np.float32] = (vectors / np.where(lengths > 0, lengths, 1)).astype(np.float32)
    return unit
