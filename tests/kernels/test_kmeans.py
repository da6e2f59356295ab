from __future__ import annotations

from collections.abc import Iterator

import faiss
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score

from mixcurate.kernels import kmeans


@pytest.fixture(autouse=True)
def _faiss_threads() -> Iterator[None]:
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    yield
    faiss.omp_set_num_threads(before)


def unit_rows(n: int, d: int, seed: int) -> np.ndarray:
    return kmeans.normalise(np.random.default_rng(seed).normal(size=(n, d)))


def blobs(n: int, k: int, d: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    centres = np.eye(k, d) * 4
    truth = random.integers(0, k, n)
    return kmeans.normalise(centres[truth] + random.normal(scale=0.4, size=(n, d))), truth


@given(st.integers(1, 30), st.integers(1, 12), st.integers(2, 16), st.integers(0, 2**31))
@settings(max_examples=50, deadline=None)
def test_assignment_is_the_brute_force_nearest_centroid(n, k, d, seed):
    vectors, centroids = unit_rows(n, d, seed), unit_rows(k, d, seed + 1)
    cluster, distance = kmeans.assign(vectors, centroids)
    assert (cluster.dtype, distance.dtype) == (np.int32, np.float32)
    euclid = np.linalg.norm(
        vectors[:, None].astype(np.float64) - centroids[None].astype(np.float64), axis=2
    )
    chosen = euclid[np.arange(n), cluster]
    np.testing.assert_allclose(distance, chosen, atol=1e-3)  # 2 - 2 cos cancels near zero
    np.testing.assert_allclose(chosen, euclid.min(axis=1), atol=1e-6)
    clear = np.sort(euclid, axis=1)[:, :2]
    sure = (k == 1) | (clear[:, -1] - clear[:, 0] > 1e-5)
    assert (cluster[sure] == euclid.argmin(axis=1)[sure]).all()


@given(st.integers(0, 20), st.integers(1, 8), st.integers(0, 2**31))
@settings(max_examples=50, deadline=None)
def test_normalised_rows_have_length_one_or_are_zero(n, d, seed):
    random = np.random.default_rng(seed)
    rows = random.normal(size=(n, d)) * 10.0 ** random.integers(-3, 4, (n, 1))
    rows[::3] = 0
    unit = kmeans.normalise(rows.astype(np.float16 if seed % 2 else np.float32))
    assert unit.dtype == np.float32
    source = rows.astype(np.float16 if seed % 2 else np.float32).astype(np.float32)
    expected = [np.linalg.norm(row.astype(np.float64)) for row in source]
    for row, given_row, length in zip(unit, source, expected, strict=True):
        if length == 0:
            assert not row.any()
        elif length > 1e-6:
            np.testing.assert_allclose(row, given_row / length, rtol=1e-4)


def test_normalising_copies():
    rows = np.full((2, 2), 3, np.float32)
    kmeans.normalise(rows)
    assert (rows == 3).all()


def test_distance_of_opposite_and_equal_vectors():
    axis = np.eye(1, 4, dtype=np.float32)
    _, distance = kmeans.assign(np.concatenate([axis, -axis]), axis)
    assert distance.tolist() == [0.0, 2.0]


def test_no_vectors_are_assigned_to_nothing():
    cluster, distance = kmeans.assign(np.zeros((0, 4), np.float32), unit_rows(3, 4, 0))
    assert cluster.shape == distance.shape == (0,)
    assert (cluster.dtype, distance.dtype) == (np.int32, np.float32)


def test_blobs_are_found_as_well_as_by_scikit_learn():
    vectors, truth = blobs(600, 6, 16, seed=1)
    centroids = kmeans.fit(vectors, k=6, iterations=20, seed=3)
    cluster, _ = kmeans.assign(vectors, centroids)
    peer = KMeans(6, n_init=5, random_state=0).fit_predict(vectors)
    assert adjusted_rand_score(peer, truth) > 0.95
    assert adjusted_rand_score(cluster, truth) > 0.6
    # an initial choice may put two centroids in one blob; the best of some seeds finds them all
    best = max(
        (kmeans.fit(vectors, k=6, iterations=20, seed=seed) for seed in range(8)),
        key=lambda found: -kmeans.assign(vectors, found)[1].sum(),
    )
    assert adjusted_rand_score(kmeans.assign(vectors, best)[0], peer) > 0.95


def test_centroids_are_unit_rows_and_the_mean_directions_of_their_members():
    # a tight group among loose ones: means that are not unit rows would draw the border elsewhere
    vectors = np.concatenate([blobs(300, 1, 4, seed=2)[0], unit_rows(300, 4, seed=3)])
    centroids = kmeans.fit(vectors, k=4, iterations=100, seed=1)
    np.testing.assert_allclose(np.linalg.norm(centroids, axis=1), 1, atol=1e-6)
    cluster, _ = kmeans.assign(vectors, centroids)
    for number, centroid in enumerate(centroids):
        mean = vectors[cluster == number].mean(axis=0)
        assert centroid @ mean / np.linalg.norm(mean) > 0.99999


@pytest.mark.parametrize("n", [50, 3_000])
def test_one_and_two_threads_give_the_same_bytes(n):
    vectors = unit_rows(n, 32, seed=5)
    results = []
    for threads in (1, 2, 1):
        faiss.omp_set_num_threads(threads)
        centroids = kmeans.fit(vectors, k=20, iterations=8, seed=9)
        cluster, distance = kmeans.assign(vectors, centroids)
        results.append((centroids.tobytes(), cluster.tobytes(), distance.tobytes()))
    assert results[0] == results[1] == results[2]


def test_another_seed_gives_other_centroids():
    vectors = unit_rows(500, 8, seed=5)
    one, other = (kmeans.fit(vectors, k=10, iterations=3, seed=seed) for seed in (1, 2))
    assert one.tobytes() != other.tobytes()


def test_as_many_clusters_as_points():
    vectors = unit_rows(5, 8, seed=6)
    centroids = kmeans.fit(vectors, k=5, iterations=5, seed=1)
    cluster, distance = kmeans.assign(vectors, centroids)
    assert sorted(cluster.tolist()) == [0, 1, 2, 3, 4]
    assert distance.max() < 1e-3


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_vectors_that_are_all_alike_do_not_break_the_fit(value):
    vectors = kmeans.normalise(np.full((40, 8), value, np.float32))
    centroids = kmeans.fit(vectors, k=4, iterations=5, seed=1)
    assert centroids.shape == (4, 8)
    assert np.isfinite(centroids).all()
    cluster, distance = kmeans.assign(vectors, centroids)
    assert set(cluster.tolist()) <= set(range(4))
    assert len(set(cluster.tolist())) == 1
    assert np.isfinite(distance).all()


def test_zero_vectors_among_others_get_a_cluster():
    vectors = unit_rows(100, 8, seed=7)
    vectors[::10] = 0
    centroids = kmeans.fit(vectors, k=5, iterations=5, seed=1)
    cluster, distance = kmeans.assign(vectors, centroids)
    assert ((cluster >= 0) & (cluster < 5)).all()
    assert np.isfinite(distance).all()


@pytest.mark.parametrize(
    ("k", "documents", "expected"),
    [(1000, 8_000, 1000), (1000, 7_999, 999), (1000, 80, 10), (5, 80, 5), (5, 7, 1), (5, 0, 1)],
)
def test_k_is_lowered_until_clusters_have_eight_documents(k, documents, expected):
    assert kmeans.effective_k(k, documents) == expected
