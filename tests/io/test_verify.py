"""Every kind of damage is found and named; a good corpus passes."""

from __future__ import annotations

import os
import shutil
import tarfile
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pytest

from mixcurate.errors import CorpusError
from mixcurate.io import storage
from mixcurate.io.verify import verify_corpus
from mixcurate.tables import CORPUS
from tests.corpora import build
from tests.io.damage import edit_manifest, only, reseal, rewrite_arrow, rewrite_tar

ARROW = "train/data-00001-of-00003.arrow"
TAR = "wds/train-000001.tar"


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> str:
    return build(str(tmp_path_factory.mktemp("corpus"))).corpus


@pytest.fixture
def corpus(good: str, tmp_path: Path) -> str:
    return str(shutil.copytree(good, tmp_path / "corpus"))


@pytest.mark.parametrize("kinds", [("arrow", "webdataset"), ("arrow",), ("webdataset",)])
def test_a_good_corpus_passes(tmp_path: Path, kinds: tuple[str, ...]) -> None:
    assert verify_corpus(build(str(tmp_path), kinds=kinds).corpus) == []


def test_no_manifest(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"no manifest\.json.*unfinished"):
        verify_corpus(str(tmp_path))


@pytest.mark.parametrize("text", ["{", '{"shards": []}', '{"manifest_version": 1}', "[]", "3"])
def test_a_manifest_of_something_else(tmp_path: Path, text: str) -> None:
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(CorpusError, match=r"manifest\.json"):
        verify_corpus(str(tmp_path))


@pytest.mark.parametrize(("name", "key"), [("shards", "sha256"), ("domains", "target_tokens")])
def test_a_manifest_that_lacks_something(corpus: str, name: str, key: str) -> None:
    edit_manifest(corpus, lambda manifest: manifest[name][1].pop(key))
    with pytest.raises(CorpusError, match=rf"lacks {name}\.1\.{key}"):
        verify_corpus(corpus)


@pytest.mark.parametrize("path", [ARROW, TAR])
@pytest.mark.parametrize("at", [0, 700, -1])
def test_one_flipped_bit(corpus: str, path: str, at: int) -> None:
    file = Path(corpus, path)
    data = bytearray(file.read_bytes())
    data[at] ^= 1
    file.write_bytes(data)
    found = verify_corpus(corpus)
    assert len(found) == 1
    assert path in found[0]
    assert "sha256" in found[0]


@pytest.mark.parametrize("path", [ARROW, TAR])
def test_a_truncated_shard(corpus: str, path: str) -> None:
    os.truncate(f"{corpus}/{path}", 100)
    found = verify_corpus(corpus)
    assert len(found) == 1
    assert path in found[0]
    assert "found 100" in found[0]


@pytest.mark.parametrize("path", [ARROW, TAR])
def test_truncated_and_the_manifest_made_to_agree(corpus: str, path: str) -> None:
    os.truncate(f"{corpus}/{path}", 900)
    reseal(corpus, path)
    only(corpus, path)


@pytest.mark.parametrize("path", [ARROW, TAR])
def test_a_missing_shard(corpus: str, path: str) -> None:
    os.remove(f"{corpus}/{path}")
    found = verify_corpus(corpus)
    assert len(found) == 1
    assert path in found[0]
    assert "missing" in found[0]


@pytest.mark.parametrize(
    "path",
    ["train/data-00003-of-00004.arrow", "wds/train-000003.tar", "train/.tmp-data.arrow.7"],
)
def test_an_extra_file(corpus: str, path: str) -> None:
    Path(corpus, path).write_bytes(b"x")
    found = verify_corpus(corpus)
    assert len(found) == 1
    assert path in found[0]


def test_a_shard_that_the_manifest_forgot(corpus: str) -> None:
    edit_manifest(corpus, lambda manifest: manifest["shards"].pop())
    only(corpus, "wds/train-000002.tar", "not in manifest.json")
    only(corpus, "as many webdataset shards as arrow shards (3)", "found 2")


def test_a_path_outside_is_named_and_never_opened(corpus: str) -> None:
    def edit(manifest: dict[str, Any]) -> None:
        manifest["shards"][0]["path"] = "../../etc/passwd"

    edit_manifest(corpus, edit)
    only(corpus, "'../../etc/passwd'", "no name of a shard")


def test_swapped_members_within_a_sample(corpus: str) -> None:
    rewrite_tar(corpus, TAR, lambda m: [*m[:4], m[5], m[4], *m[6:]])
    only(corpus, TAR, "member '000001-00000002.json'")


def test_swapped_members_of_two_samples(corpus: str) -> None:
    rewrite_tar(corpus, TAR, lambda m: [m[0], m[3], m[2], m[1], *m[4:]])
    only(corpus, TAR, "'000001-00000001.json' after '000001-00000000.txt'")


def test_a_sample_without_its_json(corpus: str) -> None:
    rewrite_tar(corpus, TAR, lambda m: m[:-1])
    only(corpus, TAR, "the end of the file")


def test_a_key_twice_in_a_shard(corpus: str) -> None:
    rewrite_tar(corpus, TAR, lambda m: [*m[:2], *m[:2], *m[4:]])
    only(corpus, TAR, "'000001-00000000' twice")


def test_a_key_twice_in_two_shards(corpus: str) -> None:
    def edit(members: list[tuple[str, bytes]]) -> list[tuple[str, bytes]]:
        return [(name.replace("000001-", "000000-"), data) for name, data in members]

    rewrite_tar(corpus, TAR, edit)
    only(corpus, TAR, "keys of its own", "000001-", "found '000000-'")


@pytest.mark.parametrize("name", ["../x.txt", "A.txt", "a b.txt", "x.txt.gz", "x"])
def test_a_bad_member_name(corpus: str, name: str) -> None:
    rewrite_tar(corpus, TAR, lambda m: [(name, b""), *m])
    only(corpus, TAR, repr(name))


def test_members_that_are_no_plain_files(corpus: str) -> None:
    with tarfile.open(f"{corpus}/{TAR}", "w") as archive:
        header = tarfile.TarInfo("a.txt")
        header.type, header.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(header)
    reseal(corpus, TAR)
    only(corpus, TAR, "not a plain file")


def test_json_that_lacks_a_field(corpus: str) -> None:
    def edit(members: list[tuple[str, bytes]]) -> list[tuple[str, bytes]]:
        fields = orjson.loads(members[1][1])
        del fields["n_tokens"]
        return [members[0], (members[1][0], orjson.dumps(fields)), *members[2:]]

    rewrite_tar(corpus, TAR, edit)
    only(corpus, TAR, "n_tokens")


def test_formats_that_hold_other_texts(corpus: str) -> None:
    rewrite_tar(corpus, TAR, lambda m: [(m[0][0], m[0][1] + b"!"), *m[1:]])
    found = verify_corpus(corpus)
    assert len(found) == 1
    assert TAR in found[0]
    assert ARROW in found[0]
    assert "other values in text" in found[0]


def test_an_arrow_shard_with_another_schema(corpus: str) -> None:
    rewrite_arrow(corpus, ARROW, lambda table: table.drop_columns(["copy"]))
    only(corpus, ARROW, "another schema")


def test_an_arrow_shard_with_a_document_less(corpus: str) -> None:
    rewrite_arrow(corpus, ARROW, lambda table: table.slice(1))
    only(corpus, ARROW, "n_documents", "expected n_documents 24", "found 23")


def test_an_arrow_shard_with_a_null(corpus: str) -> None:
    def edit(table: pa.Table) -> pa.Table:
        column = pa.array([None, *table.column("n_tokens").to_pylist()[1:]], pa.int32())
        index = CORPUS.get_field_index("n_tokens")
        return table.set_column(index, CORPUS.field("n_tokens"), column)

    rewrite_arrow(corpus, ARROW, edit)
    only(corpus, ARROW, "n_tokens")


@pytest.mark.parametrize("edit", ["drop", "reverse"])
def test_state_that_lists_other_shards(corpus: str, edit: str) -> None:
    path = f"{corpus}/train/state.json"
    state = storage.read_json(path)
    files = state["_data_files"]
    state["_data_files"] = files[1:] if edit == "drop" else files[::-1]
    storage.write_json(path, state)
    found = verify_corpus(corpus)
    assert len(found) == 1
    assert "train/state.json" in found[0]


def test_a_domain_that_the_manifest_does_not_know(corpus: str) -> None:
    edit_manifest(corpus, lambda manifest: manifest["domains"].pop())
    only(corpus, "shards hold domain 2")
