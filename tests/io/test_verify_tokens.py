from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from mixcurate.errors import CorpusError
from mixcurate.io.shard_formats.base import TokenOptions
from mixcurate.io.verify_tokens import check_tokens
from tests.io.token_corpora import DOCUMENTS, KINDS, by_bytes, write_corpus

LENGTHS = pytest.mark.parametrize("length", [None, 40])

#: Where the ids of a shard begin and the files that hold them, of 24 documents that are not packed.
FILES = {
    "megatron": ("megatron/train-00000-of-00002.bin", 0),
    "nanotron": ("nanotron/train/00000-of-00002.ds", 0),
    "litdata_tokens": ("litdata_tokens/train/chunk-00000-of-00002.bin", 4 * (DOCUMENTS + 2)),
}


def made(folder: Path, claimed: TokenOptions, written: TokenOptions | None = None) -> str:
    """A corpus whose manifest claims one way of making tokens, and may be written in another."""
    manifest = write_corpus(str(folder), written or claimed)
    facts = {"vocabulary", "bos", "eos", "sequence_length"}
    manifest["token_files"] |= {name: getattr(claimed, name) for name in facts}
    (folder / "manifest.json").write_bytes(orjson.dumps(manifest))
    return str(folder)


@LENGTHS
@pytest.mark.parametrize(("bos", "eos"), [(256, 257), (None, 257), (256, None), (256, 256)])
@pytest.mark.parametrize("vocabulary", [300, 70_000])
def test_a_good_corpus_has_no_problems(
    tmp_path: Path, length: int | None, bos: int | None, eos: int | None, vocabulary: int
) -> None:
    options = by_bytes(length=length, bos=bos, eos=eos, vocabulary=vocabulary)
    assert check_tokens(made(tmp_path, options)) == []


@LENGTHS
@pytest.mark.parametrize("kind", ["bos", "eos"])
def test_tokens_that_are_not_put_are_missed_in_every_shard(
    tmp_path: Path, length: int | None, kind: str
) -> None:
    claimed = by_bytes(length=length)
    without = dataclasses.replace(claimed, **{kind: None})  # type: ignore[arg-type]
    problems = check_tokens(made(tmp_path, claimed, without))
    assert len(problems) == 3 * len(KINDS)
    word = "before" if kind == "bos" else "after"
    number = getattr(claimed, kind)
    expected = f"expected the {kind} token {number} {word} each of {DOCUMENTS} documents, found"
    assert all(expected in problem for problem in problems)


@LENGTHS
def test_one_token_for_both_must_be_there_twice(tmp_path: Path, length: int | None) -> None:
    claimed = by_bytes(length=length, bos=256, eos=256)
    without = dataclasses.replace(claimed, bos=None)
    problems = check_tokens(made(tmp_path, claimed, without))
    assert len(problems) == 3 * len(KINDS)
    assert all("expected the bos token 256 before each" in problem for problem in problems)


def test_one_document_without_its_end_is_found(tmp_path: Path) -> None:
    for name, (file, skipped) in FILES.items():
        corpus = made(tmp_path / name, by_bytes())
        path = tmp_path / name / file
        data = bytearray(path.read_bytes())
        ids = np.frombuffer(data, "<u2", offset=skipped)
        at = int(np.flatnonzero(ids == 257)[3])
        ids[at] = 65
        path.write_bytes(data)
        (problem,) = check_tokens(corpus)
        assert problem == (
            f"{file}: expected the eos token 257 after each of {DOCUMENTS} documents, found it "
            f"after {DOCUMENTS - 1} ({(DOCUMENTS - 1) / DOCUMENTS:.1%})"
        )


def test_an_id_beyond_the_vocabulary_is_found(tmp_path: Path) -> None:
    problems = check_tokens(made(tmp_path, by_bytes(vocabulary=200), by_bytes(vocabulary=300)))
    assert len(problems) == 3 * len(KINDS)
    assert all("expected ids below 200, found 257" in problem for problem in problems)


def test_ids_of_another_size_are_found(tmp_path: Path) -> None:
    claimed, written = by_bytes(vocabulary=70_000), by_bytes(vocabulary=300)
    problems = check_tokens(made(tmp_path, claimed, written))
    assert len(problems) == 3 * len(KINDS)
    assert all("expected ids of 4 bytes" in problem for problem in problems)


def test_sequences_of_another_length_are_found(tmp_path: Path) -> None:
    problems = check_tokens(made(tmp_path, by_bytes(length=41), by_bytes(length=40)))
    assert len(problems) == 3 * len(KINDS)
    assert all("expected sequences of 41 tokens, found" in problem for problem in problems)


def test_lost_documents_are_found(tmp_path: Path) -> None:
    corpus = made(tmp_path, by_bytes())
    manifest = orjson.loads((tmp_path / "manifest.json").read_bytes())
    for shard in manifest["shards"]:
        shard["n_documents"] += 1
    (tmp_path / "manifest.json").write_bytes(orjson.dumps(manifest))
    problems = check_tokens(corpus)
    found = f"expected {DOCUMENTS + 1} documents, found {DOCUMENTS}"
    assert sum(found in problem for problem in problems) == 3 * len(KINDS)


def test_a_broken_or_missing_file_is_told(tmp_path: Path) -> None:
    corpus = made(tmp_path, by_bytes())
    index = tmp_path / "megatron/train-00001-of-00002.idx"
    index.write_bytes(index.read_bytes()[:-1])
    (tmp_path / "nanotron/train/00000-of-00002.ds.index").unlink()
    problems = check_tokens(corpus)
    assert len(problems) == 2
    assert problems[0].startswith("megatron/train-00001-of-00002.bin: the end of the file within")
    assert problems[1].startswith("nanotron/train/00000-of-00002.ds: ")


def test_a_corpus_without_tokens_has_nothing_to_check(tmp_path: Path) -> None:
    write(tmp_path, {"shards": [{"format": "arrow"}]})
    assert check_tokens(str(tmp_path)) == []
    write(tmp_path, {"shards": [{"format": "megatron"}]})
    assert "expected 'token_files'" in check_tokens(str(tmp_path))[0]
    with pytest.raises(CorpusError, match=r"has no manifest\.json"):
        check_tokens(str(tmp_path / "nowhere"))


def write(folder: Path, manifest: dict[str, Any]) -> None:
    (folder / "manifest.json").write_bytes(orjson.dumps(manifest))
