from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from mixcurate.kernels.mixture import MigParams, MixtureParams
from mixcurate.kernels.strategies import mig
from mixcurate.kernels.strategies.facts import Facts
from mixcurate.kernels.submodular import likeness


def facts(centroids: np.ndarray, quality: list[float], tokens: list[int], budget: int) -> Facts:
    return Facts(
        names=[f"unit {i}" for i in range(len(tokens))],
        documents=np.array(tokens) // 10,
        tokens=np.array(tokens, np.int64),
        budget=budget,
        max_epochs=1.0,
        centroids=centroids.astype(np.float32),
        quality=np.array(quality),
    )


def params(**mig_params: float) -> MixtureParams:
    return MixtureParams(strategy="mig", budget_tokens=1_000, mig=mig_params)


def naive(brings: np.ndarray, n: int, room: np.ndarray, power: float) -> list[int]:
    """Every gain at every step, as the authors' sampler has it."""
    holds, taken = np.zeros(len(brings)), [0] * len(brings)
    for _ in range(n):
        gains = [
            sum(brings[i, j] * power * (holds[j] + 1e-6) ** (power - 1) for j in range(len(brings)))
            for i in range(len(brings))
        ]
        free = [i for i in range(len(brings)) if taken[i] < room[i]]
        if not free:
            break
        best = max(free, key=lambda i: (round(gains[i], 7), -i))
        taken[best] += 1
        holds += brings[best]
    return taken


@given(st.integers(1, 6), st.integers(0, 2**32), st.sampled_from([-0.5, 0.0, 0.9]))
@settings(max_examples=40, deadline=None)
def test_pieces_are_those_of_the_plain_greedy(n_units: int, seed: int, threshold: float) -> None:
    random = np.random.default_rng(seed)
    near = likeness(random.normal(size=(n_units, 2)).astype(np.float32))
    passes = mig.propagation(near, MigParams(threshold=threshold))
    brings = passes * random.random(n_units)[:, None]
    room = random.integers(0, 30, n_units)
    found = mig.greedy_pieces(brings, 60, room, 0.8)
    assert np.abs(found - naive(brings, 60, room, 0.8)).max() <= 1  # ties
    assert found.sum() == min(60, room.sum())


def test_more_units_than_a_block_of_the_lazy_greedy() -> None:
    random = np.random.default_rng(5)
    near = likeness(random.normal(size=(80, 3)).astype(np.float32))
    brings = mig.propagation(near, MigParams(threshold=0.5)) * random.random(80)[:, None]
    room = np.full(80, 9)
    found = mig.greedy_pieces(brings, 120, room, 0.8)
    assert np.abs(found - naive(brings, 120, room, 0.8)).max() <= 1


def test_information_passes_as_the_papers_equation_says() -> None:
    similarity = np.array([[1, 0.95, 0.2], [0.95, 1, -0.4], [0.2, -0.4, 1]])
    found = mig.propagation(similarity, MigParams(propagation=0.5))
    np.testing.assert_allclose(found[:, 0], np.array([1, 0.475, 0]) / 1.475)
    np.testing.assert_allclose(found[:, 2], [0, 0, 1])
    assert (mig.propagation(similarity, MigParams(threshold=-1)) >= 0).all()


def test_separate_units_get_what_their_quality_earns() -> None:
    """Of separate units the best shares are known: quality ** (power / (1 - power))."""
    quality = [0.5, 0.55, 0.6, 0.0]
    found = mig.shares(facts(np.eye(4), quality, [10**6] * 4, 1_000), params()).shares
    earned = np.array(quality) ** 4
    np.testing.assert_allclose(found, earned / earned.sum(), atol=1e-3)


@given(st.integers(0, 2**32))
@settings(max_examples=5, deadline=None)
def test_many_small_steps_reach_the_best_shares_of_all(seed: int) -> None:
    random = np.random.default_rng(seed)
    near = likeness(random.normal(size=(4, 2)).astype(np.float32))
    brings = mig.propagation(near, MigParams(threshold=0.0)) * (0.5 + random.random((4, 1)))
    taken = mig.greedy_pieces(brings, 2_048, np.full(4, 2_048), 0.8)

    def information(part: np.ndarray) -> float:
        return float(((np.abs(part) / np.abs(part).sum()) @ brings).__pow__(0.8).sum())

    best = minimize(lambda part: -information(part), np.ones(4), tol=1e-12)
    assert information(taken / 2_048) >= -best.fun - 1e-4


def test_a_unit_between_others_stands_for_all_of_them() -> None:
    """Pieces of the middle one reach three units; those of a far one, itself alone."""
    centroids = np.array([[1, 0], [1, 1], [0, 1], [-1, -1]])
    pool = facts(centroids, [0.5] * 4, [10**6] * 4, 1_000)
    found = mig.shares(pool, params(threshold=0.7)).shares
    arrives = np.sqrt(2) - 1  # of the middle one, at each of the three
    assert found[0] == found[2] == 0
    ratio = (3 * arrives**0.8) ** 5  # maximum of 3 (arrives x) ** 0.8 + (1 - x) ** 0.8
    assert found[1] == pytest.approx(ratio / (1 + ratio), abs=1e-3)
    apart = mig.shares(pool, params(threshold=1.0)).shares
    np.testing.assert_allclose(apart, 0.25, atol=1e-3)


def test_a_full_unit_gives_no_more() -> None:
    result = mig.shares(facts(np.eye(4), [0.9, 0.3, 0.3, 0], [100, 0, 5_000, 1], 1_000), params())
    np.testing.assert_allclose(result.shares, [0.1, 0, 0.9, 0], atol=1e-3)


def test_a_unit_below_a_piece_is_told() -> None:
    result = mig.shares(facts(np.eye(2), [0.5, 0.5], [1, 10**7], 10**6), params())
    assert result.shares.tolist() == [0, 1]
    assert result.notes == [
        "mig: 1 units have less than a piece of the budget: 1/4,096; they get nothing"
    ]


def test_no_quality_and_no_room() -> None:
    alike = mig.shares(facts(np.eye(2), [0, 0], [900, 900], 1_000), params()).shares
    np.testing.assert_allclose(alike, 0.5, atol=1e-3)
    short = mig.shares(facts(np.eye(2), [1, 0], [100, 300], 1_000), params()).shares
    assert short.tolist() == pytest.approx([0.25, 0.75])
