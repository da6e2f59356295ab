"""Diversity of a part's documents as its step has left it.

Apart from the step, which loads all that clustering needs.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mixcurate.io import partfiles, storage
from mixcurate.io.workdir import Workdir
from mixcurate.kernels import diversity
from mixcurate.kernels.scoring import DiversityParams

DIVERSITY = "diversity"


def diversity_path(workdir: Workdir, *names: str) -> str:
    """A file of the step: ``centroids.npy``, ``clusters.parquet``, ``note.json``, ``fit.json``."""
    return workdir.path("_stages", DIVERSITY, *names)


def measured_path(workdir: Workdir, part: str) -> str:
    """Cluster and distance of each document of a part."""
    return diversity_path(workdir, "parts", f"part-{part}.parquet")


def read_clusters(workdir: Workdir) -> diversity.Clusters:
    """What is known of each cluster."""
    table = partfiles.read_table(diversity_path(workdir, "clusters.parquet"))
    names = ("n_documents", "compactness", "separation")
    return diversity.Clusters(*(table.column(name).to_numpy() for name in names))


def cluster_of(workdir: Workdir, part: str) -> npt.NDArray[np.int32]:
    """Cluster of each document of a part: int32 ``[n]``, -1 where it is not in the pool."""
    table = partfiles.read_table(measured_path(workdir, part), ["cluster"])
    found: npt.NDArray[np.int32] = table.column("cluster").to_numpy()
    return found


def read_diversity(workdir: Workdir, part: str) -> npt.NDArray[np.float64]:
    """Diversity of each document of a part: float64 ``[n]``, 0 where it is not in the pool."""
    params = DiversityParams(**storage.read_json(diversity_path(workdir, "note.json"))["params"])
    own = "neighbours" if params.compactness == "neighbours" else "distance"
    table = partfiles.read_table(measured_path(workdir, part), ["cluster", own])
    return diversity.of_documents(
        table.column("cluster").to_numpy(),
        table.column(own).to_numpy(),
        read_clusters(workdir),
        each=params.compactness != "cluster",
    )
