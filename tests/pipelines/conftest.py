"""A small real job that the pipeline tests share."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from pipelines.cli import main
from tests.documents import real_documents, write_jsonl
from tests.pipelines.staging import staged_once

os.environ.setdefault("HF_HUB_OFFLINE", "1")

RECIPE = {
    "name": "small",
    "workdir": "work",
    "inputs": [{"path": "in/*.jsonl", "source": "reference"}],
    "ingest": {"part_documents": 60, "dedup": {"near": None}},
    "embed": {"max_tokens": 16},
    "cluster": {"k": 24, "prune": {"min_quality": 0.4}, "merge": {"domains": 4}, "map": None},
    "mixture": {"strategy": "uniform", "budget_tokens": 24_000, "max_epochs": 8},
    "output": {"formats": ["arrow", "webdataset"], "shard_bytes": "20kB"},
}


def corpus_digest(corpus: Path) -> dict[str, str]:
    """sha256 of every file of a corpus."""
    files = sorted(path for path in corpus.rglob("*") if path.is_file())
    return {
        str(path.relative_to(corpus)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
    }


def write_job(folder: Path, documents: int = 300, **changes: object) -> Path:
    """A folder with input in two files and a recipe; the recipe's path."""
    found = real_documents(documents)
    write_jsonl(folder / "in" / "a.jsonl", found[: documents // 3])
    write_jsonl(folder / "in" / "b.jsonl", found[documents // 3 :] + found[:5])
    recipe = folder / "recipe.yaml"
    recipe.write_text(yaml.safe_dump(RECIPE | changes))
    return recipe


def invoke(*args: str | Path) -> Result:
    """Run the ``mixcurate`` command in this process."""
    return CliRunner().invoke(main, [str(arg) for arg in args], catch_exceptions=False)


def run_on(folder: Path, *options: str, after: Path | None = None) -> None:
    """Run a small job in ``folder``, or go on with a copy of one."""
    if after is not None:
        shutil.copytree(after, folder)
    recipe = write_job(folder) if after is None else folder / "recipe.yaml"
    result = invoke("run", recipe, *options)
    assert result.exit_code == 0, result.output


@pytest.fixture(scope="session")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A job whose documents are embedded; its folder, which all processes share: copy it."""
    return staged_once(
        tmp_path_factory, "embedded", lambda folder: run_on(folder, "--until", "embed")
    )


@pytest.fixture(scope="session")
def until_score(embedded: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same job when its documents are scored; its folder, which is shared too: copy it."""
    return staged_once(
        tmp_path_factory,
        "scored",
        lambda folder: run_on(folder, "--until", "score", after=embedded),
    )


@pytest.fixture(scope="session")
def finished(until_score: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the same job as a finished run; read it, do not change it.

    Each process has its own: a corpus is known by its absolute path, and a run writes its report.
    """
    folder = tmp_path_factory.mktemp("finished") / "job"
    run_on(folder, after=until_score)
    return folder


@pytest.fixture
def job(embedded: Path, tmp_path: Path) -> Path:
    """A copy of it that a test may change; its recipe."""
    shutil.copytree(embedded, tmp_path / "job")
    return tmp_path / "job" / "recipe.yaml"


@pytest.fixture
def job_folder(tmp_path: Path) -> Callable[..., Path]:
    """Makes a job in a fresh folder."""
    return lambda **changes: write_job(tmp_path, **changes)
