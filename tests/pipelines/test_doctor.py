"""The doctor finds what is there, and names the line that installs what is not."""

from __future__ import annotations

import importlib.util
import time

import pytest

from mixcurate.models import embedded
from pipelines import doctor

KEYS = {"what", "state", "detail", "fix"}


@pytest.fixture(scope="module")
def found() -> tuple[list[dict[str, str]], bool, float]:
    started = time.perf_counter()
    rows, good = doctor.diagnose()
    return rows, good, time.perf_counter() - started


def row(rows: list[dict[str, str]], what: str) -> dict[str, str]:
    return next(row for row in rows if row["what"] == what)


def test_this_machine_is_good(found: tuple[list[dict[str, str]], bool, float]) -> None:
    rows, good, seconds = found
    assert good
    assert seconds < 15
    assert all(set(row) == KEYS for row in rows)
    assert {row["state"] for row in rows} <= {"ok", "missing", "warning"}
    assert row(rows, "pyarrow")["state"] == "ok"
    assert row(rows, "torch")["detail"].count("build") == 1
    assert "53aa51172d142c89" in row(rows, "embedded encoder")["detail"]
    assert all(row["fix"] == "" for row in rows if row["state"] == "ok")


def test_rendered(found: tuple[list[dict[str, str]], bool, float]) -> None:
    text = doctor.render_doctor(found[0])
    assert "embedded tokenizer" in text
    assert "usable" in text
    assert all(line == line.rstrip() for line in text.splitlines())


def hide(monkeypatch: pytest.MonkeyPatch, *modules: str) -> None:
    real = importlib.util.find_spec

    def find_spec(name: str, package: str | None = None) -> object:
        return None if name in modules else real(name, package)

    monkeypatch.setattr(doctor.importlib.util, "find_spec", find_spec)  # type: ignore[attr-defined]


def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out what takes seconds and was looked at already."""
    for name in ("_torch", "_weights", "_tokenizer"):
        monkeypatch.setattr(doctor, name, lambda: doctor._row("x", "ok", ""))


def test_a_missing_requirement(monkeypatch: pytest.MonkeyPatch) -> None:
    quick(monkeypatch)
    hide(monkeypatch, "faiss")
    rows, good = doctor.diagnose()
    assert not good
    assert row(rows, "faiss-cpu")["state"] == "missing"
    assert "  pip install 'faiss-cpu'" in doctor.render_doctor(rows).splitlines()


def test_missing_extras_are_only_warnings(monkeypatch: pytest.MonkeyPatch) -> None:
    quick(monkeypatch)
    hide(monkeypatch, "gcsfs", "google.cloud.storage")
    rows, good = doctor.diagnose()
    assert good
    assert row(rows, "gcsfs")["state"] == "warning"
    assert "google.cloud.storage" in row(rows, "apache-beam[gcp]")["detail"]
    lines = doctor.render_doctor(rows).splitlines()
    assert lines.count("  pip install 'mixcurate[gcp]'") == 1


def test_other_weights_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "WEIGHTS_SHA256", "0" * 64)
    embedded.encoder_folder.cache_clear()
    found = doctor._weights()
    embedded.encoder_folder.cache_clear()
    assert found["state"] == "missing"
    assert "0" * 64 in found["detail"]
    assert "--force-reinstall" in found["fix"]


def test_no_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    hide(monkeypatch, "torch")
    assert doctor._torch()["fix"] == "pip install torch"
