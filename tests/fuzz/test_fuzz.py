"""Each reader under a coverage-guided fuzzer for some inputs, and on its own seeds.

``MIXCURATE_FUZZ_SECONDS=300 python -m pytest tests/fuzz`` looks longer. An input that fails is
printed; ``python -m tests.fuzz.target NAME /tmp/fuzz FILE`` replays it.
"""

from __future__ import annotations

import base64
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz.pages import check_page
from tests.fuzz.properties import check
from tests.fuzz.seeds import NAMES, dictionary, seeds
from tests.fuzz.warcs import check_warc

SECONDS = os.environ.get("MIXCURATE_FUZZ_SECONDS")
#: The same inputs in each run, unless time is given to look for new ones: with a limit of time, a
#: faster machine would go further, and a change that has nothing to do with readers would fail.
LENGTH = f"-max_total_time={int(SECONDS)}" if SECONDS else "-runs=1500"
CHECKS = {"html": check_page, "warc": check_warc, "wet": check_warc}


@pytest.mark.parametrize("name", NAMES)
def test_seeds_hold(name: str, tmp_path: Path) -> None:
    for seed in seeds(name):
        CHECKS.get(name, check)(name, seed, tmp_path)


@pytest.mark.skipif(
    importlib.util.find_spec("atheris") is None,
    reason="the fuzzer atheris is not installed (it has wheels for Linux only)",
)
@pytest.mark.parametrize("name", NAMES)
def test_fuzz(name: str, tmp_path: Path) -> None:
    given = tmp_path / "seeds"
    found = tmp_path / "found"
    failed = tmp_path / "failed"
    for folder in (given, found, failed):
        folder.mkdir()
    for number, seed in enumerate(seeds(name)):
        (given / str(number)).write_bytes(seed)
    words = tmp_path / "words"
    words.write_text(dictionary(name))
    command = [sys.executable, "-m", "tests.fuzz.target", name, str(tmp_path / "read")]
    command += [str(found), str(given), LENGTH, f"-dict={words}"]
    command += ["-seed=1", "-timeout=30", "-rss_limit_mb=2048", "-max_len=8192"]
    command += [f"-artifact_prefix={failed}/"]
    root = Path(__file__).parents[2]
    # the peak of memory that libFuzzer looks at is inherited from the process that starts it, and
    # this one has had models loaded: a shell in between starts afresh
    result = subprocess.run(
        ["sh", "-c", '"$@"; exit $?', "sh", *command],
        cwd=root,
        env=os.environ | {"PYTHONHASHSEED": "0"},  # with the seed: the same inputs in each run
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    inputs = {path: base64.b64encode(path.read_bytes()).decode() for path in failed.iterdir()}
    told = "\n".join(f"{path} in base64: {text}" for path, text in inputs.items())
    assert result.returncode == 0, f"{result.stdout[-3000:]}\n{result.stderr[-3000:]}\n{told}"
    assert "DONE" in result.stderr
