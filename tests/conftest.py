"""Properties are tried on the same examples in each run: a change is what makes a test fail.

``pytest --hypothesis-profile=default`` looks for new ones.
"""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Names of tests hold no bytes: packed ones hold the time, and processes collect apart."""
    return f"{argname}_of_{len(val)}" if isinstance(val, bytes) else None


@pytest.fixture(params=["local", "memory"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty folder, on this machine and in a store that is none of it."""
    return str(tmp_path) if request.param == "local" else f"memory://{uuid.uuid4()}"
