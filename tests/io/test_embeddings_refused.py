"""Embeddings on disk: what is not written, and files that are not read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from mixcurate.errors import InputError
from mixcurate.io import storage
from mixcurate.io.embeddings import (
    EmbeddingsWriter,
    embeddings_info,
    iter_embeddings,
    read_embeddings,
    read_rows,
)
from tests.io.embedding_parts import KINDS, gaussian, write


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_refused_with_its_row(tmp_path, kind, value, small_batches):
    vectors = gaussian(13, 4)
    vectors[11, 2] = value
    with pytest.raises(ValueError, match=f"row 11 for .* is not finite as {kind}"):
        write(str(tmp_path / "part.arrow"), vectors[:7], vectors[7:], kind=kind)
    assert list(tmp_path.iterdir()) == []


def test_too_large_for_half_floats(tmp_path):
    vectors = np.full((1, 2), 70_000, np.float32)
    with pytest.raises(ValueError, match=r"row 0 .* not finite as float16"):
        write(str(tmp_path / "part.arrow"), vectors)
    assert read_embeddings(write(str(tmp_path / "b"), vectors, kind="float32")).max() == 70_000


@pytest.mark.parametrize("shape", [(3, 5), (4,), (1, 1, 4)])
def test_another_shape_is_refused(tmp_path, shape):
    with (
        pytest.raises(ValueError, match=r"takes \[n, 4\], got"),
        EmbeddingsWriter(str(tmp_path / "part.arrow"), 4) as writer,
    ):
        writer.write(np.zeros(shape, np.float32))


def test_an_exception_leaves_nothing_new_and_the_old_file(tmp_path, small_batches):
    path = write(str(tmp_path / "part.arrow"), gaussian(3, 4))
    before = Path(path).read_bytes()
    bad = np.full((1, 4), np.nan, np.float32)
    with pytest.raises(ValueError, match="row 12 "):
        write(path, gaussian(12, 4), bad)
    assert Path(path).read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["part.arrow"]


def test_a_failure_to_write_the_last_batch_leaves_nothing(tmp_path, monkeypatch):
    def fail(writer: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(EmbeddingsWriter, "_flush", fail)
    with pytest.raises(OSError, match="no space left"):
        write(str(tmp_path / "part.arrow"), gaussian(3, 4))
    assert list(tmp_path.iterdir()) == []


READERS = [
    lambda path: list(iter_embeddings(path)),
    read_embeddings,
    lambda path: read_rows(path, np.array([3], np.intp)),
    embeddings_info,
]


@pytest.mark.parametrize("read", READERS)
def test_a_file_that_is_something_else(folder, read):
    path = storage.join(folder, "part.arrow")
    for content in (b"", b"nothing like it", b"ARROW1\0\0" + b"x" * 50 + b"ARROW1"):
        storage.write_bytes(path, content)
        with pytest.raises(InputError, match=r"part\.arrow is no readable embeddings file"):
            read(path)
    with pytest.raises(InputError, match=r"missing\.arrow is no readable"):
        read(storage.join(folder, "missing.arrow"))


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize(
    "table",
    [
        pa.table({}),
        pa.table({"a": [1]}),
        pa.table({"embedding": [[1.0], [2.0]]}),
        pa.table({"embedding": pa.array([[1.0]], pa.list_(pa.float64(), 1))}),
        pa.table({"embedding": pa.array([[1]], pa.list_(pa.int8(), 1))}),
    ],
    ids=["no columns", "another column", "lists", "float64", "int8 without scale"],
)
def test_arrow_of_another_schema(tmp_path, read, table):
    path = str(tmp_path / "part.arrow")
    with pa.ipc.new_file(path, table.schema) as writer:
        writer.write_table(table)
    with pytest.raises(InputError, match=r"part\.arrow .* its columns are "):
        read(path)


@pytest.mark.parametrize("kind", KINDS)
def test_a_truncated_file(tmp_path, kind, small_batches):
    path = write(str(tmp_path / "part.arrow"), gaussian(13, 8), kind=kind)
    whole = Path(path).read_bytes()
    for length in range(0, len(whole), 41):
        Path(path).write_bytes(whole[:length])
        with pytest.raises(InputError, match=r"part\.arrow"):
            read_embeddings(path)


@pytest.mark.parametrize("read", READERS[:3])
def test_a_header_that_promises_more_rows_than_there_are(tmp_path, read):
    path = write(str(tmp_path / "part.arrow"), gaussian(1_001, 8))
    content = Path(path).read_bytes()
    for count in (1_001, 8_008):  # of lists, and of the values in them
        true, more = (number.to_bytes(8, "little") for number in (count, count << 20))
        assert true in content
        content = content.replace(true, more)
    Path(path).write_bytes(content)
    with pytest.raises(InputError, match=r"part\.arrow .* too small"):
        read(path)
