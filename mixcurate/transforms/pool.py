"""What is known of the whole pool before documents are scored: a few small reductions over parts.

How far the scores reach, the sum of the exponentials, and how much there is of which weight; each
merges to the same bits in any order, and nothing is ever collected.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Any

import apache_beam as beam
import numpy as np
import numpy.typing as npt

from mixcurate.io import partfiles, storage
from mixcurate.io.workdir import Workdir
from mixcurate.kernels import allocation, weights
from mixcurate.kernels.allocation import Amounts, CopyRule, Scale
from mixcurate.kernels.scoring import WeightParams
from mixcurate.kernels.weights import Documents, Extent, Mean, Ranks
from mixcurate.transforms.diversity_columns import (
    read_diversity,
)
from mixcurate.transforms.quality_columns import read_overall
from mixcurate.transforms.tasks import create

SCORE = "score"

#: What copies are rounded by, and the draw orders them by.
DRAW = "draw"

#: Groups up to which weights are counted in fine bins: some 30,000 bins of 40 bytes each at the
#: default temperature.
_FINE_GROUPS = 64


@dataclasses.dataclass(frozen=True)
class WeighPlan:
    """What every worker knows of the weights.

    Attributes:
        params: of the weights.
        domains: number of domains.
        budget_tokens: of the corpus; None for as many as the pool has.
        seed: of the draw.
    """

    params: WeightParams
    domains: int
    budget_tokens: int | None
    seed: int

    @property
    def groups(self) -> int:
        """How many groups documents are compared within."""
        return self.domains if self.params.within == "domain" else 1

    @property
    def low_bits(self) -> int:
        """How wide the bins of weights are that scales are found on."""
        return allocation.FINE if self.groups <= _FINE_GROUPS else allocation.COARSE

    @property
    def in_proportion(self) -> bool:
        """Whether copies are a multiple of the weight, the same for all, whatever the weights."""
        plain = self.params.method == "samplemix" and self.params.max_epochs is None
        return plain and self.params.exact == "documents"

    @property
    def rule(self) -> CopyRule:
        """How weights become copies."""
        return rule_of(self.params)


def rule_of(params: WeightParams) -> CopyRule:
    """How weights become copies."""
    cap = float("inf") if params.max_epochs is None else params.max_epochs
    return CopyRule(params.method, params.penalty, cap)


@dataclasses.dataclass(frozen=True)
class PoolFacts:
    """What is known of the whole pool before documents are scored."""

    extent: Extent
    ranks: Ranks | None
    mean: Mean
    scales: tuple[Scale, ...]


def facts_path(workdir: Workdir) -> str:
    """The facts as a file, for the driver."""
    return workdir.path("_stages", SCORE, "facts.json")


@dataclasses.dataclass(frozen=True)
class Read:
    """A part's documents in the pool, and where they stand.

    Attributes:
        pool: bool ``[n]``, which of the part's documents are in the pool.
        domain: int32, of these.
        documents: these.
    """

    pool: npt.NDArray[np.bool_]
    domain: npt.NDArray[np.int32]
    documents: Documents


#: What the passes over the pool need of a document.
_GATHERED = np.dtype(
    [("domain", "<i4"), ("tokens", "<i4"), ("quality", "<f4"), ("diversity", "<f8")]
)


def gathered_path(workdir: Workdir, part: str) -> str:
    """What the first pass leaves of a part for the others: they open one small file, not five."""
    return workdir.path("_stages", SCORE, "gathered", f"part-{part}.npy")


def gather_part(workdir: Workdir, part: str) -> None:
    """Leave that file."""
    assigned = partfiles.read_table(workdir.part("cluster", part), ["domain"])
    tokens = partfiles.read_table(workdir.part("ingest", part), ["n_tokens"])
    rows = np.empty(assigned.num_rows, _GATHERED)
    rows["domain"] = assigned.column("domain").to_numpy()
    rows["tokens"] = tokens.column("n_tokens").to_numpy()
    rows["quality"] = read_overall(workdir, part)
    rows["diversity"] = read_diversity(workdir, part)
    partfiles.write_array(gathered_path(workdir, part), rows)


def read_part(workdir: Workdir, part: str, plan: WeighPlan) -> Read:
    """What is known of one part's documents before weighing, once it is gathered."""
    rows = partfiles.read_array(gathered_path(workdir, part))
    domain = np.ascontiguousarray(rows["domain"])
    pool = domain >= 0
    mine = domain[pool]
    documents = Documents(
        quality=rows["quality"][pool].astype(np.float64),
        diversity=rows["diversity"][pool],
        tokens=rows["tokens"][pool].astype(np.int64),
        group=mine.astype(np.int64) if plan.groups > 1 else np.zeros(len(mine), np.int64),
    )
    return Read(pool, mine, documents)


class MeasureExtent(beam.DoFn):
    """Gather a part, and how far its scores reach."""

    def __init__(self, workdir: Workdir, plan: WeighPlan) -> None:
        self._workdir, self._plan = workdir, plan

    def process(self, part: str) -> Iterator[Extent]:
        """Yield its extent."""
        gather_part(self._workdir, part)
        documents = read_part(self._workdir, part, self._plan).documents
        yield Extent.of(documents, self._plan.groups)


def merge_extents(extents: Iterable[Extent]) -> Extent:
    """The extent of all parts."""
    first, *others = extents
    for other in others:
        first = first.merge(other)
    return first


class CountRanks(beam.DoFn):
    """How many documents of a part have which score."""

    def __init__(self, workdir: Workdir, plan: WeighPlan) -> None:
        self._workdir, self._plan = workdir, plan

    def process(self, part: str, extent: Extent) -> Iterator[Ranks]:
        """Yield its counts."""
        documents = read_part(self._workdir, part, self._plan).documents
        yield Ranks.of(extent.unit(documents), documents.group, self._plan.groups)


class SumPowers(beam.DoFn):
    """Sums of exp((p - 1) / tau) of a part."""

    def __init__(self, workdir: Workdir, plan: WeighPlan) -> None:
        self._workdir, self._plan = workdir, plan

    def process(
        self, part: str, extent: Extent, ranks: Ranks | None
    ) -> Iterator[dict[tuple[int, int], int]]:
        """Yield its sums."""
        documents = read_part(self._workdir, part, self._plan).documents
        units = weights.units_of(documents, extent, ranks)
        yield weights.sum_powers(weights.powers(units, self._plan.params), documents.group)


class BinWeights(beam.DoFn):
    """How much there is of which weight in a part."""

    def __init__(self, workdir: Workdir, plan: WeighPlan) -> None:
        self._workdir, self._plan = workdir, plan

    def process(
        self, part: str, extent: Extent, ranks: Ranks | None, mean: Mean
    ) -> Iterator[bytes]:
        """Yield ``allocation.WEIGHTS`` records as bytes, by group in place of domain."""
        read = read_part(self._workdir, part, self._plan)
        units = weights.units_of(read.documents, extent, ranks)
        values = weights.powers(units, self._plan.params)
        weight = weights.weights(values, mean, read.documents.group)
        group = read.documents.group.astype(np.int32)
        tokens, low_bits = read.documents.tokens, self._plan.low_bits
        yield allocation.bin_weights(weight, tokens, group, low_bits).tobytes()


def merge_bins(pieces: Iterable[bytes]) -> bytes:
    """One table of weights of many."""
    records = [np.frombuffer(piece, allocation.WEIGHTS) for piece in pieces]
    return allocation.merge_bins(records).tobytes()


def find_facts(
    extent: Extent, ranks: Ranks | None, mean: Mean, bins: bytes | None, plan: WeighPlan
) -> PoolFacts:
    """The scale of each group's copies, with what came before.

    Raises:
        PlanError: the cap does not allow what the budget asks for.
    """
    if bins is None:  # weights are one on average
        each = targets(extent, plan) / np.maximum(extent.documents, 1)
        return PoolFacts(extent, ranks, mean, tuple(Scale(scale) for scale in each.tolist()))
    records = np.frombuffer(bins, allocation.WEIGHTS)
    budget = targets(extent, plan)
    scales = []
    for group in range(plan.groups):
        mine = records[records["domain"] == group]
        amounts = Amounts.of(mine, plan.params.exact, plan.low_bits)
        share = float(budget[group])
        scales.append(allocation.find_scale(plan.rule, amounts, share, plan.params.exact))
    return PoolFacts(extent, ranks, mean, tuple(scales))


def targets(extent: Extent, plan: WeighPlan) -> npt.NDArray[np.float64]:
    """What the expected copies of each group add up to, in documents or in tokens.

    As in the paper, the budget stands for as many documents as the pool has, times the budget over
    the pool's tokens; a group has its natural share of it.
    """
    tokens = float(extent.tokens.sum())
    share = 1.0 if plan.budget_tokens is None else plan.budget_tokens / max(tokens, 1.0)
    amount = extent.documents if plan.params.exact == "documents" else extent.tokens
    return amount.astype(np.float64) * share


def mean_of(extent: Extent, total: dict[tuple[int, int], int]) -> Mean:
    """The mean of each group's exponentials."""
    return Mean.of(total, extent.documents)


def write_facts(facts: PoolFacts, workdir: Workdir) -> None:
    """Leave what is known of the pool for the driver."""
    storage.write_json(
        facts_path(workdir),
        {
            "least": facts.extent.least.tolist(),
            "most": facts.extent.most.tolist(),
            "documents": facts.extent.documents.tolist(),
            "tokens": facts.extent.tokens.tolist(),
            "mean": np.ldexp(facts.mean.mantissa, facts.mean.exponent.astype(np.int32)).tolist(),
            "scale": [scale.value for scale in facts.scales],
            "whole": [scale.whole for scale in facts.scales],
        },
    )


def find_pool_facts(
    pipeline: beam.Pipeline, workdir: Workdir, plan: WeighPlan, names: list[str]
) -> beam.PCollection:
    """What is known of the pool, by one small reduction after the other."""
    single: Any = beam.pvalue.AsSingleton
    parts = create(pipeline, "Parts", names)
    extents = (
        parts
        | "Extents" >> beam.ParDo(MeasureExtent(workdir, plan))
        | "Extent of the pool" >> beam.CombineGlobally(merge_extents).without_defaults()
    )
    extent = single(extents)
    ranks = None
    if plan.params.normalise == "rank":
        counted = parts | "Count ranks" >> beam.ParDo(CountRanks(workdir, plan), extent)
        ranks = single(counted | "Ranks" >> beam.CombineGlobally(Ranks.merged))
    sums = parts | "Exponentials" >> beam.ParDo(SumPowers(workdir, plan), extent, ranks)
    total = sums | "Sum" >> beam.CombineGlobally(weights.merge_exponentials)
    mean = single(extents | "Mean" >> beam.Map(mean_of, single(total)))
    bins = None
    if not plan.in_proportion:
        binned = parts | "Bins" >> beam.ParDo(BinWeights(workdir, plan), extent, ranks, mean)
        bins = single(binned | "Merge bins" >> beam.CombineGlobally(merge_bins))
    facts = extents | "Facts" >> beam.Map(find_facts, ranks, mean, bins, plan)
    _ = facts | "Write facts" >> beam.Map(write_facts, workdir)
    return facts
