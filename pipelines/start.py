"""From the command line's words to a checked job, and from a finished one to what is printed."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from typing import Any

from mixcurate.errors import InputError
from mixcurate.io import readers, storage
from mixcurate.io.workdir import Success, Workdir
from mixcurate.recipe_file import load_recipe
from mixcurate.transforms.runner import parse_beam_args
from pipelines import cluster, embed, ingest, materialize, plan, score
from pipelines.job import Job, resolve
from pipelines.progress import Reporter

_RUN: dict[str, Callable[[Job], Success]] = {
    "ingest": ingest.run,
    "embed": embed.run,
    "cluster": cluster.run,
    "score": score.run,
    "plan": plan.run,
    "materialize": materialize.run,
}


def start_job(
    recipe: str, overrides: Sequence[str], beam_args: Sequence[str], *, quiet: bool = False
) -> Job:
    """Check everything that can be checked before work begins.

    Raises:
        RequestError: the recipe, an input, the workdir, the output folder or a Beam option.
    """
    loaded = load_recipe(recipe, overrides)
    base = os.path.dirname(os.path.abspath(recipe))
    job = Job(
        recipe=loaded,
        base=base,
        workdir=Workdir(resolve(base, loaded.workdir)),
        runner=parse_beam_args(beam_args),
        reporter=Reporter(quiet=quiet),
    )
    problems = []
    for index, source in enumerate(loaded.inputs):
        try:
            readers.list_tasks(index, source, base=base, task_bytes=1 << 62)
        except InputError as error:
            problems.append(f"inputs.{index}: {error}")
    if problems:
        raise InputError("\n".join(problems))
    storage.require_writable(job.workdir.root)
    materialize.check_output(job)
    return job


def run_stages(job: Job, stages: Sequence[str], *, as_json: bool) -> str:
    """Run stages in order; what the last of them has to say."""
    results = {stage: _RUN[stage](job) for stage in stages}
    last = stages[-1]
    if as_json:
        return json.dumps(
            {stage: _summary(success) for stage, success in results.items()}, indent=2
        )
    return f"{last}: done"


def _summary(success: Success) -> dict[str, Any]:
    return {
        "documents_in": success.documents_in,
        "documents_out": success.documents_out,
        "rejected": success.rejected,
        "tokens": success.tokens,
        "parts": len(success.parts),
        "details": success.details,
    }
