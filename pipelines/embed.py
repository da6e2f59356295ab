"""The embed stage: ``documents/`` to ``embeddings/``."""

from __future__ import annotations

import dataclasses
import os
import time
from typing import Any

from mixcurate.io import storage
from mixcurate.io.workdir import Part, Success, TaskResult
from mixcurate.kernels.hashing import fingerprint
from mixcurate.models.encoders import EmbedParams, EncoderSpec, EncodeStats
from mixcurate.models.resolve import check as check_encoder
from mixcurate.models.resolve import resolve as resolve_encoder
from mixcurate.transforms.embed import (
    COMPUTE,
    EMBED,
    Complete,
    CompletePart,
    Embed,
    EmbedPart,
    model_line,
    reuse_identity,
    shared_encoder,
)
from mixcurate.transforms.tasks import Split, Task, split, summarise
from pipelines import reuse
from pipelines.job import Job, finish, resolve, say_resumed, up_to_date

VERSION = "2"


def run(job: Job) -> Success:
    """Embed, or say that it is up to date."""
    started = time.perf_counter()
    ingested = job.require("ingest")
    spec = encoder_spec(job)
    identity = reuse_identity(spec, job.recipe.embed.store)
    tasks = embed_tasks(ingested, identity)
    mark = fingerprint(EMBED, *(task.fingerprint for task in tasks))
    if success := up_to_date(job, EMBED, mark):
        return success
    model = model_line(spec, job.recipe.embed.store)
    job.reporter.say(f"embed: {model}" + f" ({spec.reason})" * bool(spec.reason))
    if spec.revision and job.recipe.embed.revision is None:
        job.reporter.say(f"embed: to stay with this model, write embed.revision: {spec.revision}")
    # a model that does not work is found out before work begins
    dimension = shared_encoder(spec, job.threads(0)).dimension if job.runner.is_local else None
    others = reuse.other_origins(job, identity, dimension, model)
    reuse.set_aside(job.workdir, identity, {task.name: task.fingerprint for task in tasks})
    work = split(job.workdir, EMBED, tasks)
    say_resumed(job, EMBED, len(work.done), len(tasks))
    if work.todo:
        found = reuse.find(job, mark, identity, ingested.parts, others)
        _compute(job, spec, found, work, ingested.documents_out)
    results = list(job.workdir.committed(EMBED).values())
    parts = [Part(r.task, r.documents_out, r.tokens, r.outputs[0].digest) for r in results]
    summary = summarise(mark, results, parts=parts, details=_details(spec, results))
    _say_copied_and_broken(job, summary)
    success = finish(job, EMBED, summary, started)
    reuse.forget(job.workdir)
    return success


def embed_tasks(ingested: Success, identity: str) -> list[Task]:
    """One task a part; its fingerprint names the vectors, whatever machine makes them."""
    return [
        Task(part.name, fingerprint(EMBED, VERSION, identity, part.digest))
        for part in ingested.parts
    ]


def encoder_spec(job: Job) -> EncoderSpec:
    """The model and how it is run, with nothing left open.

    Raises:
        InputError: the model cannot be found, or does not go with the other parameters.
        MissingExtra: the backend that was asked for is not installed.
    """
    return resolve_encoder(resolved_params(job), elsewhere=_elsewhere(job))


def check(job: Job) -> None:
    """Find what is wrong with the model, before the stages that come before this one.

    Raises:
        InputError: as ``encoder_spec``.
        MissingExtra: as ``encoder_spec``.
    """
    check_encoder(resolved_params(job), elsewhere=_elsewhere(job))


def _elsewhere(job: Job) -> str | None:
    """What is known of the machines that embed, if it is not this one."""
    if job.runner.is_local:
        return None
    return "cuda" if job.recipe.embed.accelerator else "cpu"


def resolved_params(job: Job) -> EmbedParams:
    """Parameters with a model folder made absolute."""
    params = job.recipe.embed
    folder = resolve(job.base, params.model)
    if params.model != "embedded" and storage.is_local(folder) and os.path.isdir(folder):
        return params.model_copy(update={"model": os.path.abspath(folder)})
    return params


def stage(job: Job, spec: EncoderSpec, found: reuse.Reuse, todo: list[Task]) -> Embed:
    """The stage's transform; one process and all threads locally, so that one model serves all."""
    params = job.recipe.embed
    hints: dict[str, str] = {}
    if job.runner.is_dataflow:
        hints = {"min_ram": params.min_ram, "max_active_bundles_per_worker": "1"}
        if params.accelerator:
            hints["accelerator"] = params.accelerator
    work = EmbedPart(job.workdir, spec, job.threads(0), params.store, tuple(found.origins))
    marked = [
        dataclasses.replace(task, payload={"waits": True}) if task.name in found.waiting else task
        for task in todo
    ]
    return Embed(work=work, todo=marked, hints=hints)


def _compute(job: Job, spec: EncoderSpec, found: reuse.Reuse, work: Split, documents: int) -> None:
    """Run the model over the open parts, then fill those that have waited for others."""
    waiting = [task for task in work.todo if task.name in found.waiting]
    computed = split(job.workdir, COMPUTE, waiting)
    kept = {result.task for result in computed.done}
    first = [task for task in work.todo if task.name not in kept]
    watch = {"done": len(work.done), "tasks": len(work.done) + len(work.todo)}
    if first:
        left = documents - sum(result.documents_out for result in work.done)
        with job.reporter.watch(job.workdir, EMBED, stage=EMBED, documents=left, **watch):
            job.run_pipeline(
                EMBED,
                stage(job, spec, found, first).build,
                work_seconds=0,
                # one process per machine: its threads share the model, and the GPU has one owner
                experiments=("no_use_multiple_sdk_containers",),
            )
    if waiting:
        results = job.workdir.committed(COMPUTE)
        second = [
            dataclasses.replace(task, payload={"computed": dataclasses.asdict(results[task.name])})
            for task in waiting
        ]
        fill = CompletePart(job.workdir, job.recipe.embed.store, tuple(found.origins))
        job.run_pipeline(EMBED, Complete(fill, second).build, work_seconds=0)


def _details(spec: EncoderSpec, results: list[TaskResult]) -> dict[str, Any]:
    """What the stage did, and the model that the manifest names."""
    numbers = [field.name for field in dataclasses.fields(EncodeStats)]
    numbers = [name for name in (*numbers, "copied") if name not in ("documents", "tokens")]
    details: dict[str, Any] = {
        name: round(sum(result.details[name] for result in results), 3) for name in numbers
    }
    dimensions = {result.details["dimension"] for result in results}
    details["encoder"] = {
        "model": spec.name,
        "revision": spec.revision,
        "weights_sha256": spec.weights,
        "backend": spec.backend,
        "precision": spec.precision,
        "max_tokens": spec.max_tokens,
        "long_documents": spec.long_documents,
        "dimension": max(dimensions, default=0),
    }
    return details


def _say_copied_and_broken(job: Job, summary: Success) -> None:
    copied, broken = summary.details["copied"], summary.details["not_finite"]
    if copied:
        job.reporter.say(f"embed: {copied:,} vectors were there already and are taken over")
    if broken:
        job.reporter.say(
            f"embed: warning: for {broken:,} documents the model gave values that are not finite; "
            f"their vectors are zero. embed.precision: fp32 may help"
        )
