"""Which workdirs vectors are taken over from; no model is run."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest

from mixcurate.errors import InputError
from mixcurate.io import partfiles, storage
from mixcurate.kernels.copies import hash_words
from mixcurate.transforms.reuse import hashes_path
from pipelines import reuse
from tests.pipelines.reusing import MODEL, change, embed, hashes, job, other


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
