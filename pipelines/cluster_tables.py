"""The tables of clusters and domains, from what the parts have added up."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mixcurate.errors import RequestError
from mixcurate.io import partfiles
from mixcurate.io.workdir import Workdir
from mixcurate.kernels import cluster_statistics, domains, drift, fixedpoint
from mixcurate.kernels.cluster_statistics import OVERALL
from mixcurate.kernels.kmeans import Metric
from mixcurate.tables import DOMAINS
from mixcurate.transforms.cluster_files import counts_path, sums_path
from mixcurate.transforms.label import DOMAIN_SUMS, domain_sums_path
from pipelines.decision import Decision, Tiered

Float64Array = npt.NDArray[np.float64]
Int32Array = npt.NDArray[np.int32]


@dataclasses.dataclass(frozen=True)
class Clusters:
    """The clusters as they were measured, and what becomes of each.

    Attributes:
        centroids: float32 ``[k, d]``.
        numbers: the sums' rows by name, int64 ``[k]``.
        counts: what is counted by value (``cluster_statistics.COUNTS``).
        metric: of distances.
        unit: distances were added as multiples of it.
        mean_quality: float64 ``[k]``.
        dimensions: mean of each quality dimension, float64 ``[k]``.
    """

    centroids: npt.NDArray[np.float32]
    numbers: dict[str, npt.NDArray[np.int64]]
    counts: pa.Table
    metric: Metric
    unit: float
    mean_quality: Float64Array
    dimensions: dict[str, Float64Array]

    def distance(self) -> tuple[Float64Array, Float64Array]:
        """Mean and standard deviation of the distance to the centroid."""
        return moments(self.numbers, self.unit)


def moments(
    numbers: dict[str, npt.NDArray[np.int64]], unit: float
) -> tuple[Float64Array, Float64Array]:
    """Mean and standard deviation of distances from their sums."""
    count = np.maximum(numbers["n_documents"], 1)
    mean = fixedpoint.from_fixed(numbers["distance"]) / count
    square = fixedpoint.from_fixed(numbers["squared_distance"]) / count
    spread = np.sqrt(np.maximum(square - mean * mean, 0))
    return mean * unit, spread * unit


def read_clusters(
    workdir: Workdir, judged: list[str], carried: Sequence[str], note: dict[str, Any]
) -> Clusters:
    """The clusters as the parts have measured them.

    Args:
        workdir: of the job.
        judged: quality dimensions, in the order of the sums.
        carried: numbers of the documents that pruning asks for, after these.
        note: how the centroids were fitted.

    Raises:
        RequestError: no document carries a dimension that is asked for.
    """
    sums = partfiles.read_array(sums_path(workdir))
    dimensions = [OVERALL, *judged, *carried]
    numbers = dict(zip(cluster_statistics.rows(dimensions), sums, strict=True))
    means: dict[str, Float64Array] = {}
    missing = []
    for name in dimensions:
        count = numbers[f"count {name}"]
        if count.sum() == 0 and name in carried:
            missing.append(name)
        with np.errstate(invalid="ignore", divide="ignore"):
            means[name] = fixedpoint.from_fixed(numbers[f"sum {name}"]) / count
    if missing:
        raise RequestError(
            f"cluster.prune asks for {', '.join(missing)}, but no document carries such a number. "
            f"Give it as a field of the inputs, add it to score.quality as a head or a classifier, "
            f"or prune by the dimensions that there are: {', '.join(judged)}"
        )
    return Clusters(
        centroids=partfiles.read_array(workdir.centroids),
        numbers=numbers,
        counts=partfiles.read_table(counts_path(workdir)),
        metric=note["metric"],
        unit=note["unit"],
        mean_quality=means.pop(OVERALL),
        dimensions=means,
    )


def write_cluster_table(workdir: Workdir, clusters: Clusters, decision: Decision) -> str:
    """Write ``clusters.parquet``, one row per cluster; its path."""
    mean, spread = clusters.distance()
    k = len(clusters.centroids)
    pairs = pa.map_(pa.string(), pa.int64())
    by_kind = {
        kind: pa.array(cluster_statistics.by_cluster(clusters.counts, kind, k), pairs)
        for kind in ("language", "source")
    }
    far = cluster_statistics.distance_counts(clusters.counts)
    table = pa.table(
        {
            "cluster": pa.array(np.arange(k, dtype=np.int32)),
            "n_documents": clusters.numbers["n_documents"],
            "n_tokens": clusters.numbers["n_tokens"],
            "mean_distance": mean,
            "std_distance": spread,
            "distance_p99": drift.quantiles(far.group, far.bins, far.documents, groups=k, q=0.99),
            "separation": domains.separation(clusters.centroids),
            "mean_quality": np.nan_to_num(clusters.mean_quality),
            **{f"mean_quality_{name}": values for name, values in clusters.dimensions.items()},
            "languages": by_kind["language"],
            "sources": by_kind["source"],
            "kept": pa.array([reason is None for reason in decision.reasons]),
            "drop_reason": pa.array(decision.reasons, pa.string()),
            "drop_detail": pa.array(decision.details, pa.string()),
            "domain": decision.domain,
        }
    )
    path = workdir.path("clusters.parquet")
    partfiles.write_table(path, table)
    return path


def write_domain_table(
    workdir: Workdir, clusters: Clusters, decision: Decision, tiered: Tiered
) -> None:
    """Write ``domains.parquet``, one row per domain, from what the labelled parts add up to."""
    sums = dict(zip(DOMAIN_SUMS, partfiles.read_array(domain_sums_path(workdir)), strict=True))
    count = np.maximum(sums["n_documents"], 1)
    mean, spread = moments(sums, clusters.unit)
    base = np.array(tiered.base)
    far = cluster_statistics.domain_distances(clusters.counts, decision.domain)
    p99 = drift.quantiles(far.group, far.bins, far.documents, groups=len(decision.names), q=0.99)
    weights = clusters.numbers["n_documents"]
    nearest = domains.nearest_domains(clusters.centroids, decision.domain, weights)
    square = fixedpoint.from_fixed(sums["squared_distance"]) / count * clusters.unit**2
    table = pa.Table.from_arrays(
        [
            pa.array(np.arange(len(base), dtype=np.int32)),
            pa.array(tiered.ids),
            pa.array(tiered.names),
            pa.array([decision.keywords[b] for b in base], pa.list_(pa.string())),
            pa.array([int((decision.domain == b).sum()) for b in base], pa.int32()),
            pa.array(sums["n_documents"]),
            pa.array(sums["n_tokens"]),
            pa.array(fixedpoint.from_fixed(sums["quality"]) / count),
            pa.array(mean),
            pa.array(spread),
            pa.array(p99[base]),
            # cosine to the centroid of a unit vector is 1 - d^2 / 2
            pa.array(1 - square / 2 if clusters.metric == "cosine" else np.full(len(base), np.nan)),
            pa.array(
                [[n * (len(base) // len(nearest)) for n in nearest[b]] for b in base],
                pa.list_(pa.int32()),
            ),
        ],
        schema=DOMAINS,
    )
    partfiles.write_table(workdir.path("domains.parquet"), table)
