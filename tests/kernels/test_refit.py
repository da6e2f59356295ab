from __future__ import annotations

import numpy as np
import pytest

from mixcurate.kernels.clustering import DriftParams
from mixcurate.kernels.drift import compare, count_distances, distance_bins
from mixcurate.kernels.refit import Verdict, judge

NAMES = [f"domain {number}" for number in range(20)]
DEFAULT = DriftParams()


def sample(n: int, seed: int, scale: float = 1.0, domains: int = 20, first: int = 0):
    rng = np.random.default_rng(seed)
    group = rng.integers(first, first + domains, n).astype(np.int32)
    distance = np.sqrt(rng.gamma(30, scale / 50, n)).astype(np.float32)
    return group, distance


def verdict(*samples, fitted: int = 40_000, params: DriftParams = DEFAULT) -> Verdict:
    old = sample(fitted, 0)
    new = tuple(np.concatenate(columns) for columns in zip(*samples, strict=True))
    counts = [
        count_distances(group, distance_bins(distance), np.ones(len(group), np.int64))
        for group, distance in (old, new)
    ]
    return judge(compare(*counts, 20), params, NAMES)


@pytest.mark.parametrize("n", [1, 50, 999, 1_000, 5_000, 40_000])
def test_documents_of_the_same_kind_are_no_reason(n):
    for seed in range(1, 11):
        assert verdict(sample(n, seed)) == Verdict(False, [], [])


@pytest.mark.parametrize("fitted", [30, 300])
def test_a_small_fit_raises_no_alarm_by_chance(fitted):
    for seed in range(1, 11):
        assert not verdict(sample(5_000, seed), fitted=fitted).refit


def test_documents_far_from_every_centroid_are_a_reason_in_numbers():
    found = verdict(sample(9_000, 1), sample(1_000, 2, scale=2.5))
    assert found.refit
    assert found.reasons[0].startswith("10.")
    assert "of 10,000 new documents (at least " in found.reasons[0]
    assert "farther from their centroid than 99 %" in found.reasons[0]
    assert "0.9% are expected, and 3 times that is the limit" in found.reasons[0]


def test_many_slightly_farther_documents_are_a_reason():
    found = verdict(sample(10_000, 1, scale=1.2), params=DriftParams(max_far=50))
    assert [reason.split(" diverge by ")[0] for reason in found.reasons] == [
        "distances to the centroids"
    ]


def test_a_few_documents_are_none_however_far_they_are():
    found = verdict(sample(50, 1, scale=4))
    assert not found.refit
    assert found.reasons == []
    assert any("of too few documents: 50" in note for note in found.notes)
    assert verdict(sample(50, 1, scale=4), params=DriftParams(least_documents=50)).refit


def test_a_domain_that_drifts_is_a_reason_if_it_is_large_enough():
    alone = sample(60_000, 1), sample(300, 2, scale=2.5, domains=1, first=7)
    params = DriftParams(least_share=0.06)
    assert verdict(*alone, params=params) == Verdict(False, [], [])
    assert verdict(*alone, params=DriftParams(least_share=0.05)).refit
    large = sample(60_000, 1), sample(3_500, 2, scale=1.5, domains=1, first=7)
    found = verdict(*large)
    assert found.refit
    assert "1 of 20 domains" in found.reasons[-1]
    assert "domain 7 (" in found.reasons[-1]


def test_another_mixture_is_a_note():
    found = verdict(sample(5_000, 1), sample(20_000, 2, domains=1, first=3))
    assert not found.refit
    (note,) = found.notes
    assert "domain 3 by +" in note
    assert note.endswith("plan the mixture again")


def test_no_new_documents_are_no_reason():
    assert verdict(sample(0, 1)) == Verdict(False, [], [])
