"""The cluster stage: ``embeddings/`` to ``assignments/`` and the tables of clusters and domains."""

from __future__ import annotations

import time

import pyarrow.compute as pc

from mixcurate.errors import JobError
from mixcurate.io import partfiles, storage
from mixcurate.io.workdir import Part, Success
from mixcurate.kernels.hashing import fingerprint
from mixcurate.kernels.kmeans import effective_k
from mixcurate.transforms.cluster import ASSIGN, Cluster, fit_note_path
from mixcurate.transforms.domains import CLUSTER
from mixcurate.transforms.tasks import Task, split, summarise
from pipelines.job import Job, finish, say_resumed, up_to_date

VERSION = "1"

#: Tables that the stage writes beside its parts.
TABLES = ("clusters.parquet", "domains.parquet")

#: Documents that one core assigns in a second, reading included; only decides about processes.
_DOCUMENTS_PER_SECOND = 20_000


def run(job: Job) -> Success:
    """Cluster, or say that it is up to date."""
    started = time.perf_counter()
    ingested, embedded = job.require("ingest"), job.require("embed")
    params, seed = job.recipe.cluster, job.recipe.seed
    seals = [
        f"{document.digest} {vector.digest}"
        for document, vector in zip(ingested.parts, embedded.parts, strict=True)
    ]
    fit_mark = fingerprint(
        "fit",
        VERSION,
        str(params.k),
        str(params.iterations),
        str(params.sample_per_cluster),
        str(seed),
        *seals,
    )
    mark = fingerprint(CLUSTER, VERSION, fit_mark, params.model_dump_json())
    tables = [job.workdir.path(name) for name in TABLES]
    if success := up_to_date(job, CLUSTER, mark, [*tables, job.workdir.centroids]):
        return success
    documents = ingested.documents_out
    if documents == 0:
        raise JobError(
            "there are no documents to cluster: ingest rejected everything; see rejected/"
        )
    k = effective_k(params.k, documents)
    if k < params.k:
        job.reporter.say(
            f"cluster: k lowered from {params.k:,} to {k:,}: {documents:,} documents are fewer "
            f"than eight per cluster"
        )
    names = [part.name for part in ingested.parts]
    assign = split(job.workdir, ASSIGN, [Task(n, fingerprint(ASSIGN, fit_mark, n)) for n in names])
    say_resumed(job, CLUSTER, len(assign.done), len(names))
    prune = split(job.workdir, CLUSTER, [Task(n, fingerprint(mark, n)) for n in names])
    stage = Cluster(
        workdir=job.workdir,
        params=params,
        seed=seed,
        k=k,
        share=min(1.0, k * params.sample_per_cluster / documents),
        parts=names,
        fit_mark=fit_mark,
        fitted=_fitted(job, fit_mark),
        assign=assign,
        prune=prune.todo + [Task(r.task, r.fingerprint) for r in prune.done],
    )
    with job.reporter.watch(
        job.workdir, CLUSTER, stage=ASSIGN, done=len(assign.done), tasks=len(names)
    ):
        seconds = documents / _DOCUMENTS_PER_SECOND
        job.run_pipeline(CLUSTER, stage.build, work_seconds=seconds)
    return finish(job, CLUSTER, _success(job, mark, k), started)


def _fitted(job: Job, fit_mark: str) -> bool:
    """Whether the centroids on disk are those of this very fit."""
    note = fit_note_path(job.workdir)
    return (
        storage.exists(job.workdir.centroids)
        and storage.exists(note)
        and storage.read_json(note)["fingerprint"] == fit_mark
    )


def _success(job: Job, mark: str, k: int) -> Success:
    clusters = partfiles.read_table(job.workdir.path("clusters.parquet"))
    if not pc.any(clusters.column("kept")).as_py():
        best = pc.max(clusters.column("mean_quality")).as_py()
        raise JobError(
            f"every cluster was pruned: the best mean quality is {best:.3f}; lower "
            f"cluster.prune.min_quality or set prune: null"
        )
    results = list(job.workdir.committed(CLUSTER).values())
    assigned = job.workdir.committed(ASSIGN)
    parts = [
        Part(r.task, r.documents_out, r.tokens, assigned[r.task].outputs[0].digest) for r in results
    ]
    tables = {name: storage.digest(job.workdir.path(name)) for name in TABLES}
    domains = partfiles.read_table(job.workdir.path("domains.parquet"), ["domain"]).num_rows
    details = {
        "k": k,
        "clusters_kept": int(pc.sum(clusters.column("kept")).as_py()),
        "domains": domains,
        "digests": tables,
    }
    return summarise(mark, results, parts=parts, details=details)
