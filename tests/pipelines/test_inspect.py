"""What is in a folder or a file, as data and as text."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pytest

from mixcurate.errors import RequestError
from mixcurate.io import partfiles
from pipelines.inspect import inspect_path, render
from tests.corpora import DOCUMENTS, HOSTILE, PARTS, STAGES, Made, build


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return build(str(tmp_path_factory.mktemp("made")))


def words(line: str) -> list[str]:
    return line.split()


def test_workdir(made: Made) -> None:
    info = inspect_path(made.workdir.root)
    json.dumps(info)
    assert info["kind"] == "workdir"
    assert [stage["stage"] for stage in info["stages"]] == list(STAGES)
    assert info["stages"][0]["documents_in"] == 95
    assert {r["reason"]: r["documents"] for r in info["rejected"]} == {
        "empty": 2,
        "filter_n_words": 3,
        "low_quality_cluster": 18,
        "not_drawn": 6,
    }
    assert info["corpus"] == made.corpus
    lines = render(info).splitlines()
    assert words(next(x for x in lines if x.startswith("cluster")))[:3] == ["cluster", "90", "72"]
    assert any(words(line)[:2] == ["sum", "29"] for line in lines)
    assert any("uniform, 994 tokens" in line for line in lines)


def test_columns_are_aligned(made: Made) -> None:
    lines = render(inspect_path(made.workdir.root)).splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("stage"))
    column = lines[start].index("documents in") + len("documents in")
    for line in lines[start + 1 : start + 7]:
        assert line[column - 1].isdigit()
        assert line[column] == " "
    assert max(map(len, lines)) <= 100


def test_a_workdir_that_has_only_begun(tmp_path: Path) -> None:
    info = inspect_path(build(str(tmp_path), until="ingest").workdir.root)
    assert [stage["stage"] for stage in info["stages"]] == ["ingest"]
    assert "domains" not in info
    assert info["corpus"] is None
    assert "filter_n_words" in render(info)


def test_corpus(made: Made) -> None:
    info = inspect_path(made.corpus)
    json.dumps(info)
    assert info["kind"] == "corpus"
    assert info["formats"]["arrow"]["shards"] == 3
    assert info["formats"]["webdataset"]["n_documents"] == 72
    assert {"name": "copy", "type": "int32"} in info["schema"]
    text = render(info)
    assert "CC-BY-4.0" in text
    assert "1,000 (budget 994)" in text
    row = next(words(line) for line in text.splitlines() if line.startswith("0  "))
    assert row == ["0", "law", "36", "500", "502", "50.3018%", "50.2000%", "0.977"]


def test_parquet_part(made: Made) -> None:
    info = inspect_path(made.workdir.part("ingest", PARTS[0]))
    json.dumps(info)
    assert info["rows"] == DOCUMENTS
    assert len(info["first"]["text"]) == 80
    assert info["first"]["text"].startswith(HOSTILE[:60])
    assert len(info["first"]["content_hash"]) == 32
    text = render(info)
    assert f"{DOCUMENTS} rows" in text
    assert "large_string, not null" in text


def test_nothing_that_a_terminal_obeys_is_printed(tmp_path: Path) -> None:
    path = str(tmp_path / "part-x.parquet")
    table = pa.table({"text": ["\x1b[31mred\x07\u202e[bold]x[/bold]\nend"]})
    partfiles.write_table(path, table)
    text = render(inspect_path(path))
    assert not set(text) & {"\x1b", "\x07", "\u202e"}
    assert "[bold]x[/bold]" in text


def test_arrow_parts(made: Made) -> None:
    info = inspect_path(made.workdir.part("embed", PARTS[0]))
    assert info["rows"] == DOCUMENTS
    assert info["first"]["embedding"] == [0.0, 0.0, 0.0, 0.0]
    shard = inspect_path(f"{made.corpus}/train/data-00000-of-00003.arrow")
    assert shard["rows"] == 24
    assert shard["first"]["copy"] in (0, 1)
    assert "24 rows" in render(shard)


def test_an_empty_part(tmp_path: Path) -> None:
    path = str(tmp_path / "part-x.parquet")
    partfiles.write_table(path, pa.table({"a": pa.array([], pa.int32())}))
    assert inspect_path(path)["first"] == {}
    render(inspect_path(path))


@pytest.mark.parametrize("name", ["a.parquet", "a.arrow"])
def test_a_file_that_is_not_what_it_says(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"nothing like it")
    with pytest.raises(RequestError, match="no sound"):
        inspect_path(str(tmp_path / name))


def test_something_else(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"expected a workdir .*manifest\.json"):
        inspect_path(str(tmp_path))
    with pytest.raises(RequestError, match="does not exist"):
        inspect_path(str(tmp_path / "nowhere"))


def test_an_unfinished_corpus(tmp_path: Path) -> None:
    corpus = Path(build(str(tmp_path)).corpus)
    (corpus / "manifest.json").unlink()
    with pytest.raises(RequestError, match="unfinished"):
        inspect_path(str(corpus))
