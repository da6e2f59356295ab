"""Formats of tokens, read back by hand from what their owners say of them."""

from __future__ import annotations

import io
import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from mixcurate.errors import CorpusError, OutputError
from mixcurate.io.corpus import TokenParams
from mixcurate.io.shard_formats import litdata_tokens, megatron, nanotron, token_rows
from mixcurate.io.shard_formats.base import TokenOptions
from mixcurate.io.shard_formats.table import FORMATS
from mixcurate.transforms.tokens import token_options
from tests.io.token_corpora import (
    KINDS,
    by_bytes,
    packed,
    rows,
    shard_rows,
    wanted,
    write_corpus,
    write_shard,
)

LENGTHS = pytest.mark.parametrize("length", [None, 50, 100_000])


def cut(tokens: Any, lengths: Any) -> list[list[int]]:
    ends = np.cumsum(lengths).tolist()
    assert ends[-1] == len(tokens)
    return [tokens[a:b].tolist() for a, b in zip([0, *ends], ends, strict=False)]


def read_megatron(folder: Path, entry: dict[str, Any]) -> list[list[int]]:
    index = (folder / entry["also"][0]["path"]).read_bytes()
    magic, version, code, n, documents = struct.unpack_from("<9sQBQQ", index)
    assert (magic, version, documents) == (b"MMIDIDX\0\0", 1, n + 1)
    kind = {8: "<u2", 4: "<i4"}[code]
    lengths = np.frombuffer(index, "<i4", n, 34)
    starts = np.frombuffer(index, "<i8", n, 34 + 4 * n)
    assert np.frombuffer(index, "<i8", n + 1, 34 + 12 * n).tolist() == list(range(n + 1))
    assert len(index) == 34 + 12 * n + 8 * (n + 1)
    tokens = np.fromfile(folder / entry["path"], kind)
    found = cut(tokens, lengths)
    size = np.dtype(kind).itemsize
    assert [tokens[s // size :][:m].tolist() for s, m in zip(starts, lengths, strict=True)] == found
    return found


def read_litdata(folder: Path, entry: dict[str, Any], kind: str) -> list[list[int]]:
    data = (folder / entry["path"]).read_bytes()
    (n,) = struct.unpack_from("<I", data)
    places = np.frombuffer(data, "<u4", n + 1, 4).tolist()
    assert places[0] == 4 * (n + 2)
    assert places[-1] == len(data)
    return [
        np.frombuffer(data[a:b], kind).tolist() for a, b in zip(places, places[1:], strict=False)
    ]


@LENGTHS
@pytest.mark.parametrize(("vocabulary", "kind"), [(300, "<u2"), (65_536, "<u2"), (70_000, "<u4")])
def test_files_hold_the_tokens_of_the_tokenizer(
    tmp_path: Path, length: int | None, vocabulary: int, kind: str
) -> None:
    options = by_bytes(vocabulary=vocabulary, length=length)
    manifest = write_corpus(str(tmp_path), options)
    size = np.dtype(kind).itemsize
    for entry in manifest["shards"]:
        number = entry["shard"] if entry["split"] == "train" else 2
        expected = packed(shard_rows(number), options, entry["shard"])
        if entry["format"] == "megatron":
            assert read_megatron(tmp_path, entry) == expected
        elif entry["format"] == "nanotron":
            flat = [token for row in expected for token in row]
            assert np.fromfile(tmp_path / entry["path"], kind).tolist() == flat
            metadata = (tmp_path / entry["also"][1]["path"]).read_text().split("\n")
            assert metadata[:2] == [f"bytes|{size}", str(len(flat))]
        else:
            if length is not None:
                expected[-1] += [257] * (length - len(expected[-1]))
            assert read_litdata(tmp_path, entry, kind) == expected


@LENGTHS
def test_the_index_of_nanotron_has_the_ends_of_documents(
    tmp_path: Path, length: int | None
) -> None:
    """Where the documents' ends are, there are ends; with packing also where sequences end."""
    options = by_bytes(length=length)
    entry = write_shard(str(tmp_path), "nanotron", ("train", 0, 1), rows(20), options)
    ends = np.fromfile(tmp_path / entry["also"][0]["path"], "<u8").tolist()
    tokens = np.fromfile(tmp_path / entry["path"], "<u2")
    of_documents = (np.flatnonzero(tokens == 257) + 1).tolist()
    of_sequences = list(range(length, len(tokens), length)) if length else []
    if length is None:
        assert ends == of_documents
    else:
        known = {*of_documents, *of_sequences}
        assert set(ends) >= known
        assert (
            len(set(ends) - known) <= 3
        )  # where the tokens that are left of a domain join another's
    assert ends[-1] == len(tokens)


def test_side_files_tell_what_is_in_the_files(tmp_path: Path) -> None:
    for length in (None, 50):
        options = by_bytes(length=length)
        folder = tmp_path / str(length)
        manifest = write_corpus(str(folder), options)
        for kind in KINDS:
            told = orjson.loads((folder / kind / "train.json").read_bytes())
            facts = {"tokenizer": "bytes", "vocabulary": 300, "dtype": "uint16"}
            facts |= {"bos": 256, "eos": 257, "sequence_length": length}
            assert {key: told[key] for key in facts} == facts
            mine = [e for e in manifest["shards"] if (e["format"], e["split"]) == (kind, "train")]
            assert [shard["path"] for shard in told["shards"]] == [e["path"] for e in mine]
            for shard in told["shards"]:
                expected = packed(shard_rows(mine.index(_entry(mine, shard))), options, 0)
                tokens = sum(map(len, expected))
                if kind == "litdata_tokens" and length:
                    tokens = len(expected) * length
                assert shard["tokens"] == tokens
                if kind != "nanotron":
                    assert shard["sequences"] == len(expected)
        index = orjson.loads((folder / "litdata_tokens/train/index.json").read_bytes())
        assert [c["filename"] for c in index["chunks"]] == [
            "chunk-00000-of-00002.bin",
            "chunk-00001-of-00002.bin",
        ]
        assert index["config"]["data_format"] == ["no_header_numpy:5"]


def _entry(entries: list[dict[str, Any]], shard: dict[str, Any]) -> dict[str, Any]:
    return next(entry for entry in entries if entry["path"] == shard["path"])


@pytest.mark.parametrize(
    ("module", "two", "four", "wide"),
    [
        (megatron, 65_499, 65_500, "int32"),
        (nanotron, 65_536, 65_537, "uint32"),
        (litdata_tokens, 65_536, 65_537, "uint32"),
    ],
)
def test_ids_are_stored_in_two_bytes_where_they_fit(
    module: Any, two: int, four: int, wide: str
) -> None:
    assert module.stored_type(two).name == "uint16"
    assert module.stored_type(four).name == wide


@pytest.mark.parametrize("length", [None, 64])
def test_the_embedded_tokenizer_is_written(tmp_path: Path, length: int | None) -> None:
    options = token_options(TokenParams(bos=True, sequence_length=length), "embedded", 1)
    entry = write_shard(str(tmp_path), "megatron", ("train", 0, 1), rows(30), options)
    found = read_megatron(tmp_path, entry)
    assert found == packed(rows(30), options, 0)
    ids = sorted(token for row in found for token in row)
    assert ids == sorted(token for row in wanted(rows(30), options) for token in row)
    assert ids.count(1) == ids.count(2) == 30


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("length", [None, 8])
def test_shards_without_tokens(tmp_path: Path, kind: str, length: int | None) -> None:
    options = by_bytes(bos=None, eos=None, length=length)
    for number, batch in enumerate([rows(0), rows(3, [""]), rows(3, ["", "abc"])]):
        entry = write_shard(str(tmp_path), kind, ("train", number, 3), batch, options)
        assert list(FORMATS[kind].read_rows(opened(tmp_path, entry))) == []


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("block", [1, 100, 5_000])
def test_the_same_rows_give_the_same_bytes_however_they_are_cut(
    tmp_path: Path, kind: str, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Into batches, or into blocks on the way out."""
    batch, options = rows(40), by_bytes(length=33)
    one = write_shard(str(tmp_path / "one"), kind, ("train", 0, 1), batch, options)
    monkeypatch.setattr(token_rows, "_BLOCK", block)
    streams = [io.BytesIO() for _ in (one, *one["also"])]
    with FORMATS[kind].open_writer(streams, 0, options) as writer:  # type: ignore[arg-type]
        writer.write(batch)
    for file, stream in zip((one, *one["also"]), streams, strict=True):
        assert (tmp_path / "one" / file["path"]).read_bytes() == stream.getvalue()


def opened(folder: Path, entry: dict[str, Any]) -> list[Any]:
    return [io.BytesIO((folder / file["path"]).read_bytes()) for file in (entry, *entry["also"])]


def damage(kind: str) -> list[tuple[int, int, bytes]]:
    """(file, byte, what is put there); at -1 the last byte goes, at -2 one more is added."""
    anywhere = [(0, -1, b""), (0, -2, b"x")]
    if kind == "megatron":
        places = [0, 9, 17, 18, 26, 34, 34 + 4 * 24, 34 + 12 * 24, 34 + 20 * 24]
        return anywhere + [(1, at, b"\x7f") for at in places] + [(1, -1, b""), (1, -2, b"x")]
    if kind == "nanotron":
        index = [(1, 0, b"\xff\xff"), (1, 8, b"\0\0"), (1, -1, b""), (1, -2, b"x" * 8)]
        return [
            *anywhere,
            *index,
            (2, 6, b"9"),
            (2, 8, b"1"),
            (2, 0, b"\n"),
            (2, -2, b"\n"),
            (2, 8, b"9" * 5_000),
        ]
    return [*anywhere, (0, 0, b"\x7f"), (0, 4, b"\x01"), (0, 8, b"\0\0\0"), (0, 100, b"\xff\xff")]


@pytest.mark.parametrize(
    ("kind", "file", "place", "data"), [(kind, *one) for kind in KINDS for one in damage(kind)]
)
def test_damage_is_found(tmp_path: Path, kind: str, file: int, place: int, data: bytes) -> None:
    entry = write_shard(str(tmp_path), kind, ("train", 0, 1), rows(24), by_bytes())
    streams = opened(tmp_path, entry)
    assert list(FORMATS[kind].read_rows(streams)) == []
    streams = opened(tmp_path, entry)
    whole = streams[file].getvalue()
    if place == -1:
        broken = whole[:-1]
    elif place == -2:
        broken = whole + data
    else:
        broken = whole[:place] + data + whole[place + len(data) :]
    assert broken != whole
    streams[file] = io.BytesIO(broken)
    with pytest.raises(CorpusError):
        list(FORMATS[kind].read_rows(streams))


def test_a_chunk_that_would_be_too_large_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[litdata_tokens.__name__], "_LARGEST", 5_000)
    with (
        pytest.raises(OutputError, match=r"output\.shard_bytes: shard 3 has [0-9,]+ bytes"),
        litdata_tokens.open_writer([io.BytesIO()], 3, by_bytes()) as writer,
    ):
        writer.write(rows(24))


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0.00 T"),
        (7, "7.00 T"),
        (999, "999 T"),
        (1_000, "1.00 kT"),
        (999_999, "1.00 MT"),
        (12_345, "12.3 kT"),
        (6_979_000, "6.98 MT"),
        (1_234_567_890, "1.23 GT"),
        (10**15, "1.00 PT"),
    ],
)
def test_the_metadata_of_nanotron_tells_tokens_for_people(count: int, text: str) -> None:
    assert nanotron.metric(count) == text


def test_options_are_required() -> None:
    options: TokenOptions | None = None
    with (
        pytest.raises(ValueError, match="needs TokenOptions"),
        megatron.open_writer([io.BytesIO(), io.BytesIO()], 0, options),
    ):
        pass
