from __future__ import annotations

from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mixcurate.kernels import cluster_statistics as statistics
from mixcurate.kernels import drift, fixedpoint
from mixcurate.kernels.cluster_statistics import Batch

K = 5


def batch(n: int, seed: int) -> Batch:
    random = np.random.default_rng(seed)
    quality = random.random(n).astype(np.float32)
    quality[random.random(n) < 0.2] = np.nan
    cluster = random.integers(-1, K, n).astype(np.int32)
    return Batch(
        cluster=cluster,
        distance=np.where(cluster < 0, np.nan, random.random(n) * 2).astype(np.float32),
        n_tokens=random.integers(0, 1_000, n),
        dimensions={"own": random.random(n).astype(np.float32), "carried": quality},
        values={"language": pa.array(random.choice(["en", "de", "sv"], n), pa.string())},
    )


def cut(whole: Batch, rows: slice) -> Batch:
    return Batch(
        whole.cluster[rows],
        whole.distance[rows],
        whole.n_tokens[rows],
        {name: values[rows] for name, values in whole.dimensions.items()},
        {name: values[rows] for name, values in whole.values.items()},
    )


@given(st.integers(0, 60), st.integers(0, 60), st.integers(0, 2**31))
def test_statistics_of_pieces_add_up_to_those_of_the_whole(n, at, seed):
    whole = batch(n, seed)
    pieces = [cut(whole, slice(0, at)), cut(whole, slice(at, n))]
    total = sum(statistics.sums(piece, K, 2.0) for piece in pieces)
    np.testing.assert_array_equal(total, statistics.sums(whole, K, 2.0))
    counts = [statistics.counts(piece) for piece in pieces]
    assert statistics.merge_counts(counts).equals(statistics.counts(whole))
    assert statistics.merge_counts(counts[::-1]).equals(statistics.counts(whole))


@given(st.integers(1, 60), st.integers(0, 2**31))
def test_sums_are_those_of_plain_numpy(n, seed):
    given_batch = batch(n, seed)
    names = statistics.rows(["own", "carried"])
    sums = dict(zip(names, statistics.sums(given_batch, K, 2.0), strict=True))
    for number in range(K):
        mine = given_batch.cluster == number
        far = given_batch.distance[mine].astype(np.float64)
        carried = given_batch.dimensions["carried"][mine]
        assert sums["n_documents"][number] == mine.sum()
        assert sums["n_tokens"][number] == given_batch.n_tokens[mine].sum()
        got = fixedpoint.from_fixed(sums["distance"])[number] * 2
        assert got == pytest.approx(far.sum(), abs=1e-6)
        squared = fixedpoint.from_fixed(sums["squared_distance"])[number] * 4
        assert squared == pytest.approx((far**2).sum(), abs=1e-6)
        assert sums["count carried"][number] == np.isfinite(carried).sum()
        total = fixedpoint.from_fixed(sums["sum carried"])[number]
        assert total == pytest.approx(np.nansum(carried, dtype=np.float64), abs=1e-6)


def test_counts_are_those_of_a_counter_and_leave_out_documents_without_a_cluster():
    given_batch = batch(400, 3)
    languages = given_batch.values["language"].to_pylist()
    expected = Counter(
        (int(cluster), language)
        for cluster, language in zip(given_batch.cluster, languages, strict=True)
        if cluster >= 0
    )
    found = statistics.by_cluster(statistics.counts(given_batch), "language", K)
    assert {(n, lang): count for n in range(K) for lang, count in found[n]} == expected
    assert all(pairs == sorted(pairs, key=lambda p: (-p[1], p[0])) for pairs in found)


def test_distances_come_back_as_the_bins_of_drift():
    given_batch = batch(300, 4)
    known = given_batch.cluster >= 0
    bins = drift.distance_bins(given_batch.distance[known])
    ones = np.ones(int(known.sum()), np.int64)
    expected = drift.count_distances(given_batch.cluster[known], bins, ones)
    found = statistics.distance_counts(statistics.counts(given_batch))
    for one, other in (
        (found.group, expected.group),
        (found.bins, expected.bins),
        (found.documents, expected.documents),
    ):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("tiers", [2, 3, 7])
def test_tiers_hold_as_many_documents_each(tiers):
    random = np.random.default_rng(1)
    quality = random.beta(5, 2, 20_000).astype(np.float32)
    counted = [
        statistics.quality_counts(quality[i::3], np.ones(len(quality[i::3]), np.int64))
        for i in range(3)
    ]
    bounds = statistics.quality_bounds(statistics.merge_counts(counted), tiers)
    assert len(bounds) == tiers - 1
    assert bounds == sorted(bounds)
    tier = np.searchsorted(bounds, quality, side="right")
    assert abs(np.bincount(tier) - len(quality) / tiers).max() < 150  # what a bin holds


def test_documents_of_one_quality_are_one_tier():
    counted = statistics.quality_counts(np.full(50, 1.0, np.float32), np.ones(50, np.int64))
    assert statistics.quality_bounds(counted, 3) == []


def test_nothing_has_no_counts():
    assert statistics.merge_counts([]).num_rows == 0
    assert statistics.counts(batch(0, 1)).num_rows == 0
