from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from mixcurate.kernels.transport import transport


def problem(seed: int, m: int, n: int, slack: float) -> tuple[np.ndarray, ...]:
    random = np.random.default_rng(seed)
    cost, mass = random.random((m, n)), random.random(m) + 0.1
    prior, limit = random.random(n) + 0.1, random.random(n) + 0.05
    return cost, mass / mass.sum(), prior / prior.sum(), limit / limit.sum() * (1 + slack)


def cheapest(cost: np.ndarray, mass: np.ndarray, limit: np.ndarray) -> float:
    """The least cost of all plans, by linear programming."""
    m, n = cost.shape
    rows = np.kron(np.eye(m), np.ones(n))
    columns = np.kron(np.ones(m), np.eye(n))
    return float(linprog(cost.ravel(), columns, limit, rows, mass).fun)


def cost_of(arrives: np.ndarray, cost: np.ndarray, mass: np.ndarray) -> float:
    """The least cost at which the sources can send what arrives."""
    m, n = cost.shape
    rows, columns = np.kron(np.eye(m), np.ones(n)), np.kron(np.ones(m), np.eye(n))
    both, right = np.vstack([rows, columns]), np.concatenate([mass, arrives])
    return float(linprog(cost.ravel(), A_eq=both[:-1], b_eq=right[:-1]).fun)


@given(st.integers(0, 2**32), st.integers(1, 7), st.integers(1, 6), st.floats(0.05, 4))
@settings(max_examples=40, deadline=None)
def test_with_little_entropy_the_plan_is_the_cheapest(
    seed: int, m: int, n: int, slack: float
) -> None:
    cost, mass, prior, limit = problem(seed, m, n, slack)
    done = transport(cost, mass, prior, limit, epsilon=0.003)
    assert done.arrives.sum() == pytest.approx(1)
    assert (done.arrives <= limit + 1e-5).all()
    # KL of two plans is at most the logarithm of the least prior
    bound = 0.003 * -np.log(prior.min())
    assert cost_of(done.arrives, cost, mass) <= cheapest(cost, mass, limit) + bound + 1e-4


@given(st.integers(0, 2**32), st.floats(0.05, 2))
@settings(max_examples=30, deadline=None)
def test_without_limits_each_source_is_a_softmax(seed: int, epsilon: float) -> None:
    cost, mass, prior, _ = problem(seed, 5, 4, 0)
    done = transport(cost, mass, prior, np.full(4, np.inf), epsilon=epsilon)
    plan = prior * np.exp(-cost / epsilon)
    np.testing.assert_allclose(
        done.arrives, mass @ (plan / plan.sum(axis=1, keepdims=True)), rtol=1e-9
    )


@given(st.integers(0, 2**32))
@settings(max_examples=12, deadline=None)
def test_of_all_plans_within_the_limits_it_is_the_best(seed: int) -> None:
    """No exchange between four cells that keeps both marginals lowers what is minimised."""
    cost, mass, prior, limit = problem(seed, 3, 3, 0.3)
    epsilon = 0.2
    done = transport(cost, mass, prior, limit, epsilon=epsilon, tolerance=1e-12)
    assert (done.arrives <= limit + 1e-9).all()
    below = done.arrives < limit - 1e-6
    # the conditions of Karush, Kuhn and Tucker: price 0 where a place is not full, else at most 0
    price = _prices(cost, mass, prior, done.arrives, epsilon)
    price -= price[below].max() if below.any() else 0.0
    assert (np.abs(price[below]) < 1e-4).all()
    assert (price <= 1e-4).all()


def _prices(
    cost: np.ndarray, mass: np.ndarray, prior: np.ndarray, arrives: np.ndarray, epsilon: float
) -> np.ndarray:
    """Logarithms of the columns' scalings of the plan with these marginals."""
    kernel, column = prior * np.exp(-cost / epsilon), np.ones(len(prior))
    for _ in range(3_000):
        row = mass / (kernel @ column)
        column = arrives / (row @ kernel)
    return np.asarray(np.log(column))


def test_a_full_place_sends_the_rest_to_the_next() -> None:
    cost = np.array([[0.0, 0.1, 1.0]])
    done = transport(cost, np.ones(1), np.full(3, 1 / 3), np.array([0.3, 1, 1]), epsilon=0.01)
    np.testing.assert_allclose(done.arrives, [0.3, 0.7, 0], atol=1e-6)


def test_nothing_goes_where_nothing_is_or_nothing_fits() -> None:
    cost = np.array([[0.0, 0.0, 1.0], [0.0, 0.0, 1.0]])
    done = transport(
        cost, np.full(2, 0.5), np.array([0, 0.5, 0.5]), np.array([1, 0, 2.0]), epsilon=0.1
    )
    np.testing.assert_allclose(done.arrives, [0, 0, 1], atol=1e-6)


def test_an_entropy_term_of_1e_4_does_not_underflow() -> None:
    cost, mass, prior, _ = problem(0, 6, 5, 0)
    done = transport(cost, mass, prior, np.full(5, np.inf), epsilon=1e-4)
    nearest = np.bincount(cost.argmin(axis=1), mass, minlength=5)
    np.testing.assert_allclose(done.arrives, nearest, atol=1e-6)


def test_limits_that_are_too_small_end_with_what_is_above() -> None:
    done = transport(
        np.zeros((1, 2)), np.ones(1), np.full(2, 0.5), np.array([0.3, 0.3]), epsilon=0.1
    )
    assert done.arrives.sum() == pytest.approx(1)
    assert done.excess == pytest.approx(0.2)
