"""The score stage: quality, diversity and weight of each document to ``scores/``."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from mixcurate.io import partfiles, storage
from mixcurate.io.workdir import Part, Success, TaskResult, Workdir
from mixcurate.kernels.hashing import fingerprint
from mixcurate.transforms.pool import SCORE, WeighPlan, facts_path
from mixcurate.transforms.score import Score, ScorePart, bins_path, sketch_path
from mixcurate.transforms.tasks import Task, split, summarise
from pipelines.diversity import run_diversity
from pipelines.job import Job, finish, say_resumed, up_to_date
from pipelines.quality import run_quality

VERSION = "2"

#: Documents that one core scores in a second, reading included; only decides about processes.
_DOCUMENTS_PER_SECOND = 200_000


def pool_path(workdir: Workdir) -> str:
    """Global numbers of the weights."""
    return workdir.path("_stages", SCORE, "pool.json")


def run(job: Job) -> Success:
    """Score, or say that it is up to date.

    Raises:
        PlanError: ``score.weight.max_epochs`` does not allow the budget.
    """
    started = time.perf_counter()
    ingested, clustered = job.require("ingest"), job.require("cluster")
    judged, spread = run_quality(job), run_diversity(job)
    params, budget = job.recipe.score.weight, job.recipe.mixture.budget_tokens
    seals = [
        f"{document.digest} {assigned.digest}"
        for document, assigned in zip(ingested.parts, clustered.parts, strict=True)
    ]
    # every weight depends on the whole pool, so all parts share one fingerprint
    pool = fingerprint(
        SCORE, VERSION, params.model_dump_json(), str(budget), str(job.recipe.seed), judged, spread,
        clustered.details["digests"]["domains.parquet"], *seals,
    )  # fmt: skip
    tables = [pool_path(job.workdir), bins_path(job.workdir), sketch_path(job.workdir, "plane")]
    if success := up_to_date(job, SCORE, pool, tables):
        return success
    domains = partfiles.read_table(job.workdir.path("domains.parquet"), ["domain"]).num_rows
    plan = WeighPlan(params, domains, budget, job.recipe.seed)
    tasks = [Task(part.name, fingerprint(pool, part.name)) for part in ingested.parts]
    work = split(job.workdir, SCORE, tasks)
    say_resumed(job, SCORE, len(work.done), len(tasks))
    stage = Score(
        work=ScorePart(job.workdir, plan),
        parts=[part.name for part in ingested.parts],
        todo=work.todo,
        done=[result.task for result in work.done],
    )
    with job.reporter.watch(job.workdir, SCORE, stage=SCORE, done=len(work.done), tasks=len(tasks)):
        seconds = ingested.documents_out / _DOCUMENTS_PER_SECOND
        job.run_pipeline(SCORE, stage.build, work_seconds=seconds)
    results = list(job.workdir.committed(SCORE).values())
    about = _pool(job, plan, results)
    storage.write_json(pool_path(job.workdir), about)
    for note in about["notes"]:
        job.reporter.say(f"score: {note}")
    return finish(job, SCORE, _success(pool, results), started)


def _success(pool: str, results: list[TaskResult]) -> Success:
    parts = [Part(r.task, r.documents_out, r.tokens, r.outputs[0].digest) for r in results]
    weighted: dict[str, int] = {}
    for result in results:
        for domain, tokens in result.details["weighted_tokens"].items():
            weighted[domain] = weighted.get(domain, 0) + tokens
    return summarise(pool, results, parts=parts, details={"weighted_tokens": weighted})


def _pool(job: Job, plan: WeighPlan, results: list[TaskResult]) -> dict[str, Any]:
    """``pool.json``: everything that a document's weight and copies follow from."""
    facts = storage.read_json(facts_path(job.workdir))
    copies = partfiles.read_table(sketch_path(job.workdir, "copies"))
    domain = copies.column("domain").to_numpy()
    expected = copies.column("expected").to_numpy()
    expected_tokens = copies.column("expected_tokens").to_numpy()
    documents, tokens = (np.array(facts[name]) for name in ("documents", "tokens"))
    share = 1.0 if plan.budget_tokens is None else plan.budget_tokens / max(int(tokens.sum()), 1)
    params, groups = plan.params, []
    for number in range(plan.groups):
        mine = domain == number if plan.groups > 1 else np.ones(len(domain), bool)
        groups.append(
            {
                "group": number if params.within == "domain" else -1,
                "quality": _range(facts, 0, number),
                "diversity": _range(facts, 1, number),
                "documents": int(documents[number]),
                "tokens": int(tokens[number]),
                "mean": facts["mean"][number],
                "scale": facts["scale"][number],
                "whole": facts["whole"][number],
                "expected_copies": float(expected[mine].sum()),
                "expected_tokens": float(expected_tokens[mine].sum()),
            }
        )
    return {
        **params.model_dump(mode="json"),
        "documents": int(documents.sum()),
        "tokens": int(tokens.sum()),
        "budget_tokens": plan.budget_tokens,
        "target_documents": float(documents.sum()) * share,
        "target_tokens": plan.budget_tokens or int(tokens.sum()),
        "groups": groups,
        "copies": sum(result.details["copies"] for result in results),
        "copy_tokens": sum(result.details["copy_tokens"] for result in results),
        "notes": _notes(plan, groups),
    }


def _range(facts: dict[str, Any], score: int, group: int) -> list[float] | None:
    """Least and greatest; None for a group without documents."""
    if not facts["documents"][group]:
        return None
    return [facts["least"][score][group], facts["most"][score][group]]


def _notes(plan: WeighPlan, groups: list[dict[str, Any]]) -> list[str]:
    """What is odd about the scores."""
    notes = []
    for name in ("quality", "diversity"):
        same = [g for g in groups if g[name] is not None and g[name][0] == g[name][1]]
        if same and plan.params.within == "pool":
            notes.append(f"all documents have the {name} {same[0][name][0]:g}: it decides nothing")
        elif same:
            notes.append(f"in {len(same)} of {len(groups)} domains, all documents have one {name}")
    return notes
