from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import adjusted_rand_score
from threadpoolctl import threadpool_limits

from mixcurate.kernels import grouping, kmeans


def topics(n: int, d: int = 24, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors of five topics, each bent along a curve of its own; and which topic."""
    random = np.random.default_rng(seed)
    axes = np.linalg.qr(np.random.default_rng(9).normal(size=(d, 15)))[0].T.reshape(5, 3, d)
    topic, along = random.integers(0, 5, n), random.uniform(-1.2, 1.2, n)
    curve = np.stack([np.ones(n), along, along**2 - 0.5], axis=1)
    rows = np.einsum("nc,ncd->nd", curve, axes[topic]) + random.normal(scale=0.05, size=(n, d))
    return kmeans.normalise(rows), topic


def test_groups_of_a_sample_hold_for_documents_that_were_not_in_it() -> None:
    sample, topic = topics(600)
    other, truth = topics(400, seed=1)
    found = grouping.find_groups(sample, 5, seed=3)
    assert (found.shape, found.dtype) == ((25, 5), np.float32)
    assert adjusted_rand_score(grouping.groups_of(found, sample), topic) > 0.95
    labels = grouping.groups_of(found, other)
    assert labels.dtype == np.int32
    assert adjusted_rand_score(labels, truth) > 0.95


def test_a_cluster_is_of_the_group_of_most_of_its_documents() -> None:
    sample, _ = topics(500)
    found = grouping.find_groups(sample, 5, seed=1)
    centroids = kmeans.fit(sample, k=30, seed=2).centroids
    cluster = kmeans.assign(sample, centroids).cluster
    cluster[:10] = -1
    groups = grouping.groups_of_clusters(found, sample, cluster, centroids)
    of = grouping.groups_of(found, sample)
    for number in range(30):
        mine = np.bincount(of[cluster == number], minlength=5)
        assert groups[number] == mine.argmax()


def test_a_cluster_without_sampled_documents_is_of_the_group_of_its_centroid() -> None:
    sample, _ = topics(300)
    found = grouping.find_groups(sample, 5, seed=1)
    centroids = np.concatenate([sample[:2], np.zeros((1, sample.shape[1]), np.float32)])
    nothing = np.full(len(sample), -1, np.int32)
    groups = grouping.groups_of_clusters(found, sample, nothing, centroids)
    assert groups[:2].tolist() == grouping.groups_of(found, sample[:2]).tolist()
    assert 0 <= groups[2] < found.shape[1]


@pytest.mark.parametrize("n", [1, 2, 3, 5, 6])
def test_few_documents_are_groups_of_their_own(n: int) -> None:
    sample = topics(n)[0]
    found = grouping.find_groups(sample, 5, seed=1)
    assert found.shape[1] <= max(n, 5)
    assert len(set(grouping.groups_of(found, sample).tolist())) <= 5


def test_vectors_of_no_use_have_no_group() -> None:
    sample = topics(100)[0]
    found = grouping.find_groups(sample, 3, seed=1)
    rows = sample[:3].copy()
    rows[0], rows[1, 2] = 0, np.nan
    assert (grouping.groups_of(found, rows) >= 0).tolist() == [False, False, True]


def test_one_and_two_threads_find_the_same_groups() -> None:
    sample = topics(400)[0]
    found = []
    for threads in (1, 2):
        with threadpool_limits(threads):
            found.append(grouping.find_groups(sample, 5, seed=7).tobytes())
    assert found[0] == found[1]


@given(st.integers(1, 40), st.integers(1, 8), st.integers(0, 2**31))
@settings(max_examples=25, deadline=None)
def test_any_vectors_have_groups(n: int, groups: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    sample = kmeans.normalise(random.integers(-1, 2, (n, 4)) + 1e-3)
    found = grouping.find_groups(sample, groups, seed=1)
    labels = grouping.groups_of(found, sample)
    assert ((labels >= 0) & (labels < found.shape[1])).all()
    assert found.shape[1] <= max(groups, 1)
    half = np.concatenate([grouping.groups_of(found, part) for part in np.array_split(sample, 3)])
    assert (half == labels).all()
