"""Which vectors are found, in hand-made workdirs and in what was set aside; no model is run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mixcurate.io import storage
from mixcurate.transforms.reuse import (
    OWN,
    by_source,
    computed_path,
    copies_folder,
    found_path,
    gather,
    read_copies,
)
from pipelines import reuse
from pipelines.job import Job
from tests.pipelines.reusing import (
    MODEL,
    Killed,
    embed,
    ingest,
    job,
    other,
    vector,
    without_pipelines,
)


def filled(work: Job, found: reuse.Reuse, part: str, count: int) -> list[list[float]]:
    """Vectors that are copied into a part, zeros elsewhere."""
    out = np.zeros((count, 2), np.float32)
    gather(read_copies(work.workdir, part), found.origins, out)
    rows: list[list[float]] = out.tolist()
    return rows


def test_nothing_is_searched_where_nothing_can_be_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_pipelines(monkeypatch)
    work = job(str(tmp_path), dedup={"exact": True})
    storage.write_json(found_path(work.workdir), {"mark": "of an earlier recipe"})
    storage.write_bytes(storage.join(copies_folder(work.workdir), "part-a.npy"), b"")
    parts = ingest(work.workdir, {"a": ["x"]})
    assert reuse.find(work, "m", MODEL, parts, []) == reuse.Reuse()
    assert len(read_copies(work.workdir, "a")) == 0


@pytest.mark.parametrize("dedup", [None, {"exact": False}])
def test_copies_inside_the_run_are_found_when_they_may_be_there(folder: str, dedup: object) -> None:
    work = job(folder, dedup=dedup)
    parts = ingest(work.workdir, {"a": ["x", "y", "x"], "b": ["y", "z"], "c": ["new"]})
    found = reuse.find(work, "m", MODEL, parts, [])
    assert found.waiting == {"b"}
    assert (found.copied, found.repeated) == (0, 2)
    assert found.origins[OWN].parts == ("a", "b", "c")
    assert by_source(read_copies(work.workdir, "a")).within.tolist() == [(0, 2, 0, 0, 0)]
    assert by_source(read_copies(work.workdir, "b")).later.tolist() == [(1, 0, 0, 0, 1)]


def test_vectors_come_from_other_workdirs_and_from_what_was_set_aside(folder: str) -> None:
    work = job(folder, "old", dedup={"exact": True})
    other(storage.join(folder, "old"), {"p": ["w", "x"]})
    embed(work.workdir, "stale", ["x", "y"])
    parts = ingest(work.workdir, {"a": ["y", "new", "x"], "b": ["w"]})
    reuse.set_aside(work.workdir, MODEL, {})
    origins = reuse.other_origins(work, MODEL, 2, "mine")
    found = reuse.find(work, "m", MODEL, parts, origins)
    assert (found.copied, found.repeated, found.waiting) == (3, 0, frozenset())
    assert filled(work, found, "a", 3) == [vector("y"), [0, 0], vector("x")]
    assert filled(work, found, "b", 1) == [vector("w")]
    assert read_copies(work.workdir, "a")["origin"].tolist() == [2, 1]


def test_a_run_that_was_cut_short_searches_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = job(str(tmp_path))
    parts = ingest(work.workdir, {"a": ["x", "z"], "b": ["y", "x"], "c": ["y", "w"]})
    first = reuse.find(work, "m", MODEL, parts, [])
    assert first.waiting == {"b", "c"}
    assert first.origins[OWN].vectors_path(1) == computed_path(work.workdir, "b")
    storage.write_bytes(computed_path(work.workdir, "b"), b"")
    embed(work.workdir, "c", ["y", "w"])  # the best source now, had it been searched again
    without_pipelines(monkeypatch)
    again = reuse.find(work, "m", MODEL, parts[::-1], [])
    assert again.waiting == {"b"}
    assert again.repeated == 1
    assert again.origins[OWN].parts == ("a", "b", "c")
    assert again.origins[OWN].vectors_path(2) == work.workdir.part("embed", "c")
    assert storage.exists(computed_path(work.workdir, "b"))


def test_what_has_changed_is_searched_again_and_nothing_old_is_left(tmp_path: Path) -> None:
    work = job(str(tmp_path), "old")
    parts = ingest(work.workdir, {"a": ["x"], "b": ["x"]})
    reuse.find(work, "m", MODEL, parts, [])
    assert len(read_copies(work.workdir, "b")) == 1
    storage.write_bytes(computed_path(work.workdir, "b"), b"")
    parts = ingest(work.workdir, {"a": ["x"], "b": ["y"]})
    assert reuse.find(work, "m2", MODEL, parts, []).waiting == set()
    assert len(read_copies(work.workdir, "b")) == 0
    assert not storage.exists(computed_path(work.workdir, "b"))
    old = other(str(tmp_path / "old"), {"p": ["x"]})
    for expected in (1, 2):
        found = reuse.find(work, "m2", MODEL, parts, reuse.other_origins(work, MODEL, 2, "mine"))
        assert found.copied == expected
        embed(old, "q", ["y"])


def test_parts_that_are_done_are_the_first_choice(tmp_path: Path) -> None:
    work = job(str(tmp_path))
    parts = ingest(work.workdir, {"a": ["x", "y"], "m": ["y"], "z": ["x", "y"]})
    embed(work.workdir, "m", ["y"])
    embed(work.workdir, "z", ["x", "y"])
    found = reuse.find(work, "m", MODEL, parts, [])
    assert found.origins[OWN].parts == ("m", "z", "a")
    assert found.waiting == {"a"}  # z repeats m, but it is done
    assert found.repeated == 2
    assert filled(work, found, "a", 2) == [vector("x"), vector("y")]


def test_a_kill_of_the_search_leaves_nothing_that_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = job(str(tmp_path))
    parts = ingest(work.workdir, {"a": ["x", "x"]})
    reuse.find(work, "m", MODEL, parts, [])

    def killed(*_: object, **__: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Job, "run_pipeline", killed)
        with pytest.raises(Killed):
            reuse.find(work, "m2", MODEL, parts, [])
    assert not storage.exists(found_path(work.workdir))
    assert reuse.find(work, "m", MODEL, parts, []).repeated == 1
