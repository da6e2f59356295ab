"""The score stage: quality, diversity and weight of each document to ``scores/``."""

from __future__ import annotations

import time

from mixcurate.io.workdir import Part, Success
from mixcurate.kernels.hashing import fingerprint
from mixcurate.transforms.score import SCORE, Score, ScorePart
from mixcurate.transforms.tasks import Task, split, summarise
from pipelines.job import Job, finish, say_resumed, up_to_date

VERSION = "1"

#: Documents that one core scores in a second, reading included; only decides about processes.
_DOCUMENTS_PER_SECOND = 50_000


def run(job: Job) -> Success:
    """Score, or say that it is up to date."""
    started = time.perf_counter()
    ingested, clustered = job.require("ingest"), job.require("cluster")
    settings = job.recipe.score.model_dump_json()
    seals = [
        f"{document.digest} {assigned.digest}"
        for document, assigned in zip(ingested.parts, clustered.parts, strict=True)
    ]
    # every score depends on the whole pool, so all parts share one fingerprint
    pool = fingerprint(
        SCORE,
        VERSION,
        settings,
        str(job.recipe.seed),
        clustered.details["digests"]["clusters.parquet"],
        *seals,
    )
    tasks = [Task(part.name, fingerprint(pool, part.name)) for part in ingested.parts]
    if success := up_to_date(job, SCORE, pool):
        return success
    work = split(job.workdir, SCORE, tasks)
    say_resumed(job, SCORE, len(work.done), len(tasks))
    stage = Score(
        work=ScorePart(job.workdir, job.recipe.score.weight, job.recipe.seed),
        parts=[part.name for part in ingested.parts],
        todo=work.todo,
    )
    if work.todo:
        with job.reporter.watch(
            job.workdir, SCORE, stage=SCORE, done=len(work.done), tasks=len(tasks)
        ):
            seconds = ingested.documents_out / _DOCUMENTS_PER_SECOND
            job.run_pipeline(SCORE, stage.build, work_seconds=seconds)
    results = list(job.workdir.committed(SCORE).values())
    parts = [Part(r.task, r.documents_out, r.tokens, r.outputs[0].digest) for r in results]
    weighted: dict[str, int] = {}
    for result in results:
        for domain, tokens in result.details["weighted_tokens"].items():
            weighted[domain] = weighted.get(domain, 0) + tokens
    summary = summarise(pool, results, parts=parts, details={"weighted_tokens": weighted})
    return finish(job, SCORE, summary, started)
