"""The score stage against SampleMix all at once: the same copies of every document."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from tests.pipelines.brute_force_samplemix import (
    Expected,
    Settings,
    brute_force,
    read_workdir,
    settings_of,
)
from tests.pipelines.conftest import RECIPE, invoke

SEED = 5

#: A document whose copies would change if its expected copies did by less is too near to call.
NEAR = 1e-6

TWO_PROCESSES = ["--", "--direct_running_mode=multi_processing", "--direct_num_workers=2"]


@pytest.fixture(scope="module")
def pruned(embedded: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clustered job, some documents of which are not in the pool; its recipe."""
    folder = tmp_path_factory.mktemp("pruned") / "job"
    shutil.copytree(embedded, folder)
    recipe = folder / "recipe.yaml"
    recipe.write_text(yaml.safe_dump(RECIPE | {"seed": SEED, "mixture": {}}))
    result = invoke("cluster", recipe, "--set", "cluster.prune.thresholds={form: 0.95}")
    assert result.exit_code == 0, result.output
    return recipe


@pytest.fixture
def recipe(pruned: Path, tmp_path: Path) -> Path:
    """A copy of it that a test may change."""
    shutil.copytree(pruned.parent, tmp_path / "job")
    return tmp_path / "job" / "recipe.yaml"


def score(
    recipe: Path,
    weight: dict[str, Any],
    share: float | None,
    *more: str,
    diversity: dict[str, Any] | None = None,
) -> Settings:
    """Run the stage for a share of the pool's tokens; the settings that the reference needs."""
    tokens = json.loads((recipe.parent / "work/assignments/_SUCCESS").read_text())["tokens"]
    budget = None if share is None else int(share * tokens)
    spread = diversity or {}
    sets = {f"score.weight.{key}": value for key, value in weight.items()}
    sets |= {f"score.diversity.{key}": value for key, value in spread.items()}
    sets |= {"mixture.budget_tokens": budget}
    sets |= {"cluster.prune.thresholds": {"form": 0.95}}
    options = [
        part for key, value in sets.items() for part in ("--set", f"{key}={json.dumps(value)}")
    ]
    result = invoke("score", recipe, *options, *more)
    assert result.exit_code == 0, result.output
    measured = {key: value for key, value in spread.items() if key != "k"}
    return settings_of(weight | measured, budget=budget, seed=SEED)


def compare(recipe: Path, settings: Settings) -> Expected:
    """Hold the stage's tables against the reference, and give the latter."""
    work = read_workdir(recipe.parent / "work")
    expected = brute_force(work, settings)
    assert 100 < work.pool.sum() < len(work.pool)
    assert expected.doubt.min() > NEAR
    table = work.scores
    np.testing.assert_array_equal(table.column("copies").to_numpy(), expected.copies)
    for name in ("diversity", "weight"):
        found = table.column(name).to_numpy()
        np.testing.assert_allclose(found, getattr(expected, name), rtol=1e-4, atol=1e-9)
    return expected


CASES: list[tuple[dict[str, Any], float | None]] = [
    ({}, None),
    ({"alpha": 0}, 0.3),
    ({"alpha": 1}, 2.5),
    ({"max_epochs": 1.5, "tau": 0.02}, 1.2),
    ({"exact": "tokens"}, 0.8),
    ({"method": "soft_cap"}, 3.3),
    ({"method": "gumbel", "exact": "tokens"}, 2.4),
    ({"normalise": "rank"}, 1.5),
    ({"within": "domain", "exact": "tokens", "max_epochs": 2}, 0.5),
]


@pytest.mark.parametrize(("weight", "share"), CASES, ids=[f"{w} {s}" for w, s in CASES])
def test_every_count_is_that_of_the_reference(
    pruned: Path, weight: dict[str, Any], share: float | None
) -> None:
    settings = score(pruned, weight, share)
    expected = compare(pruned, settings)
    work = pruned.parent / "work"
    about = json.loads((work / "_stages/score/pool.json").read_text())
    assert about["copies"] == expected.copies.sum()
    pool, tokens = np.isfinite(expected.doubt), read_workdir(work).tokens
    assert about["copy_tokens"] == (expected.copies * tokens).sum()
    target = settings.budget or tokens[pool].sum()
    if settings.exact == "tokens":
        assert (expected.expected * tokens).sum() == pytest.approx(target)
    else:
        ratio = target / tokens[pool].sum()
        assert expected.expected.sum() == pytest.approx(ratio * pool.sum())


def test_diversity_in_other_clusters_and_distances(recipe: Path) -> None:
    diversity = {
        "k": "cluster",
        "distance": "cosine",
        "separation": "nearest",
        "compactness": "distance",
    }
    compare(recipe, score(recipe, {}, 1.5, diversity=diversity))


def test_two_processes_score_as_one(recipe: Path) -> None:
    work = recipe.parent / "work"
    weight = {"exact": "tokens", "within": "domain", "normalise": "rank", "max_epochs": 3}
    score(recipe, weight, 1.7)
    steps = [work / "_stages" / step for step in ("score", "quality", "diversity")]
    first = contents([work / "scores", *steps])
    for folder in (work / "scores", *steps):
        shutil.rmtree(folder)
    compare(recipe, score(recipe, weight, 1.7, *TWO_PROCESSES))
    again = contents([work / "scores", *steps])
    assert [path for path in first | again if first.get(path) != again.get(path)] == []


def contents(folders: list[Path]) -> dict[str, bytes]:
    """Data files below folders, without the notes of when and how long."""
    files = [path for folder in folders for path in sorted(folder.rglob("*")) if path.is_file()]
    return {
        str(path): path.read_bytes()
        for path in files
        if path.name != "_SUCCESS" and "tasks" not in path.parts and path.name != "metrics.json"
    }
