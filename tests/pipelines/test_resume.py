"""Kill the whole process group at any time, run the same command again: the same bytes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.pipelines.conftest import corpus_digest, invoke, write_job


def start(recipe: Path, *beam: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "pipelines.cli", "run", str(recipe)]
    return subprocess.Popen(
        command + (["--", *beam] if beam else []),
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
        env=os.environ | {"HF_HUB_OFFLINE": "1"},
    )


def wait_for(folder: Path, pattern: str, count: int, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 120
    while len(list(folder.glob(pattern))) < count:
        assert process.poll() is None, "the run ended before it could be killed"
        assert time.monotonic() < deadline, f"{pattern} never came"
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("pattern", "count"),
    [
        ("work/_stages/extract/parts/*.parquet", 2),
        ("work/_stages/embed/tasks/*.json", 2),
        ("work/_stages/assign/tasks/*.json", 1),
        ("work/_stages/materialize/tasks/*.json", 2),
    ],
    ids=["ingest", "embed", "cluster", "materialize"],
)
def test_a_killed_run_goes_on_where_it_stopped(
    finished: Path, tmp_path: Path, pattern: str, count: int
) -> None:
    recipe = write_job(tmp_path)
    process = start(recipe)
    wait_for(tmp_path, pattern, count, process)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "work/corpus/manifest.json").exists()
    kept = {
        path: path.stat().st_mtime_ns for path in tmp_path.glob("work/_stages/embed/tasks/*.json")
    }
    result = invoke("run", recipe)
    assert result.exit_code == 0, result.output
    assert corpus_digest(tmp_path / "work/corpus") == corpus_digest(finished / "work/corpus")
    for path, written in kept.items():
        assert path.stat().st_mtime_ns == written, "a finished part was done again"
    if kept:
        assert "up to date" in result.stderr
    if pattern.startswith("work/_stages/embed"):
        assert "tasks were finished before and are kept" in result.stderr


def test_two_worker_processes_give_the_same_bytes(finished: Path, tmp_path: Path) -> None:
    recipe = write_job(tmp_path)
    process = start(recipe, "--direct_running_mode=multi_processing", "--direct_num_workers=2")
    _, errors = process.communicate(timeout=400)
    assert process.returncode == 0, errors
    assert corpus_digest(tmp_path / "work/corpus") == corpus_digest(finished / "work/corpus")
