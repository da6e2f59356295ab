"""The cluster stage: ``embeddings/`` to ``assignments/`` and the tables of clusters and domains."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from typing import Any

import pyarrow.compute as pc

from mixcurate.errors import JobError
from mixcurate.io import partfiles, storage
from mixcurate.io.names_file import NamesFile, read_names, write_names
from mixcurate.io.workdir import Part, Success
from mixcurate.kernels import cluster_statistics
from mixcurate.kernels.fit_memory import memory_of_fit, sample_size
from mixcurate.kernels.hashing import fingerprint
from mixcurate.kernels.kmeans import effective_k
from mixcurate.transforms.cluster import ASSIGN, AssignPart, FitAndAssign
from mixcurate.transforms.cluster_files import (
    CLUSTER,
    counts_path,
    fit_note_path,
    groups_path,
    sums_path,
)
from mixcurate.transforms.fit import FitPlan
from mixcurate.transforms.label import Label, LabelPart, LabelRules, domain_sums_path
from mixcurate.transforms.quality_columns import read_dimensions
from mixcurate.transforms.tasks import Task, split, summarise
from pipelines import cluster_tables, domains, refit, semantic, update
from pipelines.classifier import write_classifier
from pipelines.cluster_tables import Clusters
from pipelines.decision import Decision, Tiered, divide, write_decision, write_domain_of
from pipelines.job import Job, finish, resolve, say_resumed, up_to_date
from pipelines.naming import make_namer
from pipelines.quality import run_quality
from pipelines.report_map import write_map

VERSION = "3"

#: Tables that the stage writes beside its parts.
TABLES = ("clusters.parquet", "domains.parquet")

#: Documents that one core assigns in a second, reading included; only decides about processes.
_DOCUMENTS_PER_SECOND = 20_000

#: Documents that one core labels in a second.
_LABELS_PER_SECOND = 50_000


@dataclasses.dataclass(frozen=True)
class _Work:
    """What the steps of one run share."""

    job: Job
    ingested: Success
    encoder: dict[str, Any]
    frozen: update.Frozen | None
    names_file: NamesFile | None
    judged: list[str]
    fit_mark: str
    quality_mark: str
    mark: str

    @property
    def parts(self) -> list[str]:
        return [part.name for part in self.ingested.parts]

    @property
    def tiers_by_number(self) -> bool:
        merge = self.job.recipe.cluster.merge
        return merge is not None and isinstance(merge.tiers, int)

    @property
    def carried(self) -> tuple[str, ...]:
        """Quality dimensions that documents have to carry."""
        prune = self.job.recipe.cluster.prune
        asked = prune.asked if prune and self.frozen is None else {}
        return tuple(sorted(name for name in asked if name not in self.judged))


def check(job: Job) -> None:
    """Find what is wrong with the stage's files, before the stages that come before this one.

    Raises:
        RequestError: the workdir of `onto` or the file of names cannot be used.
    """
    _names_file(job)
    with make_namer(job) or contextlib.nullcontext():
        pass  # its address and its key can be used
    if job.recipe.cluster.onto is not None:
        update.read_frozen(job)


def run(job: Job) -> Success:
    """Cluster, or say that it is up to date."""
    started = time.perf_counter()
    work = _work(job)
    tables = [job.workdir.path(name) for name in TABLES]
    before = job.workdir.success(CLUSTER)
    if success := up_to_date(job, CLUSTER, work.mark, [*tables, job.workdir.centroids]):
        return success
    if work.ingested.documents_out == 0:
        raise JobError(
            "there are no documents to cluster: ingest rejected everything; see rejected/"
        )
    if before is not None and work.frozen is None:
        refit.keep_previous(job.workdir)
    _assign(work)
    note = storage.read_json(fit_note_path(job.workdir))
    for text in note["notes"]:
        job.reporter.say(f"cluster: {text}")
    clusters = cluster_tables.read_clusters(job.workdir, work.judged, work.carried, note)
    decision = _decide(work, clusters)
    tiered = divide(decision, _bounds(work, clusters))
    _label(work, clusters, decision, tiered)
    _write_tables(work, clusters, decision, tiered, note)
    return finish(job, CLUSTER, _success(work, decision, note), started)


def _names_file(job: Job) -> NamesFile | None:
    path = job.recipe.cluster.topics.names
    return None if path is None else read_names(resolve(job.base, path))


def _work(job: Job) -> _Work:
    ingested, embedded = job.require("ingest"), job.require("embed")
    params, seed = job.recipe.cluster, job.recipe.seed
    frozen = update.read_frozen(job) if params.onto is not None else None
    names_file = _names_file(job)
    encoder = embedded.details["encoder"]
    if frozen is not None:
        frozen.require_encoder(encoder)
    seals = [
        f"{document.digest} {vector.digest}"
        for document, vector in zip(ingested.parts, embedded.parts, strict=True)
    ]
    fitting = params.model_dump_json(
        include={
            "k", "silhouette", "metric", "levels", "iterations", "sample_per_cluster", "memory",
            "resample", "balance",
        }
    )  # fmt: skip
    merge = params.merge
    if merge is not None and merge.linkage == "spectral":  # clusters are grouped with the fit
        fitting += f" spectral {merge.domains}"
    fit_mark = fingerprint(
        "fit", VERSION, fitting, str(seed), frozen.digest if frozen else "", *seals
    )
    quality_mark = run_quality(job)
    judged = [dimension.name for dimension in read_dimensions(job.workdir)]
    names = names_file.digest if names_file else ""
    mark = fingerprint(CLUSTER, VERSION, fit_mark, quality_mark, params.model_dump_json(), names)
    return _Work(job, ingested, encoder, frozen, names_file, judged, fit_mark, quality_mark, mark)


def _assign(work: _Work) -> None:
    """Fit, assign, and add up; steps that are done are kept."""
    job, params = work.job, work.job.recipe.cluster
    assign = AssignPart(job.workdir, work.carried, work.tiers_by_number)
    asked = (work.fit_mark, work.quality_mark, *work.carried, str(work.tiers_by_number))
    tasks = [Task(name, fingerprint(ASSIGN, *asked, name)) for name in work.parts]
    done = split(job.workdir, ASSIGN, tasks)
    say_resumed(job, CLUSTER, len(done.done), len(tasks))
    added_up = all(storage.exists(path(job.workdir)) for path in (sums_path, counts_path))
    if not done.todo and added_up and _fitted(work):
        return
    documents = work.ingested.documents_out
    stage = FitAndAssign(
        plan=_fit_plan(work),
        parts=work.parts,
        fitted=_fitted(work),
        work=assign,
        assign=done,
    )
    if work.frozen is not None:
        work.frozen.write_centroids(job.workdir)
    elif not stage.fitted:
        _say_fit(work, stage.plan)
    for path in (sums_path, counts_path):
        storage.remove(path(job.workdir))
    with job.reporter.watch(
        job.workdir, CLUSTER, stage=ASSIGN, done=len(done.done), tasks=len(tasks)
    ):
        seconds = documents / _DOCUMENTS_PER_SECOND
        job.run_pipeline(CLUSTER, stage.build, work_seconds=seconds)
    if params.k == "silhouette" and not stage.fitted:
        chosen = storage.read_json(fit_note_path(job.workdir))
        job.reporter.say(f"cluster: k = {chosen['k']} has the best silhouette")


def _fit_plan(work: _Work) -> FitPlan:
    params, documents = work.job.recipe.cluster, work.ingested.documents_out
    most = params.silhouette.most if params.k == "silhouette" else params.k
    k = effective_k(most, documents)
    rows = sample_size(
        k, params.sample_per_cluster, documents, work.encoder["dimension"], int(params.memory)
    )
    if params.map is not None:
        rows = max(rows, params.map.documents)
    if work.frozen is not None:
        params = params.model_copy(update={"metric": work.frozen.note["metric"]})
    return FitPlan(
        params=params,
        k=None if params.k == "silhouette" else k,
        documents=documents,
        share=min(1.0, rows / documents),
        seed=work.job.recipe.seed,
        mark=work.fit_mark,
        frozen=work.frozen is not None,
        encoder=work.encoder,
    )


def _say_fit(work: _Work, plan: FitPlan) -> None:
    """What the fit will do and need, before it starts."""
    params, say = work.job.recipe.cluster, work.job.reporter.say
    k = plan.k or params.silhouette.most
    if isinstance(params.k, int) and k < params.k:
        say(
            f"cluster: k lowered from {params.k:,} to {k:,}: {plan.documents:,} documents are "
            f"fewer than eight per cluster"
        )
    rows = round(plan.share * plan.documents)
    wanted = min(k * params.sample_per_cluster, plan.documents)
    if rows < wanted:
        say(
            f"cluster: warning: the fit samples {rows:,} documents rather than {wanted:,}, to keep "
            f"to cluster.memory"
        )
    needs = memory_of_fit(rows, work.encoder["dimension"], k, params.levels)
    say(
        f"cluster: fits k = {k:,} on {rows:,} of {plan.documents:,} documents; "
        f"needs up to {needs / 1e9:.2f} GB (cluster.memory: {params.memory / 1e9:.2f} GB)"
    )


def _fitted(work: _Work) -> bool:
    """Whether the centroids on disk are those of this very fit."""
    workdir = work.job.workdir
    note = fit_note_path(workdir)
    return (
        storage.exists(workdir.centroids)
        and storage.exists(note)
        and storage.read_json(note)["fingerprint"] == work.fit_mark
    )


def _decide(work: _Work, clusters: Clusters) -> Decision:
    job = work.job
    if work.frozen is not None:
        return work.frozen.decision(clusters)
    with make_namer(job) or contextlib.nullcontext() as namer:
        decision = domains.decide(
            job.workdir,
            clusters,
            job.recipe.cluster,
            work.parts,
            seed=job.recipe.seed,
            names_file=work.names_file,
            namer=namer,
        )
    for text in decision.notes:
        job.reporter.say(f"cluster: {text}")
    return decision


def _bounds(work: _Work, clusters: Clusters) -> tuple[float, ...]:
    """Bounds of quality between tiers."""
    if work.frozen is not None:
        return work.frozen.bounds
    merge = work.job.recipe.cluster.merge
    if merge is None or merge.tiers is None:
        return ()
    if isinstance(merge.tiers, int):
        return tuple(cluster_statistics.quality_bounds(clusters.counts, merge.tiers))
    return tuple(merge.tiers)


def _label(work: _Work, clusters: Clusters, decision: Decision, tiered: Tiered) -> None:
    """Give each document its domain."""
    job, params = work.job, work.job.recipe.cluster
    path = cluster_tables.write_cluster_table(job.workdir, clusters, decision)
    table = write_domain_of(job.workdir, decision, tiered)
    write_decision(job.workdir, decision, tiered)
    by_quality = params.dedup is not None and params.dedup.keep == "quality"
    basis = fingerprint(work.fit_mark, work.quality_mark if by_quality else "")
    dropped = semantic.find_duplicates(job, work.parts, clusters, decision, basis)
    rules = LabelRules(
        bounds=tiered.bounds,
        n_domains=len(tiered.names),
        unit=clusters.unit,
        grouped=storage.exists(groups_path(job.workdir)),
        dedup=params.dedup is not None,
        prototypes=semantic.find_prototypes(job, work.parts, clusters, decision),
        seed=job.recipe.seed,
    )
    mark = fingerprint(
        "label", VERSION, storage.digest(path), storage.digest(table), repr(rules), dropped,
        work.fit_mark, work.quality_mark,
    )  # fmt: skip
    tasks = [Task(name, fingerprint(mark, name)) for name in work.parts]
    todo = split(job.workdir, CLUSTER, tasks)
    storage.remove(domain_sums_path(job.workdir))
    label = Label(LabelPart(job.workdir, rules), [result.task for result in todo.done], todo.todo)
    seconds = work.ingested.documents_out / _LABELS_PER_SECOND
    job.run_pipeline(CLUSTER, label.build, work_seconds=seconds)


def _write_tables(
    work: _Work, clusters: Clusters, decision: Decision, tiered: Tiered, note: dict[str, Any]
) -> None:
    """The tables of domains, and what people and later runs are given beside them."""
    job, params = work.job, work.job.recipe.cluster
    cluster_tables.write_domain_table(job.workdir, clusters, decision, tiered)
    write_names(job.workdir.path("domains.yaml"), decision.automatic)
    if params.map is not None:
        write_map(job.workdir, documents=params.map.documents, seed=job.recipe.seed)
    else:
        storage.remove(job.workdir.path("map.parquet"))
    write_classifier(job, note["encoder"])
    if work.frozen is not None:
        update.report_drift(job, work.frozen, clusters, decision)
    else:
        storage.remove(job.workdir.path("drift.json"))
        refit.report_map(job)


def _success(work: _Work, decision: Decision, note: dict[str, Any]) -> Success:
    workdir = work.job.workdir
    clusters = partfiles.read_table(workdir.path("clusters.parquet"), ["kept"])
    results = list(workdir.committed(CLUSTER).values())
    parts = [Part(r.task, r.documents_out, r.tokens, r.outputs[0].digest) for r in results]
    names = partfiles.read_table(workdir.path("domains.parquet"), ["domain"]).num_rows
    details = {
        "k": note["k"],
        "clusters_kept": int(pc.sum(clusters.column("kept")).as_py()),
        "domains": names,
        "sample": note["sample"],
        "notes": [*note["notes"], *decision.notes],
        "digests": {name: storage.digest(workdir.path(name)) for name in TABLES},
    }
    return summarise(work.mark, results, parts=parts, details=details)
