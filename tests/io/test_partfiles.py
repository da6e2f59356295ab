from __future__ import annotations

import uuid
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mixcurate.io import partfiles, storage
from mixcurate.tables import ASSIGNMENTS, REJECTED, embeddings_schema


@pytest.fixture(params=["local", "memory"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path) if request.param == "local" else f"memory://{uuid.uuid4()}"


def assignments(n: int) -> pa.Table:
    return pa.table(
        [pa.array(np.arange(n), pa.int32()), pa.array(np.arange(n) / 8, pa.float32())],
        schema=ASSIGNMENTS,
    )


@pytest.mark.parametrize("n", [0, 1, 5_000])
def test_a_table_comes_back_as_it_was(folder, n):
    path = storage.join(folder, "part.parquet")
    partfiles.write_table(path, assignments(n))
    assert partfiles.read_table(path).equals(assignments(n))
    assert partfiles.read_table(path).schema.equals(ASSIGNMENTS)
    only = partfiles.read_table(path, ["distance"])
    assert only.column_names == ["distance"]
    assert only.num_rows == n


def test_the_same_table_gives_the_same_bytes(folder):
    one, other = (storage.join(folder, name) for name in ("one", "other"))
    partfiles.write_table(one, assignments(100))
    partfiles.write_table(other, assignments(100))
    assert storage.read_bytes(one) == storage.read_bytes(other)


def test_batches_are_the_table_in_order(folder):
    path = storage.join(folder, "part.parquet")
    partfiles.write_table(path, assignments(4_500))
    batches = list(partfiles.iter_batches(path, ["cluster"]))
    assert [batch.num_rows for batch in batches] == [2_000, 2_000, 500]
    assert pa.Table.from_batches(batches).equals(assignments(4_500).select(["cluster"]))


def test_rejected_rows_are_written_only_if_there_are_any(folder):
    row = {
        "id": None,
        "source": "web",
        "path": "a.warc",
        "position": 7,
        "stage": "ingest",
        "reason": "empty",
        "detail": "no text",
        "excerpt": "",
    }
    path = storage.join(folder, "rejected.parquet")
    partfiles.write_rejected(path, [])
    assert not storage.exists(path)
    partfiles.write_rejected(path, [row])
    table = partfiles.read_table(path)
    assert table.schema.equals(REJECTED)
    assert table.to_pylist() == [row]


@given(
    hnp.arrays(
        st.sampled_from([np.float16, np.float32]),
        hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=20),
        elements=st.floats(-2, 2, width=16),
    )
)
@settings(max_examples=50, deadline=None)
def test_embeddings_come_back_as_half_floats(vectors):
    path = f"memory://embeddings/{uuid.uuid4()}"
    partfiles.write_embeddings(path, vectors)
    found = partfiles.read_embeddings(path)
    assert found.dtype == np.float16
    np.testing.assert_array_equal(found, vectors.astype(np.float16))
    storage.remove(path)


def test_embeddings_are_the_rows_of_the_array_however_it_lies_in_memory(folder):
    vectors = np.arange(24, dtype=np.float32).reshape(4, 6)
    path = storage.join(folder, "part.arrow")
    for laid_out in (vectors[::2, ::3], np.asfortranarray(vectors), vectors.T):
        partfiles.write_embeddings(path, laid_out)
        np.testing.assert_array_equal(partfiles.read_embeddings(path), laid_out)


def test_an_empty_part_has_no_rows_but_its_dimension(folder):
    path = storage.join(folder, "part.arrow")
    partfiles.write_embeddings(path, np.zeros((0, 384), np.float32))
    assert partfiles.read_embeddings(path).shape == (0, 384)


def test_local_embeddings_are_a_view_of_the_file(tmp_path):
    path = str(tmp_path / "part.arrow")
    vectors = np.random.default_rng(1).normal(size=(2_000, 384)).astype(np.float16)
    partfiles.write_embeddings(path, vectors)
    before = pa.total_allocated_bytes()
    found = partfiles.read_embeddings(path)
    assert pa.total_allocated_bytes() - before < 10_000
    assert not found.flags.owndata
    assert not found.flags.writeable
    assert found[1_999].tolist() == vectors[1_999].tolist()


def test_embeddings_on_disk_are_an_uncompressed_arrow_file(tmp_path):
    path = str(tmp_path / "part.arrow")
    vectors = np.random.default_rng(1).normal(size=(10, 8)).astype(np.float16)
    partfiles.write_embeddings(path, vectors)
    assert vectors.tobytes() in Path(path).read_bytes()
    assert pa.ipc.open_file(path).schema.equals(embeddings_schema(8))


def test_tables_are_compressed(folder):
    path = storage.join(folder, "part.parquet")
    partfiles.write_table(path, assignments(100))
    with storage.open_read(path) as stream:
        assert pq.ParquetFile(stream).metadata.row_group(0).column(0).compression == "ZSTD"
