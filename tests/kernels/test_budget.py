from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mixcurate.errors import PlanError
from mixcurate.kernels import budget
from mixcurate.kernels.budget import Stock

PARTS = st.lists(st.integers(0, 1_000), min_size=1, max_size=8).filter(any)
NAMES = [f"name-{i}" for i in range(8)]


def shares_of(parts: list[int]) -> np.ndarray:
    return np.array(parts) / sum(parts)


def stock(available: list[int], epochs: float = 1.0, **more: Any) -> Stock:
    return Stock(
        np.array(available, np.int64), epochs, lambda i: f"domain {i} ({NAMES[i]!r})", **more
    )


def targets(
    parts: list[int], total: int, available: list[int], *, epochs: float = 1.0, on_short: str
) -> tuple[np.ndarray, list[str]]:
    found, notes = budget.token_targets(
        [shares_of(parts)], np.array([total]), stock(available, epochs), on_short
    )
    assert found.shape == (1, len(parts))
    return found[0], notes


def largest_feasible(shares: np.ndarray, limit: np.ndarray) -> int:
    return budget.largest_feasible([shares], limit)


def naive_apportion(shares: list[float], total: int) -> list[int]:
    result = [int(share * total) for share in shares]
    by_remainder = sorted(range(len(shares)), key=lambda i: (result[i] - shares[i] * total, i))
    for i in by_remainder[: total - sum(result)]:
        result[i] += 1
    return result


@given(PARTS, st.integers(0, 10**13))
@settings(max_examples=50, deadline=None)
def test_apportioned_tokens_sum_exactly_and_are_within_one_of_their_share(parts, total):
    found = budget.apportion(shares_of(parts), total)
    assert found.dtype == np.int64
    assert int(found.sum()) == total
    assert (np.abs(found - shares_of(parts) * total) <= 1).all()
    assert found.tolist() == naive_apportion(shares_of(parts).tolist(), total)
    assert (found[shares_of(parts) == 0] == 0).all()


def test_ties_of_the_remainder_go_to_the_lower_index():
    assert budget.apportion(np.full(4, 0.25), 6).tolist() == [2, 2, 1, 1]
    assert budget.apportion(np.full(64, 1 / 64), 100).tolist() == [2] * 36 + [1] * 28
    assert budget.apportion(np.array([0.1, 0.2, 0.7]), 10).tolist() == [1, 2, 7]


def test_capacity_is_rounded_down():
    assert budget.capacity(np.array([10, 3, 0]), 2.5).tolist() == [25, 7, 0]


@given(PARTS, st.data())
@settings(max_examples=50, deadline=None)
def test_the_largest_feasible_budget_works_and_one_token_more_does_not(parts, data):
    limit = np.array(
        data.draw(st.lists(st.integers(0, 500), min_size=len(parts), max_size=len(parts)))
    )
    found = largest_feasible(shares_of(parts), limit)
    assert (budget.apportion(shares_of(parts), found) <= limit).all()
    assert (budget.apportion(shares_of(parts), found + 1) > limit).any()


@given(PARTS, st.data())
@settings(max_examples=50, deadline=None)
def test_no_budget_below_the_largest_feasible_one_overfills_a_domain_by_more_than_rounding(
    parts, data
):
    limit = np.array(
        data.draw(st.lists(st.integers(1, 60), min_size=len(parts), max_size=len(parts)))
    )
    found = largest_feasible(shares_of(parts), limit)
    for total in range(found + 1):
        assert (budget.apportion(shares_of(parts), total) <= limit + 1).all()


def test_a_single_domain_can_give_all_it_has():
    assert largest_feasible(np.array([1.0]), np.array([123])) == 123


def test_an_empty_domain_with_a_share_allows_no_budget_but_what_rounds_it_away():
    assert largest_feasible(np.array([0.5, 0.5]), np.array([0, 100])) == 0


def test_domains_without_a_share_do_not_limit_the_budget():
    assert largest_feasible(np.array([0.0, 1.0]), np.array([0, 100])) == 100


@given(PARTS, st.integers(1, 2_000), st.data())
@settings(max_examples=50, deadline=None)
def test_a_budget_is_met_exactly_within_capacity_or_refused(parts, total, data):
    n = len(parts)
    available = data.draw(st.lists(st.integers(0, 500), min_size=n, max_size=n))
    epochs = data.draw(st.sampled_from([0.5, 1.0, 2.5]))
    limit = [int(have * epochs) for have in available]
    try:
        found, notes = targets(parts, total, available, epochs=epochs, on_short="fail")
    except PlanError:
        assert (budget.apportion(shares_of(parts), total) > limit).any()
    else:
        assert found.tolist() == budget.apportion(shares_of(parts), total).tolist()
        assert (found <= limit).all()
        assert notes == []


@given(PARTS, st.integers(1, 2_000), st.data())
@settings(max_examples=50, deadline=None)
def test_water_filling_caps_short_domains_and_keeps_the_ratios_of_the_others(parts, total, data):
    n = len(parts)
    available = data.draw(st.lists(st.integers(0, 500), min_size=n, max_size=n))
    reachable = sum(have for have, part in zip(available, parts, strict=True) if part)
    if total > reachable:
        with pytest.raises(PlanError, match=f"largest budget that works is {reachable:,}"):
            targets(parts, total, available, on_short="renormalize")
        return
    found, notes = targets(parts, total, available, on_short="renormalize")
    assert int(found.sum()) == total
    assert (found <= available).all()
    assert (found[np.array(parts) == 0] == 0).all()
    capped = [int(re.match(r"domain (\d+) ", note).group(1)) for note in notes]
    assert all(found[i] == available[i] for i in capped)
    free = [i for i in range(n) if i not in capped and parts[i]]
    left = total - sum(available[i] for i in capped)
    for i in free:
        assert abs(found[i] - left * parts[i] / sum(parts[j] for j in free)) <= 1
    level = left / sum(parts[j] for j in free) if free else np.inf
    for i in capped:  # none was capped that had enough
        assert level * parts[i] > available[i] - 1


def test_water_filling_by_hand():
    found, notes = targets([50, 30, 20], 100, [20, 35, 90], on_short="renormalize")
    # 20 of the first; 80 as 30 : 20 is 48 : 32, so 35 of the second, and 45 of the third
    assert found.tolist() == [20, 35, 45]
    assert notes == [
        "domain 0 ('name-0') is capped at 20 tokens",
        "domain 1 ('name-1') is capped at 35 tokens",
    ]


def test_the_refusal_names_every_short_domain_both_numbers_and_a_budget_that_works():
    with pytest.raises(PlanError) as error:
        targets([50, 30, 20], 10_000, [1_200, 700, 1_000], epochs=2, on_short="fail")
    message = str(error.value)
    assert "2 of 3 domains are too small" in message
    assert "domain 0 ('name-0') needs 5,000 tokens and can give 2,400 at max_epochs 2" in message
    assert "domain 1 ('name-1') needs 3,000 tokens and can give 1,400 at max_epochs 2" in message
    assert "name-2" not in message
    works = int(re.search(r"works with these shares is\s+([\d,]+)\.", message)[1].replace(",", ""))
    found, _ = targets([50, 30, 20], works, [1_200, 700, 1_000], epochs=2, on_short="fail")
    assert int(found.sum()) == works
    with pytest.raises(PlanError):
        targets([50, 30, 20], works + 1, [1_200, 700, 1_000], epochs=2, on_short="fail")


@given(PARTS, st.integers(1, 2_000), st.data())
@settings(max_examples=50, deadline=None)
def test_the_budget_that_a_refusal_proposes_works(parts, total, data):
    n = len(parts)
    available = data.draw(st.lists(st.integers(0, 500), min_size=n, max_size=n))
    assume((budget.apportion(shares_of(parts), total) > available).any())
    with pytest.raises(PlanError) as error:
        targets(parts, total, available, on_short="fail")
    works = int(re.search(r"shares is ([\d,]+)\.", str(error.value))[1].replace(",", ""))
    found, _ = targets(parts, works, available, on_short="fail")
    assert int(found.sum()) == works


@given(PARTS, st.integers(1, 2_000), st.data())
@settings(max_examples=50, deadline=None)
def test_repeating_keeps_the_shares_and_says_how_often(parts, total, data):
    n = len(parts)
    available = data.draw(st.lists(st.integers(0, 300), min_size=n, max_size=n))
    wanted = budget.apportion(shares_of(parts), total)
    empty = [i for i in range(n) if wanted[i] > 0 and available[i] == 0]
    if empty:
        with pytest.raises(PlanError, match="cannot be repeated") as error:
            targets(parts, total, available, on_short="repeat")
        assert all(f"'name-{i}'" in str(error.value) for i in empty)
        return
    found, notes = targets(parts, total, available, on_short="repeat")
    assert found.tolist() == wanted.tolist()
    short = [i for i in range(n) if wanted[i] > available[i]]
    assert [int(re.match(r"domain (\d+) ", note)[1]) for note in notes] == short
    for i, note in zip(short, notes, strict=True):
        assert f"repeated {wanted[i] / available[i]:.4g} times, more than max_epochs 1" in note


def phases(
    shares: list[list[int]], totals: list[int], available: list[int], on_short: str
) -> tuple[np.ndarray, list[str]]:
    names = tuple(f"phase-{i}" for i in range(len(shares)))
    each = [shares_of(parts) for parts in shares]
    return budget.token_targets(each, np.array(totals), stock(available, phases=names), on_short)


@st.composite
def schedules(draw_from: Any) -> tuple[list[list[int]], list[int], list[int]]:
    n, count = draw_from(st.integers(1, 5)), draw_from(st.integers(1, 3))
    row = st.lists(st.integers(0, 20), min_size=n, max_size=n)
    shares = draw_from(st.lists(row.filter(any), min_size=count, max_size=count))
    totals = draw_from(st.lists(st.integers(1, 500), min_size=count, max_size=count))
    return shares, totals, draw_from(st.lists(st.integers(0, 500), min_size=n, max_size=n))


@given(schedules())
@settings(max_examples=150, deadline=None)
def test_phases_meet_their_budgets_and_stay_within_what_there_is_together(schedule):
    shares, totals, available = schedule
    asked = [budget.apportion(shares_of(s), t) for s, t in zip(shares, totals, strict=True)]
    short = sum(asked) > np.array(available)
    if not short.any():
        found, notes = phases(shares, totals, available, "fail")
        assert (found == asked).all()
        assert notes == []
        return
    with pytest.raises(PlanError, match=f"{short.sum()} of {len(available)} domains") as error:
        phases(shares, totals, available, "fail")
    works = int(re.search(r"shares is ([\d,]+)\.", str(error.value))[1].replace(",", ""))
    parts = budget.apportion(np.array(totals) / sum(totals), works).tolist()
    fits = sum(budget.apportion(shares_of(s), t) for s, t in zip(shares, parts, strict=True))
    assert (fits <= available).all()
    try:
        found, notes = phases(shares, totals, available, "renormalize")
    except PlanError:
        return  # all that the phases want is used up
    assert found.sum(axis=1).tolist() == totals
    assert (found >= 0).all()
    assert (found.sum(axis=0) <= available).all()
    assert all(found[i, j] == 0 for i, s in enumerate(shares) for j, x in enumerate(s) if x == 0)
    assert len(notes) >= short.sum()


def test_phases_of_a_capped_cell_keep_their_ratio():
    # 60 + 30 are asked for of the first, which has 30
    found, notes = phases([[60, 40], [30, 70]], [100, 100], [30, 900], "renormalize")
    assert found.tolist() == [[20, 80], [10, 90]]
    assert notes == ["domain 0 ('name-0') is capped at 30 tokens"]


def test_a_phase_whose_domains_are_used_up_by_others_is_named():
    with pytest.raises(PlanError, match=r"phase 'phase-1' asks for 100 tokens, .* have only 50"):
        phases([[1, 1], [1, 0]], [100, 100], [75, 900], "renormalize")
