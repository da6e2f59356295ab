from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mixcurate.kernels import entropy
from mixcurate.kernels.entropy import sample_size, token_entropy, von_neumann

TEXTS = st.lists(st.lists(st.integers(0, 6) | st.integers(0, 2**32 - 1), max_size=12), max_size=8)


def ids(texts: list[list[int]]) -> list[np.ndarray]:
    return [np.array(text, np.uint32) for text in texts]


def reference(counts: Counter[object]) -> float:
    total = sum(counts.values())
    return -sum(n / total * math.log(n / total) for n in counts.values())


@given(TEXTS, st.randoms(use_true_random=False))
@settings(max_examples=80, deadline=None)
def test_entropies_of_tokens_are_those_of_their_definition(texts, random):
    tokens = Counter(token for text in texts for token in text)
    pairs = Counter(pair for text in texts for pair in zip(text[:-1], text[1:], strict=True))
    assert token_entropy(ids(texts), "shannon") == pytest.approx(reference(tokens), abs=1e-12)
    assert token_entropy(ids(texts), "joint") == pytest.approx(reference(pairs), abs=1e-12)
    total, first = sum(pairs.values()), Counter()
    for (a, _), n in pairs.items():
        first[a] += n
    expected = -sum(n / total * math.log(n / first[a]) for (a, _), n in pairs.items())
    assert token_entropy(ids(texts), "conditional") == pytest.approx(expected, abs=1e-12)
    mixed = random.sample(texts, len(texts))
    for kind in ("shannon", "joint", "conditional"):
        assert token_entropy(ids(texts), kind) == token_entropy(ids(mixed), kind)


def test_known_entropies():
    even = np.arange(1_000, dtype=np.uint32)
    assert token_entropy([even], "shannon") == pytest.approx(math.log(1_000))
    assert token_entropy([even], "joint") == pytest.approx(math.log(999))
    assert token_entropy([even], "conditional") == pytest.approx(0, abs=1e-12)
    assert token_entropy([], "conditional") == 0
    coin = np.random.default_rng(3).integers(0, 2, 200_000).astype(np.uint32)
    assert token_entropy([coin], "conditional") == pytest.approx(math.log(2), abs=1e-4)


def test_a_pair_does_not_reach_over_two_texts():
    apart = token_entropy(ids([[1], [2], [3]]), "joint")
    assert apart == 0
    assert token_entropy(ids([[1, 2, 3]]), "joint") == pytest.approx(math.log(2))


@given(st.integers(1, 40), st.integers(1, 8), st.integers(0, 9))
@settings(max_examples=40, deadline=None)
def test_von_neumann_is_that_of_the_gram_matrix(n, d, seed):
    random = np.random.default_rng(seed)
    vectors = random.normal(size=(n, d)) * random.uniform(0.1, 30, (n, 1))
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    values = np.linalg.eigvalsh(unit @ unit.T / n)
    expected = -sum(value * math.log(value) for value in values if value > 1e-12)
    assert von_neumann(vectors) == pytest.approx(expected, abs=2e-4)
    assert von_neumann(vectors) == von_neumann(vectors[random.permutation(n)])


def test_known_von_neumann_entropies():
    assert von_neumann(np.eye(16)) == pytest.approx(math.log(16))
    assert von_neumann(np.ones((50, 4))) == pytest.approx(0, abs=1e-6)
    assert von_neumann(np.full((3, 4), np.nan)) == 0
    assert von_neumann(np.zeros((0, 4))) == 0
    two = np.array([[1.0, 0], [0, 1], [np.nan, 1], [0, np.inf]])
    assert von_neumann(two) == pytest.approx(math.log(2))


@pytest.mark.parametrize(
    ("available", "size"),
    [
        ([300_000, 0, 5_000_000], 300_000),
        ([10, 5_000_000], entropy.LEAST_TOKENS),
        ([10**9, 10**9], entropy.MOST_TOKENS),
        ([10**9] * 256, entropy.ALL_TOKENS // 256),
        ([10**9] * 10_000, entropy.LEAST_TOKENS),
        ([0, 0], entropy.LEAST_TOKENS),
    ],
)
def test_all_units_are_sampled_alike(available, size):
    assert sample_size(np.array(available), vectors=False) == size


def test_embeddings_are_sampled_alike_too():
    assert sample_size(np.array([2_000, 90_000]), vectors=True) == 2_000
    assert sample_size(np.array([5]), vectors=True) == entropy.LEAST_VECTORS
