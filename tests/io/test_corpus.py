"""Who owns a corpus folder, and what is taken back or left when it is written again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mixcurate.io import corpus, storage
from mixcurate.io.verify import verify_corpus
from tests.corpora import build


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A finished corpus in two formats."""
    return Path(build(str(tmp_path), holdout=True).corpus)


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def is_shard(path: str) -> bool:
    return path.endswith((".arrow", ".tar"))


def test_a_claim_takes_back_all_that_was_said_and_leaves_the_shards(folder: Path) -> None:
    before = files(folder)
    corpus.claim(str(folder), "made")
    left = files(folder)
    assert {path for path in left if not path.startswith("lineage/")} == {
        *filter(is_shard, before),
        corpus.OWNER,
    }
    assert corpus.owner(str(folder)) == "made"


def test_a_claim_after_a_crash_knows_what_there_may_be(folder: Path, monkeypatch) -> None:
    manifest = json.loads((folder / corpus.MANIFEST).read_text())
    before = files(folder)
    corpus.claim(str(folder), "made")
    write, written = storage.write_bytes, []

    def crash(path: str, data: bytes) -> None:
        if len(written) == 5:
            raise KeyboardInterrupt
        written.append(path)
        write(path, data)

    monkeypatch.setattr(storage, "write_bytes", crash)
    with pytest.raises(KeyboardInterrupt):
        corpus.finish_corpus(str(folder), manifest)
    monkeypatch.undo()
    assert corpus.MANIFEST not in files(folder)
    corpus.claim(str(folder), "made")
    assert not {path for path in files(folder) if path.startswith("mixture/")}
    assert "README.md" not in files(folder)
    corpus.finish_corpus(str(folder), manifest)
    assert files(folder) == before
    assert verify_corpus(str(folder)) == []


def test_shards_of_an_older_run_go_and_other_peoples_files_stay(folder: Path) -> None:
    manifest = json.loads((folder / corpus.MANIFEST).read_text())
    old = [
        "train/data-00000-of-00099.arrow",
        "wds/holdout-000077.tar",
        "lineage/part-00077.parquet",
    ]
    mine = ["train/notes.txt", "notes.md", "lineage/notes.txt"]
    for name in (*old, *mine):
        (folder / name).write_text("x")
    corpus.claim(str(folder), "made")
    corpus.finish_corpus(str(folder), manifest)
    assert not set(old) & files(folder)
    assert set(mine) <= files(folder)


def test_a_folder_of_an_earlier_version_is_claimed(folder: Path) -> None:
    storage.write_json(str(folder / corpus.OWNER), {"name": "made"})
    corpus.claim(str(folder), "made")
    assert not {"README.md", "train/state.json", corpus.MANIFEST} & files(folder)


def test_nobody_owns_an_empty_folder(tmp_path: Path) -> None:
    assert corpus.owner(str(tmp_path)) is None
