from __future__ import annotations

from collections.abc import Iterator

import faiss
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score

from mixcurate.kernels import kmeans, lloyd
from mixcurate.kernels.clustering import ResampleParams

OPTIONS = {
    "one level": {"levels": 1},
    "two levels": {"levels": 2},
    "euclidean": {"metric": "euclidean", "levels": 2},
    "resampled": {"levels": 2, "resample": ResampleParams(rounds=1, per_cluster=5)},
    "balanced": {"levels": 2, "balance": 1.5},
}


@pytest.fixture(autouse=True)
def _faiss_threads() -> Iterator[None]:
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    yield
    faiss.omp_set_num_threads(before)


def unit_rows(n: int, d: int, seed: int) -> np.ndarray:
    return kmeans.normalise(np.random.default_rng(seed).normal(size=(n, d)))


def blobs(n: int, k: int, d: int, seed: int, noise: float = 0.4) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    centres = np.eye(k, d) * 4
    truth = random.integers(0, k, n)
    return kmeans.normalise(centres[truth] + random.normal(scale=noise, size=(n, d))), truth


def sizes(vectors: np.ndarray, found: kmeans.Fit, metric: kmeans.Metric = "cosine") -> np.ndarray:
    cluster, _ = kmeans.assign(vectors, found.centroids, metric)
    return np.bincount(cluster, minlength=len(found.centroids))


@given(
    st.integers(1, 60),
    st.integers(1, 30),
    st.integers(2, 8),
    st.sampled_from(sorted(OPTIONS)),
    st.integers(0, 2**40),
)
@settings(max_examples=60, deadline=None)
def test_any_fit_has_centroids_with_members_and_says_its_inertia(n, k, d, option, seed):
    options = OPTIONS[option]
    metric = options.get("metric", "cosine")
    vectors = unit_rows(n, d, seed % 1000)
    found = kmeans.fit(vectors, k=k, seed=seed, iterations=3, **options)
    assert found.centroids.shape == (min(k, n), d)
    assert found.centroids.dtype == np.float32
    assert (sizes(vectors, found, metric) > 0).all()
    assert bool(found.notes) == (k > n or any("balance" in note for note in found.notes))
    if metric == "cosine":
        np.testing.assert_allclose(np.linalg.norm(found.centroids, axis=1), 1, atol=1e-6)
    squared = ((vectors[:, None].astype(float) - found.centroids[None]) ** 2).sum(axis=2)
    np.testing.assert_allclose(found.inertia, squared.min(axis=1).sum(), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("levels", [1, 2])
@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_blobs_are_found_as_well_as_by_scikit_learn(levels, metric):
    vectors, truth = blobs(600, 12, 16, seed=1)
    peer = KMeans(12, n_init=5, random_state=0).fit(vectors)
    assert adjusted_rand_score(peer.labels_, truth) > 0.95
    for seed in range(5):
        found = kmeans.fit(vectors, k=12, seed=seed, levels=levels, metric=metric)
        cluster, _ = kmeans.assign(vectors, found.centroids, metric)
        assert adjusted_rand_score(cluster, peer.labels_) > 0.95
        # unit centroids are no means: the best error of cosine is higher
        assert found.inertia < peer.inertia_ * (1.02 if metric == "euclidean" else 1.06)


def test_euclidean_clusters_tell_lengths_apart_and_cosine_does_not():
    near, _ = blobs(300, 2, 4, seed=3, noise=0.1)
    vectors = np.concatenate([near, near * 10]).astype(np.float32) + 1_000
    found = kmeans.fit(vectors, k=4, seed=1, metric="euclidean")
    cluster, _ = kmeans.assign(vectors, found.centroids, "euclidean")
    assert not set(cluster[:300].tolist()) & set(cluster[300:].tolist())
    peer = KMeans(4, n_init=5, random_state=0).fit(vectors.astype(np.float64))
    assert found.inertia < peer.inertia_ * 1.02


def test_centroids_are_the_mean_directions_of_their_members():
    # a tight group among loose ones: means that are not unit rows would draw the border elsewhere
    vectors = np.concatenate([blobs(300, 1, 4, seed=2)[0], unit_rows(300, 4, seed=3)])
    centroids = lloyd.lloyd(vectors, 4, iterations=100, seed=1, metric="cosine")
    cluster, _ = kmeans.assign(vectors, centroids)
    for number, centroid in enumerate(centroids):
        mean = vectors[cluster == number].mean(axis=0)
        assert centroid @ mean / np.linalg.norm(mean) > 0.99999


@pytest.mark.parametrize("option", sorted(OPTIONS))
def test_one_and_two_threads_give_the_same_bytes(option):
    vectors = blobs(1_500, 20, 32, seed=5, noise=0.9)[0]
    results = []
    for threads in (1, 2):
        faiss.omp_set_num_threads(threads)
        found = kmeans.fit(vectors, k=20, iterations=8, seed=9, **OPTIONS[option])
        results.append((found.centroids.tobytes(), found.inertia, tuple(found.notes)))
    assert results[0] == results[1]


def test_many_clusters_give_the_same_bytes_on_one_and_two_threads():
    vectors = unit_rows(2_000, 24, seed=5)
    results = []
    for threads in (1, 2):
        faiss.omp_set_num_threads(threads)
        found = [kmeans.fit(vectors, k=140, iterations=1, seed=9, levels=n) for n in (1, 2)]
        results.append([one.centroids.tobytes() for one in found])
    assert results[0] == results[1]


def test_another_seed_gives_other_centroids():
    vectors = unit_rows(500, 8, seed=5)
    one, other = (kmeans.fit(vectors, k=10, iterations=3, seed=seed) for seed in (1, 2))
    assert one.centroids.tobytes() != other.centroids.tobytes()


@pytest.mark.parametrize("levels", [1, 2])
def test_as_many_clusters_as_points(levels):
    vectors = unit_rows(5, 8, seed=6)
    found = kmeans.fit(vectors, k=5, iterations=5, seed=1, levels=levels)
    cluster, distance = kmeans.assign(vectors, found.centroids)
    assert sorted(cluster.tolist()) == [0, 1, 2, 3, 4]
    assert distance.max() < 1e-5


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("value", [0.0, 1.0])
def test_vectors_that_are_all_alike_have_one_cluster(value, metric):
    vectors = kmeans.normalise(np.full((40, 8), value, np.float32))
    found = kmeans.fit(vectors, k=4, seed=1, metric=metric, balance=2.0, resample=ResampleParams())
    assert found.centroids.shape == (1, 8)
    assert np.isfinite(found.centroids).all()
    assert "1 of 4 clusters" in found.notes[0]
    assert sizes(vectors, found, metric).tolist() == [40]
    assert found.inertia == pytest.approx(40 if metric == "cosine" and not value else 0, abs=1e-6)


@pytest.mark.parametrize("option", sorted(OPTIONS))
def test_among_many_repeated_rows_every_row_that_differs_gets_its_cluster(option):
    few = unit_rows(7, 8, seed=7)
    vectors = few[np.minimum(np.random.default_rng(8).geometric(0.6, 500) - 1, 6)]
    vectors[-7:] = few
    metric = OPTIONS[option].get("metric", "cosine")
    for k in (3, 7, 12):
        found = kmeans.fit(vectors, k=k, seed=1, **OPTIONS[option])
        assert len(found.centroids) == min(k, 7)
        assert (sizes(vectors, found, metric) > 0).all()
        if k >= 7:
            assert found.inertia < 1e-6
        assert any("no more vectors differ" in note for note in found.notes) == (k > 7)


def test_zero_vectors_among_others_have_no_say_in_the_centroids():
    vectors = unit_rows(100, 8, seed=7)
    without = kmeans.fit(vectors, k=5, seed=1)
    with_zeros = np.insert(vectors, range(0, 100, 10), 0, axis=0)
    found = kmeans.fit(with_zeros, k=5, seed=1)
    assert found.centroids.tobytes() == without.centroids.tobytes()
    assert found.inertia == pytest.approx(without.inertia + 10)


def test_opposite_vectors_have_no_mean_direction():
    axis = np.eye(1, 3, dtype=np.float32)
    found = kmeans.fit(np.concatenate([axis, -axis]), k=1, seed=1)
    np.testing.assert_allclose(np.linalg.norm(found.centroids, axis=1), 1)


@pytest.mark.parametrize(
    ("rows", "metric", "message"),
    [
        ([[1, 0], [np.nan, 0]], "cosine", "1 vectors are not finite, or too long; the first is 1"),
        ([[np.inf, 0], [1, 0]], "euclidean", "not finite, or too long; the first is 0"),
        ([[1e20, 0], [1, 0]], "euclidean", "not finite, or too long; the first is 0"),
        ([[1, 0], [3, 0]], "cosine", "not of length 1; the first is 1: normalise them"),
        (np.zeros((0, 2)), "cosine", "at least one vector"),
    ],
)
def test_vectors_that_cannot_be_fitted_are_refused(rows, metric, message):
    with pytest.raises(ValueError, match=message):
        kmeans.fit(np.array(rows, np.float32), k=2, seed=1, metric=metric)


@pytest.mark.parametrize("levels", [1, 2])
def test_a_catch_all_is_divided_by_balance(levels):
    random = np.random.default_rng(4)
    centres = unit_rows(20, 32, seed=4)
    truth = np.where(random.random(4_000) < 0.9, 0, random.integers(1, 20, 4_000))
    noise = random.normal(scale=0.03, size=(4_000, 32))
    vectors = kmeans.normalise((centres[truth] + noise).astype(np.float32))
    plain = kmeans.fit(vectors, k=20, seed=1, levels=levels)
    found = kmeans.fit(vectors, k=20, seed=1, levels=levels, balance=1.5)
    assert sizes(vectors, plain).max() > 1.5 * 200
    assert sizes(vectors, found).min() > 0
    assert sizes(vectors, found).max() <= 1.5 * 200
    assert len(found.centroids) == 20
    assert found.notes == []


def test_a_balance_that_cannot_be_reached_is_noted():
    vectors = unit_rows(200, 8, seed=4)
    vectors[:150] = vectors[0]
    found = kmeans.fit(vectors, k=10, seed=1, balance=1.5)
    assert len(found.centroids) == 10
    assert (sizes(vectors, found) > 0).all()
    assert "balance 1.5 was not reached: the largest cluster has 7.5 times" in found.notes[0]


def test_resampled_clusters_follow_what_there_is_not_how_often():
    random = np.random.default_rng(4)
    centres = unit_rows(12, 24, seed=4)
    truth = np.where(random.random(6_000) < 0.95, 0, random.integers(1, 12, 6_000))
    noise = random.normal(scale=0.12, size=(6_000, 24))
    vectors = kmeans.normalise((centres[truth] + noise).astype(np.float32))
    again = ResampleParams(rounds=10, per_cluster=10)

    def on_the_common_blob(resample: ResampleParams | None) -> int:
        centroids = kmeans.fit(vectors, k=36, seed=1, resample=resample).centroids
        return int((kmeans.assign(centroids, centres).cluster == 0).sum())

    assert on_the_common_blob(again) < on_the_common_blob(None)


def test_moves_carry_centroids_out_of_a_local_optimum():
    vectors, truth = blobs(400, 8, 8, seed=3, noise=0.1)
    start = vectors[np.flatnonzero(truth == 0)[:8]]  # Lloyd alone cannot leave this blob well
    alone = lloyd.lloyd(
        vectors, 8, iterations=20, seed=1, metric="cosine", start=np.ascontiguousarray(start)
    )
    moved, count = lloyd.move(vectors, alone, 8, metric="cosine")
    assert count > 0
    error = [
        float((kmeans.assign(vectors, centroids).distance ** 2).sum())
        for centroids in (alone, moved)
    ]
    assert error[1] < 0.7 * error[0]


def test_a_gpu_is_used_where_there_is_one_and_work_for_it(monkeypatch):
    asked = []

    class Recorder(faiss.Kmeans):
        def __init__(self, d, k, *, gpu, **options):
            asked.append((k, gpu))
            super().__init__(d, k, gpu=False, **options)

    monkeypatch.setattr(lloyd.faiss, "Kmeans", Recorder)
    monkeypatch.setattr(lloyd.faiss, "get_num_gpus", lambda: 1)
    monkeypatch.setattr(lloyd, "_GPU_DISTANCES", 4_000)
    kmeans.fit(unit_rows(400, 8, seed=1), k=10, seed=1, levels=1)
    assert (10, True) in asked
    asked.clear()
    kmeans.fit(unit_rows(400, 8, seed=1), k=9, seed=1, levels=1)
    assert {gpu for _, gpu in asked} == {False}


@pytest.mark.parametrize(
    ("k", "documents", "expected"),
    [
        (1000, 8_000, 1000),
        (1000, 7_999, 999),
        (1000, 80, 10),
        (5, 80, 5),
        (5, 7, 1),
        (5, 0, 1),
        ("sqrt", 10_000, 100),
        ("sqrt", 10_200, 100),
        ("sqrt", 50, 6),
        ("sqrt", 0, 1),
    ],
)
def test_k_is_lowered_until_clusters_have_eight_documents(k, documents, expected):
    assert kmeans.effective_k(k, documents) == expected
