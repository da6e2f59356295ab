from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array
from sklearn.cluster import SpectralClustering
from sklearn.metrics import adjusted_rand_score
from threadpoolctl import threadpool_limits

from mixcurate.kernels import spectral
from mixcurate.kernels.kmeans import normalise


def topics(groups: int, members: int, noise: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors around orthogonal ones, in random order, and which each is around."""
    random = np.random.default_rng(seed)
    label = random.permutation(np.repeat(np.arange(groups), members))
    return normalise(np.eye(groups, 24)[label] + random.normal(0, noise, (len(label), 24))), label


def graph_of(vectors: np.ndarray, most: int) -> csr_array:
    return spectral.fuzzy_graph(*spectral.neighbours(vectors, np.arange(len(vectors)), most))


def reference_graph(vectors: np.ndarray, neighbours: int) -> np.ndarray:
    """The weights of UMAP in plain Python, sigma by a finer search."""
    n = len(vectors)
    wide = vectors.astype(np.float64)
    directed = np.zeros((n, n))
    for i in range(n):
        order = sorted(set(range(n)) - {i}, key=lambda j: np.linalg.norm(wide[i] - wide[j]))
        near = order[:neighbours]
        distance = [float(np.linalg.norm(wide[i] - wide[j])) for j in near]
        low, high = 1e-9, 1e3
        for _ in range(200):
            sigma = (low * high) ** 0.5
            total = sum(np.exp(-(d - distance[0]) / sigma) for d in distance)
            low, high = (low, sigma) if total > np.log2(neighbours) else (sigma, high)
        for j, d in zip(near, distance, strict=True):
            directed[i, j] = np.exp(-(d - distance[0]) / high)
    return directed + directed.T - directed * directed.T


@given(st.integers(4, 25), st.integers(2, 6), st.integers(0, 2**31))
@settings(max_examples=25, deadline=None)
def test_the_graph_has_the_weights_of_umap(n, neighbours, seed):
    vectors = np.random.default_rng(seed).normal(size=(n, 5)).astype(np.float32)
    graph = graph_of(vectors, neighbours).toarray()
    np.testing.assert_allclose(graph, reference_graph(vectors, min(neighbours, n - 1)), atol=1e-3)


@given(st.integers(2, 40), st.integers(1, 3), st.integers(0, 2**31))
@settings(max_examples=40, deadline=None)
def test_the_graph_is_symmetric_and_finite_where_rows_are_equal(n, different, seed):
    rows = np.random.default_rng(seed).normal(size=(different, 4)).astype(np.float32)
    vectors = rows[np.arange(n) % different]
    graph = graph_of(vectors, 15).toarray()
    np.testing.assert_array_equal(graph, graph.T)
    assert (np.diag(graph) == 0).all()
    assert ((graph >= 0) & (graph <= 1)).all()
    assert (graph.sum(axis=1) > 0).all()


@pytest.mark.parametrize("members", [20, 120])  # by all eigenvectors, and by the leading ones
def test_groups_are_those_of_a_spectral_clustering_of_the_same_graph(members):
    vectors, label = topics(6, members, 0.2)
    found = spectral.spectral_groups(vectors, 6, seed=0)
    graph = graph_of(vectors, 15).toarray()
    peer = SpectralClustering(6, affinity="precomputed", random_state=0).fit_predict(graph)
    assert adjusted_rand_score(found, peer) > 0.95
    assert adjusted_rand_score(found, label) > 0.95


@pytest.mark.parametrize("copies", [2, 17, 60])
def test_documents_that_repeat_each_other_are_no_group_of_their_own(copies, monkeypatch):
    vectors, label = topics(4, 150, 0.15)
    stray = normalise(np.random.default_rng(5).normal(size=(3, 24)))
    vectors = np.concatenate([vectors, np.repeat(stray, copies, axis=0)])
    found = spectral.spectral_groups(vectors, 4, seed=0)
    assert adjusted_rand_score(found[: len(label)], label) > 0.98
    assert len(set(found[len(label) :].tolist())) <= 3
    monkeypatch.setattr(spectral, "_REPEATS", -1.0)
    found = spectral.spectral_groups(vectors, 4, seed=0)
    assert copies == 2 or adjusted_rand_score(found[: len(label)], label) < 0.9


@pytest.mark.parametrize(("rounds", "expected"), [(0, 4), (4, 0)])
def test_pages_of_a_template_make_no_group_where_small_ones_are_taken_out(
    rounds, expected, monkeypatch
):
    vectors, _ = topics(4, 400, 0.2)
    templates = vectors[:4].repeat(40, axis=0)
    noise = np.random.default_rng(6).normal(0, 0.03, templates.shape)
    vectors = np.concatenate([vectors, normalise(templates + noise)])
    monkeypatch.setattr(spectral, "_ROUNDS", rounds)
    found = spectral.spectral_groups(vectors, 8, seed=0)
    pages = np.bincount(found[1_600:], minlength=8)
    assert (pages > np.bincount(found[:1_600], minlength=8)).sum() == expected


def test_threads_and_repeats_do_not_change_a_group():
    vectors, _ = topics(5, 100, 0.6)
    found = spectral.spectral_groups(vectors, 5, seed=3)
    assert found.tolist() == spectral.spectral_groups(vectors, 5, seed=3).tolist()
    with threadpool_limits(1):
        assert found.tolist() == spectral.spectral_groups(vectors, 5, seed=3).tolist()


def test_only_the_first_documents_are_grouped(monkeypatch):
    monkeypatch.setattr(spectral, "MOST_NODES", 60)
    vectors, _ = topics(3, 40, 0.2)
    found = spectral.spectral_groups(vectors, 3, seed=0)
    assert found.tolist() == spectral.spectral_groups(vectors[:60], 3, seed=0).tolist()


@given(st.integers(3, 30), st.integers(1, 4), st.integers(0, 2**31))
@settings(max_examples=25, deadline=None)
def test_any_vectors_have_groups(n, different, seed):
    rows = np.random.default_rng(seed).normal(size=(different, 3)).astype(np.float32)
    found = spectral.spectral_groups(rows[np.arange(n) % different], 2, seed=0)
    assert found.shape == (n,)
    assert set(found.tolist()) <= {0, 1}
