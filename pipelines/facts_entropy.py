"""Entropies of units, for the strategy ``entropy``: measured by a pass over the workdir."""

from __future__ import annotations

import dataclasses

import numpy as np

from mixcurate.io import storage
from mixcurate.kernels.entropy import sample_size
from mixcurate.kernels.hashing import fingerprint
from mixcurate.kernels.strategies.facts import Facts
from mixcurate.transforms.cells import CellsOf
from mixcurate.transforms.entropy import Entropies, EntropyPlan, entropy_path
from pipelines.job import Job, resolve

VERSION = "1"

#: What one core does in a second; only decides about processes.
_TOKENS_PER_SECOND = 800_000
_VECTORS_PER_SECOND = 200_000


def gather(job: Job, facts: Facts, cells: CellsOf) -> Facts:
    """Add the entropies of the kind that the recipe asks for, unless they are measured already.

    Args:
        job: whose stage score has run.
        facts: of the cells.
        cells: of the documents; cell i is unit i.
    """
    recipe, kind = job.recipe, job.recipe.mixture.entropy.kind
    scored = job.require("score")
    vectors = kind == "von_neumann"
    available = facts.documents if vectors else facts.tokens
    tokenizer = recipe.ingest.tokenizer
    if tokenizer != "embedded":
        tokenizer = resolve(job.base, tokenizer)
    plan = EntropyPlan(
        kind=kind,
        cells=cells,
        available=tuple(available.tolist()),
        size=sample_size(available, vectors=vectors),
        tokenizer=tokenizer,
        seed=recipe.seed,
    )
    mark = fingerprint("entropy", VERSION, repr(plan), scored.fingerprint)
    path = entropy_path(job.workdir)
    if not (storage.exists(path) and storage.read_json(path)["mark"] == mark):
        parts = [part.name for part in scored.parts]
        looked_at = float((plan.shares * available).sum())
        unit = "documents" if vectors else "tokens"
        job.reporter.say(f"plan: entropies of {plan.size:,} {unit} of each unit at most")
        rate = _VECTORS_PER_SECOND if vectors else _TOKENS_PER_SECOND
        stage = Entropies(job.workdir, plan, parts, mark)
        job.run_pipeline("plan", stage.build, work_seconds=looked_at / rate)
    found = storage.read_json(path)["cells"]
    values = [found.get(str(unit), [0.0, 0])[0] for unit in range(len(facts.names))]
    return dataclasses.replace(facts, entropies=np.array(values, np.float64))
