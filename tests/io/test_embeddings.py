"""Embeddings on disk: what comes back, and what the bytes depend on."""

from __future__ import annotations

import uuid
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mixcurate.io import embeddings, storage
from mixcurate.io.embeddings import (
    EmbeddingsWriter,
    embeddings_info,
    iter_embeddings,
    read_embeddings,
    read_rows,
)
from mixcurate.tables import embeddings_schema
from tests.io.embedding_parts import KINDS, back, gaussian, write


def matrices(largest: float) -> st.SearchStrategy[np.ndarray]:
    shapes = hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=20)
    return hnp.arrays(np.float32, shapes, elements=st.floats(-largest, largest, width=32))


@given(matrices(65_000))
@settings(max_examples=50, deadline=None)
def test_float16_is_the_cast(vectors):
    found = back(vectors, "float16")
    assert found.dtype == np.float16
    np.testing.assert_array_equal(found, vectors.astype(np.float16))


@given(matrices(float(np.finfo(np.float32).max)))
@settings(max_examples=50, deadline=None)
def test_float32_is_exact(vectors):
    found = back(vectors, "float32")
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, vectors)


@given(matrices(2.0**100))
@settings(max_examples=100, deadline=None)
def test_int8_is_within_half_a_step(vectors):
    found = back(vectors, "int8")
    assert found.dtype == np.float32
    largest = np.abs(vectors).max(axis=1, keepdims=True)
    error = np.abs(found.astype(np.float64) - vectors)
    # denormals, of which a step has too few digits to be one 127th, are off by up to one each
    allowed = largest.astype(np.float64) / 127 / 2 * (1 + 1e-4) + 127 * 1.5e-45
    assert (error <= allowed).all()
    assert not found[largest[:, 0] == 0].any()


def test_int8_keeps_directions():
    vectors = gaussian(500)
    found = back(vectors, "int8")
    cosine = (found * vectors).sum(axis=1) / np.linalg.norm(found, axis=1)
    assert cosine.min() >= 0.9999
    assert np.abs(found - vectors).max() > 0


def test_int8_uses_127_for_the_largest_and_a_scale_of_zero_for_nothing(tmp_path):
    vectors = np.array([[0.5, -2.0, 1.0], [0, 0, 0], [-127, 1, 0.4]], np.float32)
    path = write(str(tmp_path / "part.arrow"), vectors, kind="int8")
    table = pa.ipc.open_file(path).read_all()
    assert table.column("embedding").to_pylist() == [[32, -127, 64], [0, 0, 0], [-127, 1, 0]]
    np.testing.assert_array_equal(
        table.column("scale").to_numpy(), np.array([2 / 127, 0, 1], np.float32)
    )


def test_int8_of_denormals_does_not_wrap_around():
    smallest = np.finfo(np.float32).smallest_subnormal
    found = back(np.array([[190, -190, 1]], np.float32) * smallest, "int8")
    np.testing.assert_array_equal(found / smallest, [[127, -127, 1]])


@given(
    st.sampled_from(KINDS), st.lists(st.integers(0, 12), min_size=1, max_size=8), st.integers(1, 7)
)
@settings(max_examples=50, deadline=None)
def test_bytes_do_not_depend_on_the_split(kind, sizes, rows):
    vectors = gaussian(sum(sizes), 3)
    pieces = np.split(vectors, np.cumsum(sizes)[:-1])
    folder = f"memory://{uuid.uuid4()}"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(embeddings, "ROWS", rows)
        whole, split = (
            write(f"{folder}/a", vectors, kind=kind),
            write(f"{folder}/b", *pieces, kind=kind),
        )
    assert storage.read_bytes(whole) == storage.read_bytes(split)
    expected = [min(rows, len(vectors) - first) for first in range(0, len(vectors), rows)] or [0]
    assert [len(batch) for batch in iter_embeddings(whole)] == expected


@pytest.mark.parametrize("kind", KINDS)
def test_two_files_of_the_same_vectors_have_the_same_bytes(tmp_path, kind):
    one, other = (write(str(tmp_path / name), gaussian(50), kind=kind) for name in "ab")
    assert storage.read_bytes(one) == storage.read_bytes(other)


@pytest.mark.parametrize("kind", KINDS)
def test_more_than_one_batch(folder, kind, small_batches):
    vectors = gaussian(13, 8)
    path = write(storage.join(folder, "part.arrow"), vectors, kind=kind)
    batches = list(iter_embeddings(path))
    assert [len(batch) for batch in batches] == [5, 5, 3]
    np.testing.assert_array_equal(np.concatenate(batches), back(vectors, kind))
    np.testing.assert_array_equal(read_embeddings(path), back(vectors, kind))
    assert embeddings_info(path) == (13, 8, kind)


def test_a_batch_has_16384_rows(tmp_path):
    path = write(str(tmp_path / "part.arrow"), np.ones((16_384 * 2 + 1, 2), np.float32))
    reader = pa.ipc.open_file(path)
    assert [reader.get_batch(n).num_rows for n in range(3)] == [16_384, 16_384, 1]


@pytest.mark.parametrize("kind", KINDS)
def test_no_rows_but_a_dimension(folder, kind):
    path = storage.join(folder, "part.arrow")
    with EmbeddingsWriter(path, 384, kind):
        pass
    assert read_embeddings(path).shape == (0, 384)
    assert [batch.shape for batch in iter_embeddings(path)] == [(0, 384)]
    assert read_rows(path, np.zeros(0, np.intp)).shape == (0, 384)
    assert embeddings_info(path) == (0, 384, kind)


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_of_no_batches(tmp_path, kind):
    path = str(tmp_path / "part.arrow")
    with pa.ipc.new_file(path, embeddings_schema(7, kind)):
        pass
    assert list(iter_embeddings(path)) == []
    found = read_embeddings(path)
    assert found.shape == (0, 7)
    assert found.dtype == (np.float16 if kind == "float16" else np.float32)
    assert read_rows(path, np.zeros(0, np.intp)).shape == (0, 7)


@pytest.mark.parametrize("kind", KINDS)
@given(rows=st.lists(st.integers(0, 12), max_size=30))
@settings(max_examples=25, deadline=None)
def test_rows_come_in_the_order_that_is_asked_for(kind, rows):
    vectors = gaussian(13, 4)
    path = f"memory://embeddings/{uuid.uuid4()}"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(embeddings, "ROWS", 5)
        write(path, vectors, kind=kind)
    found = read_rows(path, np.array(rows, np.intp))
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, back(vectors, kind)[np.array(rows, np.intp)])
    storage.remove(path)


@pytest.mark.parametrize("rows", [[0, 13], [-1]])
def test_a_row_that_is_not_there(folder, rows, small_batches):
    path = write(storage.join(folder, "part.arrow"), gaussian(13, 4))
    with pytest.raises(IndexError, match="has 13 rows"):
        read_rows(path, np.array(rows, np.intp))


def test_rows_touch_only_their_batches(tmp_path, small_batches, monkeypatch):
    path = write(str(tmp_path / "part.arrow"), gaussian(23, 4), kind="int8")
    read = []
    batch = embeddings._Part.batch
    monkeypatch.setattr(embeddings._Part, "batch", lambda p, n: (read.append(n), batch(p, n))[1])
    read_rows(path, np.array([22, 6, 5, 21, 6], np.intp))
    assert read == [1, 4]


@pytest.mark.parametrize("kind", ["float16", "float32"])
def test_local_floats_are_views_of_the_file(tmp_path, kind, monkeypatch):
    monkeypatch.setattr(embeddings, "ROWS", 1_500)
    vectors = gaussian(2_000)
    path = write(str(tmp_path / "part.arrow"), vectors, kind=kind)
    before = pa.total_allocated_bytes()
    batches = list(iter_embeddings(path))
    assert pa.total_allocated_bytes() - before < 10_000
    for batch in batches:
        assert not batch.flags.owndata
        assert not batch.flags.writeable
    np.testing.assert_array_equal(batches[1][499], vectors[1_999].astype(kind))
    # the bytes of the file itself: a change of them shows in the array
    at = Path(path).read_bytes().index(batches[1].tobytes()[:64])
    with open(path, "r+b") as stream:
        stream.seek(at)
        stream.write(bytes(4))
    assert batches[1][0, 0] == 0


def test_one_batch_is_read_without_a_copy(tmp_path):
    path = write(str(tmp_path / "part.arrow"), gaussian(2_000))
    found = read_embeddings(path)
    assert not found.flags.owndata
    assert not found.flags.writeable


@pytest.mark.parametrize("kind", KINDS)
def test_any_arrow_reader_reads_it(tmp_path, kind, small_batches):
    vectors = gaussian(13, 8)
    path = write(str(tmp_path / "part.arrow"), vectors, kind=kind)
    table = pa.ipc.open_file(path).read_all()
    assert table.schema.equals(embeddings_schema(8, kind))
    table.validate(full=True)
    values = np.array(table.column("embedding").to_pylist(), np.float32)
    if kind == "int8":
        values *= table.column("scale").to_numpy()[:, None]
    np.testing.assert_array_equal(values, read_embeddings(path))


@pytest.mark.parametrize("kind", KINDS)
def test_schema_of_each_kind(kind):
    schema = embeddings_schema(8, kind)
    item = {"float16": "halffloat", "float32": "float", "int8": "int8"}[kind]
    head = f"embedding: fixed_size_list<item: {item} not null>[8] not null"
    assert str(schema).startswith(head)
    assert schema.names == ["embedding", "scale"][: 1 + (kind == "int8")]


def test_nothing_is_compressed(tmp_path):
    vectors = np.ones((100, 8), np.float16)
    path = write(str(tmp_path / "part.arrow"), vectors)
    assert vectors.tobytes() in Path(path).read_bytes()


@pytest.mark.parametrize("kind", KINDS)
def test_however_the_array_lies_in_memory(folder, kind):
    vectors = np.arange(24, dtype=np.float32).reshape(4, 6)
    path = storage.join(folder, "part.arrow")
    for laid_out in (vectors[::2, ::3], np.asfortranarray(vectors), vectors.T):
        write(path, laid_out, kind=kind)
        np.testing.assert_array_equal(
            read_embeddings(path), back(np.ascontiguousarray(laid_out), kind)
        )
