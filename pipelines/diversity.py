"""Diversity of the pool, before it is weighed: a step inside score, with its own clusters."""

from __future__ import annotations

import dataclasses

from mixcurate.errors import RecipeError
from mixcurate.io import storage
from mixcurate.io.workdir import Success
from mixcurate.kernels.diversity import number_of_clusters
from mixcurate.kernels.fit_memory import memory_of_fit, sample_size
from mixcurate.kernels.hashing import fingerprint
from mixcurate.transforms.cluster_files import fit_note_path
from mixcurate.transforms.diversity import (
    Diversity,
    DiversityPlan,
    MeasurePart,
)
from mixcurate.transforms.diversity_columns import (
    DIVERSITY,
    diversity_path,
    read_clusters,
)
from mixcurate.transforms.tasks import Split, Task, split
from pipelines.job import Job, say_resumed

VERSION = "1"

#: Documents of a cluster that the fit is trained on: of a pool of up to its square, all of them.
PER_CLUSTER = 256

#: What one core does in a second; only decides about processes.
_DOCUMENTS_PER_SECOND = 200_000
_PRODUCTS_PER_SECOND = 2e10


@dataclasses.dataclass(frozen=True)
class _Work:
    """What is to be done.

    Attributes:
        documents: of the pool.
        dimension: of the vectors.
        mark: fingerprint of everything that diversity depends on.
        notes: what a person should know, one sentence each.
    """

    job: Job
    plan: DiversityPlan
    parts: list[str]
    documents: int
    dimension: int
    mark: str
    notes: list[str]


def run_diversity(job: Job) -> str:
    """Measure the diversity of the pool's documents, unless that is done.

    ``transforms.diversity_columns.read_diversity`` reads what it leaves.

    Args:
        job: whose stage cluster has run.

    Returns:
        A fingerprint: the same diversity has the same.

    Raises:
        RequestError: that stage has not run.
        RecipeError: the fit does not keep to ``cluster.memory``.
    """
    work = _work(job)
    workdir = job.workdir
    measure = MeasurePart(workdir, work.plan)
    mark = _part_mark(work.plan)
    tasks = split(workdir, DIVERSITY, [Task(name, fingerprint(mark, name)) for name in work.parts])
    note = diversity_path(workdir, "note.json")
    whole = not tasks.todo and storage.exists(diversity_path(workdir, "clusters.parquet"))
    if whole and storage.exists(note) and storage.read_json(note)["fingerprint"] == work.mark:
        return work.mark
    storage.remove(note)
    for folder in ("", "parts", "sums", "picked", "tasks"):
        storage.remove_temporaries(diversity_path(workdir, folder))
    say_resumed(job, "score: diversity", len(tasks.done), len(work.parts))
    stage = Diversity(measure, work.parts, _fitted(job, work.plan), tasks)
    if not stage.fitted:
        _say_fit(work)
    with job.reporter.watch(
        workdir, DIVERSITY, stage=DIVERSITY, done=len(tasks.done), tasks=len(work.parts)
    ):
        job.run_pipeline(DIVERSITY, stage.build, work_seconds=_seconds(work, tasks))
    _write_note(work)
    return work.mark


def _work(job: Job) -> _Work:
    clustered, embedded = job.require("cluster"), job.require("embed")
    recipe, params = job.recipe, job.recipe.score.diversity
    about = storage.read_json(fit_note_path(job.workdir))
    documents, dimension = clustered.documents_out, embedded.details["encoder"]["dimension"]
    k, notes = _clusters(job, clustered, about["metric"])
    rows = 0
    if k is not None:
        rows = _sample(job, k, documents, dimension)
    elif params.compactness == "neighbours":  # of an empty pool, an empty sample
        rows = max(1, _sample(job, clustered.details["k"], documents, dimension))
    seals = [
        f"{assigned.digest} {vectors.digest}"
        for assigned, vectors in zip(clustered.parts, embedded.parts, strict=True)
    ]
    fit_mark = fingerprint(
        "diversity fit", VERSION, str(k), str(rows), str(params.compactness == "neighbours"),
        str(recipe.seed), storage.digest(job.workdir.centroids), *seals,
    )  # fmt: skip
    plan = DiversityPlan(
        params=params,
        k=k,
        metric=about["metric"],
        share=min(1.0, rows / max(documents, 1)),
        seed=recipe.seed,
        mark=fit_mark,
    )
    mark = fingerprint(DIVERSITY, VERSION, fit_mark, params.model_dump_json())
    parts = [part.name for part in clustered.parts]
    return _Work(job, plan, parts, documents, dimension, mark, notes)


def _clusters(job: Job, clustered: Success, metric: str) -> tuple[int | None, list[str]]:
    """Clusters to fit, None for those of the cluster stage; and what to say about it."""
    asked, documents = job.recipe.score.diversity.k, clustered.documents_out
    if asked == "cluster" or documents == 0:
        return None, []
    k = number_of_clusters(asked, documents)
    notes = [] if asked in ("sqrt", k) else [f"k lowered from {asked:,} to {k:,}, the documents"]
    theirs, params = clustered.details, job.recipe.cluster
    plain = params.balance is None and params.resample is None and params.onto is None
    if (
        asked == "sqrt"
        and metric == "cosine"
        and plain
        and theirs["k"] == theirs["clusters_kept"] == k
    ):
        return None, [f"the cluster stage has just the {k:,} clusters asked for: they are used"]
    return k, notes


def _sample(job: Job, k: int, documents: int, dimension: int) -> int:
    """Documents that are sampled, so many that the fit keeps to ``cluster.memory``."""
    try:
        return sample_size(k, PER_CLUSTER, documents, dimension, int(job.recipe.cluster.memory))
    except RecipeError as error:
        raise RecipeError(
            [
                f"score.diversity.k: a fit of {k:,} clusters on {documents:,} documents does not "
                f"keep to cluster.memory; it takes {memory_of_fit(8 * k, dimension, k):,} bytes: "
                f"raise cluster.memory, or set score.diversity.k to a smaller number"
            ]
        ) from error


def _part_mark(plan: DiversityPlan) -> str:
    """What a part's file depends on beside its place; separation is not in it."""
    near = str(plan.params.neighbours) if plan.neighbours else ""
    return fingerprint("diversity part", plan.mark, plan.params.distance, near)


def _fitted(job: Job, plan: DiversityPlan) -> bool:
    """Whether the centroids on disk are those of this plan."""
    note = diversity_path(job.workdir, "fit.json")
    return storage.exists(note) and storage.read_json(note)["fingerprint"] == plan.mark


def _say_fit(work: _Work) -> None:
    """What the fit will do and need, before it starts."""
    say, memory = work.job.reporter.say, work.job.recipe.cluster.memory
    for text in work.notes:
        say(f"score: diversity: {text}")
    k = work.plan.k
    if k is None:
        return
    rows = round(work.plan.share * work.documents)
    if rows < min(k * PER_CLUSTER, work.documents):
        say(f"score: warning: diversity samples {rows:,} documents only, to keep to cluster.memory")
    needs = memory_of_fit(rows, work.dimension, k)
    say(
        f"score: diversity fits k = {k:,} on {rows:,} of {work.documents:,} documents; needs up to "
        f"{needs / 1e9:.2f} GB (cluster.memory: {memory / 1e9:.2f} GB)"
    )


def _seconds(work: _Work, tasks: Split) -> float:
    """Rough cost on one core."""
    left = work.documents * len(tasks.todo) / max(len(work.parts), 1)
    k = work.plan.k or 0
    if work.plan.neighbours:
        k += 4 * PER_CLUSTER
    products = left * k * work.dimension
    return left / _DOCUMENTS_PER_SECOND + products / _PRODUCTS_PER_SECOND


def _write_note(work: _Work) -> None:
    """What is written last: the step has ended."""
    fit = storage.read_json(diversity_path(work.job.workdir, "fit.json"))
    notes = list(fit["notes"])
    alone = int((read_clusters(work.job.workdir).n_documents == 1).sum())
    if alone:
        notes.append(f"documents alone in their cluster: {alone:,}; their diversity is 0")
    for text in notes:
        work.job.reporter.say(f"score: diversity: {text}")
    about = {
        "fingerprint": work.mark,
        "params": work.plan.params.model_dump(),
        "k": fit["k"],
        "documents": work.documents,
        "sample": fit["sample"],
        "own": work.plan.k is not None,
        "notes": [*work.notes, *notes],
    }
    storage.write_json(diversity_path(work.job.workdir, "note.json"), about)
