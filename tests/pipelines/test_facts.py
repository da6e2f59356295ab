"""Strategies that need more than a count of the pool, through the plan of a scored job."""

from __future__ import annotations

import math
import shutil
from pathlib import Path
from typing import Any

import pytest

from mixcurate.errors import InputError, PlanError
from mixcurate.io import storage
from mixcurate.kernels.cells import Membership
from mixcurate.transforms.cells import CellsOf
from mixcurate.transforms.entropy import (
    EntropyPlan,
    entropy_path,
)
from pipelines import plan
from pipelines.job import Job
from pipelines.plan_facts import count_cells
from pipelines.start import start_job
from tests.transforms.entropies import measured


@pytest.fixture(scope="module")
def folder(until_score: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of a scored job that may be planned."""
    copy = tmp_path_factory.mktemp("facts") / "job"
    shutil.copytree(until_score, copy)
    return copy


def planned(folder: Path, *overrides: str) -> tuple[Job, dict[str, Any]]:
    """Plan with a change of the mixture; the job and its plan."""
    job = start_job(
        str(folder / "recipe.yaml"), [f"mixture.{o}" for o in overrides], [], quiet=True
    )
    plan.run(job)
    return job, storage.read_json(job.workdir.path("plan.json"))


@pytest.mark.parametrize("kind", ["conditional", "von_neumann"])
def test_shares_by_entropy_are_those_of_a_plain_pass(folder, kind):
    job, found = planned(folder, "strategy=entropy", f"entropy.kind={kind}", "on_short=repeat")
    scored = job.require("score")
    counts = count_cells(job, scored)
    vectors = kind == "von_neumann"
    size = 1 << 17
    everything = (1,) * len(found["cells"])
    cells = CellsOf(counts.cells.partition, Membership(job.recipe.seed))
    what = EntropyPlan(kind, cells, everything, size, "embedded", job.recipe.seed)
    by_cell = measured(job.workdir, what, [part.name for part in scored.parts])
    entropies = [by_cell[number][0] for number in sorted(by_cell)]
    assert len(set(entropies)) == len(entropies) == len(found["cells"])
    total = sum(math.exp(entropy) for entropy in entropies)
    for entropy, cell in zip(entropies, found["cells"], strict=True):
        assert cell["share"] == pytest.approx(math.exp(entropy) / total, abs=1e-4)
    left = storage.read_json(entropy_path(job.workdir))["cells"]
    unit = "available_documents" if vectors else "available_tokens"
    for cell in found["cells"]:
        assert left[str(cell["cell"])][1] == pytest.approx(cell[unit], rel=0.02)
    assert any("their entropy is underestimated" in note for note in found["notes"])


def test_shares_of_a_file_are_by_name_or_number(folder):
    names = [d["name"] for d in planned(folder)[1]["domains"]]
    weights = {f"train_{names[0]}": 3, f"train_{names[1]}": 1, "train_2": 4}
    lines = "".join(f"  {name}: {weight}\n" for name, weight in weights.items())
    (folder / "regmix.yaml").write_text("train:\n" + lines)
    how = ["strategy=file", "file.path=regmix.yaml", "on_short=repeat"]
    _, found = planned(folder, *how)
    shares = [cell["share"] for cell in found["cells"]]
    assert shares == pytest.approx([3 / 8, 1 / 8, 4 / 8, 0], abs=1e-4)
    assert "mixture.file: the weights add up to 8; they were scaled to 1" in found["notes"]
    assert f"mixture.file: without a share, so left out: {names[3]!r}" in found["notes"]

    (folder / "regmix.yaml").write_text("train:\n" + lines + "  train_elsewhere: 1\n")
    with pytest.raises(PlanError, match=r"mixture\.file: no 'elsewhere' among 4 units"):
        planned(folder, *how)
    (folder / "regmix.yaml").write_text("train:\n  train_0: much\n")
    with pytest.raises(InputError, match=r"regmix\.yaml:2: the weight of 'train_0' is 'much'"):
        planned(folder, *how)
