"""Which vectors are taken over, in hand-made workdirs; no model is run."""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from mixcurate.errors import InputError
from mixcurate.io import partfiles, storage
from mixcurate.io.embeddings import EmbeddingsWriter
from mixcurate.io.workdir import Part, TaskResult, Workdir
from mixcurate.kernels.copies import hash_words
from mixcurate.kernels.hashing import content_hashes
from mixcurate.recipe import Recipe
from mixcurate.transforms.reuse import (
    OWN,
    by_source,
    computed_path,
    copies_folder,
    found_path,
    gather,
    hashes_path,
    read_copies,
)
from mixcurate.transforms.runner import BeamArgs
from pipelines import reuse
from pipelines.job import Job
from pipelines.progress import Reporter

MODEL = "weights-1 fp32 256"


class Killed(BaseException):
    """Stands for the end of the process."""


@pytest.fixture(params=["local", "memory"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path) if request.param == "local" else f"memory://{uuid.uuid4()}"


def job(folder: str, *others: str, dedup: object = None) -> Job:
    recipe = Recipe.model_validate(
        {
            "name": "small",
            "workdir": "own",
            "inputs": [{"path": "in", "source": "x"}],
            "ingest": {"dedup": dedup},
            "embed": {"reuse": list(others)},
        }
    )
    workdir = Workdir(storage.join(folder, "own"))
    args = BeamArgs("FnApiRunner", (), 1, None)
    return Job(recipe, folder, workdir, args, Reporter(quiet=True))


def vector(text: str) -> list[float]:
    return [float(len(text)), float(sum(text.encode()) % 512)]


def hashes(texts: list[str]) -> pa.Array:
    return content_hashes(pa.array(texts, pa.large_string()))


def ingest(workdir: Workdir, parts: dict[str, list[str]]) -> list[Part]:
    """Documents as far as reuse looks at them."""
    for name, texts in parts.items():
        table = pa.table({"content_hash": hashes(texts)})
        partfiles.write_table(workdir.part("ingest", name), table)
    return [
        Part(name, len(texts), 0, "digest of " + " ".join(texts)) for name, texts in parts.items()
    ]


def embed(
    workdir: Workdir, name: str, texts: list[str], mark: str = "", identity: str = MODEL
) -> TaskResult:
    """Commit an embedded part."""
    path = workdir.part("embed", name)
    with EmbeddingsWriter(path, 2) as writer:
        writer.write(np.array([vector(text) for text in texts], np.float32))
    hashed = hashes_path(workdir.root, name)
    partfiles.write_array(hashed, hash_words(hashes(texts)))
    result = TaskResult(
        task=name,
        fingerprint=mark or f"fingerprint-{name}",
        outputs=[workdir.output(path), workdir.output(hashed)],
        documents_in=len(texts),
        documents_out=len(texts),
        details={"encoder": identity, "model": f"a model with {identity}", "dimension": 2},
    )
    workdir.commit("embed", result)
    return result


def other(root: str, parts: dict[str, list[str]], identity: str = MODEL) -> Workdir:
    workdir = Workdir(root)
    storage.write_bytes(workdir.path("recipe.yaml"), b"")
    for name, texts in parts.items():
        embed(workdir, name, texts, identity=identity)
    return workdir


def change(workdir: Workdir, result: TaskResult, **details: Any) -> None:
    """Commit a part again with other details; None takes one away."""
    changed = {name: v for name, v in (result.details | details).items() if v is not None}
    workdir.commit("embed", dataclasses.replace(result, details=changed))


def without_pipelines(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(*_: object, **__: object) -> None:
        raise AssertionError("a pipeline is run")

    monkeypatch.setattr(Job, "run_pipeline", run)


# other workdirs


def test_only_whole_parts_of_the_same_identity_are_used(folder: str) -> None:
    texts = {name: [name, name * 2] for name in "abcdef"}
    workdir = other(storage.join(folder, "old"), texts)
    embed(workdir, "b", texts["b"], identity="weights-2 fp32 256")
    storage.remove(workdir.part("embed", "c"))
    storage.remove(hashes_path(workdir.root, "d"))
    storage.write_bytes(workdir.part("embed", "e"), b"cut off")
    (origin,) = reuse.other_origins(job(folder, "old"), MODEL, 2, "mine")
    assert origin.parts == ("a", "f")
    assert origin.documents == 4
    assert storage.exists(origin.vectors_path(1))
    assert partfiles.read_array(origin.hashes_path(1)).tolist() == (
        hash_words(hashes(texts["f"])).tolist()
    )


def test_hashes_that_are_no_output_of_the_task_have_to_be_there(tmp_path: Path) -> None:
    workdir = other(str(tmp_path / "old"), {"a": ["x"], "b": ["y"]})
    for result in workdir.committed("embed").values():
        workdir.commit("embed", dataclasses.replace(result, outputs=result.outputs[:1]))
    storage.remove(hashes_path(workdir.root, "a"))
    (origin,) = reuse.other_origins(job(str(tmp_path), "old"), MODEL, 2, "mine")
    assert origin.parts == ("b",)


def test_workdirs_are_used_in_the_order_of_the_recipe_and_once(tmp_path: Path) -> None:
    for name in ("one", "two"):
        other(str(tmp_path / name), {"a": ["x"]})
    names = ("two", "one", "./two", str(tmp_path / "one"), "two/")
    origins = reuse.other_origins(job(str(tmp_path), *names), MODEL, None, "mine")
    assert [origin.vectors for origin in origins] == [
        str(tmp_path / name / "embeddings") for name in ("two", "one")
    ]
    assert origins[0].seal != origins[1].seal


def test_the_seal_of_a_workdir_changes_with_its_parts(tmp_path: Path) -> None:
    workdir = other(str(tmp_path / "old"), {"a": ["x"]})
    recipe = job(str(tmp_path), "old")

    def seal() -> str:
        return reuse.other_origins(recipe, MODEL, 2, "mine")[0].seal

    before = seal()
    assert seal() == before
    embed(workdir, "a", ["y"], mark="other documents")
    changed = seal()
    embed(workdir, "b", ["z"])
    assert len({before, changed, seal()}) == 3


def nothing(root: str) -> None:
    pass


def no_embeddings(root: str) -> None:
    other(root, {})


def lost(root: str) -> None:
    storage.remove(other(root, {"a": ["x"]}).path("embeddings"))


def older(root: str) -> None:
    workdir = other(root, {"a": ["x"]})
    change(workdir, workdir.committed("embed")["a"], encoder=None, model=None)


def larger(root: str) -> None:
    workdir = other(root, {"a": ["x"]}, "weights-3")
    change(workdir, workdir.committed("embed")["a"], dimension=384)


def another_model(root: str) -> None:
    other(root, {"a": ["x"]}, "weights-2 fp32 512")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (nothing, ["is no workdir: it has no recipe.yaml"]),
        (no_embeddings, ["has no embeddings", "mixcurate embed"]),
        (lost, ["has lost its embeddings", "of 1 parts none"]),
        (older, ["an older version", "hashes", "mixcurate embed"]),
        (larger, ["dimension 384", "gives 2", "here mine", "there a model with weights-3"]),
        (another_model, ["here mine", "there a model with weights-2 fp32 512", "same embed"]),
    ],
)
def test_what_cannot_be_used_is_named_with_reason_and_fix(
    folder: str, make: Callable[[str], None], words: list[str]
) -> None:
    root = storage.join(folder, "old")
    make(root)
    with pytest.raises(InputError) as error:
        reuse.other_origins(job(folder, "old"), MODEL, 2, "mine")
    message = str(error.value)
    assert message.startswith(f"embed.reuse: {root} ")
    assert message.endswith(", or remove it from embed.reuse")
    assert all(word in message for word in words), message


def test_the_own_workdir_is_no_other_one(tmp_path: Path) -> None:
    other(str(tmp_path / "own"), {"a": ["x"]})
    (tmp_path / "link").symlink_to(tmp_path / "own")
    for path in ("own", "own/", "link", "../" + tmp_path.name + "/own"):
        with pytest.raises(InputError, match="is this job's own workdir"):
            reuse.other_origins(job(str(tmp_path), path), MODEL, 2, "mine")


def test_every_workdir_that_cannot_be_used_is_named_at_once(tmp_path: Path) -> None:
    another_model(str(tmp_path / "old"))
    with pytest.raises(InputError) as error:
        reuse.other_origins(job(str(tmp_path), "old", "gone", "own"), MODEL, 2, "mine")
    assert len(str(error.value).splitlines()) == 3


def test_without_reuse_nothing_is_looked_at(tmp_path: Path) -> None:
    assert reuse.other_origins(job(str(tmp_path)), MODEL, 2, "mine") == []


# parts that have changed


def texts_of(origin: reuse.Origin | None, known: list[str]) -> list[list[str]]:
    """The texts whose hashes and vectors an origin holds, per part."""
    assert origin is not None
    by_hash = {
        tuple(h): text for h, text in zip(hash_words(hashes(known)).tolist(), known, strict=True)
    }
    found = []
    for part in range(len(origin.parts)):
        texts = [by_hash[tuple(h)] for h in partfiles.read_array(origin.hashes_path(part)).tolist()]
        vectors = reuse_rows(origin, part, len(texts))
        assert vectors == [vector(text) for text in texts]
        found.append(texts)
    return found


def reuse_rows(origin: reuse.Origin, part: int, count: int) -> list[list[float]]:
    out = np.zeros((count, 2), np.float32)
    copies = np.array(
        [(0, row, 0, part, row) for row in range(count)],
        [(n, "<u4") for n in ("part", "row", "origin", "source_part", "source_row")],
    )
    gather(copies, [origin], out)
    rows: list[list[float]] = out.tolist()
    return rows


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


# finding


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
