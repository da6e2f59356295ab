"""Parts that a change makes stale are set aside, and none is lost."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mixcurate.io import storage
from mixcurate.transforms.reuse import hashes_path
from pipelines import reuse
from tests.pipelines.reusing import MODEL, Killed, embed, job, texts_of


def test_stale_parts_are_set_aside_and_wanted_ones_stay(folder: str) -> None:
    workdir = job(folder).workdir
    for name in ("kept", "gone", "changed"):
        embed(workdir, name, [name], mark=f"{name}-1")
    foreign = embed(workdir, "foreign", ["f"], identity="weights-2")
    broken = embed(workdir, "broken", ["b"])
    storage.write_bytes(workdir.part("embed", "broken"), b"")
    reuse.set_aside(workdir, MODEL, {"kept": "kept-1", "changed": "changed-2"})
    assert sorted(workdir.committed("embed")) == ["broken", "foreign", "kept"]
    assert workdir.is_whole(foreign)
    assert not workdir.is_whole(broken)
    names = ["part-broken.arrow", "part-foreign.arrow", "part-kept.arrow"]
    assert storage.list_names(workdir.path("embeddings")) == names
    assert not storage.exists(hashes_path(workdir.root, "gone"))
    assert storage.exists(hashes_path(workdir.root, "kept"))
    previous = reuse.previous_origin(workdir, MODEL)
    assert texts_of(previous, ["gone", "changed"]) == [["changed"], ["gone"]]
    assert previous is not None
    assert previous.documents == 2
    assert reuse.previous_origin(workdir, "weights-2") is None
    reuse.forget(workdir)
    assert reuse.previous_origin(workdir, MODEL) is None
    assert storage.list_names(workdir.path("_stages", "embed")) == ["hashes", "tasks"]


def test_parts_that_change_again_and_again_do_not_collide(tmp_path: Path) -> None:
    workdir = job(str(tmp_path)).workdir
    for turn in "123":
        embed(workdir, "a", [turn], mark=f"mark-{turn}")
        reuse.set_aside(workdir, MODEL, {})
    previous = reuse.previous_origin(workdir, MODEL)
    assert texts_of(previous, list("123")) == [["1"], ["2"], ["3"]]


@pytest.mark.parametrize("step", range(9))
def test_a_kill_while_parts_are_set_aside_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    workdir = job(str(tmp_path)).workdir
    for name in "ab":
        embed(workdir, name, [name])
    left = iter(range(step, -1, -1))

    def killing(do: Callable[..., None]) -> Callable[..., None]:
        def inner(*args: Any) -> None:
            if next(left) == 0:
                raise Killed
            do(*args)

        return inner

    with monkeypatch.context() as patch:
        for name in ("link", "write_json", "remove"):
            patch.setattr(storage, name, killing(getattr(storage, name)))
        with pytest.raises(Killed):
            reuse.set_aside(workdir, MODEL, {})
    partly = reuse.previous_origin(workdir, MODEL)
    known = texts_of(partly, ["a", "b"]) if partly else []
    still = [name for name, r in workdir.committed("embed").items() if workdir.is_whole(r)]
    assert {"a", "b"} == {text for texts in known for text in texts} | set(still)
    reuse.set_aside(workdir, MODEL, {})
    assert texts_of(reuse.previous_origin(workdir, MODEL), ["a", "b"]) == [["a"], ["b"]]
    assert workdir.committed("embed") == {}
