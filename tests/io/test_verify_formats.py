"""Every format of a corpus is read by verify; whatever file is damaged, it is told."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from mixcurate.errors import CorpusError
from mixcurate.io.verify import verify_corpus
from mixcurate.tables import CORPUS
from tests.corpora import build
from tests.io.damage import edit_manifest, only, reseal, rewrite_rows
from tests.io.shards import ROW_FORMATS
from tests.made_corpus import TOKEN_FORMATS

OTHERS = [name for name in ROW_FORMATS if name != "arrow"]


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> str:
    kinds = (*ROW_FORMATS, *TOKEN_FORMATS)
    return build(str(tmp_path_factory.mktemp("all")), kinds=kinds, holdout=True).corpus


@pytest.fixture
def corpus(good: str, tmp_path: Path) -> str:
    return str(shutil.copytree(good, tmp_path / "corpus"))


def files(corpus: str) -> list[str]:
    found = (path.relative_to(corpus) for path in Path(corpus).rglob("*") if path.is_file())
    return sorted(map(str, found))


def put(table: pa.Table, name: str, values: pa.Array | pa.ChunkedArray) -> pa.Table:
    return table.set_column(CORPUS.get_field_index(name), CORPUS.field(name), values)


def test_a_good_corpus_of_all_formats(good: str) -> None:
    assert verify_corpus(good) == []
    assert len(files(good)) > 50


@pytest.mark.parametrize("where", [0.0, 0.5, 1.0])
def test_a_flipped_byte_in_any_file_is_told(corpus: str, where: float) -> None:
    damaged = [path for path in files(corpus) if path != "manifest.json"]
    for path in damaged:
        data = bytearray(Path(corpus, path).read_bytes())
        data[int(where * (len(data) - 1))] ^= 1
        Path(corpus, path).write_bytes(data)
    found = verify_corpus(corpus)
    assert [path for path in damaged if not any(path in problem for problem in found)] == []


def test_a_flipped_byte_in_the_manifest_is_told(corpus: str) -> None:
    file = Path(corpus, "manifest.json")
    data = file.read_bytes()
    for at in range(0, len(data), len(data) // 40):
        file.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        try:
            found = verify_corpus(corpus)
        except CorpusError as error:
            found = [str(error)]
        assert any("manifest.json" in problem for problem in found), (at, found)


def test_missing_files_are_told(corpus: str) -> None:
    removed = [path for path in files(corpus) if path != "manifest.json"]
    for path in removed:
        Path(corpus, path).unlink()
    found = verify_corpus(corpus)
    assert len(found) == len(removed)
    assert [path for path in removed if not any(path in problem for problem in found)] == []


@pytest.mark.parametrize(
    "path",
    [
        *("holdout/x", "parquet/train-00003-of-00003.parquet", "mds/train/shard.00003.mds"),
        *("litdata/holdout/chunk-0-1.bin", "jsonl/.tmp-x", "mds/other", "lineage/part-9.parquet"),
    ],
)
def test_an_unknown_file(corpus: str, path: str) -> None:
    Path(corpus, path).write_bytes(b"x")
    found = verify_corpus(corpus)
    assert len(found) == 1
    assert path in found[0]
    assert "expected no such file" in found[0]


@pytest.mark.parametrize("name", OTHERS)
def test_one_format_with_other_values(corpus: str, name: str) -> None:
    places = {
        "text": ("train", 0, 3),
        "url": ("train", 1, 3),
        "quality": ("train", 2, 3),
        "copy": ("holdout", 0, 1),
    }
    changed = {}
    for column, place in places.items():

        def edit(table: pa.Table, column: str = column) -> pa.Table:
            values = table.column(column).to_pylist()
            values[2] = values[2] + "!" if isinstance(values[2], str) else values[2] + 1
            return put(table, column, pa.array(values, CORPUS.field(column).type))

        changed[rewrite_rows(corpus, name, place, edit)] = column
    found = verify_corpus(corpus)
    for path, column in changed.items():
        words = (f"{path}: expected the rows of ", f"found other values in {column}")
        assert any(all(word in problem for word in words) for problem in found), (path, found)


@pytest.mark.parametrize("name", OTHERS)
def test_one_format_with_other_rows(corpus: str, name: str) -> None:
    def move(table: pa.Table) -> pa.Table:
        return put(table, "domain", pc.add(table["domain"], 9).cast(pa.int32()))

    edits: list[tuple[Callable[[pa.Table], pa.Table], str]] = [
        (lambda table: table.slice(1), "expected n_documents 24, found 23"),
        (lambda table: table.take([1, 0, *range(2, 24)]), "other values in id, text"),
        (move, "tokens_by_domain"),
    ]
    changed = {
        rewrite_rows(corpus, name, ("train", shard, 3), edit): words
        for shard, (edit, words) in enumerate(edits)
    }
    found = verify_corpus(corpus)
    for path, words in changed.items():
        assert any(path in problem and words in problem for problem in found), (path, found)


@pytest.mark.parametrize("name", ROW_FORMATS)
def test_a_document_of_the_holdout_in_train(tmp_path: Path, name: str) -> None:
    corpus = build(str(tmp_path), kinds=(name, "megatron"), holdout=True).corpus
    ids: list[str] = []

    def read(table: pa.Table) -> pa.Table:
        ids.extend(table["id"].to_pylist())
        return table

    rewrite_rows(corpus, name, ("holdout", 0, 1), read)
    assert verify_corpus(corpus) == []
    path = rewrite_rows(
        corpus,
        name,
        ("train", 2, 3),
        lambda table: put(table, "id", pa.array([*table["id"].to_pylist()[:-1], ids[0]])),
    )
    only(corpus, path, "expected no document of the holdout", ids[0])


def test_a_file_beside_a_shard_that_is_not_its_own(corpus: str) -> None:
    """The index of another shard, which the manifest was made to agree with."""
    first, second = (f"megatron/train-0000{i}-of-00003.idx" for i in (0, 1))
    shutil.copyfile(f"{corpus}/{first}", f"{corpus}/{second}")
    reseal(corpus, second)
    only(corpus, "megatron/train-00001-of-00003.bin", "expected a sound megatron shard")


def test_lineage_of_other_documents(corpus: str) -> None:
    path = "lineage/part-00000.parquet"
    table = pq.read_table(f"{corpus}/{path}")
    pq.write_table(table.take([1, 0, *range(2, len(table))]), f"{corpus}/{path}")
    reseal(corpus, path)
    only(corpus, path, "expected the documents of its shard")


def test_a_path_of_the_lineage_outside_is_named_and_never_opened(corpus: str) -> None:
    def edit(manifest: dict[str, Any]) -> None:
        manifest["lineage"][0]["path"] = "../../etc/passwd"

    edit_manifest(corpus, edit)
    only(corpus, "expected the lineage lineage/part-00000.parquet", "'../../etc/passwd'")
