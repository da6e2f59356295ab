"""The parts of the cluster stage that read vectors, as functions on files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from mixcurate.io import embeddings, partfiles
from mixcurate.io.embeddings import EmbeddingsWriter, read_embeddings
from mixcurate.io.workdir import Workdir
from mixcurate.kernels import hashing, kmeans
from mixcurate.tables import EmbeddingKind
from mixcurate.transforms.cluster import SamplePart, assign_part

KINDS: tuple[EmbeddingKind, ...] = ("float16", "float32", "int8")


def write(path: str, n: int, kind: EmbeddingKind) -> np.ndarray:
    vectors = np.random.default_rng(4).normal(size=(n, 16)).astype(np.float32)
    with EmbeddingsWriter(path, 16, kind) as writer:
        writer.write(vectors)
    return read_embeddings(path)


def centroids(k: int) -> np.ndarray:
    return kmeans.normalise(np.random.default_rng(5).normal(size=(k, 16)))


@pytest.mark.parametrize("kind", KINDS)
def test_one_batch_is_assigned_as_one_array(tmp_path: Path, kind: EmbeddingKind) -> None:
    path = str(tmp_path / "part.arrow")
    vectors = write(path, 3_000, kind)
    cluster, distance = assign_part(path, centroids(20))
    expected = kmeans.assign(kmeans.normalise(vectors), centroids(20))
    assert cluster.dtype == np.int32
    assert distance.dtype == np.float32
    np.testing.assert_array_equal(cluster, expected[0])
    np.testing.assert_array_equal(distance, expected[1])


@pytest.mark.parametrize("n", [0, 1, 500])
def test_batches_are_assigned_one_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, n: int
) -> None:
    monkeypatch.setattr(embeddings, "ROWS", 64)
    path = str(tmp_path / "part.arrow")
    vectors = write(path, n, "float16")
    assign, sizes = kmeans.assign, []

    def watched(rows: np.ndarray, centres: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        sizes.append(len(rows))
        return assign(rows, centres)

    monkeypatch.setattr(kmeans, "assign", watched)
    cluster, distance = assign_part(path, centroids(20))
    assert sum(sizes) == n
    assert max(sizes) <= 64
    expected = assign(kmeans.normalise(vectors), centroids(20))
    np.testing.assert_array_equal(cluster, expected[0])
    np.testing.assert_allclose(distance, expected[1], atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_a_sample_is_the_rows_that_the_hash_picks(tmp_path: Path, kind: EmbeddingKind) -> None:
    workdir = Workdir(str(tmp_path))
    ids = pa.array([f"{n:032x}" for n in range(400)])
    partfiles.write_table(workdir.part("ingest", "a"), pa.table({"id": ids}))
    vectors = write(workdir.part("embed", "a"), 400, kind)
    assert list(SamplePart(workdir, 23, 0.25).process("a")) == [(0, "a")]
    folder = tmp_path / "_stages/cluster/sample"
    keys = hashing.uniform_keys(ids, 23, "cluster sample")
    picked = np.flatnonzero(hashing.unit_interval(keys) < 0.25)
    assert 50 < len(picked) < 150
    np.testing.assert_array_equal(np.load(folder / "a.keys.npy"), keys[picked])
    np.testing.assert_array_equal(np.load(folder / "a.vectors.npy"), vectors[picked])
