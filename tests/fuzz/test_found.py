"""What fuzzing found once, each as a test of its own."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import random
import tarfile
from collections.abc import Iterator
from unittest import mock

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mixcurate.io import compression
from mixcurate.io.compression import open_plain
from mixcurate.io.parquet import read_parquet, row_group_sizes
from mixcurate.io.records import FieldParams
from mixcurate.io.tar import read_tar


@pytest.mark.parametrize("pack", [bz2.compress, lzma.compress])
def test_output_that_fills_its_bound_as_the_input_ends_is_not_a_cut_file(pack) -> None:
    content = random.Random(1).randbytes(500)
    data = pack(content) * 2
    for bound in range(40, 120):
        with (
            mock.patch.object(compression, "_INPUT", 48),
            mock.patch.object(compression, "_OUTPUT", bound),
        ):
            stream = open_plain(io.BytesIO(data), "x")
            assert stream.read(10_000) == content * 2
            assert stream.error is None


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_a_tar_that_ends_in_padding_tells_its_end_and_not_a_place_behind_it(pack) -> None:
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w") as archive:
        header = tarfile.TarInfo("a.txt")
        header.size = 3
        archive.addfile(header, io.BytesIO(b"abc"))
    with mock.patch.object(compression, "_OUTPUT", 80):
        stream = open_plain(io.BytesIO(pack(sink.getvalue()[:600])), "x")
        (batch,) = read_tar(stream, fields=FieldParams())
    assert [rejection.position for rejection in batch.rejected] == [600]


def test_no_footer_of_a_parquet_file_ends_the_process() -> None:
    sink = io.BytesIO()
    pq.write_table(pa.table({"a": [{"b": "inner"}] * 5}), sink, store_schema=False)
    data = sink.getvalue()
    footer = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    for at in range(footer, len(data)):
        for change in (1, 2, 4, 8):
            broken = data[:at] + bytes([data[at] ^ change]) + data[at + 1 :]
            assert len(row_group_sizes(io.BytesIO(broken))) < 100


def test_a_seek_behind_the_end_ends_there() -> None:
    for pack in (bytes, gzip.compress):
        stream = open_plain(io.BytesIO(pack(b"ten bytes.")), "x")
        stream.seek(1 << 40)
        assert (stream.tell(), stream.read(1)) == (10, b"")


@pytest.mark.parametrize("count", [-71294, 1 << 62])
def test_a_row_group_that_claims_an_impossible_number_of_rows_is_told(count: int) -> None:
    sink = io.BytesIO()
    pq.write_table(pa.table({"text": ["a", "b", "c"]}), sink, row_group_size=2, store_schema=False)
    broken = next(file for file in _with_number(sink.getvalue(), 2, count) if _rows(file) == count)
    (batch,) = read_parquet(io.BytesIO(broken), fields=FieldParams())
    assert [(r.position, r.reason) for r in batch.rejected] == [(0, "corrupt")]
    assert batch.documents["position"].to_pylist() == [0]


def _rows(data: bytes) -> int | None:
    """What the first row group claims."""
    try:
        return pq.ParquetFile(io.BytesIO(data)).metadata.row_group(0).num_rows
    except (OSError, pa.ArrowException):
        return None


def _with_number(data: bytes, old: int, new: int) -> Iterator[bytes]:
    """A Parquet file with another number in each place of its footer where ``old`` may stand."""
    footer = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    for place in range(footer, len(data) - 8):
        if data[place : place + 1] == _zigzag(old):
            broken = data[:place] + _zigzag(new) + data[place + 1 : -8]
            yield broken + (len(broken) - footer).to_bytes(4, "little") + data[-4:]


def _zigzag(number: int) -> bytes:
    """A number in Thrift's compact protocol."""
    number = number << 1 if number >= 0 else ~(number << 1)
    encoded = b""
    while number >= 128:
        encoded += bytes([number & 127 | 128])
        number >>= 7
    return encoded + bytes([number])
