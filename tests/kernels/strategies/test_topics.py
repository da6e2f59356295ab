from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mixcurate.errors import PlanError
from mixcurate.kernels.mixture import MixtureParams, TopicsParams
from mixcurate.kernels.strategies import topics
from tests.kernels.strategies.units import facts

NAMES = ["science", "relationships", "sports"]


def shares(tokens: list[int], params: TopicsParams, names: list[str] | None = None) -> list[float]:
    have = facts(tokens, names=names or NAMES)
    mixture = MixtureParams(strategy="topics", budget_tokens=1, topics=params)
    return topics.shares(have, mixture).shares.tolist()


def test_natural_shares_times_the_factor():
    params = TopicsParams(factors={"science": 2, "2": 0.5})
    assert shares([100, 300, 200], params) == pytest.approx([200 / 600, 300 / 600, 100 / 600])


def test_scores_raise_what_helped_and_lower_what_hurt():
    """s = 46, 45, 43 against 44 without: sigma of the four is sqrt(1.25)."""
    params = TopicsParams(
        scores={"science": 46, "relationships": 45, "sports": 43}, baseline=44, gamma=0.5
    )
    sigma = 1.25**0.5
    factors = [1 + 0.5 * d / sigma for d in (2, 1, -1)]
    total = sum(factors)
    assert shares([10, 10, 10], params) == pytest.approx([factor / total for factor in factors])


def test_scores_lead_no_further_than_the_bounds():
    params = TopicsParams(scores={"science": 90, "sports": 1}, baseline=44, gamma=50)
    assert shares([10, 10, 10], params) == pytest.approx([4 / 5.25, 1 / 5.25, 0.25 / 5.25])


def test_a_given_factor_comes_before_a_score():
    params = TopicsParams(factors={"sports": 3}, scores={"sports": 1, "science": 44}, baseline=44)
    assert shares([10, 10, 10], params) == pytest.approx([1 / 5, 1 / 5, 3 / 5])


def test_equal_scores_change_nothing():
    params = TopicsParams(scores={"sports": 44}, baseline=44)
    assert shares([10, 30, 10], params) == pytest.approx([0.2, 0.6, 0.2])


@given(
    st.lists(st.floats(-100, 100), min_size=3, max_size=3),
    st.floats(-100, 100),
    st.floats(0.01, 10),
)
@settings(max_examples=60, deadline=None)
def test_factors_ascend_with_scores_within_the_bounds(scores, baseline, gamma):
    params = TopicsParams(scores={"science": 1}, baseline=0, gamma=gamma, bounds=(0.5, 2))
    found = topics.score_factors(np.array(scores), baseline, params)
    assert ((found >= 0.5) & (found <= 2)).all()
    assert (np.diff(found[np.argsort(scores)]) >= 0).all()
    better = np.array(scores) > baseline
    assert (found[better] >= 1).all()
    assert (found[~better] <= 1).all()


@pytest.mark.parametrize(
    ("params", "message"),
    [
        (
            TopicsParams(factors={"sience": 2}),
            r"mixture.topics.factors: no 'sience' among 3 units; did you mean 'science'\?",
        ),
        (
            TopicsParams(scores={"sport": 2}, baseline=1),
            r"mixture.topics.scores: no 'sport' among 3 units; did you mean 'sports'\?",
        ),
        (
            TopicsParams(factors={"science": 2, "0": 3}),
            r"mixture.topics.factors: '0' names unit 0 \('science'\) a second time",
        ),
        (
            TopicsParams(factors={"science": 0, "relationships": 0, "sports": 0}),
            "all units with documents have 0; raise one",
        ),
    ],
)
def test_what_is_wrong_is_told(params, message):
    with pytest.raises(PlanError, match=message):
        shares([1, 2, 3], params)
