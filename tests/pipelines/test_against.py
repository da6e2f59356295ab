from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml

from tests.documents import real_documents, write_jsonl
from tests.pipelines.conftest import invoke


def write_job(folder: Path, documents: list[dict[str, str]], **dedup: object) -> Path:
    write_jsonl(folder / "in" / "a.jsonl", documents)
    recipe = {
        "name": folder.name,
        "workdir": "work",
        "inputs": [{"path": "in/*.jsonl", "source": "s"}],
        "ingest": {"filters": None, "part_documents": 20, "dedup": {"near": None} | dedup},
    }
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe))
    return path


def digests(workdir: Path) -> dict[str, bytes]:
    folders = [workdir / "documents", workdir / "rejected", workdir / "_stages/ingest/keys"]
    files = [path for folder in folders for path in sorted(folder.rglob("part-*"))]
    return {str(path.relative_to(workdir)): path.read_bytes() for path in files}


def rejected(workdir: Path) -> list[dict]:
    return pq.read_table(workdir / "rejected").to_pylist()


@pytest.fixture
def crawls(tmp_path: Path) -> tuple[Path, Path]:
    """Two recipes: the second has 10 of the 40 documents of the first, and is to drop them."""
    found = [d for d in real_documents(90) if "===" not in d["text"]]
    old = write_job(tmp_path / "old", found[:40])
    new = write_job(tmp_path / "new", found[30:60], against=["../old/work"])
    assert invoke("ingest", old, "--quiet").exit_code == 0
    return old, new


def test_a_new_crawl_loses_what_an_earlier_one_kept(crawls: tuple[Path, Path]) -> None:
    old, new = crawls
    result = invoke("ingest", new)
    assert result.exit_code == 0, result.output
    work = new.parent / "work"
    rows = rejected(work)
    assert Counter(row["reason"] for row in rows) == {"exact_duplicate": 10}
    ids = set(pq.read_table(old.parent / "work/documents")["id"].to_pylist())
    for row in rows:
        assert " of ../old/work, which is kept" in row["detail"]
        assert row["detail"].split()[5] in ids
    assert pq.read_table(work / "documents").num_rows == 20
    assert "up to date" in invoke("ingest", new).output


def test_the_stage_runs_again_when_an_earlier_run_has_changed(crawls: tuple[Path, Path]) -> None:
    old, new = crawls
    assert invoke("ingest", new, "--quiet").exit_code == 0
    lines = (old.parent / "in/a.jsonl").read_text().splitlines(keepends=True)
    (old.parent / "in/a.jsonl").write_text("".join(lines[:35]))
    assert invoke("ingest", old, "--quiet").exit_code == 0
    result = invoke("ingest", new)
    assert "up to date" not in result.output
    assert "5 exact_duplicate" in result.output


def test_keys_are_made_again_where_the_earlier_run_has_lost_them(crawls: tuple[Path, Path]) -> None:
    old, new = crawls
    assert invoke("ingest", new, "--quiet").exit_code == 0
    expected = digests(new.parent / "work")
    shutil.rmtree(old.parent / "work/_stages/ingest/keys")
    shutil.rmtree(new.parent / "work")
    assert invoke("ingest", new, "--quiet").exit_code == 0
    assert digests(new.parent / "work") == expected


def test_what_a_kill_left_undone_is_done_again_to_the_same_bytes(crawls: tuple[Path, Path]) -> None:
    _, new = crawls
    work = new.parent / "work"
    assert invoke("ingest", new, "--quiet").exit_code == 0
    expected = digests(work)
    os.remove(work / "documents/_SUCCESS")
    manifests = sorted((work / "_stages/ingest/tasks").glob("*.json"))
    for output in json.loads(manifests[0].read_text())["outputs"]:
        os.remove(work / output["path"])
    os.remove(manifests[1])
    assert invoke("ingest", new, "--quiet").exit_code == 0
    assert digests(work) == expected


def test_a_lost_file_of_keys_is_noticed(crawls: tuple[Path, Path]) -> None:
    old, _ = crawls
    keys = sorted((old.parent / "work/_stages/ingest/keys").iterdir())
    os.remove(keys[0])
    assert "up to date" not in invoke("ingest", old).output
    assert keys[0].exists()


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("../none", "is no workdir: it has no recipe.yaml"),
        ("../old/in", "is no workdir"),
        ("work", "is this job's own workdir; remove it"),
        ("../cut/work", "has no finished documents. Run `mixcurate ingest`"),
        ("../lost/work", "has lost its documents: of 2 parts 1 are gone"),
    ],
)
def test_what_cannot_be_used_is_named_before_any_work(crawls, path: str, message: str) -> None:
    old, new = crawls
    for name in ("cut", "lost"):
        shutil.copytree(old.parent, old.parent.parent / name)
    os.remove(old.parent.parent / "cut/work/documents/_SUCCESS")
    os.remove(next((old.parent.parent / "lost/work/documents").glob("part-*")))
    recipe = yaml.safe_load(new.read_text())
    recipe["ingest"]["dedup"]["against"] = [path, "../old/work"]
    new.write_text(yaml.safe_dump(recipe))
    result = invoke("ingest", new)
    assert result.exit_code == 2
    assert f"ingest.dedup.against: {os.path.normpath(new.parent / path)} {message}" in result.output
    assert not (new.parent / "work/documents").exists()


def test_against_without_anything_to_compare_is_refused(crawls: tuple[Path, Path]) -> None:
    _, new = crawls
    new.write_text(new.read_text().replace("near: null", "near: null\n    exact: false"))
    result = invoke("ingest", new)
    assert result.exit_code == 2
    assert "exact, url and near are all off" in result.output
