"""A job as the command line makes it, for the tests of the classify steps."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from mixcurate.io.workdir import Heartbeat, TaskResult, Workdir
from mixcurate.recipe_file import load_recipe
from mixcurate.transforms.classify import ClassifyPart
from mixcurate.transforms.runner import parse_beam_args
from mixcurate.transforms.tasks import Task
from pipelines import classify
from pipelines.job import Job
from pipelines.progress import Reporter

HALF = ".tmp-half-a-file"


def job_of(recipe: Path | str, *overrides: str, workers: int = 1) -> Job:
    """The job that the command line makes of a recipe."""
    loaded = load_recipe(str(recipe), overrides)
    base = Path(recipe).parent
    beam = parse_beam_args([f"--direct_num_workers={workers}"])
    return Job(loaded, str(base), Workdir(str(base / "work")), beam, Reporter(quiet=True))


def asked(**changes: Any) -> str:
    """Overrides for one fastText classifier, in ``model.bin`` beside the recipe."""
    one = {"name": "hq", "model": "model.bin", "label": "hq"} | changes
    return f"score.quality.classifiers={json.dumps([one])}"


class DyingPart(ClassifyPart):
    """Ends the process in the middle of its second part."""

    def run(self, task: Task, heartbeat: Heartbeat) -> TaskResult:
        if self.workdir.committed(self.stage):
            Path(self.workdir.path("_stages", self.stage, HALF)).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().run(task, heartbeat)


if __name__ == "__main__":
    classify.ClassifyPart = DyingPart  # type: ignore[misc]
    classify.run_classifiers(job_of(*sys.argv[1:]))
