from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mixcurate.kernels.mixture import MixtureParams
from mixcurate.kernels.strategies import smart
from mixcurate.kernels.strategies.facts import Facts
from mixcurate.kernels.submodular import greedy_gains, likeness

FUNCTIONS = ["graph_cut", "facility_location", "log_determinant"]


def facts(centroids: np.ndarray, tokens: list[int], budget: int, epochs: float = 4.0) -> Facts:
    n = len(tokens)
    return Facts(
        names=[f"unit {i}" for i in range(n)],
        documents=np.array(tokens) // 10,
        tokens=np.array(tokens, np.int64),
        budget=budget,
        max_epochs=epochs,
        centroids=centroids.astype(np.float32),
    )


def params(**smart_params: object) -> MixtureParams:
    return MixtureParams(strategy="smart", budget_tokens=1_000, smart=smart_params)


def value(similarity: np.ndarray, taken: list[int], function: str, penalty: float) -> float:
    """The functions as the paper defines them."""
    if not taken:
        return 0.0
    if function == "graph_cut":
        cut = similarity[:, taken].sum() - penalty * similarity[np.ix_(taken, taken)].sum()
        return float(cut)
    if function == "facility_location":
        return float(np.maximum(similarity[:, taken].max(axis=1), 0).sum())
    inside = similarity[np.ix_(taken, taken)] + penalty * np.eye(len(taken))
    return float(np.linalg.slogdet(inside)[1])


def naive_gains(similarity: np.ndarray, function: str, penalty: float) -> np.ndarray:
    taken: list[int] = []
    gains = np.empty(len(similarity))
    while len(taken) < len(similarity):
        now = value(similarity, taken, function, penalty)
        rest = [i for i in range(len(similarity)) if i not in taken]
        each = {i: value(similarity, [*taken, i], function, penalty) - now for i in rest}
        best = max(rest, key=lambda i: (round(each[i], 9), -i))
        gains[best] = each[best]
        taken.append(best)
    return gains


@given(
    st.integers(1, 9),
    st.integers(0, 2**32),
    st.sampled_from(FUNCTIONS),
    st.sampled_from([0.2, 0.4, 1]),
)
@settings(max_examples=90, deadline=None)
def test_gains_are_those_of_the_plain_greedy(
    n: int, seed: int, function: str, penalty: float
) -> None:
    vectors = np.random.default_rng(seed).normal(size=(n, 3)).astype(np.float32)
    similarity = likeness(vectors)
    found = greedy_gains(similarity, function, penalty)
    np.testing.assert_allclose(found, naive_gains(similarity, function, penalty), atol=1e-7)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_many_equal_elements_are_taken_in_their_order(function: str) -> None:
    """More than one block of the lazy greedy, and every gain a tie."""
    vectors = np.repeat(np.eye(2, dtype=np.float32), 45, axis=0)
    found = greedy_gains(likeness(vectors), function, 0.4)
    np.testing.assert_allclose(found, naive_gains(likeness(vectors), function, 0.4), atol=1e-7)


def test_the_greedy_of_a_set_is_within_its_bound_of_the_best_set() -> None:
    """1 - 1/e of the best set of each size (Nemhauser et al. 1978), all subsets tried."""
    similarity = np.abs(likeness(np.random.default_rng(3).normal(size=(8, 4)).astype(np.float32)))
    gains = np.sort(greedy_gains(similarity, "facility_location", 0.0))[::-1]
    for size in range(1, 9):
        best = max(
            value(similarity, list(subset), "facility_location", 0)
            for subset in itertools.combinations(range(8), size)
        )
        assert gains[:size].sum() >= (1 - 1 / np.e) * best - 1e-9


def test_budgets_are_the_taylor_softmax_of_the_gains() -> None:
    """Two units at a right angle and one between them, worked out by hand; lambda is 0.4."""
    centroids = np.array([[1, 0], [0, 1], [np.sqrt(0.5), np.sqrt(0.5)]])
    found = smart.shares(facts(centroids, [900, 900, 900], 900), params()).shares
    half = np.sqrt(0.5)
    gains = np.array([1 + half - 0.4 - 0.8 * half, 1 + half - 0.4 - 0.8 * half, 1 + 2 * half - 0.4])
    powers = 1 + gains + gains**2 / 2
    np.testing.assert_allclose(found, powers / powers.sum(), rtol=1e-6)


def test_a_unit_that_repeats_another_gets_less() -> None:
    centroids = np.array([[1, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], np.float32)
    for function in FUNCTIONS:
        found = smart.shares(facts(centroids, [900] * 4, 900), params(function=function)).shares
        assert found.sum() == pytest.approx(1)
        assert found[1] < found[0]


def test_a_small_unit_gives_all_it_has_and_the_others_share_the_rest_evenly() -> None:
    centroids = np.eye(4)
    result = smart.shares(facts(centroids, [10, 0, 1_000, 1_000], 1_000, 2.0), params())
    np.testing.assert_allclose(result.shares, [0.02, 0, 0.49, 0.49], rtol=1e-6)
    assert result.notes == ["smart: 1 units give all they have; the others share the rest"]


@given(
    st.lists(st.tuples(st.integers(0, 99), st.integers(1, 99)), min_size=1, max_size=8),
)
@settings(max_examples=80, deadline=None)
def test_excess_goes_round_one_by_one_as_in_the_papers_code(pairs: list[tuple[int, int]]) -> None:
    asked, limit = (np.array(column, float) for column in zip(*pairs, strict=True))
    given_ = smart.fill_evenly(asked, limit)
    step = 1 / 64
    plain = np.minimum(asked, limit)
    left = round((asked.sum() - plain.sum()) / step)
    while left and (plain < limit).any():
        for i in range(len(plain)):
            if left and plain[i] < limit[i]:
                plain[i] += step
                left -= 1
    np.testing.assert_allclose(given_, plain, atol=2 * step)


def test_more_than_there_is_is_shared_by_what_there_is() -> None:
    found = smart.shares(facts(np.eye(2), [100, 300], 10_000, 1.0), params())
    np.testing.assert_allclose(found.shares, [0.25, 0.75])
