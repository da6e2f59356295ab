"""Where cluster keeps what other stages and the report read.

Apart from the stage, which loads all that clustering needs.
"""

from __future__ import annotations

from mixcurate.io.workdir import Workdir

CLUSTER = "cluster"


def fit_note_path(workdir: Workdir) -> str:
    """What tells which fit the centroids on disk are of, and how it went."""
    return workdir.path("_stages", CLUSTER, "fit.json")


def groups_path(workdir: Workdir) -> str:
    """Group of each cluster, where the fit has grouped them: int32 ``[k]``."""
    return workdir.path("_stages", CLUSTER, "groups.npy")


def grouping_path(workdir: Workdir) -> str:
    """What gives documents their group (``kernels.grouping``): float32 ``[d + 1, groups]``."""
    return workdir.path("_stages", CLUSTER, "grouping.npy")


def sums_path(workdir: Workdir) -> str:
    """Sums per cluster over the corpus: int64 ``[len(rows), k]``."""
    return workdir.path("_stages", CLUSTER, "sums.npy")


def counts_path(workdir: Workdir) -> str:
    """Languages, sources and distances per cluster over the corpus."""
    return workdir.path("_stages", CLUSTER, "counts.parquet")


def map_path(workdir: Workdir) -> str:
    """Where the report's map is."""
    return workdir.path("map.parquet")
