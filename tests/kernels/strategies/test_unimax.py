from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mixcurate.kernels.budget import apportion, capacity
from mixcurate.kernels.mixture import MixtureParams
from mixcurate.kernels.strategies import unimax
from tests.kernels.strategies.units import TOKENS, facts

PARAMS = MixtureParams(strategy="unimax", budget_tokens=1)


def level(most: list[float], budget: float) -> float:
    """Brute force: the height up to which water fills vessels of these capacities."""
    low, high = 0.0, max(most)
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if sum(min(middle, m) for m in most) < budget else (low, middle)
    return high


def test_a_worked_example():
    """Sorted ascending: 40 at 2 epochs < 1,000 / 4; 90 at 2 < 960 / 3 ..., the rest alike."""
    found = unimax.shares(facts([500, 40, 300, 90], budget=1_000, max_epochs=2), PARAMS)
    np.testing.assert_allclose(found.shares, np.array([370, 80, 370, 180]) / 1_000)
    assert found.notes == [
        "unimax: 2 of 4 units give all of their 2 epochs; the others share the rest alike"
    ]


def test_with_enough_of_everything_it_is_uniform_without_a_note():
    found = unimax.shares(facts([100, 200, 300, 400, 500], budget=500, max_epochs=1), PARAMS)
    np.testing.assert_allclose(found.shares, 0.2)
    assert found.notes == []


@given(TOKENS, st.floats(0.5, 8), st.floats(0.001, 1))
@settings(max_examples=80, deadline=None)
def test_it_is_uniform_up_to_a_common_level(tokens, max_epochs, part):
    most = capacity(np.array(tokens), max_epochs)
    budget = max(int(most.sum() * part), 1)
    if not most.any():
        return
    found = unimax.shares(facts(tokens, budget=budget, max_epochs=max_epochs), PARAMS).shares
    height = level(most.tolist(), budget)
    np.testing.assert_allclose(found * budget, np.minimum(most, height), rtol=1e-9, atol=1e-6)
    assert (apportion(found, budget) <= most).all(), "what it gives can be drawn"


@pytest.mark.parametrize("budget", [1_200, 5_000])
def test_a_budget_beyond_everything_leaves_all_at_their_epochs(budget):
    found = unimax.shares(facts([100, 0, 200], budget=budget, max_epochs=4), PARAMS)
    np.testing.assert_allclose(found.shares, [1 / 3, 0, 2 / 3])


def test_the_order_of_units_does_not_matter():
    tokens = [7, 0, 900, 31, 31, 5_000]
    found = unimax.shares(facts(tokens, budget=900), PARAMS).shares
    turned = unimax.shares(facts(tokens[::-1], budget=900), PARAMS).shares
    np.testing.assert_allclose(found, turned[::-1])
