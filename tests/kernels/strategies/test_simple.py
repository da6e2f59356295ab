"""Natural, uniform, temperature and SampleMix: each against its definition."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mixcurate.kernels.mixture import MixtureParams
from mixcurate.kernels.strategies import natural, samplemix, temperature, uniform
from mixcurate.kernels.strategies.table import STRATEGIES
from tests.kernels.strategies.units import TOKENS, facts


def at_temperature(t: float) -> MixtureParams:
    return MixtureParams(strategy="temperature", temperature=t, budget_tokens=1)


@given(TOKENS, st.floats(0.1, 50))
@settings(max_examples=50, deadline=None)
def test_shares_are_those_of_their_definition(tokens, t):
    have, total = facts(tokens), sum(tokens)
    expected = [n / total for n in tokens]
    np.testing.assert_allclose(natural.shares(have, MixtureParams()).shares, expected)
    alive = sum(n > 0 for n in tokens)
    expected = [(n > 0) / alive for n in tokens]
    np.testing.assert_allclose(uniform.shares(have, MixtureParams()).shares, expected)
    logs = [np.log(n) / t if n else -np.inf for n in tokens]
    powers = [np.exp(value - max(logs)) for value in logs]
    expected = [power / sum(powers) for power in powers]
    found = temperature.shares(have, at_temperature(t)).shares
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-300)


@given(TOKENS)
@settings(max_examples=50, deadline=None)
def test_temperature_goes_from_natural_to_uniform(tokens):
    have, array = facts(tokens), np.array(tokens)
    np.testing.assert_allclose(
        temperature.shares(have, at_temperature(1)).shares,
        natural.shares(have, MixtureParams()).shares,
    )
    np.testing.assert_allclose(
        temperature.shares(have, at_temperature(1e9)).shares,
        uniform.shares(have, MixtureParams()).shares,
        atol=1e-6,
    )
    winner = temperature.shares(have, at_temperature(1e-3)).shares
    assert winner[np.argmax(array)] >= 1 / len(tokens)
    assert (winner[array < array.max() // 2] < 1e-6).all()


@pytest.mark.parametrize(("tau", "exponent"), [(1.43, 0.7), (2.0, 0.5), (3.33, 0.3)])
def test_temperatures_of_multilingual_models_are_the_exponents_they_report(tau, exponent):
    """mBERT 0.7, XLM 0.5, XLM-R and mT5 0.3 (taus as in UniMax, arXiv 2304.09151)."""
    tokens = [300_800_000_000, 66_600_000_000, 1_900_000_000, 20_000_000]
    powered = [float(n) ** exponent for n in tokens]
    found = temperature.shares(facts(tokens), at_temperature(tau)).shares
    np.testing.assert_allclose(found, np.array(powered) / sum(powered), rtol=0.015)


@given(st.lists(st.floats(0, 1e9), min_size=1, max_size=8).filter(lambda v: sum(v) > 1e-6))
@settings(max_examples=50, deadline=None)
def test_samplemix_shares_are_the_weighted_tokens(weighted):
    have = facts([1] * len(weighted), weighted_tokens=np.array(weighted))
    found = samplemix.shares(have, MixtureParams()).shares
    np.testing.assert_allclose(found, [value / sum(weighted) for value in weighted])


def test_explicit_is_natural_where_no_target_says_otherwise():
    assert STRATEGIES["explicit"] is STRATEGIES["natural"]
