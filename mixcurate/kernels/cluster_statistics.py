"""What is known of each cluster, as partial results that merge in any order to the same bits.

Sums are integers (``fixedpoint``); what is counted by value (languages, sources, bins of distance)
is one sparse table, so that neither grows with the number of documents.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from mixcurate.kernels import drift, fixedpoint

#: How often each value of a kind occurs in a cluster; cluster -1 is the whole corpus.
COUNTS = pa.schema(
    [
        pa.field("cluster", pa.int32(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),  # language, source, distance or quality
        pa.field("value", pa.string(), nullable=False),
        pa.field("n_documents", pa.int64(), nullable=False),
        pa.field("n_tokens", pa.int64(), nullable=False),
    ]
)

#: Equal bins of quality between 0 and 1, counted over the corpus for its quantiles.
QUALITY_BINS = 1_024

#: Name of quality as a whole among the dimensions; no dimension is named so.
OVERALL = ""

_FIRST = ("n_documents", "n_tokens", "distance", "squared_distance")


@dataclasses.dataclass(frozen=True)
class Batch:
    """Documents of a batch, one element each.

    Attributes:
        cluster: int32 ``[n]``; -1 where a document has none: it is not counted.
        distance: float32 ``[n]`` to its centroid.
        n_tokens: int64 ``[n]``.
        dimensions: quality dimensions, float32 ``[n]``; NaN where a document does not carry one.
        values: strings to be counted, by kind.
    """

    cluster: npt.NDArray[np.int32]
    distance: npt.NDArray[np.float32]
    n_tokens: npt.NDArray[np.int64]
    dimensions: Mapping[str, npt.NDArray[np.float32]]
    values: Mapping[str, pa.Array]


def rows(dimensions: Sequence[str]) -> list[str]:
    """Names of the rows of ``sums``; a dimension has its sum and the documents that carry it."""
    return [*_FIRST, *(f"{kind} {name}" for name in dimensions for kind in ("sum", "count"))]


def sums(batch: Batch, k: int, unit: float) -> npt.NDArray[np.int64]:
    """Sums per cluster: int64 ``[len(rows), k]``.

    Args:
        batch: the documents.
        k: number of clusters.
        unit: distances are added as multiples of it, so that they stay near one.
    """
    known = batch.cluster >= 0
    cluster = batch.cluster[known]
    distance = batch.distance[known].astype(np.float64) / unit
    values = [
        np.ones(len(cluster), np.int64),
        batch.n_tokens[known].astype(np.int64),
        fixedpoint.to_fixed(distance),
        fixedpoint.to_fixed(distance * distance),
    ]
    for dimension in batch.dimensions.values():
        carried = np.isfinite(dimension[known])
        values.append(fixedpoint.to_fixed(np.where(carried, dimension[known], 0)))
        values.append(carried.astype(np.int64))
    return np.stack([fixedpoint.sums_by_group(value, cluster, k) for value in values])


def counts(batch: Batch) -> pa.Table:
    """How often each value occurs in each cluster, bins of distance and of quality included.

    A document without a cluster is not counted.
    """
    known = batch.cluster >= 0
    tokens = pa.array(batch.n_tokens[known].astype(np.int64))
    bins = drift.distance_bins(batch.distance[known])
    kinds: dict[str, pa.Array] = {"distance": pa.array(bins).cast(pa.string())}
    mask = pa.array(known)
    kinds |= {kind: values.filter(mask) for kind, values in batch.values.items()}
    cluster = pa.array(batch.cluster[known])
    pieces = [
        pa.Table.from_arrays(
            [cluster, pa.repeat(kind, len(values)), values, pa.repeat(1, len(values)), tokens],
            schema=COUNTS,
        )
        for kind, values in kinds.items()
    ]
    return merge_counts(pieces)


def quality_counts(quality: npt.NDArray[np.float32], n_tokens: npt.NDArray[np.int64]) -> pa.Table:
    """Documents and tokens of the whole corpus by bin of quality."""
    bins = np.minimum((quality * QUALITY_BINS).astype(np.int64), QUALITY_BINS - 1)
    n = len(bins)
    piece = pa.Table.from_arrays(
        [
            pa.repeat(pa.scalar(-1, pa.int32()), n),
            pa.repeat("quality", n),
            pa.array(bins).cast(pa.string()),
            pa.repeat(1, n),
            pa.array(n_tokens.astype(np.int64)),
        ],
        schema=COUNTS,
    )
    return merge_counts([piece])


def merge_counts(tables: Sequence[pa.Table]) -> pa.Table:
    """One table of many, sorted: the same whatever their order."""
    if not tables:
        return COUNTS.empty_table()
    keys = ["cluster", "kind", "value"]
    joined = pa.concat_tables(tables).group_by(keys, use_threads=False)
    merged = joined.aggregate([("n_documents", "sum"), ("n_tokens", "sum")])
    merged = merged.rename_columns([*keys, "n_documents", "n_tokens"])
    return merged.sort_by([(key, "ascending") for key in keys]).cast(COUNTS)


def quality_bounds(counted: pa.Table, tiers: int) -> list[float]:
    """Bounds between tiers of as many documents each, to the width of a bin.

    Where many documents share a bin, bounds that fall together are one: there are fewer tiers.

    Args:
        counted: of ``quality_counts``, merged.
        tiers: how many.
    """
    per_bin = np.zeros(QUALITY_BINS, np.int64)
    mine = counted.filter(pc.equal(counted.column("kind"), "quality"))
    np.add.at(
        per_bin,
        mine.column("value").cast(pa.int64()).to_numpy(),
        mine.column("n_documents").to_numpy(),
    )
    up_to = np.cumsum(per_bin)
    wanted = [up_to[-1] * number / tiers for number in range(1, tiers)]
    found = {int(np.searchsorted(up_to, want)) + 1 for want in wanted}
    return [edge / QUALITY_BINS for edge in sorted(found) if edge < QUALITY_BINS]


def by_cluster(counted: pa.Table, kind: str, k: int) -> list[list[tuple[str, int]]]:
    """Documents by value of one kind, for each cluster; the most frequent value first."""
    found: list[list[tuple[str, int]]] = [[] for _ in range(k)]
    mine = counted.filter(pc.equal(counted.column("kind"), kind))
    columns = (mine.column(name).to_pylist() for name in ("cluster", "value", "n_documents"))
    for cluster, value, documents in zip(*columns, strict=True):
        found[cluster].append((value, documents))
    return [sorted(values, key=lambda item: (-item[1], item[0])) for values in found]


def domain_distances(counted: pa.Table, domain: npt.NDArray[np.int32]) -> drift.Distances:
    """How many documents of each domain lie at which distance.

    Args:
        counted: of all parts.
        domain: of each cluster, int32 ``[k]``; -1 where it has none: not counted.
    """
    found = distance_counts(counted)
    return drift.count_distances(domain[found.group], found.bins, found.documents)


def distance_counts(counted: pa.Table) -> drift.Distances:
    """How many documents of each cluster lie at which distance."""
    mine = counted.filter(pc.equal(counted.column("kind"), "distance"))
    return drift.count_distances(
        mine.column("cluster").to_numpy(),
        mine.column("value").cast(pa.int16()).to_numpy(),
        mine.column("n_documents").to_numpy(),
    )
