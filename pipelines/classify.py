"""The classify steps: a model over the texts of ``documents/``, one step for each classifier."""

from __future__ import annotations

import os

from mixcurate.errors import RequestError
from mixcurate.io import storage
from mixcurate.io.workdir import Success
from mixcurate.kernels.hashing import fingerprint
from mixcurate.models import text_classifier
from mixcurate.models.text_classifiers import ClassifierSpec
from mixcurate.params import ClassifierParams
from mixcurate.transforms.classify import (
    Classify,
    ClassifyPart,
    release_classifiers,
    shared_classifier,
    stage_of,
)
from mixcurate.transforms.tasks import Split, Task, split
from pipelines.job import Job, resolve, say_resumed

VERSION = "1"


def check(job: Job) -> None:
    """Find what is wrong with the classifiers, before any stage runs.

    Raises:
        RequestError: of every classifier that cannot be used, why; nothing is loaded for it.
    """
    problems: list[RequestError] = []
    for params in job.recipe.score.quality.classifiers:
        try:
            text_classifier.check(_located(job, params), elsewhere=_elsewhere(job, params))
        except RequestError as problem:
            problems.append(problem)
    if len(problems) == 1:
        raise problems[0]
    if problems:
        raise RequestError("\n".join(dict.fromkeys(map(str, problems))))


def run_classifiers(job: Job) -> dict[str, str]:
    """Run every classifier of the recipe over the parts that it has not scored yet.

    Returns:
        For each classifier by name a fingerprint of its scores: of the model, of what of it is the
        score, and of the documents.

    Raises:
        RequestError: a classifier cannot be used.
    """
    ingested = job.require("ingest")
    return {
        params.name: _run(job, params, ingested) for params in job.recipe.score.quality.classifiers
    }


def classifier_ranges(job: Job) -> dict[str, tuple[float, float]]:
    """Least and greatest score of each classifier, by name.

    Raises:
        RequestError: a classifier's range goes by its model, and that cannot be used.
    """
    return {params.name: _range(job, params) for params in job.recipe.score.quality.classifiers}


def step(job: Job, spec: ClassifierSpec, accelerator: str | None, todo: list[Task]) -> Classify:
    """One classifier's transform; one process and all its threads, so that one model serves all."""
    hints: dict[str, str] = {}
    if job.runner.is_dataflow and accelerator:
        hints = {"accelerator": accelerator, "max_active_bundles_per_worker": "1"}
    # of other machines nothing is known: 0 is all the cores that they have
    threads = job.threads(0) if job.runner.is_local else 0
    return Classify(ClassifyPart(job.workdir, spec, threads), todo, hints)


def _run(job: Job, params: ClassifierParams, ingested: Success) -> str:
    spec = text_classifier.resolve(_located(job, params), elsewhere=_elsewhere(job, params))
    stage = stage_of(spec.name)
    tasks = [
        Task(part.name, fingerprint(stage, VERSION, spec.identity, part.digest))
        for part in ingested.parts
    ]
    for folder in (f"_stages/{stage}", f"_stages/{stage}/tasks"):  # what a killed run left
        storage.remove_temporaries(job.workdir.path(folder))
    work = split(job.workdir, stage, tasks)
    if work.todo:
        job.reporter.say(f"{stage}: {spec.description}")
        if spec.revision and params.revision is None:
            job.reporter.say(f"{stage}: to stay with this model, write revision: {spec.revision}")
        say_resumed(job, stage, len(work.done), len(tasks))
        _classify(job, step(job, spec, params.accelerator, work.todo), work, ingested)
    _say_not_judged(job, stage)
    return fingerprint(stage, *(task.fingerprint for task in tasks))


def _classify(job: Job, transform: Classify, work: Split, ingested: Success) -> None:
    """Run the model over the open parts."""
    part = transform.work
    if job.runner.is_local:  # a model that does not work is found out before work begins
        shared_classifier(part.spec, part.threads)
    documents = ingested.documents_out - sum(result.documents_out for result in work.done)
    done, tasks = len(work.done), len(work.done) + len(work.todo)
    try:
        with job.reporter.watch(
            job.workdir, part.stage, stage=part.stage, done=done, tasks=tasks, documents=documents
        ):
            job.run_pipeline(
                part.stage,
                transform.build,
                work_seconds=0,
                # one process per machine: its threads share the model
                experiments=("no_use_multiple_sdk_containers",),
            )
    finally:
        release_classifiers()  # they may be large, and the next stages need the memory


def _say_not_judged(job: Job, stage: str) -> None:
    results = job.workdir.committed(stage).values()
    count = sum(result.details["not_judged"] for result in results)
    if count:
        total = sum(result.documents_in for result in results)
        job.reporter.say(
            f"{stage}: {count:,} of {total:,} documents have no score: they are blank, or the "
            f"model gave no number"
        )


def _range(job: Job, params: ClassifierParams) -> tuple[float, float]:
    if params.range is not None:
        return params.range
    if params.label is not None:
        return 0.0, 1.0
    return text_classifier.check(_located(job, params), elsewhere=_elsewhere(job, params)).range


def _located(job: Job, params: ClassifierParams) -> ClassifierParams:
    """Parameters with a folder or file made absolute; what is no path may be a hub name."""
    path = resolve(job.base, params.model)
    if not storage.is_local(path):
        return params
    beside = os.path.isdir(os.path.dirname(path))  # a path with a slip in its last name
    if beside or params.model.startswith("."):
        return params.model_copy(update={"model": os.path.abspath(path)})
    return params


def _elsewhere(job: Job, params: ClassifierParams) -> str | None:
    """What is known of the machines that classify, if it is not this one."""
    if job.runner.is_local:
        return None
    return "cuda" if params.accelerator else "cpu"
