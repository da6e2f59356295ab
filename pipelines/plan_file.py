"""``plan.json``: a frozen value, everything that materialize does follows from it."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from mixcurate.io import partfiles, storage
from mixcurate.io.workdir import TaskResult
from mixcurate.kernels import shards
from mixcurate.kernels.repeats import effective_tokens
from mixcurate.transforms.select import DrawPlan, thresholds_path
from mixcurate.transforms.select_counts import added
from pipelines.job import Job
from pipelines.plan_targets import Targets

Int64Array = npt.NDArray[np.int64]

HOLDOUT = "holdout"

#: The method of a draw that goes by no weights.
ALIKE = "alike"


def build_plan(
    job: Job, targets: Targets, plan: DrawPlan, results: list[TaskResult]
) -> dict[str, Any]:
    """The content of ``plan.json``, from the targets, how was drawn to them, and what was drawn."""
    phases, partition = targets.phases, targets.counts.cells.partition
    ranges = _ranges(job, phases, results)
    train = ranges[: len(phases)]
    drawn = added([r.details["cells"] for r in results], len(targets.total), 3 + len(phases))
    return {
        "strategy": job.recipe.mixture.strategy,
        "by": list(partition.levels),
        "tier_cuts": list(partition.tier_cuts),
        "draw": {"method": plan.rule.method if plan.rule else ALIKE, "max_copies": plan.max_copies},
        "seed": job.recipe.seed,
        "budget_tokens": targets.budget,
        **{key: sum(one[key] for one in train) for key in ("tokens", "documents", "bytes")},
        "shards": sum(one["shards"] for one in train),
        "notes": targets.notes,
        "ranges": ranges,
        "cells": _cells(job, targets, drawn),
        "domains": _domains(job, targets, results),
    }


def _ranges(job: Job, phases: list[str], results: list[TaskResult]) -> list[dict[str, Any]]:
    """Documents, tokens, bytes and shards of each phase, and of the holdout if there is one."""
    each = np.array([r.details["ranges"] for r in results], np.int64)
    counts: list[list[int]] = each.sum(axis=0).tolist()
    names = [("train", phase) for phase in phases]
    if job.recipe.mixture.holdout > 0:
        names.append((HOLDOUT, HOLDOUT))
    found = []
    for number, ((split, phase), (documents, tokens, n_bytes)) in enumerate(
        zip(names, counts[: len(names)], strict=True)
    ):
        n_shards = shards.count_shards(
            documents=documents,
            n_bytes=n_bytes,
            shard_bytes=int(job.recipe.output.shard_bytes),
            multiple_of=job.recipe.output.shards_multiple_of,
        )
        found.append(
            {"range": number, "split": split, "phase": phase, "documents": documents}
            | {"tokens": tokens, "bytes": n_bytes, "shards": n_shards if documents else 0}
        )
    return found


def _cells(job: Job, targets: Targets, drawn: Int64Array) -> list[dict[str, Any]]:
    counts, partition = targets.counts, targets.counts.cells.partition
    copies, documents, unique = drawn[:, 0], drawn[:, 1], drawn[:, 2]
    tokens = drawn[:, 3:].sum(axis=1)
    epochs = tokens / np.maximum(counts.tokens, 1)
    worth = _effective(job, counts.tokens, epochs)
    limits = storage.read_json(thresholds_path(job.workdir))
    total = targets.total
    return [
        {
            "cell": i,
            "path": dict(zip(partition.levels, path, strict=True)),
            "name": partition.names[i],
            "available_documents": int(counts.documents[i]),
            "available_tokens": int(counts.tokens[i]),
            "share": float(total[i] / targets.budget),
            "target_tokens": int(total[i]),
            "tokens": int(tokens[i]),
            "documents": int(copies[i]),
            "unique_documents": int(documents[i]),
            "unique_tokens": int(unique[i]),
            "epochs": float(epochs[i]),
            "effective_tokens": int(worth[i]),
            "largest_document": int(counts.largest[i]),
            "thresholds": [
                {"key": key, "tie": tie}
                for key, tie in zip(limits["key"][i], limits["tie"][i], strict=True)
            ],
            "phases": [
                {"phase": name, "target_tokens": wanted, "tokens": got}
                for name, wanted, got in zip(
                    targets.phases,
                    targets.tokens[:, i].tolist(),
                    drawn[i, 3:].tolist(),
                    strict=True,
                )
            ],
        }
        for i, path in enumerate(partition.paths)
    ]


def _effective(job: Job, available: Int64Array, epochs: npt.NDArray[np.float64]) -> Int64Array:
    """Tokens without repeats that are worth as much: int64 ``[n]``."""
    worth = effective_tokens(available.astype(np.float64), epochs, job.recipe.mixture.repetition)
    rounded: Int64Array = np.rint(worth).astype(np.int64)
    return rounded


def _domains(job: Job, targets: Targets, results: list[TaskResult]) -> list[dict[str, Any]]:
    """The same by domain, whatever shares are of."""
    table = partfiles.read_table(job.workdir.path("domains.parquet"), ["name", "domain_id"])
    names, ids = table.column("name").to_pylist(), table.column("domain_id").to_pylist()
    drawn = added([r.details["domains"] for r in results], len(names), 6)
    tokens, available = drawn[:, 1], drawn[:, 5]
    wanted = _targets_by_domain(job, targets, len(names))
    wanted = tokens if wanted is None else wanted
    epochs = tokens / np.maximum(available, 1)
    worth = _effective(job, available, epochs)
    return [
        {
            "domain": i,
            "domain_id": ids[i],
            "name": name,
            "available_documents": int(drawn[i, 4]),
            "available_tokens": int(available[i]),
            "share": float(wanted[i] / max(targets.budget, 1)),
            "target_tokens": int(wanted[i]),
            "tokens": int(tokens[i]),
            "epochs": float(epochs[i]),
            "documents": int(drawn[i, 0]),
            "unique_documents": int(drawn[i, 2]),
            "unique_tokens": int(drawn[i, 3]),
            "effective_tokens": int(worth[i]),
        }
        for i, name in enumerate(names)
    ]


def _targets_by_domain(job: Job, targets: Targets, n: int) -> Int64Array | None:
    """Sums of the targets of a domain's cells; None where cells cross domains."""
    partition = targets.counts.cells.partition
    total = np.zeros(n, np.int64)
    if "domain" in partition.levels:
        place = partition.levels.index("domain")
        of_cell = np.array([path[place] for path in partition.paths], np.int64)
    elif "cluster" in partition.levels:
        place = partition.levels.index("cluster")
        table = partfiles.read_table(job.workdir.path("clusters.parquet"), ["cluster", "domain"])
        found = dict(zip(*(column.to_pylist() for column in table.columns), strict=True))
        of_cell = np.array([found[path[place]] for path in partition.paths], np.int64)
    else:
        return None
    np.add.at(total, of_cell, targets.total)
    return total
