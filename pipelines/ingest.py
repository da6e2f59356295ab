"""The ingest stage: raw inputs to ``documents/``."""

from __future__ import annotations

import dataclasses
import time
from collections import Counter

from mixcurate.errors import RequestError, nearest
from mixcurate.io import readers, storage
from mixcurate.io.readers import ReadTask
from mixcurate.io.workdir import Part, Success, TaskResult
from mixcurate.kernels import filters, licences
from mixcurate.kernels.cleaning import IngestParams
from mixcurate.kernels.hashing import fingerprint
from mixcurate.models import language
from mixcurate.models.tokenizer import token_counter
from mixcurate.transforms.ingest import Extract, Ingest
from mixcurate.transforms.keyfiles import EXTRACT, INGEST
from mixcurate.transforms.tasks import Task, split, summarise
from pipelines.accounting import check_drop, fill_tokens, idle_steps
from pipelines.against import earlier_runs
from pipelines.decontaminate import index_of
from pipelines.job import Job, finish, resolve, say_resumed, up_to_date

VERSION = "2"

#: Bytes of input that one core ingests in a second, roughly; only decides about processes.
_BYTES_PER_SECOND = {"warc": 4e5, "wet": 5e5, "parquet": 8e5}
_BYTES_PER_SECOND_OF_TEXT = 1.5e6


def run(job: Job) -> Success:
    """Ingest, or say that it is up to date."""
    started = time.perf_counter()
    params = _checked(job)
    earlier, index = earlier_runs(job), index_of(job)
    reads = [
        task
        for index, source in enumerate(job.recipe.inputs)
        for task in readers.list_tasks(
            index, source, base=job.base, task_bytes=int(params.task_bytes)
        )
    ]
    tasks = [_task(job, read, params, index.seal if index else "") for read in reads]
    mark = fingerprint(
        INGEST, *(task.fingerprint for task in tasks), *(run.seal for run in earlier)
    )
    if success := up_to_date(job, INGEST, mark):
        return success
    work_seconds = sum(
        read.size / _BYTES_PER_SECOND.get(read.format, _BYTES_PER_SECOND_OF_TEXT) for read in reads
    )
    work = split(job.workdir, EXTRACT, tasks)
    say_resumed(job, INGEST, len(work.done), len(tasks))
    committed = job.workdir.committed(INGEST)
    stage = Ingest(
        extract=Extract(
            workdir=job.workdir,
            inputs=list(job.recipe.inputs),
            params=params,
            threads=job.threads(work_seconds),
            index=index.folder if index else None,
        ),
        split=work,
        committed={
            name: result.fingerprint
            for name, result in committed.items()
            if job.workdir.is_whole(result)
        },
        earlier=earlier,
    )
    with job.reporter.watch(
        job.workdir, INGEST, stage=EXTRACT, done=len(work.done), tasks=len(tasks)
    ):
        job.run_pipeline(INGEST, stage.build, work_seconds=work_seconds)
    success = _success(job, mark, tasks, reads)
    check_drop(success, params.max_drop)
    for step in idle_steps(params, success):
        job.reporter.say(f"ingest: warning: ingest.{step} neither dropped nor changed a document")
    storage.remove(job.workdir.path("_stages", EXTRACT, "parts"))
    return finish(job, INGEST, success, started)


def _checked(job: Job) -> IngestParams:
    """Parameters with paths resolved, after the checks that need more than types.

    Raises:
        RequestError: a language, signal or licence that is unknown.
        InputError: the tokenizer cannot be read.
    """
    params = job.recipe.ingest
    _check_languages("ingest.languages", params.languages)
    for number, source in enumerate(job.recipe.inputs):
        _check_languages(f"inputs.{number}.languages", source.languages or [])
    filters.rules(params.filters, params.thresholds)
    licences.check_allowed(params.licences)
    if params.tokenizer != "embedded":
        path = resolve(job.base, params.tokenizer)
        params = params.model_copy(update={"tokenizer": path})
        token_counter(path, 1)
    return params


def _check_languages(key: str, codes: list[str]) -> None:
    for code in codes:
        if code not in language.known_languages():
            hint = nearest(code, language.known_languages())
            raise RequestError(f"{key}: unknown language {code!r}; {hint}")


def _task(job: Job, read: ReadTask, params: IngestParams, evaluation: str) -> Task:
    source = job.recipe.inputs[read.input].model_copy(update={"path": ""})
    settings = params.model_dump_json(exclude={"dedup", "task_bytes", "tokenizer", "max_drop"})
    tokenizer = params.tokenizer
    if tokenizer != "embedded":
        tokenizer = storage.digest(tokenizer)
    mark = fingerprint(
        EXTRACT,
        VERSION,
        settings,
        evaluation,
        tokenizer,
        source.model_dump_json(),
        read.shown_path,
        str(read.start),
        str(read.stop),
        str(read.size),
        read.version,
        read.format,
        str(params.dedup),
    )
    name = fingerprint(source.source, read.shown_path, str(read.start))[:16]
    return Task(name, mark, dataclasses.asdict(read))


def _success(job: Job, mark: str, tasks: list[Task], reads: list[ReadTask]) -> Success:
    """Add up both steps: records in come from Extract, documents out from the written parts."""
    wanted = {task.name for task in tasks}
    extracted = [r for r in job.workdir.committed(EXTRACT).values() if r.task in wanted]
    names = {part["name"] for result in extracted for part in result.details["parts"]}
    written: list[TaskResult] = []
    for name, result in job.workdir.committed(INGEST).items():
        if name in names:
            written.append(result)
        else:
            job.workdir.discard(INGEST, result)
    parts = [
        Part(r.task, r.documents_out, r.tokens, r.outputs[-1].digest)
        for r in written
        if r.documents_out
    ]
    summary = summarise(mark, [*extracted, *written], parts=parts)
    etags = {r.task: r.details["etag"] for r in extracted}
    inputs = [
        {"path": read.shown_path, "size": os_size, "etag": etags[task.name]}
        for task, read in zip(tasks, reads, strict=True)
        if read.start == 0
        for os_size in [storage.size(read.path)]
    ]
    changed: Counter[str] = Counter()
    for result in extracted:
        changed.update(result.details["changed"])
    duplicates = sum(size for r in written for size, _ in r.rejected_sizes.values())
    document_bytes = sum(r.details["document_bytes"] for r in extracted) - duplicates
    total = dataclasses.replace(
        summary,
        documents_in=sum(r.documents_in for r in extracted),
        documents_out=sum(r.documents_out for r in written),
        tokens=sum(r.tokens for r in written),
        details={
            "inputs": inputs,
            "text_bytes": sum(r.details["text_bytes"] for r in extracted),
            "document_bytes": document_bytes,
            "changed": dict(sorted(changed.items())),
        },
    )
    return dataclasses.replace(total, rejected_sizes=fill_tokens(total, document_bytes))
