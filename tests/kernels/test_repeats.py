from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mixcurate.kernels.mixture import RepetitionParams
from mixcurate.kernels.repeats import effective_tokens, marginal_value

LAWS = [
    RepetitionParams(),
    RepetitionParams(r_star=3.0),
    RepetitionParams(law="half_life"),
    RepetitionParams(law="half_life", half_life=0.5),
]


def worth(unique: float, epochs: float, params: RepetitionParams) -> float:
    return float(effective_tokens(np.array([unique]), np.array([epochs]), params)[0])


#: Validation loss of runs of 8.67 B parameters and 178 B tokens by unique tokens, and the constants
#: of the fit, both from huggingface/datablations, utils/parametric_fit.ipynb (Apache-2.0).
MEASURED = {25e9: 2.376484, 35e9: 2.360029, 44e9: 2.351177, 58e9: 2.348107, 178e9: 2.336741}
LOG_A, LOG_B, EXPONENT, PARAMETER_REPEATS = 6.255414, 7.3049974, 0.3526596, 5.309743


def predicted_loss(unique: float, law: RepetitionParams) -> float:
    """The law of arXiv 2305.16264, section 3, whose parameters have excess too; no constant."""
    optimal = np.exp((LOG_A - LOG_B) / EXPONENT) * unique
    base = min(8.67e9, optimal)
    excess = (8.67e9 / base - 1) / PARAMETER_REPEATS
    parameters = base + base * PARAMETER_REPEATS * (1 - np.exp(-excess))
    effective = worth(unique, 178e9 / unique, law)
    return float(np.exp(LOG_A) / parameters**EXPONENT + np.exp(LOG_B) / effective**EXPONENT)


@pytest.mark.parametrize("unique", [25e9, 35e9, 44e9, 58e9])
def test_the_rise_of_the_loss_with_repeats_is_that_of_the_papers_runs(unique):
    rise = predicted_loss(unique, RepetitionParams()) - predicted_loss(178e9, RepetitionParams())
    assert rise == pytest.approx(MEASURED[unique] - MEASURED[178e9], abs=0.006)
    without = RepetitionParams(r_star=1e9)
    missed = predicted_loss(unique, without) - predicted_loss(178e9, without)
    assert abs(missed - MEASURED[unique] + MEASURED[178e9]) > abs(
        rise - MEASURED[unique] + MEASURED[178e9]
    )


def test_no_number_of_epochs_is_worth_more_than_the_law_says():
    most = worth(1e9, 1e6, RepetitionParams())
    assert most == pytest.approx(1e9 * (1 + 15.387756))
    assert worth(1e9, 1 + 15.387756, RepetitionParams()) == pytest.approx(
        1e9 * (1 + 15.387756 * (1 - 1 / np.e))
    )
    assert worth(1e9, 1e6, RepetitionParams(law="half_life", half_life=1)) == pytest.approx(2e9)


@given(
    st.integers(0, 10**12), st.floats(0, 60), st.sampled_from([0.3, 1.0, 4.0, 11.5]), st.booleans()
)
@settings(max_examples=60, deadline=None)
def test_half_life_is_the_sum_over_epochs(unique, epochs, half_life, at_an_end):
    epochs = float(round(epochs)) if at_an_end else epochs
    total, epoch = 0.0, 0
    while epoch < epochs:
        total += min(epochs - epoch, 1.0) * 0.5 ** (epoch / half_life)
        epoch += 1
    params = RepetitionParams(law="half_life", half_life=half_life)
    assert worth(unique, epochs, params) == pytest.approx(unique * total, rel=1e-12)


@given(st.integers(1, 10**12), st.floats(0, 60), st.floats(0.1, 100))
@settings(max_examples=60, deadline=None)
def test_data_constrained_is_the_formula(unique, epochs, r_star):
    params = RepetitionParams(r_star=r_star)
    if epochs <= 1:
        expected = unique * epochs
    else:
        expected = unique + unique * r_star * (1 - np.exp(-(epochs - 1) / r_star))
    assert worth(unique, epochs, params) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("params", LAWS)
def test_worth_is_the_sum_of_marginal_values(params):
    steps = 4_000
    grid = np.arange(9 * steps) / steps
    slope = marginal_value(grid + 0.5 / steps, params)
    summed = np.concatenate([[0.0], np.cumsum(slope)]) / steps
    found = effective_tokens(np.full(len(grid), 7.0), grid, params)
    np.testing.assert_allclose(found, 7.0 * summed[:-1], rtol=1e-6, atol=1e-9)


@given(
    st.sampled_from(LAWS),
    st.lists(st.floats(0, 200), min_size=2, max_size=20),
    st.integers(0, 10**13),
)
@settings(max_examples=60, deadline=None)
def test_more_is_never_worth_less_nor_more_than_fresh(params, epochs, unique):
    sorted_epochs = np.sort(np.array(epochs))
    many = np.full(len(epochs), float(unique))
    found = effective_tokens(many, sorted_epochs, params)
    assert (np.diff(found) >= -1e-9 * unique).all()
    assert (found <= many * sorted_epochs * (1 + 1e-12)).all()
    slope = marginal_value(sorted_epochs, params)
    assert (np.diff(slope) <= 0).all()
    assert (slope >= 0).all()
    assert (slope[sorted_epochs < 1] == 1).all()


def test_a_unit_without_tokens_is_worth_nothing_at_any_epochs():
    found = effective_tokens(np.zeros(3), np.array([0.0, 4.0, np.inf]), RepetitionParams())
    assert found.tolist() == [0, 0, 0]
