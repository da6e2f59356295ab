from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mixcurate.errors import PlanError
from mixcurate.kernels.budget import apportion, capacity
from mixcurate.kernels.mixture import MixtureParams, RepetitionParams
from mixcurate.kernels.repeats import effective_tokens
from mixcurate.kernels.strategies import repetition
from mixcurate.kernels.strategies.repetition import EXPONENT
from tests.kernels.strategies.units import TOKENS, facts

LAWS = [
    RepetitionParams(),
    RepetitionParams(r_star=0.5),
    RepetitionParams(law="half_life"),
    RepetitionParams(law="half_life", half_life=0.3),
]


def asked(law: RepetitionParams) -> MixtureParams:
    return MixtureParams(strategy="repetition", budget_tokens=1, repetition=law)


def objective(
    tokens: list[int], drawn: np.ndarray, law: RepetitionParams, quality: list[float]
) -> float:
    have = np.array(tokens, np.float64)
    effective = effective_tokens(have, drawn / have, law)
    return float((have * quality * effective**-EXPONENT).sum())


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("quality", [[1.0, 1.0, 1.0], [0.9, 0.2, 0.5]])
def test_no_split_on_a_grid_is_better(law, quality):
    tokens, budget, steps = [500, 60, 2_000], 2_400, 240
    have = facts(tokens, budget=budget, max_epochs=5, quality=np.array(quality))
    found = repetition.shares(have, asked(law)).shares * budget
    best = objective(tokens, found, law, quality)
    grid = range(1, steps)
    splits = [(a, b, steps - a - b) for a, b in itertools.product(grid, grid) if a + b < steps]
    drawn = np.array(splits) * budget / steps
    drawn = drawn[(drawn <= 5 * np.array(tokens)).all(1)]
    values = [objective(tokens, split, law, quality) for split in drawn]
    assert best <= min(values) * (1 + 1e-12)
    closest = drawn[int(np.argmin(values))]
    np.testing.assert_allclose(found, closest, atol=3 * budget / steps)


@given(TOKENS, st.sampled_from(LAWS), st.floats(0.001, 0.999), st.floats(0.5, 30))
@settings(max_examples=12, deadline=None)
def test_moving_tokens_from_one_unit_to_another_is_never_better(tokens, law, part, max_epochs):
    tokens = [n for n in tokens if n >= 100] or [100]
    most = capacity(np.array(tokens), max_epochs)
    budget = max(int(most.sum() * part), 1)
    have = facts(tokens, budget=budget, max_epochs=max_epochs)
    found = repetition.shares(have, asked(law)).shares
    assert found.sum() == pytest.approx(1)
    assert (apportion(found, budget) <= most).all(), "what it gives can be drawn"
    drawn = found * budget
    best = objective(tokens, drawn, law, [1.0] * len(tokens))
    for giver, taker in itertools.permutations(range(len(tokens)), 2):
        step = min(0.01 * drawn[giver], most[taker] - drawn[taker])
        if step <= 0:
            continue
        moved = drawn.copy()
        moved[giver], moved[taker] = drawn[giver] - step, drawn[taker] + step
        assert objective(tokens, moved, law, [1.0] * len(tokens)) >= best * (1 - 1e-12)


def test_without_repeats_it_is_a_temperature():
    tokens = [90_000, 5_000, 2_000_000]
    found = repetition.shares(facts(tokens, budget=4_000), asked(RepetitionParams())).shares
    powered = np.array(tokens, np.float64) ** (1 / (1 + EXPONENT))
    np.testing.assert_allclose(found, powered / powered.sum(), rtol=1e-9)


def test_repeats_take_from_the_unit_that_is_used_up():
    tokens, budget = [1_000, 100_000], 60_000
    mild = repetition.shares(facts(tokens, budget=budget, max_epochs=50), asked(LAWS[0])).shares
    harsh = repetition.shares(facts(tokens, budget=budget, max_epochs=50), asked(LAWS[1])).shares
    powered = np.array(tokens, np.float64) ** (1 / (1 + EXPONENT))
    assert tokens[0] / budget < harsh[0] < mild[0] < (powered / powered.sum())[0]


def test_quality_raises_a_share_and_its_absence_is_equal_quality():
    tokens = [10_000, 10_000]
    plain = repetition.shares(facts(tokens, budget=5_000), asked(LAWS[0])).shares
    np.testing.assert_allclose(plain, [0.5, 0.5])
    better = facts(tokens, budget=5_000, quality=np.array([0.8, 0.4]))
    assert repetition.shares(better, asked(LAWS[0])).shares[0] > 0.5


def test_units_without_tokens_or_worth_get_nothing():
    have = facts([0, 500, 700], budget=300, quality=np.array([0.9, 0.0, 0.5]))
    np.testing.assert_allclose(repetition.shares(have, asked(LAWS[0])).shares, [0, 0, 1])
    with pytest.raises(PlanError, match="the quality of all documents is 0"):
        repetition.shares(facts([5], quality=np.zeros(1)), asked(LAWS[0]))


def test_a_budget_beyond_everything_leaves_all_at_their_epochs():
    found = repetition.shares(facts([100, 300], budget=9_999, max_epochs=2), asked(LAWS[0]))
    np.testing.assert_allclose(found.shares, [0.25, 0.75])
    assert found.notes == ["repetition: all units are at 2 epochs"]
