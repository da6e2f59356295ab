"""The classify steps by a job: what is run, what is kept, and what stops it before it begins."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mixcurate.errors import InputError, MissingExtra, RequestError
from mixcurate.transforms.classify import read_classified
from pipelines import classify
from pipelines.progress import Reporter
from tests.models.encoding import has_package
from tests.models.fasttext_files import FastTextFile
from tests.models.test_transformers_classifier import write_model
from tests.pipelines.classifying import HALF, asked, job_of
from tests.pipelines.conftest import invoke
from tests.pipelines.test_embed import texts, write

pytestmark = pytest.mark.skipif(not has_package("fasttext"), reason="needs fasttext")

ODD = ["a\0b " * 9, "🙂🎉🙂", "x" * 1_000_000, "the " * 99_000]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a job with documents in several parts, and a model beside its recipe."""
    folder = tmp_path_factory.mktemp("prepared")
    recipe = write(folder, {"a": texts(45) + ODD, "b": texts(20, 45)})
    FastTextFile().write(folder / "model.bin")
    assert invoke("ingest", recipe, "--quiet").exit_code == 0
    return folder


@pytest.fixture
def ingested(prepared: Path, tmp_path: Path) -> Path:
    """A copy of it that a test may change; its recipe."""
    shutil.copytree(prepared, tmp_path / "job")
    return tmp_path / "job" / "recipe.yaml"


def files(recipe: Path, name: str = "hq") -> dict[str, bytes]:
    parts = (recipe.parent / "work/_stages/classify" / name).glob("part-*")
    return {path.name: path.read_bytes() for path in parts}


def times(recipe: Path) -> dict[str, int]:
    parts = (recipe.parent / "work/_stages/classify/hq").glob("part-*")
    return {path.name: path.stat().st_mtime_ns for path in parts}


def test_every_document_gets_a_score_in_its_range(ingested):
    job = job_of(ingested, asked(range=[0.2, 0.9]))
    assert set(classify.run_classifiers(job)) == {"hq"}
    assert classify.classifier_ranges(job) == {"hq": (0.2, 0.9)}
    parts = job.require("ingest").parts
    assert len(parts) > 2
    for part in parts:
        scores = read_classified(job.workdir, "hq", part.name)
        assert scores.shape == (part.documents,)
        assert not np.isnan(scores).any()
        assert (scores >= np.float32(0.2)).all()
        assert (scores <= np.float32(0.9)).all()


def test_workers_change_no_byte(ingested):
    write_model(ingested.parent / "edu")
    both = [
        {"name": "hq", "model": "model.bin", "label": "hq"},
        {"name": "edu", "model": "edu", "range": [-9, 9], "max_tokens": 32},
    ]
    overrides = f"score.quality.classifiers={json.dumps(both)}"
    found = []
    for workers in (1, 2):
        marks = classify.run_classifiers(job_of(ingested, overrides, workers=workers))
        found.append((marks, files(ingested), files(ingested, "edu")))
        for name in ("hq", "edu"):
            for path in (ingested.parent / "work/_stages/classify" / name / "tasks").iterdir():
                path.unlink()
    assert found[0] == found[1]
    assert len(found[0][2]) > 2


def test_a_second_run_reads_nothing_and_loads_no_model(ingested, monkeypatch):
    mark = classify.run_classifiers(job_of(ingested, asked()))
    before = times(ingested)
    monkeypatch.setattr(classify, "shared_classifier", None)
    again = asked(max_tokens=7, batch_tokens=99)  # fastText reads all
    assert classify.run_classifiers(job_of(ingested, again)) == mark
    assert times(ingested) == before


def test_another_model_label_or_range_scores_anew(ingested):
    marks = {classify.run_classifiers(job_of(ingested, asked()))["hq"]}
    scores = [files(ingested)]
    for change in ({"label": "cc"}, {"range": [0.4, 0.5]}):
        marks.add(classify.run_classifiers(job_of(ingested, asked(**change)))["hq"])
        scores.append(files(ingested))
    FastTextFile(seed=9).write(ingested.parent / "model.bin")
    marks.add(classify.run_classifiers(job_of(ingested, asked()))["hq"])
    scores.append(files(ingested))
    assert len(marks) == 4
    assert len({repr(sorted(found.items())) for found in scores}) == 4


def test_a_part_that_changed_is_scored_anew_and_the_others_are_kept(ingested):
    classify.run_classifiers(job_of(ingested, asked()))
    before, mtimes = files(ingested), times(ingested)
    gone = sorted(before)[1]
    (ingested.parent / "work/_stages/classify/hq" / gone).unlink()
    classify.run_classifiers(job_of(ingested, asked()))
    assert files(ingested) == before
    assert [name for name, time in times(ingested).items() if time != mtimes[name]] == [gone]


def test_a_killed_run_goes_on_where_it_stopped(ingested):
    folder = ingested.parent / "work/_stages/classify/hq"
    command = [sys.executable, "-m", "tests.pipelines.classifying", str(ingested), asked()]
    died = subprocess.run(command, check=False, capture_output=True)
    assert died.returncode == -signal.SIGKILL, died.stderr
    kept = times(ingested)
    assert len(kept) == 1
    assert (folder / HALF).exists()
    classify.run_classifiers(job_of(ingested, asked()))
    after = times(ingested)
    assert len(after) > 2
    assert kept.items() <= after.items()
    assert not (folder / HALF).exists()
    whole = files(ingested)
    for path in (folder / "tasks").iterdir():
        path.unlink()
    classify.run_classifiers(job_of(ingested, asked()))
    assert files(ingested) == whole


def test_documents_without_a_score_are_counted_and_said(ingested, monkeypatch):
    file = FastTextFile(ngrams=1, buckets=0)
    file.input[0] = np.nan  # of the line's end: no text has a score
    file.write(ingested.parent / "model.bin")
    said: list[str] = []
    monkeypatch.setattr(Reporter, "say", lambda self, message: said.append(message))
    job = job_of(ingested, asked())
    classify.run_classifiers(job)
    documents = job.require("ingest").documents_out
    assert f"{documents} of {documents} documents have no score" in said[-1]


def test_what_runs_is_said(ingested, monkeypatch):
    said: list[str] = []
    monkeypatch.setattr(Reporter, "say", lambda self, message: said.append(message))
    classify.run_classifiers(job_of(ingested, asked()))
    assert any("model.bin, fasttext on cpu, 0 to 1" in line for line in said)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"model": "modl.bin"}, InputError, "did you mean 'model.bin'"),
        ({"model": "no/such/model"}, InputError, "no file or folder"),
        ({"model": "./nothing"}, InputError, "no file or folder"),
        ({"label": "good"}, InputError, "no class 'good'; it has: hq, cc"),
        ({"label": None}, InputError, "say the probability of which class"),
    ],
)
def test_what_is_wrong_is_told_before_any_stage(tmp_path, changes, error, message):
    recipe = write(tmp_path, {"a": texts(5)})
    FastTextFile().write(tmp_path / "model.bin")
    with pytest.raises(error, match=f"score.quality.classifiers, 'hq': .*{message}"):
        classify.check(job_of(recipe, asked(**changes)))


def test_a_recipe_without_classifiers_asks_for_nothing(tmp_path):
    job = job_of(write(tmp_path, {"a": texts(5)}))
    classify.check(job)
    assert classify.classifier_ranges(job) == {}


def test_all_that_is_wrong_is_told_at_once(tmp_path):
    recipe = write(tmp_path, {"a": texts(5)})
    FastTextFile().write(tmp_path / "model.bin")
    wrong = [
        {"name": "one", "model": "model.bin", "label": "x"},
        {"name": "two", "model": "gone.bin"},
        {"name": "three", "model": "model.bin", "label": 0},
    ]
    with pytest.raises(RequestError) as told:
        classify.check(job_of(recipe, f"score.quality.classifiers={json.dumps(wrong)}"))
    assert [line.split("'")[1] for line in str(told.value).splitlines()] == ["one", "two"]


def test_a_missing_package_is_told_before_any_stage(tmp_path, monkeypatch):
    recipe = write(tmp_path, {"a": texts(5)})
    FastTextFile().write(tmp_path / "model.bin")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"pip install 'mixcurate\[fasttext\]'"):
        classify.check(job_of(recipe, asked()))
