"""Why a document is drawn as often as it is: the arithmetic gives what the stages have stored."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from mixcurate.io import partfiles, storage
from mixcurate.kernels import hashing
from mixcurate.kernels.epochs import epoch_keys
from mixcurate.transforms import pool
from pipelines.explain import explain
from pipelines.explain_table import render
from pipelines.explain_weight import PURPOSE
from tests.corpora import HOSTILE, PARTS, build
from tests.pipelines.conftest import invoke
from tests.pipelines.explaining import SEED, Scored


def sections(found: dict[str, Any]) -> dict[str, dict[str, Any]]:
    names = ("quality", "diversity", "weight", "copies", "plan")
    return {name: found[name] for name in names if found[name] is not None}


def agree(found: dict[str, Any]) -> bool:
    """Whether each number that was computed is the one that was stored."""
    return all(
        section["computed"] == pytest.approx(section["stored"], rel=2e-6)
        for section in sections(found).values()
    )


SETTINGS: dict[str, dict[str, Any]] = {
    "samplemix": {},
    "capped": {"max_epochs": 1.5},
    "soft_cap": {"method": "soft_cap"},
    "gumbel": {"method": "gumbel"},
    "domains": {"within": "domain"},
    "ranks": {"normalise": "rank"},
    "ranks of domains": {"normalise": "rank", "within": "domain", "each": True},
    "skip": {"missing": "skip", "each": True},
}


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Scored]:
    made: dict[str, Scored] = {}

    def make(name: str) -> Scored:
        if name not in made:
            folder = tmp_path_factory.mktemp(name.replace(" ", "-"))
            made[name] = Scored(folder, **SETTINGS[name])
        return made[name]

    return make


@pytest.mark.parametrize("name", SETTINGS)
def test_each_step_gives_what_is_stored(scored: Callable[[str], Scored], name: str) -> None:
    job = scored(name)
    for i in range(0, len(job.ids), 7):
        found = explain(job.root, job.ids[i])
        if job.domain[i] < 0:
            assert list(sections(found)) == ["quality"]
            continue
        assert list(sections(found)) == ["quality", "diversity", "weight", "copies"]
        assert agree(found)
        assert found["weight"]["computed"] == pytest.approx(job.weight[i], rel=2e-6)
        assert found["copies"]["expected"] == pytest.approx(job.expected[i], rel=2e-6)
        assert found["copies"]["hash"] == job.hash(i)
        assert found["quality"]["computed"] == pytest.approx(job.quality[i], rel=1e-6)
        text = render(found)
        assert "STORED" not in text
        assert text.count("(as stored)") == 4


def test_the_arithmetic_can_be_repeated_by_hand(scored: Callable[[str], Scored]) -> None:
    job = scored("samplemix")
    i = next(i for i, domain in enumerate(job.domain) if domain == 1)
    for line in render(explain(job.root, job.ids[i])).splitlines():
        if " = " not in line or "strategy" in line:
            continue
        _, *steps = line.split(":", maxsplit=1)[0].replace("(as stored)", "").split(" = ")
        if len(steps) == 2:
            formula = steps[0].replace(" x ", " * ").replace("exp", "math.exp")
            assert eval(formula, {"math": math}) == pytest.approx(float(steps[1]), rel=1e-4), line


def test_the_plan_draws_by_keys(scored: Callable[[str], Scored]) -> None:
    job = scored("samplemix")
    thresholds = [0.4, 1.1, 3.0]
    drawn = [
        0 if domain < 0 else math.floor(thresholds[domain] * weight + job.hash(i))
        for i, (domain, weight) in enumerate(zip(job.domain, job.weight, strict=True))
    ]
    job.plan(thresholds, drawn)
    for i, name in enumerate(job.ids):
        if job.domain[i] < 0 or i % 5:
            continue
        found = explain(job.root, name)
        assert agree(found)
        assert found["plan"]["stored"] == drawn[i]
        assert found["verdict"] == f"drawn {drawn[i]} time" + "s" * (drawn[i] != 1)
        assert found["corpus"] == {"path": "runs/corpus", "copies": drawn[i]}
        shown = [(one["key"], one["drawn"]) for one in found["plan"]["keys"]]
        keys = [(j - job.hash(i)) / job.weight[i] for j in range(1, len(shown) + 1)]
        limit = thresholds[job.domain[i]]
        assert [key for key, _ in shown] == pytest.approx(keys)
        assert [below for _, below in shown] == [key <= limit for key in keys]
        assert len(shown) == min(drawn[i] + 1, 12)


def test_a_corpus_of_an_earlier_plan(tmp_path: Path) -> None:
    job = Scored(tmp_path)
    job.plan([0.4] * 3, [0] * len(job.ids))
    plan = storage.read_json(job.workdir.path("plan.json"))
    plan["ranges"][0]["tokens"] = 2
    storage.write_json(job.workdir.path("plan.json"), plan)
    found = explain(job.root, job.ids[0])
    assert found["corpus"] is None
    assert "note: the corpus in runs/corpus was written of an earlier plan" in render(found)


@pytest.mark.parametrize("name", ["soft_cap", "gumbel"])
def test_keys_of_other_methods(scored: Callable[[str], Scored], name: str) -> None:
    job = scored(name)
    i = job.domain.index(1)
    v, weight, penalty = job.hash(i), job.weight[i], job.settings["penalty"]
    wait = -math.log(1 - v) / weight
    keys = {
        "soft_cap": [math.expm1(penalty * (j - v)) / (penalty * weight) for j in (1, 2)],
        "gumbel": [j + wait / (1 + wait) for j in (0, 1)],
    }[name]
    drawn = [0] * len(job.ids)
    drawn[i] = 1
    job.plan([(keys[0] + keys[1]) / 2] * 3, drawn)
    found = explain(job.root, job.ids[i])
    assert [one["key"] for one in found["plan"]["keys"]] == pytest.approx(keys)
    assert agree(found)
    shown = {"soft_cap": "(exp(0.4 x (1 - ", "gumbel": "0 + s / (1 + s) with s = -log(1 - "}
    assert shown[name] in render(found)


def test_a_plan_that_draws_alike(tmp_path: Path) -> None:
    job = Scored(tmp_path)
    job.write_recipe({"licences": {"CC-BY-4.0": 4.0}})
    drawn = []
    for i, domain in enumerate(job.domain):
        key = hashing.uniform_keys(pa.array([job.ids[i]]), SEED, "draw")
        copies = 0
        for epoch in (1, 2):
            v = float(hashing.unit_interval(epoch_keys(key, epoch))[0])
            if job.licence[i] is not None:
                v = math.floor(v ** (1 / 4.0) * 2**48) / 2**48
            copies += epoch - v <= 1.4
        drawn.append(0 if domain < 0 else copies)
    job.plan([1.4] * 3, drawn, strategy="uniform", method="alike")
    for i, name in enumerate(job.ids[::4]):
        found = explain(job.root, name)
        if job.domain[4 * i] < 0:
            continue
        assert agree(found)
        assert found["plan"]["stored"] == drawn[4 * i]
        text = render(found)
        assert "its weight is not used" in text
        assert ("has the factor 4" in text) == (job.licence[4 * i] is not None)


def test_a_document_that_cluster_dropped(scored: Callable[[str], Scored]) -> None:
    job = scored("samplemix")
    i = job.domain.index(-1)
    found = explain(job.root, job.ids[i])
    assert found["verdict"] == "dropped by cluster: low_quality_cluster (1 <b>word</b>)"
    assert [row["stage"] for row in found["rejected"]] == ["cluster"]
    text = render(found)
    assert "kept          no: low_quality (mean quality 0.2 < 0.5)" in text
    assert "none: it is not in the pool" in text


def test_a_document_that_ingest_dropped(scored: Callable[[str], Scored]) -> None:
    job = scored("samplemix")
    found = explain(job.root, "x")
    assert found["part"] is None
    assert found["document"] is None
    assert found["verdict"].startswith("dropped by ingest: filter_n_words (")
    assert len(found["rejected"]) == 3  # records of one id
    text = render(found)
    assert "in/0.jsonl at 102" in text
    assert "| </td></table><script>alert('text')</script>" in text
    assert text.replace("\n", "").isprintable()


def test_text_cannot_steer_the_terminal(scored: Callable[[str], Scored]) -> None:
    job = scored("samplemix")
    found = explain(job.root, job.ids[0])
    assert found["document"]["text"].startswith(HOSTILE[:40])
    text = render(found)
    assert text.replace("\n", "").isprintable()
    assert json.loads(json.dumps(found))["id"] == job.ids[0]
    assert json.dumps(found).isprintable()


@pytest.mark.parametrize("until", ["ingest", "embed", "cluster"])
def test_stages_that_have_not_run(tmp_path: Path, until: str) -> None:
    made = build(str(tmp_path), until=until)
    ids = partfiles.read_table(made.workdir.part("ingest", PARTS[0]), ["id"]).column("id")
    found = explain(made.workdir.root, ids[0].as_py())
    assert found["verdict"] == ("in the pool" if until == "cluster" else "kept by ingest")
    assert sections(found) == {}
    text = render(found)
    assert ("the stage cluster has not run" in text) == (until != "cluster")
    for stage in ("score", "plan", "materialize"):
        assert f"the stage {stage} has not run" in text


def test_scores_of_an_older_version(tmp_path: Path) -> None:
    job = Scored(tmp_path)
    for name in ("score/pool.json", "quality", "diversity"):
        storage.remove(job.workdir.path("_stages", name))
    found = explain(job.root, job.ids[0])
    assert sections(found) == {}
    assert "an older version scored this document" in render(found)


def test_files_of_different_runs_are_told(tmp_path: Path) -> None:
    job = Scored(tmp_path)
    job.settings["tau"] = 0.3
    groups = storage.read_json(job.workdir.path("_stages", "score", "pool.json"))["groups"]
    path = job.workdir.path("_stages", "score", "pool.json")
    storage.write_json(path, job.settings | {"groups": groups})
    assert "the files are of different runs)" in render(explain(job.root, job.ids[0]))


def test_names_are_those_of_the_stages(scored: Callable[[str], Scored]) -> None:
    # spelled out where they are read, since importing the stages imports Beam
    assert PURPOSE == pool.DRAW
    code = (
        "import sys, pipelines.explain, pipelines.explain_table; "
        "sys.exit('apache_beam' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_real_run(finished: Path) -> None:
    root = str(finished / "work")
    path = sorted((finished / "work" / "documents").glob("part-*.parquet"))[0]
    ids = partfiles.read_table(str(path), ["id"]).column("id").to_pylist()
    seen = set()
    for whole in ids[:12]:
        found = explain(root, whole[:12])
        assert found["id"] == whole
        assert agree(found)
        seen |= set(sections(found))
        assert "STORED" not in render(found)
    assert seen == {"quality", "diversity", "weight", "copies", "plan"}
    shown = invoke("explain", root, ids[0][:12])
    assert shown.output.rstrip("\n") == render(explain(root, ids[0]))
    as_json = invoke("explain", root, ids[0], "--json")
    assert json.loads(as_json.output) == explain(root, ids[0])
    unknown = invoke("explain", root, "no such id")
    assert unknown.exit_code == 2
    assert "error: no document 'no such id'" in unknown.output
