"""Jobs that are staged once in a session, by whichever of its processes needs them first."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock


def staged_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """A folder of all processes of the session: copy it or read it, do not change it.

    Args:
        factory: pytest's.
        name: of the folder, the same for all that share it.
        make: fills it, given its path; only the first process does.
    """
    root = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        root = root.parent  # that of the session; each worker has its own in it
    folder, done = root / "staged" / name, root / "staged" / f"{name}.done"
    folder.parent.mkdir(exist_ok=True)
    with FileLock(folder.with_name(f"{name}.lock")):
        if not done.exists():
            shutil.rmtree(folder, ignore_errors=True)  # of a process that has failed
            make(folder)
            done.touch()
    return folder
