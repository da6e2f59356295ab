"""Files that would take much memory or time, each read in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz.bombs import BOMBS, SIZE

ROOT = Path(__file__).parents[2]

#: What comes of each bomb; of those in `HELD`, a document's size may be held in memory.
EXPECTED = {
    "line": ["too_large"],
    "lists": ["not_json"],
    "objects": ["document"],
    "record in members": ["truncated"],
    "record in a member": ["truncated"],
    "record of another type": ["corrupt"],
    "record that is not there": ["truncated"],
    "no record": ["not_warc"],
    "text record": ["corrupt", "not_text"],
    "page": ["document"],
    "elements": ["extraction_failed"],
    "tables": ["extraction_failed"],
    "attributes": ["extraction_failed"],
    "list of paths": ["refused"],
    "endless line": ["too_large"],
}
HELD = ("page",)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize("name", EXPECTED)
def test_a_bomb_takes_bounded_memory_and_time(name: str, tmp_path: Path) -> None:
    if name in BOMBS:
        (tmp_path / "bomb").write_bytes(BOMBS[name][1]())
    command = [sys.executable, "-m", "tests.fuzz.bombs", name, str(tmp_path)]
    result = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    found, megabytes = json.loads(result.stdout)
    assert sorted(found) == EXPECTED[name]
    assert sum(found.values()) == len(EXPECTED[name])
    assert megabytes < (500 if name in HELD else 0.8 * (SIZE >> 20))
