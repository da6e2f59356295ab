"""The plan stage: token targets per domain, and the exact draw that meets them."""

from __future__ import annotations

import dataclasses
import math
import time
from typing import Any

import numpy as np

from mixcurate.io import partfiles, storage
from mixcurate.io.workdir import Part, Success, TaskResult
from mixcurate.kernels import allocation, budget, draw, shards
from mixcurate.kernels.allocation import Amounts
from mixcurate.kernels.hashing import fingerprint
from mixcurate.kernels.licences import check_allowed
from mixcurate.kernels.strategies.facts import Facts
from mixcurate.kernels.targets import shares_of
from mixcurate.transforms.pool import rule_of
from mixcurate.transforms.score import WEIGHTED, bins_path
from mixcurate.transforms.select import (
    PLAN,
    SELECT,
    DrawPlan,
    Select,
    SelectPart,
    thresholds_path,
)
from mixcurate.transforms.tasks import Task, split, summarise
from pipelines.job import Job, finish, say_resumed, up_to_date

VERSION = "2"

#: Copies of a document that is drawn by weight: the keys end before.
_NO_LIMIT = 1 << 30

#: Documents that one core selects in a second, reading included; only decides about processes.
_DOCUMENTS_PER_SECOND = 50_000


@dataclasses.dataclass(frozen=True)
class Targets:
    """What the mixture asks of each domain, before any document is drawn."""

    names: list[str]
    ids: list[str]
    available: list[int]
    documents: list[int]
    shares: list[float]
    tokens: list[int]
    budget: int
    notes: list[str]


def run(job: Job) -> Success:
    """Plan, or say that it is up to date."""
    started = time.perf_counter()
    scored, clustered = job.require("score"), job.require("cluster")
    params = job.recipe.mixture
    check_allowed(list(params.licences), "mixture.licences")
    mark = fingerprint(
        PLAN,
        VERSION,
        params.model_dump_json(),
        str(job.recipe.seed),
        str(int(job.recipe.output.shard_bytes)),
        str(job.recipe.output.shards_multiple_of),
        scored.fingerprint,
        clustered.details["digests"]["domains.parquet"],
        *(part.digest for part in scored.parts),
    )
    plan_path = job.workdir.path("plan.json")
    if success := up_to_date(job, PLAN, mark, [plan_path]):
        return success
    targets = find_targets(job, scored)
    for note in targets.notes:
        job.reporter.say(f"plan: {note}")
    names = [part.name for part in scored.parts]
    work = split(job.workdir, SELECT, [Task(n, fingerprint(SELECT, mark, n)) for n in names])
    say_resumed(job, PLAN, len(work.done), len(names))
    if work.todo:
        stage = Select(SelectPart(job.workdir, _draw_plan(job, targets)), names, work.todo)
        with job.reporter.watch(
            job.workdir, PLAN, stage=SELECT, done=len(work.done), tasks=len(names)
        ):
            seconds = scored.documents_out / _DOCUMENTS_PER_SECOND
            job.run_pipeline(PLAN, stage.build, work_seconds=seconds)
    results = list(job.workdir.committed(SELECT).values())
    plan = _plan(job, targets, results)
    storage.write_json(plan_path, plan)
    parts = [Part(r.task, r.documents_out, r.tokens, r.outputs[0].digest) for r in results]
    summary = summarise(mark, results, parts=parts)
    return finish(job, PLAN, summary, started)


def find_targets(job: Job, scored: Success) -> Targets:
    """Tokens per domain from the mixture and what there is.

    Raises:
        PlanError: the budget cannot be met, or a target names no domain.
    """
    params = job.recipe.mixture
    table = partfiles.read_table(job.workdir.path("domains.parquet"))
    names: list[str] = table.column("name").to_pylist()
    available = table.column("n_tokens").to_numpy()
    weighted = scored.details["weighted_tokens"]
    weighted_tokens = np.array([weighted.get(str(i), 0) / WEIGHTED for i in range(len(names))])
    facts = Facts(
        names=names,
        documents=table.column("n_documents").to_numpy(),
        tokens=available,
        budget=params.budget_tokens or int(available.sum()),
        max_epochs=params.max_epochs,
        weighted_tokens=weighted_tokens,
    )
    shares, total, notes = shares_of(params, facts, params.budget_tokens)
    tokens, capped = budget.token_targets(
        shares,
        total,
        available=available,
        max_epochs=params.max_epochs,
        names=names,
        on_short=params.on_short,
    )
    return Targets(
        names=names,
        ids=table.column("domain_id").to_pylist(),
        available=available.tolist(),
        documents=table.column("n_documents").to_pylist(),
        shares=shares.tolist(),
        tokens=tokens.tolist(),
        budget=total,
        notes=notes + capped,
    )


def _draw_plan(job: Job, targets: Targets) -> DrawPlan:
    params = job.recipe.mixture
    if params.strategy == "samplemix":
        rule = rule_of(job.recipe.score.weight)
        bins = partfiles.read_array(bins_path(job.workdir))
        amounts = [
            Amounts.of(bins[bins["domain"] == domain], "tokens", allocation.COARSE)
            for domain in range(len(targets.tokens))
        ]
        most = [
            allocation.largest_key(rule, have, float(tokens))
            for have, tokens in zip(amounts, targets.tokens, strict=True)
        ]
    else:
        rule = None
        # a domain needs at most its epochs and the copy that is begun
        most = [
            math.inf if have == 0 else tokens / have + 1
            for tokens, have in zip(targets.tokens, targets.available, strict=True)
        ]
    return DrawPlan(
        targets=targets.tokens,
        most=most,
        max_copies=_NO_LIMIT if rule else math.ceil(params.max_epochs),
        rule=rule,
        bits=draw.mantissa_bits(sum(targets.documents)),
        seed=job.recipe.seed,
        licences=params.licences,
    )


def _plan(job: Job, targets: Targets, results: list[TaskResult]) -> dict[str, Any]:
    """``plan.json``: a frozen value, everything that materialize does follows from it."""
    counts = np.zeros((len(targets.names), 4), np.int64)
    for result in results:
        for domain, numbers in result.details["domains"].items():
            counts[int(domain)] += numbers
    thresholds = storage.read_json(thresholds_path(job.workdir))
    copies = int(counts[:, 0].sum())
    n_bytes = sum(r.details["bytes"] for r in results)
    return {
        "strategy": job.recipe.mixture.strategy,
        "seed": job.recipe.seed,
        "budget_tokens": targets.budget,
        "tokens": int(counts[:, 1].sum()),
        "documents": copies,
        "bytes": n_bytes,
        "shards": shards.count_shards(
            documents=copies,
            n_bytes=n_bytes,
            shard_bytes=int(job.recipe.output.shard_bytes),
            multiple_of=job.recipe.output.shards_multiple_of,
        ),
        "notes": targets.notes,
        "domains": [
            {
                "domain": i,
                "domain_id": targets.ids[i],
                "name": targets.names[i],
                "available_documents": targets.documents[i],
                "available_tokens": targets.available[i],
                "share": targets.tokens[i] / targets.budget,
                "target_tokens": targets.tokens[i],
                "tokens": int(counts[i, 1]),
                "epochs": int(counts[i, 1]) / max(targets.available[i], 1),
                "documents": int(counts[i, 0]),
                "unique_documents": int(counts[i, 2]),
                "unique_tokens": int(counts[i, 3]),
                "threshold": thresholds[i],
            }
            for i in range(len(targets.names))
        ],
    }
