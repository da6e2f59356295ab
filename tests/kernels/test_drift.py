from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon
from scipy.stats import chi2_contingency

from mixcurate.kernels import drift
from mixcurate.kernels.drift import Distances, compare, count_distances, diverge, quantiles

ENTRIES = st.lists(
    st.tuples(st.integers(-1, 3), st.integers(-1, 6), st.integers(0, 20)), max_size=40
)


def columns(entries: list[tuple[int, int, int]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    table = np.array(entries, np.int64).reshape(-1, 3)
    return table[:, 0].astype(np.int32), table[:, 1].astype(np.int16), table[:, 2]


def counted(group: np.ndarray, distance: np.ndarray) -> Distances:
    bins = drift.distance_bins(distance.astype(np.float32))
    return count_distances(group.astype(np.int32), bins, np.ones(len(bins), np.int64))


@given(st.lists(st.floats(0, 2.0**100, width=32), min_size=1, max_size=50))
@settings(max_examples=80)
def test_bins_rise_with_the_distance_and_hold_it_between_their_edges(values):
    distance = np.sort(np.array(values, np.float32))
    bins = drift.distance_bins(distance)
    assert bins.dtype == np.int16
    assert (np.diff(bins.astype(int)) >= 0).all()
    lower, upper = drift.bin_edges(bins), drift.bin_edges(bins.astype(np.int32) + 1)
    assert ((lower <= distance) & (distance < upper)).all()
    normal = lower > 1e-37
    assert (upper[normal] / lower[normal] <= 1 + 1 / 64).all()


def test_an_octave_has_64_bins():
    distance = np.linspace(0.5, 1, 100_000, endpoint=False, dtype=np.float32)
    assert len(np.unique(drift.distance_bins(distance))) == 64


def test_what_is_no_distance_has_no_bin():
    strange = np.array([np.nan, np.inf, -np.inf, -1, -0.0, 0, 3e38], np.float32)
    assert drift.distance_bins(strange).tolist() == [-1, -1, -1, -1, 0, 0, 16304]


@given(ENTRIES, st.integers(0, 40))
@settings(max_examples=50)
def test_counts_add_up_in_any_cut(entries, place):
    expected: dict[tuple[int, int], int] = {}
    for group, bin_, documents in entries:
        if group >= 0 and bin_ >= 0 and documents:
            expected[group, bin_] = expected.get((group, bin_), 0) + documents
    whole = count_distances(*columns(entries))
    found = zip(whole.group.tolist(), whole.bins.tolist(), whole.documents.tolist(), strict=True)
    assert [((g, b), n) for g, b, n in found] == sorted(expected.items())
    halves = [count_distances(*columns(some)) for some in (entries[:place], entries[place:])]
    again = count_distances(
        *(
            np.concatenate([getattr(half, name) for half in halves])
            for name in ("group", "bins", "documents")
        )
    )
    np.testing.assert_array_equal(again.documents, whole.documents)
    np.testing.assert_array_equal(again.bins, whole.bins)


@given(ENTRIES, st.sampled_from([0.0, 0.01, 0.5, 0.99, 1.0]))
@settings(max_examples=50)
def test_quantiles_equal_those_of_a_sorted_list(entries, q):
    known = [entry for entry in entries if entry[0] >= 0 and entry[1] >= 0]
    found = quantiles(*columns(known), groups=5, q=q)
    for group in range(5):
        values = sorted(b for g, b, n in known if g == group for _ in range(n))
        if not values:
            assert np.isnan(found[group])
            continue
        reached = next(b for i, b in enumerate(values) if i + 1 >= q * len(values))
        assert found[group] == drift.bin_edges(np.array([reached + 1]))[0]


def test_a_quantile_of_many_distances_is_near():
    rng = np.random.default_rng(0)
    distance = rng.gamma(20, 0.05, 20_000).astype(np.float32)
    bins = drift.distance_bins(distance)
    zeros, ones = np.zeros(20_000, np.int32), np.ones(20_000, np.int64)
    for q in (0.1, 0.5, 0.99):
        (found,) = quantiles(zeros, bins, ones, groups=1, q=q)
        exact = np.quantile(distance, q)
        assert exact <= found <= exact * (1 + 1 / 60)


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), min_size=2, max_size=12))
@settings(max_examples=80)
def test_divergence_equals_scipy(cells):
    before, after = np.array(cells, np.int64).T
    found = diverge(before, after)
    if not before.sum() or not after.sum():
        assert found == drift.Divergence(0.0, 0.0, 0)
        return
    assert found.bits == pytest.approx(jensenshannon(before, after, base=2) ** 2, abs=1e-9)
    table = np.stack([before, after])[:, before + after > 0]
    test = chi2_contingency(table, lambda_="log-likelihood", correction=False)
    assert found.freedom == test.dof
    assert found.statistic == pytest.approx(test.statistic, abs=1e-6)
    if test.pvalue > 0.0011 or test.pvalue < 0.0009:
        assert found.is_chance(0.999) == (test.pvalue > 0.001)


def test_far_documents_are_those_beyond_the_percentile_of_their_group():
    rng = np.random.default_rng(2)
    group = rng.integers(0, 3, 9_000)
    distance = (1 + group) * rng.gamma(20, 0.05, 9_000)
    new_group, new_distance = rng.integers(0, 4, 500), rng.gamma(40, 0.05, 500)
    fitted = counted(group, distance)
    found = compare(fitted, counted(new_group, new_distance), 4)
    limits = quantiles(fitted.group, fitted.bins, fitted.documents, groups=4, q=0.99)
    for g in range(4):
        mine = new_distance[new_group == g].astype(np.float32)
        beyond = int((mine >= limits[g]).sum()) if g < 3 else len(mine)
        n, b = (group == g).sum(), (distance[group == g].astype(np.float32) >= limits[g]).sum()
        assert found.far[g] == beyond
        assert found.new[g] == len(mine)
        assert found.expected[g] == pytest.approx((b + 1) / (n + 1))
    assert found.expected[3] == 1.0  # a group without fitted documents cannot drift
    assert found.share_change.sum() == pytest.approx(0)
    assert found.share_change[3] == pytest.approx((new_group == 3).mean())


@pytest.mark.parametrize("n", [2, 9, 60])
def test_the_expected_share_is_met_on_average(n):
    """Also where a group is so small that its 99th percentile is its largest distance."""
    distance = np.random.default_rng(n).random((400, n + 1))
    found = [
        compare(counted(np.zeros(n), row[:-1]), counted(np.zeros(1), row[-1:]), 1)
        for row in distance
    ]
    far, expected = (np.mean([getattr(f, name)[0] for f in found]) for name in ("far", "expected"))
    assert far == pytest.approx(expected, abs=3 * np.sqrt(expected / 400) + 0.01)
