from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mixcurate.errors import PlanError
from mixcurate.kernels import strategies
from mixcurate.kernels.mixture import DomainTarget, MixtureParams

AVAILABLE = st.lists(st.integers(0, 10**12), min_size=1, max_size=10).filter(any)
NAMES = ["news", "sports", "science", "7"]


def tokens(values: list[int]) -> np.ndarray:
    return np.array(values, np.int64)


def share(value: float) -> DomainTarget:
    return DomainTarget(proportion=value)


@given(AVAILABLE, st.floats(0.1, 50))
@settings(max_examples=50, deadline=None)
def test_shares_are_those_of_their_definition(available, t):
    array, total = tokens(available), sum(available)
    np.testing.assert_allclose(strategies.natural(array), [n / total for n in available])
    alive = sum(n > 0 for n in available)
    np.testing.assert_allclose(strategies.uniform(array), [(n > 0) / alive for n in available])
    logs = [np.log(n) / t if n else -np.inf for n in available]
    powers = [np.exp(value - max(logs)) for value in logs]
    expected = [power / sum(powers) for power in powers]
    np.testing.assert_allclose(strategies.temperature(array, t), expected, rtol=1e-9, atol=1e-300)


@given(AVAILABLE)
@settings(max_examples=50, deadline=None)
def test_temperature_goes_from_natural_to_uniform(available):
    array = tokens(available)
    np.testing.assert_allclose(strategies.temperature(array, 1), strategies.natural(array))
    np.testing.assert_allclose(
        strategies.temperature(array, 1e9), strategies.uniform(array), atol=1e-6
    )
    winner = strategies.temperature(array, 1e-3)
    assert winner[np.argmax(array)] >= 1 / len(available)
    assert (winner[array < array.max() // 2] < 1e-6).all()


@given(st.lists(st.floats(0, 1e9), min_size=1, max_size=8).filter(lambda v: sum(v) > 1e-6))
@settings(max_examples=50, deadline=None)
def test_samplemix_shares_are_the_weighted_tokens(weighted):
    found = strategies.samplemix(np.array(weighted))
    np.testing.assert_allclose(found, [value / sum(weighted) for value in weighted])


def test_domains_are_found_by_number_by_name_and_by_a_number_in_quotes():
    found = strategies.resolve_domains(
        {0: share(0.1), "sports": share(0.2), "2": share(0.3)}, NAMES
    )
    assert found == {0: share(0.1), 1: share(0.2), 2: share(0.3)}


def test_a_name_comes_before_a_number():
    assert strategies.resolve_domains({"7": share(0.1)}, NAMES) == {3: share(0.1)}


@pytest.mark.parametrize("key", [4, -1, 7, "4", "-1", "nothing like it", "", "1.0", "²"])
def test_a_key_that_is_no_domain_is_refused(key):
    with pytest.raises(PlanError, match=r"no domain .* among 4 domains; "):
        strategies.resolve_domains({key: share(0.1)}, NAMES)


def test_an_unknown_name_is_refused_with_the_nearest_one():
    with pytest.raises(PlanError, match="no domain 'sport' among 4 domains; did you mean 'sports'"):
        strategies.resolve_domains({"sport": share(0.1)}, NAMES)


@pytest.mark.parametrize("again", ["sports", "1"])
def test_two_keys_of_one_domain_are_refused(again):
    with pytest.raises(PlanError, match=r"names domain 1 \('sports'\) a second time"):
        strategies.resolve_domains({1: share(0.1), again: share(0.2)}, NAMES)


def test_a_proportion_is_of_the_budget_and_the_rest_is_natural():
    shares, budget, notes = strategies.explicit(tokens([100, 300, 600]), {0: share(0.4)}, 1_000)
    np.testing.assert_allclose(shares, [0.4, 0.2, 0.4])
    assert (budget, notes) == (1_000, [])


def test_repeat_and_tokens_are_absolute_and_the_rest_is_natural():
    targets = {0: DomainTarget(repeat=2), 1: DomainTarget(tokens=50)}
    shares, budget, notes = strategies.explicit(tokens([100, 300, 200, 400]), targets, 1_000)
    np.testing.assert_allclose(shares * 1_000, [200, 50, 250, 500])
    assert (budget, notes) == (1_000, [])


def test_without_a_budget_the_targets_add_up_to_it_and_the_others_come_once():
    targets = {0: DomainTarget(repeat=2.5), 1: DomainTarget(tokens=50)}
    shares, budget, _ = strategies.explicit(tokens([100, 300, 200]), targets, None)
    assert budget == 250 + 50 + 200
    np.testing.assert_allclose(shares * budget, [250, 50, 200])


def test_without_a_budget_a_proportion_is_of_the_corpus_that_results():
    shares, budget, _ = strategies.explicit(tokens([100, 300]), {0: share(0.25)}, None)
    assert budget == 400
    np.testing.assert_allclose(shares, [0.25, 0.75])


@pytest.mark.parametrize("proportions", [{0: share(1)}, {0: share(0.5), 1: share(0.5)}])
def test_proportions_that_use_up_everything_need_a_budget(proportions):
    with pytest.raises(PlanError, match=r"need 'mixture\.budget_tokens'"):
        strategies.explicit(tokens([100, 300]), proportions, None)


@pytest.mark.parametrize(
    "targets",
    [
        {0: DomainTarget(tokens=1_500)},
        {0: DomainTarget(repeat=15)},
        {0: share(0.9), 1: DomainTarget(tokens=600)},
    ],
)
def test_targets_beyond_the_budget_are_refused_with_both_numbers(targets):
    with pytest.raises(PlanError, match=r"ask for 1,500 tokens, more than budget_tokens 1,000"):
        strategies.explicit(tokens([100, 300]), targets, 1_000)


@pytest.mark.parametrize(("proportions", "scale"), [((0.4, 0.4), "1.25"), ((0.8, 0.8), "0.625")])
def test_proportions_of_all_domains_that_do_not_add_up_are_scaled_with_a_note(proportions, scale):
    targets = dict(enumerate(map(share, proportions)))
    shares, budget, notes = strategies.explicit(tokens([100, 300]), targets, 1_000)
    assert shares.tolist() == [0.5, 0.5]
    assert budget == 1_000
    assert len(notes) == 1
    assert notes[0].endswith(f"all were scaled by {scale}")


@pytest.mark.parametrize("budget", [None, 1_000])
@pytest.mark.parametrize("zero", [DomainTarget(tokens=0), DomainTarget(repeat=0), share(0)])
def test_targets_that_are_all_zero_are_refused(zero, budget):
    with pytest.raises(PlanError, match="all domains are zero"):
        strategies.explicit(tokens([100, 300]), {0: zero, 1: zero}, budget)


TARGET = st.one_of(
    st.builds(DomainTarget, proportion=st.floats(0, 0.3)),
    st.builds(DomainTarget, repeat=st.floats(0, 3)),
    st.builds(DomainTarget, tokens=st.integers(0, 500)),
)


@given(
    st.lists(st.integers(1, 1_000), min_size=2, max_size=6),
    st.dictionaries(st.integers(0, 4), TARGET, min_size=1, max_size=4),
    st.none() | st.integers(1, 10_000),
)
@settings(max_examples=50, deadline=None)
def test_every_named_domain_gets_what_it_asks_for_and_the_others_keep_their_ratio(
    available, targets, budget
):
    targets = {i: t for i, t in targets.items() if i < len(available) - 1}  # the last is unnamed
    asked = {
        i: (t.tokens if t.tokens is not None else (t.repeat or 0) * available[i])
        for i, t in targets.items()
        if t.proportion is None
    }
    parts = sum(t.proportion or 0 for t in targets.values())
    try:
        shares, total, notes = strategies.explicit(tokens(available), targets, budget)
    except PlanError:
        assert parts >= 1 or (budget is not None and sum(asked.values()) + parts * budget > budget)
        return
    assert shares.sum() == pytest.approx(1)
    assert total == budget or budget is None
    assert notes == []
    rest = [i for i in range(len(available)) if i not in targets]
    for i, target in targets.items():
        wanted = target.proportion * total if target.proportion is not None else asked[i]
        assert shares[i] * total == pytest.approx(wanted, rel=0.5 / total, abs=1)
    left = sum(shares[i] for i in rest)
    for i in rest:
        natural = available[i] / sum(available[j] for j in rest)
        assert shares[i] == pytest.approx(left * natural)


def mixture(strategy: str, **more: object) -> MixtureParams:
    return MixtureParams.model_validate({"strategy": strategy, **more})


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        (mixture("natural"), [0.1, 0.9]),
        (mixture("uniform", budget_tokens=50), [0.5, 0.5]),
        (mixture("temperature", budget_tokens=50), [0.25, 0.75]),
        (mixture("samplemix"), [0.75, 0.25]),
        (mixture("explicit", domains={"b": {"proportion": 0.3}}, budget_tokens=50), [0.7, 0.3]),
    ],
)
def test_each_strategy_gives_its_shares(params, expected):
    shares, budget, _ = strategies.shares_of(
        params, tokens([10, 90]), np.array([3.0, 1.0]), ["a", "b"]
    )
    np.testing.assert_allclose(shares, expected)
    assert budget == (params.budget_tokens or 100)
