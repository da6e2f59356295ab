from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mixcurate.errors import PlanError
from mixcurate.kernels.cells import Partition
from mixcurate.kernels.mixture import DomainTarget, MixtureParams
from mixcurate.kernels.strategies.facts import Facts
from mixcurate.kernels.target_keys import resolve
from mixcurate.kernels.targets import shares_of

NAMES = ["news", "sports", "science", "7"]


def tokens(values: list[int]) -> np.ndarray:
    return np.array(values, np.int64)


def domains(names: list[str]) -> Partition:
    return Partition.of(("domain",), [(i,) for i in range(len(names))], (), names)


def facts(partition: Partition, available: np.ndarray, **more: Any) -> Facts:
    return Facts(
        names=list(partition.names),
        documents=(available > 0).astype(np.int64),
        tokens=available,
        budget=int(available.sum()),
        max_epochs=4.0,
        **more,
    )


def found(targets: dict[int | str, DomainTarget], names: list[str] = NAMES) -> Any:
    resolved = resolve(targets, domains(names), "mixture.domains")
    return {path[0]: target for path, target in resolved.items()}


def explicit(
    available: np.ndarray,
    targets: dict[int, DomainTarget],
    budget: int | None,
    **more: Any,
) -> tuple[np.ndarray, int, list[str]]:
    partition = domains([f"d{i}" for i in range(len(available))])
    params = MixtureParams(domains=targets, budget_tokens=budget, **more)
    return shares_of(params, facts(partition, available), partition, budget)


def share(value: float) -> DomainTarget:
    return DomainTarget(proportion=value)


def test_domains_are_found_by_number_by_name_and_by_a_number_in_quotes():
    targets = {0: share(0.1), "sports": share(0.2), "2": share(0.3)}
    assert found(targets) == {0: share(0.1), 1: share(0.2), 2: share(0.3)}


def test_a_name_comes_before_a_number():
    assert found({"7": share(0.1)}) == {3: share(0.1)}


@pytest.mark.parametrize("key", [4, -1, 7, "4", "-1", "nothing like it", "", "1.0", "²"])
def test_a_key_that_is_no_domain_is_refused(key):
    with pytest.raises(PlanError, match=r"no domain .* among 4 domains; "):
        found({key: share(0.1)})


def test_an_unknown_name_is_refused_with_the_nearest_one():
    with pytest.raises(PlanError, match="no domain 'sport' among 4 domains; did you mean 'sports'"):
        found({"sport": share(0.1)})


@pytest.mark.parametrize("again", ["sports", "1"])
def test_two_keys_of_one_domain_are_refused(again):
    with pytest.raises(PlanError, match=r"names domain 1 \('sports'\) a second time"):
        found({1: share(0.1), again: share(0.2)})


def test_a_proportion_is_of_the_budget_and_the_rest_is_natural():
    shares, budget, notes = explicit(tokens([100, 300, 600]), {0: share(0.4)}, 1_000)
    np.testing.assert_allclose(shares, [0.4, 0.2, 0.4])
    assert budget == 1_000
    assert notes == [
        "2 of 3 domains have no target: they share the remaining 600 of 1,000 tokens as strategy "
        "'natural' says"
    ]


def test_repeat_and_tokens_are_absolute_and_the_rest_is_natural():
    targets = {0: DomainTarget(repeat=2), 1: DomainTarget(tokens=50)}
    shares, budget, notes = explicit(tokens([100, 300, 200, 400]), targets, 1_000)
    np.testing.assert_allclose(shares * 1_000, [200, 50, 250, 500])
    assert (budget, notes) == (1_000, [])


def test_without_a_budget_the_targets_add_up_to_it_and_the_others_come_once():
    targets = {0: DomainTarget(repeat=2.5), 1: DomainTarget(tokens=50)}
    shares, budget, _ = explicit(tokens([100, 300, 200]), targets, None)
    assert budget == 250 + 50 + 200
    np.testing.assert_allclose(shares * budget, [250, 50, 200])


def test_without_a_budget_a_proportion_is_of_the_corpus_that_results():
    shares, budget, _ = explicit(tokens([100, 300]), {0: share(0.25)}, None)
    assert budget == 400
    np.testing.assert_allclose(shares, [0.25, 0.75])


@pytest.mark.parametrize("proportions", [{0: share(1)}, {0: share(0.5), 1: share(0.5)}])
def test_proportions_that_use_up_everything_need_a_budget(proportions):
    with pytest.raises(PlanError, match=r"need 'mixture\.budget_tokens'"):
        explicit(tokens([100, 300]), proportions, None)


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
        explicit(tokens([100, 300]), targets, 1_000)


@pytest.mark.parametrize(("proportions", "scale"), [((0.4, 0.4), "1.25"), ((0.8, 0.8), "0.625")])
def test_proportions_of_all_domains_that_do_not_add_up_are_scaled_with_a_note(proportions, scale):
    targets = dict(enumerate(map(share, proportions)))
    shares, budget, notes = explicit(tokens([100, 300]), targets, 1_000)
    assert shares.tolist() == [0.5, 0.5]
    assert budget == 1_000
    assert len(notes) == 1
    assert notes[0].endswith(f"all were scaled by {scale}")


@pytest.mark.parametrize("budget", [None, 1_000])
@pytest.mark.parametrize("zero", [DomainTarget(tokens=0), DomainTarget(repeat=0), share(0)])
def test_targets_that_are_all_zero_are_refused(zero, budget):
    with pytest.raises(PlanError, match="all domains are zero"):
        explicit(tokens([100, 300]), {0: zero, 1: zero}, budget)


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
        shares, total, notes = explicit(tokens(available), targets, budget)
    except PlanError:
        assert parts >= 1 or (budget is not None and sum(asked.values()) + parts * budget > budget)
        return
    assert shares.sum() == pytest.approx(1)
    assert total == budget or budget is None
    assert len(notes) == any(t.proportion is not None for t in targets.values())
    rest = [i for i in range(len(available)) if i not in targets]
    for i, target in targets.items():
        wanted = target.proportion * total if target.proportion is not None else asked[i]
        assert shares[i] * total == pytest.approx(wanted, rel=0.5 / total, abs=1)
    left = sum(shares[i] for i in rest)
    for i in rest:
        natural = available[i] / sum(available[j] for j in rest)
        assert shares[i] == pytest.approx(left * natural)


def test_an_empty_domain_with_a_target_is_named():
    with pytest.raises(
        PlanError, match=r"mixture\.domains: 'd1' has no documents, but a target of"
    ):
        explicit(tokens([100, 0]), {1: share(0.5)}, 1_000)
    shares, _, _ = explicit(tokens([100, 0]), {1: share(0)}, 1_000)
    assert shares.tolist() == [1, 0]


def test_an_empty_pool_is_refused():
    with pytest.raises(PlanError, match="the pool is empty"):
        explicit(tokens([0, 0]), {}, 1_000)


@pytest.mark.parametrize(
    ("strategy", "expected"), [("uniform", [0.4, 0.3, 0.3]), ("temperature", [0.4, 0.2, 0.4])]
)
def test_any_strategy_shares_what_targets_leave(strategy, expected):
    available = tokens([50, 100, 400])
    shares, _, notes = explicit(available, {0: share(0.4)}, 1_000, strategy=strategy)
    np.testing.assert_allclose(shares, expected)
    assert notes[0].endswith(f"as strategy {strategy!r} says")


def test_min_share_is_taken_from_the_others_in_proportion():
    shares, _, _ = explicit(tokens([10, 20, 970, 0]), {}, 1_000, min_share=0.1)
    np.testing.assert_allclose(shares, [0.1, 0.1, 0.8, 0])
    shares, _, _ = explicit(tokens([10, 20, 270, 700]), {3: share(0.5)}, 1_000, min_share=0.1)
    np.testing.assert_allclose(shares, [0.1, 0.1, 0.3, 0.5])
    shares, _, _ = explicit(tokens([10, 990]), {0: share(0.01)}, 1_000, min_share=0.1)
    np.testing.assert_allclose(shares, [0.01, 0.99])  # it has a target of its own


def test_min_share_that_is_more_than_is_left_is_refused():
    with pytest.raises(PlanError, match=r"takes 600 tokens, and 500 are left .* at most 0\.25"):
        explicit(tokens([10, 20, 70]), {0: share(0.5)}, 1_000, min_share=0.3)


@given(
    st.lists(st.integers(0, 1_000), min_size=1, max_size=8).filter(any),
    st.floats(0, 0.12),
)
@settings(max_examples=50, deadline=None)
def test_min_share_raises_the_small_and_keeps_the_ratio_of_the_others(available, least):
    shares, _, _ = explicit(tokens(available), {}, 10_000, min_share=least)
    assert shares.sum() == pytest.approx(1)
    natural = np.array(available) / sum(available)
    free = [i for i, share in enumerate(shares) if share > least * (1 + 1e-9)]
    for i, have in enumerate(available):
        assert shares[i] >= least * (1 - 1e-9) if have else shares[i] == 0
        assert i in free or not have or natural[i] <= least * (1 + 1e-9) or len(free) < len(shares)
    for i in free:
        assert shares[i] / shares[free[0]] == pytest.approx(natural[i] / natural[free[0]])
