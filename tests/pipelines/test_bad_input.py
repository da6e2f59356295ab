"""Bad input through the command line: one rejected row, or an error before work begins."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml

from mixcurate.io import records
from tests.documents import real_documents
from tests.pipelines.conftest import RECIPE, invoke, write_job

LINES = [json.dumps(document).encode() + b"\n" for document in real_documents(40)]


def ingest(folder: Path, name: str, data: bytes, **changes: object) -> tuple[dict, list[dict]]:
    """Ingest one file; the stage's numbers and the rejected rows but for quality filters."""
    (folder / "in").mkdir()
    (folder / "in" / name).write_bytes(data)
    recipe = folder / "recipe.yaml"
    recipe.write_text(
        yaml.safe_dump(
            RECIPE | {"inputs": [{"path": "in/*"}], "ingest": {"filters": None} | changes}
        )
    )
    result = invoke("ingest", recipe, "--json")
    assert result.exit_code == 0, result.output
    numbers = json.loads(result.stdout)["stages"]["ingest"]
    rows = []
    if list((folder / "work").glob("rejected/*.parquet")):
        rows = pq.read_table(folder / "work/rejected").to_pylist()
    assert numbers["documents_in"] == numbers["documents_out"] + len(rows)
    assert all(row["path"] == f"in/{name}" for row in rows)
    return numbers, rows


def test_a_truncated_gzip_costs_one_row(tmp_path: Path) -> None:
    data = gzip.compress(b"".join(LINES))
    numbers, rows = ingest(tmp_path, "cut.jsonl.gz", data[: len(data) // 2])
    assert [row["reason"] for row in rows] == ["truncated"]
    assert 5 < numbers["documents_out"] < 40


def test_a_warc_cut_in_the_middle_costs_one_row(tmp_path: Path) -> None:
    page = "<html><body><article>" + "".join(
        f"<p>{' '.join(document['text'].split())}</p>" for document in real_documents(6)
    )
    http = b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\n\r\n" + page.encode()
    record = (
        b"WARC/1.0\r\nWARC-Type: response\r\nWARC-Target-URI: https://example.org/%d\r\n"
        b"Content-Type: application/http; msgtype=response\r\nContent-Length: "
        + str(len(http)).encode()
        + b"\r\n\r\n"
        + http
        + b"\r\n\r\n"
    )
    data = record % 1 + (record % 2)[: len(record) // 2]
    numbers, rows = ingest(tmp_path, "cut.warc", data)
    assert [row["reason"] for row in rows] == ["truncated"]
    assert numbers["documents_out"] == 1


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"text": "caf\xe9"}\n', "invalid_utf8"),
        (b"this is no JSON\n", "not_json"),
        (b'{"body": "no text here"}\n', "no_text_field"),
        (b'{"text": "   \\n "}\n', "empty"),
        (b'{"text": 5}\n', "no_text_field"),
    ],
)
def test_a_bad_line_costs_one_row_with_its_place(tmp_path: Path, line: bytes, reason: str) -> None:
    numbers, rows = ingest(tmp_path, "a.jsonl", b"".join([*LINES[:10], line, *LINES[10:20]]))
    assert [row["reason"] for row in rows] == [reason]
    assert rows[0]["position"] == sum(map(len, LINES[:10]))
    assert numbers["documents_out"] == 20


def test_an_empty_file_costs_one_row(tmp_path: Path) -> None:
    numbers, rows = ingest(tmp_path, "a.jsonl", b"")
    assert [row["reason"] for row in rows] == ["empty_file"]
    assert numbers["documents_in"] == 1


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.warc.gz", "a.parquet"])
def test_a_file_that_is_not_what_its_name_says_costs_one_row(tmp_path: Path, name: str) -> None:
    png = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(range(256)) * 40
    numbers, rows = ingest(tmp_path, name, png)
    assert len(rows) == 1
    assert rows[0]["reason"].startswith("not_")
    assert numbers["documents_out"] == 0


def test_a_document_of_200_mb_costs_one_row(tmp_path: Path) -> None:
    assert records.MAX_RECORD_BYTES < 200_000_000
    huge = b'{"text": "' + b"word " * 40_000_000 + b'"}\n'
    numbers, rows = ingest(tmp_path, "a.jsonl", LINES[0] + huge + LINES[1])
    assert [row["reason"] for row in rows] == ["too_large"]
    assert numbers["documents_out"] == 2


def test_a_document_above_the_limit_of_the_recipe_costs_one_row(tmp_path: Path) -> None:
    long = json.dumps({"text": "Words of a sentence. " * 1000}).encode() + b"\n"
    numbers, rows = ingest(tmp_path, "a.jsonl", LINES[0] + long, max_document_bytes="10kB")
    assert [row["reason"] for row in rows] == ["too_large"]
    assert numbers["documents_out"] == 1


def test_all_bad_inputs_are_named_at_once(tmp_path: Path) -> None:
    recipe = write_job(tmp_path, 30)
    recipe.write_text(
        yaml.safe_dump(RECIPE | {"inputs": [{"path": "nothing/*.jsonl"}, {"path": "in/*.pdf"}]})
    )
    result = invoke("run", recipe)
    assert result.exit_code == 2
    assert "nothing/*.jsonl" in result.stderr
    assert "in/*.pdf" in result.stderr
    assert not (tmp_path / "work").exists()


def test_an_unwritable_workdir_is_an_error_before_work(tmp_path: Path) -> None:
    recipe = write_job(tmp_path, 30, workdir="in/a.jsonl/work")
    result = invoke("run", recipe)
    assert result.exit_code == 2
    assert "cannot write to" in result.stderr


def test_a_folder_that_holds_something_else_is_left_alone(tmp_path: Path) -> None:
    recipe = write_job(tmp_path, 30, output={"path": "precious"})
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious/thesis.txt").write_text("years of work")
    result = invoke("run", recipe)
    assert result.exit_code == 2
    assert "already holds something else (thesis.txt" in result.stderr
    assert [path.name for path in (tmp_path / "precious").iterdir()] == ["thesis.txt"]
    assert not (tmp_path / "work/documents").exists()


def test_another_recipes_corpus_is_left_alone(finished: Path, tmp_path: Path) -> None:
    corpus = finished / "work/corpus"
    recipe = write_job(tmp_path, 30, name="other", output={"path": str(corpus)})
    result = invoke("run", recipe)
    assert result.exit_code == 2
    assert "holds the corpus 'small', not 'other'" in result.stderr


def test_when_everything_is_rejected_the_job_says_so(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.jsonl").write_bytes(b'{"text": "short"}\n' * 3)
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(yaml.safe_dump(RECIPE))
    result = invoke("run", recipe)
    assert result.exit_code == 1
    assert "ingest rejected everything" in result.stderr
    assert "Traceback" not in result.output


def test_when_every_cluster_is_pruned_the_job_says_so(tmp_path: Path) -> None:
    recipe = write_job(tmp_path, 40)
    result = invoke("run", recipe, "--set", "cluster.prune.min_quality=1.0")
    assert result.exit_code == 1
    assert "lower cluster.prune.min_quality" in result.stderr


def test_an_unknown_language_is_an_error_with_a_hint(tmp_path: Path) -> None:
    recipe = write_job(tmp_path, 30)
    result = invoke("run", recipe, "--set", "ingest.languages=[xx-yy]")
    assert result.exit_code == 2
    assert "unknown language 'xx-yy'" in result.stderr


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--runner=DirectRunner"], "--runner=DirectRunner is refused"),
        (["--runner=DaskRunner"], "silently loses"),
        (["--runner=FlinkRuner"], "did you mean 'FlinkRunner'?"),
        (["--direct_num_worker=2"], "did you mean '--direct_num_workers'?"),
    ],
)
def test_a_bad_beam_option_is_an_error_before_work(
    tmp_path: Path, args: list[str], message: str
) -> None:
    recipe = write_job(tmp_path, 30)
    result = invoke("run", recipe, "--", *args)
    assert result.exit_code == 2
    assert message in result.stderr
    assert not (tmp_path / "work/documents").exists()


def test_a_model_that_is_no_model_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model/config.json").write_text("{}")
    recipe = write_job(tmp_path, 30, embed={"model": "model"})
    result = invoke("run", recipe)
    assert result.exit_code == 2
    assert "has no weights" in result.stderr
    assert "ingest:" not in result.stderr
    assert "Traceback" not in result.output
