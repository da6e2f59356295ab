"""What every stage is given, and the frame it runs in: skip when up to date, run, account, end."""

from __future__ import annotations

import contextlib
import dataclasses
import re
import time
import traceback
from collections.abc import Callable, Sequence
from typing import Any

import apache_beam as beam

import mixcurate
from mixcurate import errors
from mixcurate.errors import JobError, MixcurateError
from mixcurate.io import storage
from mixcurate.io.workdir import Success, Workdir
from mixcurate.kernels.hashing import fingerprint
from mixcurate.recipe import STAGES, Recipe
from mixcurate.recipe_file import dump_recipe
from mixcurate.transforms.runner import BeamArgs, local_processes, make_pipeline
from mixcurate.transforms.tasks import check_accounting
from pipelines.progress import Reporter


@dataclasses.dataclass(frozen=True)
class Job:
    """One run of a recipe."""

    recipe: Recipe
    base: str  # folder that relative paths of the recipe start from
    workdir: Workdir
    runner: BeamArgs
    reporter: Reporter

    @property
    def corpus(self) -> str:
        """Folder of the corpus."""
        path = self.recipe.output.path
        return self.workdir.path("corpus") if path is None else resolve(self.base, path)

    def threads(self, work_seconds: float) -> int:
        """Threads that one worker process may use for a stage."""
        if not self.runner.is_local:
            return 1
        processes = local_processes(self.runner, work_seconds)
        return max(1, self.runner.workers // processes) if processes else self.runner.workers

    def require(self, stage: str) -> Success:
        """The ``_SUCCESS`` of an earlier stage.

        Raises:
            RequestError: that stage has not run.
        """
        success = self.workdir.success(stage)
        if success is not None:
            return success
        message = (
            f"stage {stage!r} has not finished in {self.workdir.root}; run it first: "
            f"mixcurate {stage} RECIPE"
        )
        if stage != "ingest" and self.workdir.success("embed") is None:
            message += "\nWhat embed will take: mixcurate plan RECIPE --stage embed"
        raise errors.RequestError(message)

    def run_pipeline(
        self,
        stage: str,
        build: Callable[[beam.Pipeline], None],
        *,
        work_seconds: float,
        experiments: tuple[str, ...] = (),
    ) -> None:
        """Run one Beam pipeline to its end.

        Raises:
            MixcurateError: what a step raised on purpose, as it was.
            JobError: anything else, with the traceback left in the workdir.
        """
        name = re.sub(r"[^a-z0-9-]+", "-", f"{self.recipe.name}-{stage}".lower()).strip("-")
        pipeline = make_pipeline(
            self.runner, job_name=name, work_seconds=work_seconds, experiments=experiments
        )
        build(pipeline)
        try:
            pipeline.run().wait_until_finish()
        except Exception as error:
            raise self._translated(stage, error) from error

    def _translated(self, stage: str, error: Exception) -> MixcurateError:
        text = "".join(traceback.format_exception(error))
        found = re.findall(
            r"mixcurate\.errors\.(\w+): (.*?)(?= \[while running|\n\n|\Z)", text, re.S
        )
        if isinstance(error, MixcurateError):
            return error
        if found:
            kind = getattr(errors, found[-1][0], JobError)
            message = found[-1][1].strip()
            with contextlib.suppress(TypeError):
                translated: MixcurateError = kind(message)
                return translated
        log = self.workdir.path("_stages", stage, "error.txt")
        storage.write_bytes(log, text.encode())
        last = text.strip().splitlines()[-1]
        return JobError(f"stage {stage!r} failed: {last}\nThe full traceback is in {log}")


def resolve(base: str, path: str) -> str:
    """A path of the recipe, relative to the recipe's folder unless absolute or a URL."""
    return path if "://" in path else storage.join(base, path)


#: Whose committed outputs a finished stage stands on.
_TASKS_OF = {"plan": "select"}


def up_to_date(job: Job, stage: str, mark: str, tables: Sequence[str] = ()) -> Success | None:
    """The stage's ``_SUCCESS`` if it ended under this fingerprint and its files are all there.

    Otherwise it is taken back, and the stage has to run.

    Args:
        job: the run.
        stage: its stage.
        mark: fingerprint that is asked for.
        tables: files beside the parts that the stage writes.
    """
    success = job.workdir.success(stage)
    whole = all(storage.exists(path) for path in tables) and _is_whole(job.workdir, stage)
    if success is not None and success.fingerprint == mark and whole:
        job.reporter.say(
            f"{stage}: up to date ({success.documents_out:,} documents, {success.tokens:,} tokens, "
            f"{len(success.parts)} parts)"
        )
        return success
    job.workdir.clear_success(stage)
    return None


def _is_whole(workdir: Workdir, stage: str) -> bool:
    committed = workdir.committed(_TASKS_OF.get(stage, stage)).values()
    return all(workdir.is_whole(result) for result in committed)


def say_resumed(job: Job, stage: str, done: int, tasks: int) -> None:
    """Tell how much of a stage an earlier run has left."""
    if done:
        job.reporter.say(f"{stage}: {done} of {tasks} tasks were finished before and are kept")


def finish(job: Job, stage: str, success: Success, started: float) -> Success:
    """Check the accounting, end the stage, and bring the workdir's records up to date."""
    check_accounting(stage, success)
    wall = round(time.perf_counter() - started, 3)
    success = dataclasses.replace(success, details=success.details | {"wall_seconds": wall})
    job.workdir.write_success(stage, success)
    write_records(job)
    rejected = "".join(f", {count:,} {reason}" for reason, count in success.rejected.items())
    rate = success.documents_in / max(wall, 1e-3)
    job.reporter.say(
        f"{stage}: {success.documents_in:,} documents in, {success.documents_out:,} out{rejected}; "
        f"{success.tokens:,} tokens in {wall:.1f} s ({rate:,.0f} documents/s)"
    )
    return success


def write_records(job: Job) -> None:
    """Write ``recipe.yaml`` (resolved, with versions and fingerprints) and ``metrics.json``."""
    stages = {stage: job.workdir.success(stage) for stage in STAGES}
    ended = {stage: success for stage, success in stages.items() if success is not None}
    lines = [f"# resolved by mixcurate {mixcurate.__version__}; Beam {beam.__version__}"]
    lines += [f"# {stage}: {success.fingerprint}" for stage, success in ended.items()]
    text = "\n".join(lines) + "\n" + dump_recipe(job.recipe)
    storage.write_bytes(job.workdir.path("recipe.yaml"), text.encode())
    metrics: dict[str, Any] = {
        stage: {
            "documents_in": success.documents_in,
            "documents_out": success.documents_out,
            "rejected": success.rejected,
            "rejected_sizes": success.rejected_sizes,
            "tokens": success.tokens,
            "parts": len(success.parts),
            "task_seconds": success.seconds,
            "wall_seconds": success.details.get("wall_seconds"),
        }
        for stage, success in ended.items()
    }
    storage.write_json(job.workdir.path("metrics.json"), metrics)


def recipe_fingerprint(recipe: Recipe) -> str:
    """Names what was asked for, wherever it is written to."""
    asked = recipe.model_dump(mode="json")
    asked.pop("workdir")
    asked["output"].pop("path")
    for where in ("accelerator", "min_ram", "reuse"):  # where it runs, and what that saves
        asked["embed"].pop(where)
    asked["score"].pop("annotator")  # a tool beside the stages: what comes of it is a head
    return fingerprint(repr(sorted(asked.items())))
