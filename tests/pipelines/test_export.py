"""Embeddings as Parquet: what other programs read, and what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import load_dataset

from mixcurate.errors import InputError, OutputError, RequestError
from mixcurate.io import embeddings
from mixcurate.io.embeddings import EmbeddingsWriter, read_embeddings
from mixcurate.io.workdir import Workdir
from mixcurate.tables import EmbeddingKind, export_schema
from pipelines.export import export_embeddings
from pipelines.inspect import inspect_path, render
from tests.corpora import DOCUMENTS, PARTS, build
from tests.pipelines.conftest import invoke

KINDS: tuple[EmbeddingKind, ...] = ("float16", "float32", "int8")
ROWS = DOCUMENTS * len(PARTS)


def rewrite(workdir: Workdir, kind: EmbeddingKind, rows: int = DOCUMENTS) -> None:
    """Other vectors than zeros."""
    for number, part in enumerate(PARTS):
        with EmbeddingsWriter(workdir.part("embed", part), 4, kind) as writer:
            writer.write(np.random.default_rng(number).normal(size=(rows, 4)))


@pytest.fixture
def workdir(tmp_path: Path) -> Workdir:
    made = build(str(tmp_path), until="embed").workdir
    rewrite(made, "float16")
    return made


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_command_exports_a_finished_run(finished: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = invoke("export", finished / "work", out)
    assert result.exit_code == 0, result.output
    parts = sorted((finished / "work/documents").glob("*.parquet"))
    assert names(out) == [part.name for part in parts]
    rows = 0
    for part in parts:
        table = pq.read_table(out / part.name)
        vectors = read_embeddings(str(finished / f"work/embeddings/{part.stem}.arrow"))
        assert table.column("id").equals(pq.read_table(part).column("id"))
        found = table.column("embedding").combine_chunks().flatten().to_numpy()
        np.testing.assert_array_equal(found, vectors.astype(np.float32).reshape(-1))
        rows += table.num_rows
    assert result.stdout == f"{rows:,} rows in {out}\n"


@pytest.mark.parametrize("kind", KINDS)
def test_every_reader_reads_the_same_rows(
    workdir: Workdir, tmp_path: Path, kind: EmbeddingKind
) -> None:
    rewrite(workdir, kind)
    out = tmp_path / "out"
    assert export_embeddings(workdir.root, str(out)) == ROWS
    documents = [pq.read_table(workdir.part("ingest", part), columns=["id"]) for part in PARTS]
    ids = pa.concat_tables(documents)["id"].to_pylist()
    vectors = [read_embeddings(workdir.part("embed", part)) for part in PARTS]
    expected = np.concatenate(vectors).astype(np.float32).tolist()

    table = pq.read_table(out)
    assert table.schema.equals(export_schema(4))
    assert table["id"].to_pylist() == ids
    assert table["embedding"].to_pylist() == expected
    frame = pl.read_parquet(out / "*.parquet")
    assert frame["id"].to_list() == ids
    assert frame["embedding"].to_list() == expected
    assert frame["embedding"].dtype in (pl.Array(pl.Float32, 4), pl.List(pl.Float32))
    files = str(out / "*.parquet")
    loaded = load_dataset("parquet", data_files=files, split="train", cache_dir=str(tmp_path / "c"))
    assert list(loaded["embedding"]) == expected
    pandas = pq.read_table(out).to_pandas()
    np.testing.assert_array_equal(np.stack(pandas["embedding"]), np.array(expected, np.float32))


def test_columns_are_what_spark_and_cudf_read(workdir: Workdir, tmp_path: Path) -> None:
    export_embeddings(workdir.root, str(tmp_path / "out"))
    file = pq.ParquetFile(tmp_path / f"out/part-{PARTS[0]}.parquet")
    assert [file.schema.column(i).physical_type for i in (0, 1)] == ["BYTE_ARRAY", "FLOAT"]
    assert str(file.schema_arrow) == (
        "id: string not null\n"
        "embedding: fixed_size_list<element: float not null>[4] not null\n"
        "  child 0, element: float not null"
    )
    group = file.metadata.row_group(0)
    for column in (group.column(0), group.column(1)):
        assert set(column.encodings) <= {"PLAIN", "RLE"}
        assert column.compression == "ZSTD"


def test_a_batch_is_a_row_group(
    workdir: Workdir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export_embeddings(workdir.root, str(tmp_path / "whole"))
    monkeypatch.setattr(embeddings, "ROWS", 20)
    rewrite(workdir, "float16")
    export_embeddings(workdir.root, str(tmp_path / "split"))
    for part in PARTS:
        file = pq.ParquetFile(tmp_path / f"split/part-{part}.parquet")
        groups = [file.metadata.row_group(n).num_rows for n in range(file.num_row_groups)]
        assert groups == [20, 20, 5]
        assert file.read().equals(pq.read_table(tmp_path / f"whole/part-{part}.parquet"))


def test_an_export_replaces_an_earlier_one_by_the_same_bytes(
    workdir: Workdir, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    export_embeddings(workdir.root, str(out))
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    shutil.copy(out / f"part-{PARTS[0]}.parquet", out / "part-of-an-older-run.parquet")
    (out / ".tmp-part-x.parquet.0123456789abcdef").write_bytes(b"killed")
    assert invoke("export", workdir.root, out).exit_code == 0
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_other_files_are_left_alone(workdir: Workdir, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    theirs = out / "part-0.parquet"
    for content in (b"not Parquet at all", b""):
        theirs.write_bytes(content)
        with pytest.raises(OutputError, match=r"part-0\.parquet"):
            export_embeddings(workdir.root, str(out))
        assert theirs.read_bytes() == content
    theirs.rename(out / "notes.txt")
    result = invoke("export", workdir.root, out)
    assert result.exit_code == 2
    assert "notes.txt" in result.stderr
    assert "choose another folder" in result.stderr
    assert names(out) == ["notes.txt"]


@pytest.mark.parametrize("folder", ["documents", "embeddings", ".", "rejected"])
def test_folders_of_the_workdir_are_no_place_for_it(workdir: Workdir, folder: str) -> None:
    found = Path(workdir.root) / folder
    before = names(found)
    with pytest.raises(OutputError):
        export_embeddings(workdir.root, str(found))
    assert names(found) == before


def test_tables_with_the_name_of_a_part_are_not_an_export(workdir: Workdir, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    for schema in (pa.schema([]), pa.schema([("id", pa.string())])):
        pq.write_table(schema.empty_table(), out / "part-x.parquet")
        with pytest.raises(OutputError, match="part-x"):
            export_embeddings(workdir.root, str(out))


def test_what_has_not_finished(tmp_path: Path) -> None:
    out = str(tmp_path / "out")
    result = invoke("export", tmp_path, out)
    assert result.exit_code == 2
    assert f"error: {tmp_path} is no workdir" in result.stderr
    root = build(str(tmp_path), until="ingest").workdir.root
    result = invoke("export", root, out)
    assert result.exit_code == 2
    assert "stage 'embed' has not finished" in result.stderr
    assert not Path(out).exists()


def test_embeddings_of_other_documents(workdir: Workdir, tmp_path: Path) -> None:
    path = Path(workdir.success_path("ingest"))
    success = json.loads(path.read_text())
    success["parts"][1]["documents"] -= 1
    path.write_text(json.dumps(success))
    with pytest.raises(RequestError, match="of other documents"):
        export_embeddings(workdir.root, str(tmp_path / "out"))


def test_a_part_that_is_not_aligned_or_broken(workdir: Workdir, tmp_path: Path) -> None:
    rewrite(workdir, "float16", DOCUMENTS - 1)
    with pytest.raises(InputError, match="has 44 rows for 45 documents"):
        export_embeddings(workdir.root, str(tmp_path / "out"))
    Path(workdir.part("embed", PARTS[0])).write_bytes(b"")
    result = invoke("export", workdir.root, tmp_path / "out")
    assert result.exit_code == 2
    assert "no readable embeddings file" in result.stderr
    assert names(tmp_path / "out") == []


def test_a_part_without_documents(workdir: Workdir, tmp_path: Path) -> None:
    documents = workdir.part("ingest", PARTS[0])
    pq.write_table(pq.read_table(documents).slice(0, 0), documents)
    for stage in ("ingest", "embed"):
        path = Path(workdir.success_path(stage))
        success = json.loads(path.read_text())
        success["parts"][0]["documents"] = 0
        path.write_text(json.dumps(success))
    with EmbeddingsWriter(workdir.part("embed", PARTS[0]), 4, "int8"):
        pass
    assert export_embeddings(workdir.root, str(tmp_path / "out")) == DOCUMENTS
    assert pq.read_table(tmp_path / "out").num_rows == DOCUMENTS
    assert pl.read_parquet(tmp_path / "out/*.parquet").height == DOCUMENTS


def test_help_names_it() -> None:
    assert "  export " in invoke("--help").stdout


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_of_each_kind_can_be_inspected(workdir: Workdir, kind: EmbeddingKind) -> None:
    rewrite(workdir, kind)
    info = inspect_path(workdir.part("embed", PARTS[0]))
    json.dumps(info)
    text = " ".join(render(info).split())
    assert f"{DOCUMENTS} rows" in text
    item = {"float16": "halffloat", "float32": "float", "int8": "int8"}[kind]
    assert info["schema"][0]["type"] == f"fixed_size_list<item: {item} not null>[4]"
    assert ("scale" in info["first"]) == (kind == "int8")
