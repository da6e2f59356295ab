"""From the command line's words to a checked job, and from a finished one to what is printed."""

from __future__ import annotations

import importlib
import json
import os
import re
from collections.abc import Callable, Sequence
from typing import Any

from mixcurate.errors import InputError, OutputError, RequestError
from mixcurate.io import readers, storage
from mixcurate.io.corpus import MANIFEST
from mixcurate.io.workdir import Success, Workdir
from mixcurate.recipe_file import load_recipe, starter_recipe
from mixcurate.transforms.runner import parse_beam_args
from pipelines.job import Job, resolve
from pipelines.progress import Reporter
from pipelines.summary import plan_table, run_summary, stage_summary


def _run(stage: str, job: Job) -> Success:
    """Run a stage. Its module is loaded only now: those of all stages take seconds to load."""
    run: Callable[[Job], Success] = importlib.import_module(f"pipelines.{stage}").run
    return run(job)


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
    from pipelines.materialize import check_output

    check_output(job)
    return job


def run_stages(job: Job, stages: Sequence[str], *, as_json: bool) -> str:
    """Run stages in order; what there is to say on stdout.

    The report is written at the end, with whatever stages there are.
    """
    if "embed" in stages[1:]:  # a model that is wrong is no news for after the stages before it
        from pipelines import embed

        embed.check(job)
    if "cluster" in stages[1:]:
        from pipelines import cluster, quality

        quality.check(job)
        cluster.check(job)
    results = {stage: _run(stage, job) for stage in stages}
    from pipelines.report import write_report  # here: work does not wait for it

    report = write_report(job.workdir, job.corpus)
    if as_json:
        summary: dict[str, Any] = {
            "workdir": job.workdir.root,
            "report": report,
            "stages": {stage: stage_summary(success) for stage, success in results.items()},
        }
        if "plan" in results:
            summary["plan"] = storage.read_json(job.workdir.path("plan.json"))
        if "materialize" in results:
            summary["corpus"] = job.corpus
            summary["manifest"] = storage.join(job.corpus, MANIFEST)
        return json.dumps(summary, indent=2, sort_keys=True)
    if stages[-1] == "materialize":
        return run_summary(job, report)
    if stages[-1] == "plan":
        return plan_table(storage.read_json(job.workdir.path("plan.json")))
    last = results[stages[-1]]
    return f"{stages[-1]}: {last.documents_out:,} documents, {last.tokens:,} tokens"


def init_recipe(folder: str) -> str:
    """Write a starter recipe into ``folder``; what to do next.

    Raises:
        OutputError: there is a recipe already.
    """
    path = storage.join(folder, "recipe.yaml")
    if storage.exists(path):
        raise OutputError(f"{path} exists already; choose another folder or remove it")
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", os.path.basename(os.path.abspath(folder))).strip("-.")
    storage.require_writable(folder)
    storage.write_bytes(path, starter_recipe(name or "corpus").encode())
    return f"wrote {path}\nSet inputs.path in it, then: mixcurate run {path}"


def report_of(workdir: str) -> str:
    """Write the report of a workdir; its path.

    Raises:
        RequestError: there is no workdir.
    """
    from pipelines.report import write_report

    resolved = storage.join(workdir, "recipe.yaml")
    if not storage.exists(resolved):
        raise RequestError(f"{workdir} is no workdir: it has no recipe.yaml that a run has left")
    output = load_recipe(resolved).output.path
    root = os.path.abspath(workdir) if storage.is_local(workdir) else workdir
    corpus = storage.join(root, "corpus") if output is None else output
    return write_report(Workdir.open(root), corpus)
