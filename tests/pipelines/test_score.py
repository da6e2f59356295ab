"""The score stage and its quality step, through the command line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mixcurate.io import partfiles
from mixcurate.io.embeddings import read_embeddings
from mixcurate.io.head_file import HeadFile, write_head_file
from mixcurate.io.workdir import Workdir
from mixcurate.transforms.quality import head_of
from tests.pipelines.clustering import parts
from tests.pipelines.conftest import invoke

HEURISTICS = ["fluency", "form", "originality", "substance"]


@pytest.fixture
def done(finished: Path, tmp_path: Path) -> Path:
    """A copy of a finished run; its recipe."""
    shutil.copytree(finished, tmp_path / "job")
    return tmp_path / "job" / "recipe.yaml"


def score(recipe: Path, *settings: str) -> str:
    """Run the stage; what it says."""
    sets = [part for setting in settings for part in ("--set", setting)]
    result = invoke("score", recipe, *sets)
    assert result.exit_code == 0, result.output
    return result.output


def refused(recipe: Path, *settings: str, stage: str = "score") -> str:
    """Run the stage and fail; what it says."""
    sets = [part for setting in settings for part in ("--set", setting)]
    result = invoke(stage, recipe, *sets)
    assert result.exit_code in (1, 2), result.output
    return result.output


def pool(recipe: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(
        (recipe.parent / "work" / "_stages" / "score" / "pool.json").read_text()
    )
    return found


def encoder(recipe: Path) -> dict[str, Any]:
    success = Workdir(str(recipe.parent / "work")).success("embed")
    assert success is not None
    found: dict[str, Any] = success.details["encoder"]
    return found


def write_head(recipe: Path, name: str = "head.safetensors", **changes: Any) -> Path:
    """A head of two dimensions that has learned nothing; its path."""
    known = encoder(recipe)
    random = np.random.default_rng(3)
    width = known["dimension"]
    values: dict[str, Any] = {
        "dimensions": (("depth", 0.0, 2.0), ("care", 0.0, 1.0)),
        "layers": ((random.normal(size=(width, 3)).astype(np.float32), np.zeros(3, np.float32)),),
        "mean": np.zeros(width, np.float32),
        "scale": np.full(width, 0.1, np.float32),
        "encoder": known,
        "trained_on": {},
        "measured": {},
    }
    write_head_file(str(recipe.parent / name), HeadFile(**(values | changes)))
    return recipe.parent / name


def test_a_head_adds_its_dimensions_and_counts_by_its_points(done):
    before = parts(done, "scores")
    path = write_head(done)
    score(done, f"score.quality.heads=[{path.name}]")
    found = parts(done, "scores")
    assert found.column_names[:6] == [f"quality_{name}" for name in [*HEURISTICS, "depth", "care"]]
    head, work = head_of(str(path)), done.parent / "work"
    vectors = np.concatenate([
        np.array(read_embeddings(str(p)), np.float64)
        for p in sorted((work / "embeddings").glob("*.arrow"))
    ])  # fmt: skip
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    chance = 1 / (1 + np.exp(-(unit / 0.1) @ head.layers[0][0].astype(np.float64)))
    depth = chance[:, 0] + np.minimum(chance[:, 0], chance[:, 1])
    np.testing.assert_allclose(found.column("quality_depth").to_numpy(), depth, atol=1e-4)
    np.testing.assert_allclose(found.column("quality_care").to_numpy(), chance[:, 2], atol=1e-4)
    own = sum(before.column(f"quality_{name}").to_numpy().astype(float) for name in HEURISTICS)
    expected = (own + depth + chance[:, 2]) / 7
    np.testing.assert_allclose(found.column("quality").to_numpy(), expected, atol=1e-4)
    assert not found.column("weight").equals(before.column("weight"))


def test_a_head_reads_the_signals_that_it_asks_for(done):
    width, names = encoder(done)["dimension"], ("punctuated_lines", "n_words")
    random = np.random.default_rng(4)
    weight = np.concatenate([np.zeros((width, 3)), random.normal(size=(2, 3))])
    path = write_head(
        done,
        layers=((weight.astype(np.float32), np.zeros(3, np.float32)),),
        mean=np.zeros(width + 2, np.float32),
        scale=np.full(width + 2, 100, np.float32),  # nothing is cut
        signals=names,
    )
    score(done, f"score.quality.heads=[{path.name}]", "score.quality.heuristics=false")
    documents = parts(done, "documents")
    columns = [documents.column(f"signal_{name}").to_numpy().astype(float) for name in names]
    chance = 1 / (1 + np.exp(-np.log(np.stack(columns, axis=1) + 0.1) / 100 @ weight[width:]))
    care = parts(done, "scores").column("quality_care").to_numpy()
    np.testing.assert_allclose(care, chance[:, 2], atol=1e-5)
    write_head(done, signals=("n_words", "charm"))
    said = refused(done, f"score.quality.heads=[{path.name}]")
    assert "head.safetensors reads the signal 'charm'" in said


def test_weights_of_dimensions_say_what_counts(done):
    score(done, "score.quality.weights={form: 3, originality: 0, fluency: 0}")
    found = parts(done, "scores")
    form, substance = (found.column(f"quality_{n}").to_numpy() for n in ("form", "substance"))
    expected = (3 * form.astype(float) + substance) / 4
    np.testing.assert_allclose(found.column("quality").to_numpy(), expected, atol=1e-6)


def test_a_heads_quality_prunes_clusters(done):
    path = write_head(done)
    settings = (f"score.quality.heads=[{path.name}]", "cluster.prune={min_quality: null, thresholds: {depth: 1.0}}")  # fmt: skip  # noqa: E501
    sets = [part for setting in settings for part in ("--set", setting)]
    result = invoke("cluster", done, *sets)
    assert result.exit_code == 0, result.output
    clusters = partfiles.read_table(str(done.parent / "work" / "clusters.parquet")).to_pylist()
    assert {row["kept"] for row in clusters} == {True, False}
    for row in clusters:
        assert row["kept"] == (row["mean_quality_depth"] >= 1.0)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (["score.quality.weights={fluencey: 2}"], ["'fluencey'", "fluency"]),
        (["score.quality.heuristics=false"], ["no dimension counts"]),
        (["score.quality.weights={fluency: 0, form: 0, originality: 0, substance: 0}"],
         ["no dimension counts"]),
        (["score.quality.heads=[gone.safetensors]"], ["gone.safetensors", "cannot be read"]),
        (["score.quality.carried={edu: [5, 0]}"], ["edu", "lower to a higher"]),
        (["score.quality.carried={fluency: [0, 1]}"], ["'fluency'", "two quality dimensions"]),
        (["score.quality.carried={edu: [0, 5]}"],
         ["'edu'", "is missing in", "a.jsonl", "score.quality.missing"]),
        (["score.weight.max_epochs=1", "mixture.budget_tokens=10_000_000_000"],
         ["max_epochs 1 allows", "10,000,000,000|documents", "mixture.budget_tokens"]),
    ],
)  # fmt: skip
def test_what_cannot_be_is_told_with_its_place_and_the_fix(done, settings, words):
    said = refused(done, *settings)
    for word in words:
        assert any(one in said for one in word.split("|")), said
    assert "Traceback" not in said


def test_a_run_is_told_of_a_wrong_head_before_any_stage(done):
    said = refused(done, "score.quality.heads=[gone.safetensors]", "workdir=other", stage="run")
    assert "gone.safetensors" in said
    assert not (done.parent / "other" / "documents").exists()


def test_a_head_of_another_encoder_is_refused(done):
    path = write_head(done, encoder=encoder(done) | {"weights_sha256": "0" * 64})
    said = refused(done, f"score.quality.heads=[{path.name}]")
    assert "weights_sha256" in said
    assert "train-quality" in said


def test_a_dimension_that_nobody_has_can_be_skipped_or_be_the_least(done):
    before = parts(done, "scores").column("quality").to_numpy()
    score(done, "score.quality.carried={edu: [0, 5]}", "score.quality.missing=skip")
    found = parts(done, "scores")
    assert np.isnan(found.column("quality_edu").to_numpy()).all()
    np.testing.assert_allclose(found.column("quality").to_numpy(), before, atol=1e-6)
    score(done, "score.quality.carried={edu: [0, 5]}", "score.quality.missing=least")
    found = parts(done, "scores").column("quality").to_numpy()
    np.testing.assert_allclose(found, before * 4 / 5, atol=1e-6)


def test_constant_quality_is_said_and_decides_nothing(done):
    said = score(done, "score.quality.carried={edu: [0, 5]}", "score.quality.missing=least",
                 "score.quality.weights={fluency: 0, form: 0, originality: 0, substance: 0}")  # fmt: skip  # noqa: E501
    assert "all documents have the quality 0: it decides nothing" in said
    assert pool(done)["groups"][0]["quality"] == [0.0, 0.0]
    assert (parts(done, "scores").column("weight").to_numpy() >= 0).all()


@pytest.mark.parametrize("method", ["samplemix", "soft_cap", "gumbel"])
@pytest.mark.parametrize("within", ["pool", "domain"])
def test_copies_meet_the_budget_in_expectation_and_the_plan_exactly(done, method, within):
    budget = 40_000
    settings = [
        f"score.weight.method={method}", f"score.weight.within={within}",
        "score.weight.exact=tokens", "score.weight.normalise=rank",
        f"mixture={{strategy: samplemix, budget_tokens: {budget}, max_epochs: 30}}",
    ]  # fmt: skip
    score(done, *settings)
    about = pool(done)
    groups = about["groups"]
    assert sum(group["expected_tokens"] for group in groups) == pytest.approx(budget, rel=1e-4)
    assert about["target_tokens"] == budget
    scores = parts(done, "scores")
    assert about["copies"] == sum(scores.column("copies").to_pylist())
    assert about["copy_tokens"] == pytest.approx(budget, rel=0.2)
    sets = [part for setting in settings for part in ("--set", setting)]
    result = invoke("plan", done, *sets)
    assert result.exit_code == 0, result.output
    plan = json.loads((done.parent / "work" / "plan.json").read_text())
    largest = max(parts(done, "documents").column("n_tokens").to_pylist())
    assert budget <= plan["tokens"] < budget + largest * len(plan["domains"])
    if within == "domain":  # each keeps its natural share
        pool_tokens = sum(domain["available_tokens"] for domain in plan["domains"])
        for domain in plan["domains"]:
            share = domain["available_tokens"] / pool_tokens
            assert domain["share"] == pytest.approx(share, rel=1e-3)


def test_a_cap_holds_for_each_document_and_feeds_the_others(done):
    settings = ["mixture={strategy: samplemix, budget_tokens: 60_000, max_epochs: 30}",
                "score.weight.exact=tokens"]  # fmt: skip
    score(done, *settings)
    free = parts(done, "scores").column("copies").to_numpy()
    score(done, *settings, "score.weight.max_epochs=2")
    capped = parts(done, "scores").column("copies").to_numpy()
    assert free.max() > 2 >= capped.max()
    assert (capped[free < 2] >= free[free < 2]).all()
    assert pool(done)["groups"][0]["expected_tokens"] == pytest.approx(60_000, rel=1e-3)


def test_a_stage_that_was_killed_goes_on_to_the_same_bytes(done):
    work = Workdir(str(done.parent / "work"))
    score(done, "score.weight.tau=0.3")
    before = {p.name: p.read_bytes() for p in (done.parent / "work" / "scores").glob("part-*")}
    tables = {
        p.name: p.read_bytes()
        for p in (done.parent / "work" / "_stages" / "score").glob("*.parquet")
    }
    work.clear_success("score")
    first = sorted(work.committed("score"))[0]
    work.discard("score", work.committed("score")[first])
    said = score(done, "score.weight.tau=0.3")
    assert "were finished before and are kept" in said
    after = {p.name: p.read_bytes() for p in (done.parent / "work" / "scores").glob("part-*")}
    assert after == before
    assert tables == {
        p.name: p.read_bytes()
        for p in (done.parent / "work" / "_stages" / "score").glob("*.parquet")
    }
    assert "up to date" in score(done, "score.weight.tau=0.3")
