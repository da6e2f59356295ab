"""Formats of shards: what is written is read again, the same each time, and damage is told."""

from __future__ import annotations

import contextlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from mixcurate.errors import CorpusError, OutputError
from mixcurate.io.shard_formats import binary_rows, items, mds, parquet
from mixcurate.io.shard_formats.table import FORMATS
from mixcurate.tables import CORPUS
from tests.io.shards import ROW_FORMATS, hard_rows, read_shard_rows, write_shards

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


def write(name: str, table: pa.Table, *, rows: int = 4, shard: int = 3) -> bytes:
    stream = io.BytesIO()
    with FORMATS[name].open_writer([stream], shard, None) as writer:
        for batch in table.to_batches(rows):
            writer.write(batch)
    return stream.getvalue()


def read(name: str, data: bytes) -> pa.Table:
    return pa.Table.from_batches(FORMATS[name].read_rows([io.BytesIO(data)]), CORPUS)


@pytest.mark.parametrize("name", ROW_FORMATS)
def test_hard_rows_come_back(tmp_path: Path, name: str) -> None:
    table = hard_rows(40)
    write_shards(tmp_path, name, {"train": [hard_rows(2), table], "holdout": [hard_rows(3, 50)]})
    assert read_shard_rows(tmp_path, name, "train", 1, 2).equals(table)
    assert read_shard_rows(tmp_path, name, "holdout", 0, 1).equals(hard_rows(3, 50))


@pytest.mark.parametrize("name", ROW_FORMATS)
def test_a_shard_without_rows(name: str) -> None:
    assert read(name, write(name, CORPUS.empty_table())).num_rows == 0


ROW = st.fixed_dictionaries(
    {
        **dict.fromkeys(("id", "text", "source", "language", "domain_name"), TEXT),
        **{name: st.none() | TEXT.filter(bool) for name in ("url", "licence")},
        **{name: st.integers(-(2**31), 2**31 - 1) for name in ("domain", "copy", "n_tokens")},
        **{
            name: st.floats(width=32, allow_nan=False, allow_infinity=False)
            for name in ("quality", "diversity")
        },
    }
)


@settings(max_examples=40, deadline=None)
@given(st.lists(ROW, max_size=9), st.integers(1, 5))
def test_any_rows_come_back(rows: list[dict[str, Any]], batch_rows: int) -> None:
    table = pa.Table.from_pylist(rows, CORPUS)
    for name in ROW_FORMATS:
        assert read(name, write(name, table, rows=batch_rows)).equals(table), name


@pytest.mark.parametrize("name", ROW_FORMATS)
def test_the_same_rows_give_the_same_bytes(name: str) -> None:
    assert write(name, hard_rows(20)) == write(name, hard_rows(20))


@pytest.mark.parametrize("name", ["webdataset", "mds", "litdata"])
def test_bytes_do_not_depend_on_batches(name: str) -> None:
    assert write(name, hard_rows(20), rows=3) == write(name, hard_rows(20), rows=20)


@pytest.mark.parametrize("name", ROW_FORMATS)
def test_rows_of_a_slice(name: str) -> None:
    """Batches that begin in the middle of their buffers."""
    whole = hard_rows(20).combine_chunks()
    assert read(name, write(name, whole.slice(7, 9))).equals(whole.slice(7, 9))


@pytest.mark.parametrize("name", ROW_FORMATS)
@pytest.mark.parametrize("cut", [0.0, 0.3, 0.9])
def test_a_cut_shard_is_told(name: str, cut: float) -> None:
    data = write(name, hard_rows(30))
    try:
        found = read(name, data[: int(len(data) * cut)]).num_rows
    except CorpusError:
        return
    assert found < 30  # told by the count


@pytest.mark.parametrize("name", ROW_FORMATS)
def test_damage_anywhere_raises_nothing_else(name: str) -> None:
    data = bytearray(write(name, hard_rows(12).slice(0, 5)))
    places = np.random.default_rng(7).integers(0, len(data), 150)
    for at in [*range(60), *places.tolist()]:
        broken = bytearray(data)
        broken[at] ^= 0xFF
        with contextlib.suppress(CorpusError):
            read(name, bytes(broken))


def test_a_tar_as_tarfile_writes_it() -> None:
    table = hard_rows(5)
    wanted = io.BytesIO()
    with tarfile.open(fileobj=wanted, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for i, row in enumerate(table.to_pylist()):
            fields = {name: row[name] for name in sorted(row) if name != "text"}
            for suffix, data in (("txt", row["text"].encode()), ("json", orjson.dumps(fields))):
                member = tarfile.TarInfo(f"000003-{i:08d}.{suffix}")
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
    size = archive.offset
    assert write("webdataset", table)[: size - 1024] == wanted.getvalue()[: size - 1024]


def test_mds_as_its_specification_has_it() -> None:
    """The layout by hand: table of offsets, config, sizes of the texts, values by name."""
    row = hard_rows(1).to_pylist()[0] | {"text": "ab", "url": None, "licence": 'x"y'}
    data = write("mds", pa.Table.from_pylist([row], CORPUS))
    n, start, end = np.frombuffer(data, "<u4", 3)
    config = json.loads(data[12:start])
    assert (n, end) == (1, len(data))
    assert config["column_names"] == sorted(CORPUS.names)
    numbers = {"copy", "diversity", "domain", "n_tokens", "quality"}
    values = []
    for name in config["column_names"]:
        if name in numbers:
            kind = np.float32 if name in ("diversity", "quality") else np.int32
            values.append(kind(row[name]).tobytes())
        elif name in ("url", "licence"):
            values.append(json.dumps(row[name]).encode())
        else:
            values.append(row[name].encode())
    sizes = [
        len(value)
        for name, value in zip(config["column_names"], values, strict=True)
        if name not in numbers
    ]
    assert data[start:] == np.array(sizes, "<u4").tobytes() + b"".join(values)


@pytest.mark.parametrize("name", ["mds", "litdata"])
def test_a_shard_beyond_the_offsets_is_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(items, "_MOST", 5_000)
    with pytest.raises(OutputError, match=r"shard 3 .*output\.shard_bytes smaller"):
        write(name, hard_rows(12))


def test_offsets_that_go_back_are_told() -> None:
    data = bytearray(write("mds", hard_rows(4)))
    data[8:12] = data[12:16]
    with pytest.raises(CorpusError):
        read("mds", bytes(data))


def test_parquet_is_cut_in_row_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "_GROUP_ROWS", 8)
    file = pq.ParquetFile(io.BytesIO(write("parquet", hard_rows(30))))
    assert [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)] == [8, 8, 8, 6]
    assert file.metadata.row_group(0).column(1).compression == "ZSTD"


def test_jsonl_is_one_frame_with_a_checksum() -> None:
    data = write("jsonl", hard_rows(9))
    assert zstandard.get_frame_parameters(data).has_checksum
    frame = zstandard.ZstdDecompressor().decompressobj()
    lines = frame.decompress(data).splitlines(keepends=False)
    assert frame.unused_data == b""
    assert [orjson.loads(line)["id"] for line in lines] == hard_rows(9)["id"].to_pylist()


def test_index_of_mds_names_hashes_and_samples(tmp_path: Path) -> None:
    manifest = write_shards(tmp_path, "mds", {"train": [hard_rows(3), hard_rows(2)]})
    index = orjson.loads((tmp_path / "mds/train/index.json").read_bytes())
    assert [shard["samples"] for shard in index["shards"]] == [3, 2]
    assert index["shards"][0]["raw_data"]["hashes"]["xxh64"] == manifest["shards"][0]["xxh64"]
    assert mds.files_beside("holdout", manifest) == {}


def test_sidecars_of_tars(tmp_path: Path) -> None:
    splits = {"train": [hard_rows(3), hard_rows(2)], "holdout": [hard_rows(1)]}
    write_shards(tmp_path, "webdataset", splits)
    assert orjson.loads((tmp_path / "wds/sizes.json").read_bytes()) == {
        "train-000000.tar": 3,
        "train-000001.tar": 2,
    }
    lines = (tmp_path / "wds/manifest.jsonl").read_text().splitlines()
    assert orjson.loads(lines[1]) == {"shard": "train-000001", "num_sequences": 2}
    index = orjson.loads((tmp_path / "wds/holdout-index.json").read_bytes())
    assert index["shardlist"][0]["url"] == "holdout-000000.tar"


def test_zeros_and_lengths() -> None:
    sizes = np.array([0, 3, 1])
    assert binary_rows.zeros(sizes).to_pylist() == [b"", b"\0\0\0", b"\0"]
    assert binary_rows.lengths(binary_rows.zeros(sizes)).tolist() == [0, 3, 1]
