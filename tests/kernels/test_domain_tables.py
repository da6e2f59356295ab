"""What tables say of clusters and domains: pruning, separation, neighbours, maps between runs."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mixcurate.kernels import domains
from mixcurate.kernels.clustering import PruneParams

NONE: dict[str, np.ndarray] = {}


def test_clusters_without_documents_or_quality_are_pruned():
    found = domains.prune(
        np.array([5, 0, 3, 0, 9]), np.array([0.5, 0.9, 0.49999, 0.1, 1.0]), NONE, PruneParams()
    )
    assert found == [
        (None, ""),
        ("empty", "no documents"),
        ("low_quality", "mean quality 0.49999 < 0.5"),
        ("empty", "no documents"),
        (None, ""),
    ]


def test_without_a_rule_only_empty_clusters_are_pruned():
    found = domains.prune(np.array([5, 0]), np.array([0.0, 0.9]), NONE, None)
    assert [reason for reason, _ in found] == [None, "empty"]


def test_each_threshold_must_be_reached_and_the_detail_names_those_that_are_not():
    params = PruneParams(min_quality=None, thresholds={"useful": 2.0, "quality": 1.0})
    dimensions = {
        "useful": np.array([2.0, 1.5, 1.0, np.nan]),
        "quality": np.array([1.0, 4.0, 0.25, 3.0]),
    }
    found = domains.prune(np.ones(4, np.int64), np.zeros(4), dimensions, params)
    assert found == [
        (None, ""),
        ("low_quality", "useful 1.5 < 2"),
        ("low_quality", "useful 1 < 2; quality 0.25 < 1"),
        ("low_quality", "useful: no document carries it"),
    ]


def test_by_mean_a_strong_dimension_makes_up_for_a_weak_one():
    params = PruneParams(min_quality=None, thresholds={"a": 2.0, "b": 1.0}, by="mean")
    dimensions = {"a": np.array([0.0, 1.0]), "b": np.array([3.0, 1.9])}
    found = domains.prune(np.ones(2, np.int64), np.zeros(2), dimensions, params)
    assert found == [(None, ""), ("low_quality", "mean of a, b 1.45 < 1.5")]


def test_our_own_quality_is_asked_for_beside_the_mean_of_others():
    params = PruneParams(thresholds={"a": 2.0}, by="mean")
    dimensions = {"a": np.array([3.0, 3.0])}
    found = domains.prune(np.ones(2, np.int64), np.array([0.4, 0.6]), dimensions, params)
    assert found == [("low_quality", "mean quality 0.4 < 0.5"), (None, "")]


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_a_cluster_is_kept_exactly_when_it_reaches_what_is_asked(data):
    k = data.draw(st.integers(0, 8))
    mean = st.one_of(st.floats(0, 5), st.just(float("nan")))
    names = data.draw(st.lists(st.sampled_from("abc"), unique=True, max_size=3))
    columns = {n: np.array(data.draw(st.lists(mean, min_size=k, max_size=k))) for n in names}
    quality = np.array(data.draw(st.lists(st.floats(0, 1), min_size=k, max_size=k)))
    count = np.array(data.draw(st.lists(st.integers(0, 2), min_size=k, max_size=k)), np.int64)
    params = PruneParams(
        min_quality=data.draw(st.none() | st.floats(0, 1)),
        thresholds={name: data.draw(st.floats(0, 5)) for name in names},
        by=data.draw(st.sampled_from(["each", "mean"])),
    )
    found = domains.prune(count, quality, columns, params)

    def reached(i: int) -> bool:
        if params.min_quality is not None and not quality[i] >= params.min_quality:
            return False
        if params.by == "each":
            return all(columns[n][i] >= least for n, least in params.asked.items())
        mean = np.mean([columns[n][i] for n in names]) if names else 0.0
        return not names or mean >= sum(params.asked.values()) / len(names)

    for i, (reason, detail) in enumerate(found):
        assert reason == ("empty" if count[i] == 0 else None if reached(i) else "low_quality")
        assert bool(detail) == (reason is not None)


def test_thresholds_go_before_those_of_the_preset():
    params = PruneParams(min_quality=None, preset="card", thresholds={"advertisement": 0.5})
    dimensions = {"advertisement": np.array([1.0]), "educational_value": np.array([1.0])}
    assert domains.prune(np.ones(1, np.int64), np.zeros(1), dimensions, params) == [(None, "")]


def brute_separation(centroids: np.ndarray) -> list[float]:
    wide = centroids.astype(np.float64)
    others = max(len(wide) - 1, 1)
    return [sum(np.linalg.norm(a - b) for b in wide) / others for a in wide]


@given(st.integers(1, 12), st.integers(1, 6), st.integers(0, 2**31), st.sampled_from([0, 1, 1e4]))
@settings(max_examples=50, deadline=None)
def test_separation_equals_brute_force_wherever_the_centroids_lie(n, d, seed, offset):
    rows = np.random.default_rng(seed).normal(size=(n, d)) * 3 + offset
    centroids = rows.astype(np.float32)
    expected = brute_separation(centroids)
    np.testing.assert_allclose(domains.separation(centroids), expected, atol=1e-6)


@pytest.mark.parametrize("offset", [0, 1e6])
def test_separation_loses_no_digits(offset):
    centroids = (np.random.default_rng(2).normal(size=(40, 384)) * 9 + offset).astype(np.float32)
    expected = brute_separation(centroids)
    np.testing.assert_allclose(domains.separation(centroids), expected, rtol=1e-12)


def test_separation_of_more_centroids_than_a_block():
    centroids = np.random.default_rng(1).normal(size=(1_500, 3)).astype(np.float32)
    rows = [0, 1_023, 1_024, 1_499]
    wide = centroids.astype(np.float64)
    expected = [np.linalg.norm(wide - wide[row], axis=1).sum() / 1_499 for row in rows]
    np.testing.assert_allclose(domains.separation(centroids)[rows], expected, atol=1e-6)


def test_separation_of_equal_centroids_is_zero():
    assert domains.separation(np.ones((5, 3), np.float32)).tolist() == [0.0] * 5


def test_separation_of_no_centroids():
    assert domains.separation(np.zeros((0, 4), np.float32)).shape == (0,)


def test_the_nearest_domains_are_those_whose_documents_are_near_on_average():
    centroids = np.array([[0, 0], [0, 10], [0, 1], [0, 4], [0, 30], [9, 9]], np.float32)
    domain_of = np.array([0, 0, 1, 2, 3, -1], np.int32)
    # the centre of domain 0 lies at 1.0 with these weights, at 5.0 with equal ones
    weights = np.array([9, 1, 1, 1, 1, 5])
    assert domains.nearest_domains(centroids, domain_of, weights) == [
        [1, 2, 3], [0, 2, 3], [0, 1, 3], [2, 0, 1],
    ]  # fmt: skip
    equal = domains.nearest_domains(centroids, domain_of, np.ones(6, np.int64))
    assert equal[0] == [2, 1, 3]


@given(st.integers(1, 6), st.integers(0, 2**31))
@settings(max_examples=40, deadline=None)
def test_nearest_domains_equal_brute_force(n, seed):
    random = np.random.default_rng(seed)
    domain_of = np.concatenate([np.arange(n), random.integers(-1, n, 8)]).astype(np.int32)
    centroids = random.normal(size=(n + 8, 4)).astype(np.float32)
    weights = random.integers(1, 9, n + 8)
    centres = [
        np.average(centroids[domain_of == m], axis=0, weights=weights[domain_of == m])
        for m in range(n)
    ]
    expected = [
        sorted(set(range(n)) - {m}, key=lambda o: np.linalg.norm(centres[m] - centres[o]))[:3]
        for m in range(n)
    ]
    assert domains.nearest_domains(centroids, domain_of, weights) == expected


def test_a_domain_alone_has_no_neighbours_and_without_domains_there_are_none():
    one = np.ones((2, 3), np.float32)
    assert domains.nearest_domains(one, np.array([0, -1], np.int32), np.zeros(2, int)) == [[]]
    assert domains.nearest_domains(one, np.array([-1, -1], np.int32), np.ones(2, int)) == []


@given(st.lists(st.tuples(st.integers(-1, 3), st.integers(-1, 2), st.integers(0, 5)), max_size=30))
@settings(max_examples=60, deadline=None)
def test_a_map_of_domains_holds_the_shares_of_each_old_one(documents):
    old, new, weights = (np.array([row[i] for row in documents], np.int32) for i in range(3))
    shares = domains.domain_map(old, new, weights, n_old=4, n_new=3)
    weighed: Counter[tuple[int, int]] = Counter()
    for a, b, weight in documents:
        weighed[a, b] += weight
    for a in range(4):
        total = sum(weighed[a, b] for b in range(3))
        for b in range(3):
            expected = weighed[a, b] / total if total else 0.0
            assert shares[a, b] == pytest.approx(expected)
    assert shares.dtype == np.float64


def test_without_weights_each_document_counts_once():
    old, new = np.array([0, 0, 0, 1, 1, -1]), np.array([1, 1, 0, 1, -1, 0])
    shares = domains.domain_map(old, new, n_old=3, n_new=2)
    np.testing.assert_allclose(shares, [[1 / 3, 2 / 3], [0, 1], [0, 0]])
