"""A document is found by its id or the beginning of it, without opening more than needed."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from mixcurate.errors import RequestError
from mixcurate.io import partfiles, storage
from mixcurate.io.workdir import Workdir
from mixcurate.tables import documents_schema
from pipelines.explain import explain
from pipelines.explain_find import find


def documents(workdir: Workdir, part: str, ids: list[str]) -> None:
    row = dict.fromkeys(documents_schema([]).names)
    row |= {"text": "t", "source": "s", "path": "p", "position": 0, "language": "en"}
    row |= {"language_score": 1.0, "n_tokens": 1, "n_bytes": 1, "content_hash": b"0" * 16}
    table = pa.Table.from_pylist([row | {"id": name} for name in ids], documents_schema([]))
    partfiles.write_table(workdir.part("ingest", part), table)


def test_the_beginning_of_an_id(tmp_path: Path) -> None:
    workdir = Workdir(str(tmp_path))
    documents(workdir, "a", ["abcdef01", "abcdef02", "12345678"])
    documents(workdir, "b", ["abcdef", "99999999", "12345"])
    assert (find(workdir, "123456").part, find(workdir, "123456").row) == ("a", 2)
    assert find(workdir, "99999999").row == 1
    assert find(workdir, "12345").id == "12345"  # short, but whole
    assert find(workdir, "abcdef").part == "b"  # whole, though others begin so
    assert find(workdir, "abcdef01").row == 0


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ("abcdef0", "begins several ids in .*: abcdef01, abcdef02; give more of it"),
        ("abcdefff", "no document 'abcdefff' among 4 rows .*; ids that begin alike: abcdef01,"),
        ("1234", "no document '1234' .*; the beginning of an id takes 6 characters. Ids stand"),
        ("zzzzzzzz", "no document 'zzzzzzzz' among 4 rows of documents/ and rejected/ in .*[^;]"),
        ("", "no document ''"),
    ],
)
def test_no_such_document(tmp_path: Path, wanted: str, message: str) -> None:
    workdir = Workdir(str(tmp_path))
    documents(workdir, "a", ["abcdef01", "abcdef02"])
    documents(workdir, "b", ["12345678", "98765432"])
    with pytest.raises(RequestError, match=message):
        explain(workdir.root, wanted)


def test_no_workdir(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="is no workdir"):
        explain(str(tmp_path / "none"), "abcdef")
    (tmp_path / "documents").mkdir()
    with pytest.raises(RequestError, match="ingest has not run"):
        explain(str(tmp_path), "abcdef")


def test_no_more_parts_are_opened_than_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workdir = Workdir(str(tmp_path))
    for number in range(20):
        documents(workdir, f"{number:03d}", [f"{number:032x}"])
    opened = []
    real = storage.open_read
    monkeypatch.setattr(storage, "open_read", lambda path: opened.append(path) or real(path))
    find(workdir, f"{3:032x}")
    assert [Path(path).name for path in opened] == [f"part-{n:03d}.parquet" for n in range(4)]


def test_a_workdir_of_another_filesystem(tmp_path: Path) -> None:
    fs, _ = storage.filesystem("memory://explain/x")
    local = Workdir(str(tmp_path))
    documents(local, "a", ["abcdef01", "abcdef02"])
    workdir = Workdir("memory://explain/work")
    data = storage.read_bytes(local.part("ingest", "a"))
    storage.write_bytes(workdir.part("ingest", "a"), data)
    found = explain(workdir.root, "abcdef02")
    assert (found["part"], found["row"], found["document"]["text"]) == ("a", 1, "t")
    fs.rm("/explain", recursive=True)
