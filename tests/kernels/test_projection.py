"""The map of vectors: near stays near, and nothing but content and seed decides it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.manifold import trustworthiness
from threadpoolctl import threadpool_limits

from mixcurate.kernels import projection
from mixcurate.kernels.projection import Float32Array, project


def blobs(per_group: int, groups: int = 5, d: int = 24, seed: int = 3) -> Float32Array:
    """Groups of vectors around directions far apart, one after another in turn."""
    draw = np.random.default_rng(seed)
    centres = draw.standard_normal((groups, d)) * 4
    found = centres[np.arange(groups * per_group) % groups]
    return (found + draw.standard_normal(found.shape)).astype(np.float32)


def nearest_group(places: Float32Array, groups: int) -> np.ndarray:
    """Group of each point's nearest other point."""
    far = np.square(places[:, None] - places[None]).sum(axis=2)
    np.fill_diagonal(far, np.inf)
    return far.argmin(axis=1) % groups


def is_on_the_map(places: Float32Array, n: int) -> bool:
    return (
        places.dtype == np.float32
        and places.shape == (n, 2)
        and bool(np.isfinite(places).all())
        and (n == 0 or float(np.abs(places).max()) <= 1)
    )


def test_near_vectors_stay_near() -> None:
    vectors = blobs(60)
    places = project(vectors, 1)
    assert is_on_the_map(places, 300)
    assert (nearest_group(places, 5) == np.arange(300) % 5).mean() > 0.99
    # far above what the first two components keep
    plain = np.linalg.svd(vectors - vectors.mean(axis=0), full_matrices=False)
    flat = plain[0][:, :2] * plain[1][:2]
    assert trustworthiness(vectors, places) > trustworthiness(vectors, flat) + 0.02


def test_one_scale_for_both_axes() -> None:
    places = project(blobs(20), 1)
    spans = places.max(axis=0) - places.min(axis=0)
    assert spans.max() == pytest.approx(2, abs=1e-5)
    assert (places.max(axis=0) + places.min(axis=0)) == pytest.approx([0, 0], abs=1e-5)


def test_threads_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = blobs(40)
    # without it scikit-learn takes no more threads than there are physical cores
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    with threadpool_limits(limits=1):
        one = project(vectors, 7)
    with threadpool_limits(limits=2):
        two = project(vectors, 7)
    assert one.tobytes() == two.tobytes()
    assert project(vectors, 8).tobytes() != one.tobytes()


def test_vectors_beyond_the_fit_go_to_their_neighbours(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = blobs(60)
    monkeypatch.setattr(projection, "_FITTED", 100)
    monkeypatch.setattr(projection, "_CHUNK", 64)
    places = project(vectors, 1)
    assert is_on_the_map(places, 300)
    assert (nearest_group(places, 5) == np.arange(300) % 5).mean() > 0.99
    # the oracle: the median place of the five nearest in all of the vectors' components
    monkeypatch.setattr(projection, "_COMPONENTS", 24)
    places = project(vectors, 1)
    first, rest = vectors[:100], vectors[100:]
    far = np.square(rest[:, None].astype(np.float64) - first[None]).sum(axis=2)
    expected = np.median(places[far.argsort(axis=1)[:, :5]], axis=1)
    np.testing.assert_allclose(places[100:], expected, atol=1e-5)


@pytest.mark.parametrize("n", [0, 1, 2, 3, 7, 8, 9])
def test_few_documents(n: int) -> None:
    places = project(blobs(2)[:n], 1)
    assert is_on_the_map(places, n)
    assert len(np.unique(places, axis=0)) == n
    if n == 1:
        assert places.tolist() == [[0, 0]]


def test_three_documents_keep_their_distances() -> None:
    vectors = np.array([[0, 0, 0], [0, 4, 0], [3, 0, 0]], np.float32)
    places = project(vectors, 1)
    far = [float(np.linalg.norm(places[a] - places[b])) for a, b in [(0, 1), (0, 2), (1, 2)]]
    assert np.array(far) / far[2] == pytest.approx([0.8, 0.6, 1.0], abs=1e-5)


@pytest.mark.parametrize("value", [0.0, 1.0, 0.1, 1e30, 1e-30])
def test_equal_vectors_are_at_the_origin(value: float) -> None:
    assert not project(np.full((30, 8), value, np.float32), 1).any()


@settings(max_examples=25, deadline=None)
@given(
    hnp.arrays(
        np.float32,
        st.tuples(st.integers(1, 24), st.integers(1, 5)),
        elements=st.floats(-(2.0**60), 2.0**60, width=32),
    ),
    st.integers(0, 2**32 - 1),
)
def test_any_finite_vectors_have_a_place(vectors: Float32Array, seed: int) -> None:
    places = project(vectors, seed)
    assert is_on_the_map(places, len(vectors))
    assert project(vectors.copy(), seed).tobytes() == places.tobytes()
