from __future__ import annotations

from collections.abc import Iterator

import faiss
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mixcurate.kernels import kmeans, nearest


@pytest.fixture(autouse=True)
def _faiss_threads() -> Iterator[None]:
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    yield
    faiss.omp_set_num_threads(before)


def unit_rows(n: int, d: int, seed: int) -> np.ndarray:
    return kmeans.normalise(np.random.default_rng(seed).normal(size=(n, d)))


@given(
    st.integers(1, 30),
    st.integers(1, 12),
    st.integers(2, 16),
    st.sampled_from(["cosine", "euclidean"]),
    st.sampled_from([np.float32, np.float16]),
    st.integers(0, 2**31),
)
@settings(max_examples=80, deadline=None)
def test_assignment_is_the_brute_force_nearest_centroid(n, k, d, metric, kind, seed):
    random = np.random.default_rng(seed)
    vectors = (random.normal(size=(n, d)) * 3 + random.integers(0, 20)).astype(kind)
    centroids = vectors[random.integers(0, n, k)] + random.normal(size=(k, d))
    centroids = centroids.astype(np.float32)
    space = vectors.astype(np.float64)
    if metric == "cosine":
        centroids = kmeans.normalise(centroids)
        space /= np.linalg.norm(space, axis=1, keepdims=True)
    cluster, distance = kmeans.assign(vectors, centroids, metric)
    assert (cluster.dtype, distance.dtype) == (np.int32, np.float32)
    euclid = np.linalg.norm(space[:, None] - centroids[None].astype(np.float64), axis=2)
    chosen = euclid[np.arange(n), cluster]
    np.testing.assert_allclose(distance, chosen, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(chosen, euclid.min(axis=1), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_neither_cluster_nor_distance_depends_on_the_batch(metric):
    centroids = unit_rows(60, 48, seed=1)
    # most rows are as near to two centroids as float32 can tell, some of these are equal
    centroids[30:] = centroids[:30] + np.float32(1e-7) * np.arange(30)[:, None]
    vectors = unit_rows(9_000, 48, seed=2)
    whole = kmeans.assign(vectors, centroids, metric)
    for size in (1, 7, 100, 3_000):
        count = min(len(vectors), 300 * size)
        cuts = [
            kmeans.assign(vectors[start : start + size], centroids, metric)
            for start in range(0, count, size)
        ]
        for number, name in enumerate(("cluster", "distance")):
            cut = np.concatenate([found[number] for found in cuts])
            assert (cut == whole[number][: len(cut)]).all(), (name, size)


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_of_equal_centroids_the_first_is_chosen(metric):
    centroids = np.repeat(unit_rows(4, 8, seed=3), 2, axis=0)
    cluster, _ = kmeans.assign(unit_rows(500, 8, seed=4), centroids, metric)
    assert set(cluster.tolist()) == {0, 2, 4, 6}


def test_small_distances_are_accurate():
    random = np.random.default_rng(5)
    centroids = unit_rows(20, 384, seed=6)
    step = random.normal(size=(20, 384))
    for scale in (1e-5, 1e-4, 1e-3, 1e-2):
        vectors = kmeans.normalise((centroids + step * scale / np.sqrt(384)).astype(np.float32))
        expected = np.linalg.norm(vectors.astype(np.float64) - centroids.astype(np.float64), axis=1)
        np.testing.assert_allclose(kmeans.assign(vectors, centroids)[1], expected, rtol=2e-2)


def test_distances_far_from_the_origin_are_accurate():
    random = np.random.default_rng(7)
    centroids = (random.normal(size=(30, 16)) + 3_000).astype(np.float32)
    vectors = (random.normal(size=(400, 16)) + 3_000).astype(np.float32)
    euclid = np.linalg.norm(
        vectors[:, None].astype(np.float64) - centroids[None].astype(np.float64), axis=2
    )
    cluster, distance = kmeans.assign(vectors, centroids, "euclidean")
    assert (cluster == euclid.argmin(axis=1)).all()
    np.testing.assert_allclose(distance, euclid.min(axis=1), rtol=1e-3)


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_rows_that_are_not_finite_get_no_cluster_and_harm_no_other(metric):
    centroids, vectors = unit_rows(5, 8, seed=8), unit_rows(40, 8, seed=9)
    clean = kmeans.assign(vectors, centroids, metric)
    bad = vectors.copy()
    bad[3, 2], bad[7, 0], bad[11] = np.nan, np.inf, -np.inf
    cluster, distance = kmeans.assign(bad, centroids, metric)
    rows = [3, 7, 11]
    assert cluster[rows].tolist() == [-1, -1, -1]
    assert np.isnan(distance[rows]).all()
    others = np.setdiff1d(np.arange(40), rows)
    assert (cluster[others] == clean.cluster[others]).all()
    assert (distance[others] == clean.distance[others]).all()
    assert np.isnan(bad[3, 2])  # the caller's rows stay as they are


def test_lengths_that_overflow():
    centroids = np.eye(3, dtype=np.float32)
    huge = np.float32([[0, 3e38, 1e38], [0, 0, 1e-38], [0, 0, 0]])
    cluster, distance = kmeans.assign(huge, centroids)
    assert cluster.tolist() == [1, 2, 0]
    np.testing.assert_allclose(distance, [0.3204, 0, 1], atol=1e-3)
    cluster, distance = kmeans.assign(huge, centroids, "euclidean")
    assert cluster[0] == -1
    assert np.isnan(distance[0])
    assert (cluster[1:] >= 0).all()


@given(st.integers(0, 20), st.integers(1, 8), st.integers(0, 2**31))
@settings(max_examples=50, deadline=None)
def test_normalised_rows_have_length_one_or_are_zero(n, d, seed):
    random = np.random.default_rng(seed)
    kind = np.float16 if seed % 2 else np.float32
    widest = 4 if seed % 2 else 36
    rows = (random.normal(size=(n, d)) * 10.0 ** random.integers(-3, widest, (n, 1))).astype(kind)
    rows[::3] = 0
    unit = kmeans.normalise(rows)
    assert unit.dtype == np.float32
    for row, given_row in zip(unit, rows.astype(np.float64), strict=True):
        length = np.linalg.norm(given_row)
        np.testing.assert_allclose(row, given_row / (length or 1), rtol=1e-4, atol=1e-7)


def test_normalising_copies():
    rows = np.full((2, 2), 3, np.float32)
    kmeans.normalise(rows)
    assert (rows == 3).all()


def test_distance_of_opposite_and_equal_vectors():
    axis = np.eye(1, 4, dtype=np.float32)
    _, distance = kmeans.assign(np.concatenate([axis, -axis]), axis)
    assert distance.tolist() == [0.0, 2.0]


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_no_vectors_are_assigned_to_nothing(metric):
    cluster, distance = kmeans.assign(np.zeros((0, 4), np.float16), unit_rows(3, 4, 0), metric)
    assert cluster.shape == distance.shape == (0,)
    assert (cluster.dtype, distance.dtype) == (np.int32, np.float32)


def test_one_and_two_threads_assign_alike():
    vectors, centroids = unit_rows(nearest._BLOCK + 3_000, 96, seed=5), unit_rows(1_100, 96, seed=6)
    found = []
    for threads in (1, 2):
        faiss.omp_set_num_threads(threads)
        cluster, distance = kmeans.assign(vectors, centroids)
        found.append((cluster.tobytes(), distance.tobytes()))
    assert found[0] == found[1]
