from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from mixcurate.kernels import target_likeness
from mixcurate.kernels.semantic import unit_grid


def brute_force(vectors: np.ndarray, texts: np.ndarray) -> np.ndarray:
    return (unit_grid(vectors).astype(np.float64) @ texts.astype(np.float64).T).max(axis=1)


@given(st.integers(0, 2**32), st.integers(1, 60), st.integers(1, 40), st.integers(1, 30))
@settings(max_examples=60, deadline=None)
def test_it_is_the_greatest_cosine_exactly(seed: int, n: int, m: int, d: int) -> None:
    random = np.random.default_rng(seed)
    texts = random.normal(size=(m, d)).astype(np.float32)
    texts[m // 2 :] = texts[: m - m // 2] * np.float32(1 + 1e-6)  # nearly the same
    vectors = random.normal(size=(n, d)).astype(np.float16)
    kept = target_likeness.distinct(texts)
    found = target_likeness.most_like(vectors, kept)
    assert found.tolist() == brute_force(vectors, kept).tolist()
    np.testing.assert_allclose(found, brute_force(vectors, unit_grid(texts)), atol=1e-6)


def test_batches_do_not_matter() -> None:
    random = np.random.default_rng(0)
    texts = target_likeness.distinct(random.normal(size=(5_000, 16)))
    vectors = random.normal(size=(3_000, 16)).astype(np.float16)
    whole = target_likeness.most_like(vectors, texts)
    pieces = [target_likeness.most_like(vectors[a : a + 7], texts) for a in range(0, 3_000, 7)]
    assert np.concatenate(pieces).tolist() == whole.tolist()
    assert whole.tolist() == brute_force(vectors, texts).tolist()


def test_texts_count_once_and_what_is_no_vector_is_like_nothing() -> None:
    texts = np.array([[0, 1], [2, 0], [-0.0, 3], [1, 0]])
    kept = target_likeness.distinct(texts)
    assert sorted(kept.tolist()) == [[0, 1], [1, 0]]
    vectors = np.array([[np.nan, 1], [0, 0], [-1, -1], [1, 0]], np.float32)
    found = target_likeness.most_like(vectors, kept)
    np.testing.assert_allclose(found, [-1, 0, -np.sqrt(0.5), 1], atol=1e-6)
