"""What the cluster stage drops by the vectors of its documents: duplicates, then prototypes."""

from __future__ import annotations

import numpy as np

from mixcurate.io import storage
from mixcurate.kernels.prototypes import Limit
from mixcurate.transforms import semantic
from mixcurate.transforms.cluster_files import CLUSTER
from mixcurate.transforms.prototypes import FindPrototypes, Pool, limit_path
from pipelines.cluster_tables import Clusters
from pipelines.decision import Decision
from pipelines.job import Job

#: Documents that one core compares or counts in a second; only decides about processes.
_COMPARED_PER_SECOND = 10_000
_COUNTED_PER_SECOND = 100_000


def find_duplicates(
    job: Job, parts: list[str], clusters: Clusters, decision: Decision, fit_mark: str
) -> str:
    """Look for semantic duplicates if they are asked for; a fingerprint of what was found."""
    params, workdir = job.recipe.cluster.dedup, job.workdir
    if params is None:
        return ""
    plan = semantic.plan(
        workdir,
        params,
        seed=job.recipe.seed,
        clusters=semantic.Clusters(
            kept=decision.domain >= 0,
            documents=clusters.numbers["n_documents"],
            metric=clusters.metric,
        ),
        parts=parts,
        upstream=fit_mark,
    )
    if not plan.finished:
        documents = int(clusters.numbers["n_documents"].sum())
        job.run_pipeline(CLUSTER, plan.build, work_seconds=documents / _COMPARED_PER_SECOND)
    return plan.mark


def find_prototypes(
    job: Job, parts: list[str], clusters: Clusters, decision: Decision
) -> Limit | None:
    """The last document that is dropped as a prototype, if they are."""
    params, workdir = job.recipe.cluster, job.workdir
    if params.prototypes is None:
        return None
    storage.remove(limit_path(workdir))
    pool = Pool(
        workdir, np.asarray(decision.domain >= 0), job.recipe.seed, params.dedup is not None
    )
    stage = FindPrototypes(pool, parts, params.prototypes)
    documents = int(clusters.numbers["n_documents"].sum())
    job.run_pipeline(CLUSTER, stage.build, work_seconds=documents / _COUNTED_PER_SECOND)
    return Limit(**storage.read_json(limit_path(workdir)))
