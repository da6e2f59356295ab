"""The plan stage: token targets per cell, and the exact draw that meets them."""

from __future__ import annotations

import time

from mixcurate.errors import RequestError
from mixcurate.io import storage
from mixcurate.io.readers import InputParams, list_tasks
from mixcurate.io.workdir import Part, Success
from mixcurate.kernels.hashing import fingerprint
from mixcurate.kernels.licences import check_allowed
from mixcurate.transforms.draw_pool import pool_path
from mixcurate.transforms.select import PLAN, SELECT, Select, SelectPart
from mixcurate.transforms.tasks import Task, split, summarise
from pipelines.job import Job, finish, resolve, say_resumed, up_to_date
from pipelines.plan_facts import by_preference, count_cells, gather, levels_of
from pipelines.plan_file import build_plan
from pipelines.plan_targets import draw_plan, find_targets

VERSION = "4"

#: Documents that one core selects in a second; only decides about processes.
_DOCUMENTS_PER_SECOND = 250_000


def run(job: Job) -> Success:
    """Plan, or say that it is up to date."""
    started = time.perf_counter()
    scored, clustered = job.require("score"), job.require("cluster")
    params = job.recipe.mixture
    check_allowed(list(params.licences), "mixture.licences")
    levels_of(params)
    mark = plan_mark(job, scored, clustered)
    plan_path = job.workdir.path("plan.json")
    if success := up_to_date(job, PLAN, mark, [plan_path]):
        return success
    if by_preference(params):
        from pipelines.preference import run_preference

        run_preference(job)
    counts = count_cells(job, scored)
    targets = find_targets(params, counts, gather(job, counts, params))
    for note in targets.notes:
        job.reporter.say(f"plan: {note}")
    drawing = draw_plan(job, targets)
    names = [part.name for part in scored.parts]
    work = split(job.workdir, SELECT, [Task(n, fingerprint(SELECT, mark, n)) for n in names])
    say_resumed(job, PLAN, len(work.done), len(names))
    if work.todo:
        stage = Select(SelectPart(job.workdir, drawing), names, work.todo)
        with job.reporter.watch(
            job.workdir, PLAN, stage=SELECT, done=len(work.done), tasks=len(names)
        ):
            seconds = scored.documents_out / _DOCUMENTS_PER_SECOND
            job.run_pipeline(PLAN, stage.build, work_seconds=seconds)
    results = list(job.workdir.committed(SELECT).values())
    storage.write_json(plan_path, build_plan(job, targets, drawing, results))
    parts = [Part(r.task, r.documents_out, r.tokens, r.outputs[0].digest) for r in results]
    success = finish(job, PLAN, summarise(mark, results, parts=parts), started)
    storage.remove(pool_path(job.workdir))
    return success


def plan_mark(job: Job, scored: Success, clustered: Success) -> str:
    """Names everything that the plan depends on: what was asked for, the pool, and other files.

    Raises:
        RequestError, InputError: a file that the mixture names is not there, or cannot be read.
    """
    digests = clustered.details["digests"]
    return fingerprint(
        PLAN,
        VERSION,
        job.recipe.mixture.model_dump_json(),
        str(job.recipe.seed),
        str(int(job.recipe.output.shard_bytes)),
        str(job.recipe.output.shards_multiple_of),
        clustered.fingerprint,
        *(digests[name] for name in sorted(digests)),
        *(part.digest for part in clustered.parts),
        scored.fingerprint,
        *(part.digest for part in scored.parts),
        *_files(job),
    )


def _files(job: Job) -> list[str]:
    """What names the content of the files that the strategies go by."""
    params = job.recipe.mixture
    found = []
    if "file" in params.strategies:
        from pipelines.facts_file import mark

        found.append(mark(job))
    if "target" in params.strategies and params.target.path is not None:
        source = InputParams(path=params.target.path)
        tasks = list_tasks(0, source, base=job.base, task_bytes=1 << 62)
        found += [storage.etag(task.path) for task in tasks]
    if "centrality" in params.strategies:
        for key in ("scores", "links"):
            given = getattr(params.centrality, key)
            if given is None:
                continue
            path = resolve(job.base, given)
            if not storage.exists(path):
                raise RequestError(f"mixture.centrality.{key}: {path} does not exist")
            found.append(storage.etag(path))
    return found
