"""The parts of the cluster stage that read vectors, as functions on files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mixcurate.io import embeddings, partfiles
from mixcurate.io.embeddings import EmbeddingsWriter, read_embeddings
from mixcurate.io.workdir import Workdir
from mixcurate.kernels import hashing, kmeans
from mixcurate.tables import EmbeddingKind
from mixcurate.transforms.cluster import assign_part
from mixcurate.transforms.sample import SamplePart, gather_sample, rows_path, vectors_path
from tests.transforms.small_workdir import write_documents, write_vectors

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
    expected = kmeans.assign(vectors, centroids(20))
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

    def watched(rows: np.ndarray, centres: np.ndarray, metric: str) -> kmeans.Assigned:
        sizes.append(len(rows))
        return assign(rows, centres, metric=metric)

    monkeypatch.setattr(kmeans, "assign", watched)
    cluster, distance = assign_part(path, centroids(20))
    assert sum(sizes) == n
    assert max(sizes) <= 64
    expected = assign(kmeans.normalise(vectors), centroids(20))
    np.testing.assert_array_equal(cluster, expected[0])
    np.testing.assert_allclose(distance, expected[1], atol=1e-5)


def test_vectors_of_no_use_are_in_no_cluster(tmp_path: Path) -> None:
    workdir = Workdir(str(tmp_path))
    vectors = np.random.default_rng(4).normal(size=(6, 16)).astype(np.float32)
    vectors[1], vectors[3, 2], vectors[4, 0] = 0, np.nan, np.inf
    write_vectors(workdir, "a", vectors)
    cluster, distance = assign_part(workdir.part("embed", "a"), centroids(3))
    assert (cluster >= 0).tolist() == [True, False, True, False, False, True]
    assert np.isnan(distance).tolist() == [False, True, False, True, True, False]


@pytest.mark.parametrize("kind", KINDS)
def test_a_sample_is_the_rows_that_the_hash_picks(tmp_path: Path, kind: EmbeddingKind) -> None:
    workdir = Workdir(str(tmp_path))
    ids, vectors = {}, {}
    for part in ("a", "b"):
        ids[part] = write_documents(workdir, part, 400).column("id").combine_chunks()
        vectors[part] = write(workdir.part("embed", part), 400, kind)
    for part in ("b", "a"):
        assert list(SamplePart(workdir, 23, 0.25).process(part)) == [(0, part)]
    sample = gather_sample(workdir, ["b", "a"])
    rows = partfiles.read_table(rows_path(workdir)).to_pylist()
    expected = []
    for part in ("a", "b"):
        keys = hashing.uniform_keys(ids[part], 23, "cluster sample")
        picked = np.flatnonzero(hashing.unit_interval(keys) < 0.25)
        assert 50 < len(picked) < 150
        expected += [(keys[row], part, int(row)) for row in picked]
    expected.sort()
    assert [(row["part"], row["row"]) for row in rows] == [(p, r) for _, p, r in expected]
    assert all(row["id"] == ids[row["part"]][row["row"]].as_py() for row in rows)
    np.testing.assert_array_equal(sample, [vectors[p][r] for _, p, r in expected])
    np.testing.assert_array_equal(sample, np.load(vectors_path(workdir)))
    assert not list((tmp_path / "_stages/cluster/picked").iterdir())


def test_vectors_of_no_use_are_not_sampled(tmp_path: Path) -> None:
    workdir = Workdir(str(tmp_path))
    write_documents(workdir, "a", 3)
    write_vectors(workdir, "a", np.array([[1, 0], [np.nan, 1], [0, 0]], np.float32))
    list(SamplePart(workdir, 1, 1.0).process("a"))
    assert gather_sample(workdir, ["a"]).tolist() == [[1, 0]]
