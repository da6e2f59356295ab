"""The embed stage: ``documents/`` to ``embeddings/``."""

from __future__ import annotations

import os
import time

from mixcurate.io import storage
from mixcurate.io.workdir import Part, Success
from mixcurate.kernels.hashing import fingerprint
from mixcurate.models.embedded import WEIGHTS_SHA256
from mixcurate.models.encoders import EmbedParams
from mixcurate.transforms.embed import EMBED, Embed, EmbedPart
from mixcurate.transforms.tasks import Task, split, summarise
from pipelines.job import Job, finish, resolve, say_resumed, up_to_date

VERSION = "1"


def run(job: Job) -> Success:
    """Embed, or say that it is up to date."""
    started = time.perf_counter()
    ingested = job.require("ingest")
    params = resolved_params(job)
    identity = _identity(params)
    tasks = [
        Task(part.name, fingerprint(EMBED, VERSION, identity, part.digest))
        for part in ingested.parts
    ]
    mark = fingerprint(EMBED, *(task.fingerprint for task in tasks))
    if success := up_to_date(job, EMBED, mark):
        return success
    work = split(job.workdir, EMBED, tasks)
    say_resumed(job, EMBED, len(work.done), len(tasks))
    if work.todo:
        left = ingested.documents_out - sum(result.documents_out for result in work.done)
        with job.reporter.watch(
            job.workdir, EMBED, stage=EMBED, done=len(work.done), tasks=len(tasks), documents=left
        ):
            job.run_pipeline(
                EMBED,
                stage(job, params, work.todo).build,
                work_seconds=0,
                # one process per machine: its threads share the model, and the GPU has one owner
                experiments=("no_use_multiple_sdk_containers",),
            )
    results = list(job.workdir.committed(EMBED).values())
    parts = [Part(r.task, r.documents_out, r.tokens, r.outputs[0].digest) for r in results]
    details = {
        name: round(sum(r.details[name] for r in results), 3)
        for name in ("padded_tokens", "tokenize_seconds", "forward_seconds")
    }
    summary = summarise(mark, results, parts=parts, details=details)
    return finish(job, EMBED, summary, started)


def stage(job: Job, params: EmbedParams, todo: list[Task]) -> Embed:
    """The stage's transform; one process and all threads locally, so that one model serves all."""
    return Embed(
        work=EmbedPart(job.workdir, params, job.threads(0)),
        todo=todo,
        resource_hints=job.runner.is_dataflow,
    )


def resolved_params(job: Job) -> EmbedParams:
    """Parameters with a model folder made absolute."""
    params = job.recipe.embed
    folder = resolve(job.base, params.model)
    if params.model != "embedded" and storage.is_local(folder) and os.path.isdir(folder):
        return params.model_copy(update={"model": os.path.abspath(folder)})
    return params


def _identity(params: EmbedParams) -> str:
    """Names the model and every parameter that its vectors depend on."""
    settings = params.model_dump_json(exclude={"accelerator", "min_ram", "model"})
    if params.model == "embedded":
        return f"{settings} {WEIGHTS_SHA256}"
    if os.path.isdir(params.model):
        files = sorted(storage.glob(params.model), key=lambda found: found.path)
        seals = [f"{os.path.relpath(f.path, params.model)}:{storage.digest(f.path)}" for f in files]
        return " ".join([settings, *seals])
    return f"{settings} {params.model}"
