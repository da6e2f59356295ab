from __future__ import annotations

import math
from functools import reduce

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from mixcurate.kernels import weights
from mixcurate.kernels.scoring import ScoreParams, WeightParams
from mixcurate.kernels.weights import Documents, Extent, Mean, Ranks

SCORES = st.lists(
    st.tuples(st.floats(0, 1, width=32), st.floats(0, 4), st.integers(0, 2)),
    min_size=1,
    max_size=30,
)
PARAMS = st.builds(WeightParams, alpha=st.floats(0, 1), tau=st.floats(0.001, 5))
GROUPS = 3


def pool_of(scores, *, one_group: bool = False) -> Documents:
    quality, diversity, group = (np.array(column) for column in zip(*scores, strict=True))
    return Documents(
        quality.astype(np.float64),
        diversity.astype(np.float64),
        np.arange(1, len(scores) + 1, dtype=np.int64),
        np.zeros(len(scores), np.int64) if one_group else group.astype(np.int64),
    )


def piece(pool: Documents, rows) -> Documents:
    return Documents(*(column[rows] for column in vars(pool).values()))


def weigh(pool: Documents, params: WeightParams, groups: int, ranks: Ranks | None = None):
    extent = Extent.of(pool, groups)
    values = weights.powers(weights.units_of(pool, extent, ranks), params)
    sums = weights.sum_powers(values, pool.group)
    return weights.weights(values, Mean.of(sums, extent.documents), pool.group)


def samplemix(quality, diversity, alpha: float, tau: float) -> list[float]:
    """SampleMix, section 2.4, as it is written: expected count at a budget as large as the pool."""

    def unit(values: list[float]) -> list[float]:
        least, most = min(values), max(values)
        return [(v - least) / (most - least) if most > least else 0.5 for v in values]

    pairs = zip(unit(quality), unit(diversity), strict=True)
    p = [alpha * d + (1 - alpha) * q for q, d in pairs]
    exponentials = [math.exp((value - max(p)) / tau) for value in p]
    return [len(quality) * value / sum(exponentials) for value in exponentials]


@given(SCORES, PARAMS)
@settings(max_examples=50, deadline=None)
def test_weights_are_those_of_samplemix_whatever_the_temperature(scores, params):
    pool = pool_of(scores, one_group=True)
    expected = samplemix(pool.quality.tolist(), pool.diversity.tolist(), params.alpha, params.tau)
    found = weigh(pool, params, 1)
    assert found.dtype == np.float32
    assert (found > 0).all()
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=2 * weights.LEAST_WEIGHT)


@given(SCORES, PARAMS)
@settings(max_examples=50, deadline=None)
def test_groups_are_weighed_each_for_itself(scores, params):
    pool = pool_of(scores)
    found = weigh(pool, params, GROUPS)
    for group in set(pool.group.tolist()):
        mine = pool.group == group
        alone = Documents(*(c[mine] for c in (pool.quality, pool.diversity, pool.tokens)),
                          np.zeros(int(mine.sum()), np.int64))  # fmt: skip
        assert found[mine].tobytes() == weigh(alone, params, 1).tobytes()


@given(SCORES, PARAMS, st.integers(0, 30), st.booleans())
@settings(max_examples=50, deadline=None)
def test_parts_in_any_order_weigh_as_the_whole(scores, params, cut, by_rank):
    pool = pool_of(scores)
    pieces = [piece(pool, slice(cut, None)), piece(pool, slice(0, cut))]
    extents = [Extent.of(part, GROUPS) for part in pieces]
    extent = reduce(Extent.merge, extents)
    whole = Extent.of(pool, GROUPS)
    assert all((a == b).all() for a, b in zip(vars(extent).values(), vars(whole).values(), strict=True))  # fmt: skip  # noqa: E501
    ranks = None
    if by_rank:
        counts = [Ranks.of(extent.unit(part), part.group, GROUPS) for part in pieces]
        ranks = Ranks.merged(counts)
    values = [weights.powers(weights.units_of(part, extent, ranks), params) for part in pieces]
    sums = weights.merge_exponentials(
        weights.sum_powers(v, part.group) for v, part in zip(values, pieces, strict=True)
    )
    mean = Mean.of(sums, extent.documents)
    parts = [weights.weights(v, mean, p.group) for v, p in zip(values, pieces, strict=True)]
    at_once = Ranks.of(extent.unit(pool), pool.group, GROUPS) if by_rank else None
    expected = weigh(pool, params, GROUPS, at_once)
    assert np.concatenate(parts[::-1]).tobytes() == expected.tobytes()


def test_exponentials_add_up_exactly():
    values = weights.powers(np.random.default_rng(0).random((2, 10_000)), WeightParams(tau=0.01))
    group = np.zeros(10_000, np.int64)
    sums = weights.sum_powers(values, group)
    plain = sum(
        m * 2.0 ** (e - 30)
        for m, e in zip(values.mantissa.tolist(), values.exponent.tolist(), strict=True)
    )
    mean = Mean.of(sums, np.array([10_000]))
    assert np.ldexp(mean.mantissa, mean.exponent)[0] == pytest.approx(plain / 10_000, rel=1e-12)
    assert 0.5 <= mean.mantissa[0] <= 2


def test_a_pool_far_from_the_best_scores_has_finite_weights():
    """No document has both the best quality and the best diversity: exp((p - 1) / tau) is tiny."""
    pool = pool_of([(0.0, 1.0, 0), (1.0, 0.0, 0), (0.5, 0.5, 0)])
    found = weigh(pool, WeightParams(alpha=0.5, tau=0.001), 1)
    np.testing.assert_allclose(found, [1.0, 1.0, 1.0], rtol=1e-6)


def test_weights_beyond_float32_stay_positive():
    pool = pool_of([(0.0, 0.0, 0), (1.0, 1.0, 0)])
    found = weigh(pool, WeightParams(tau=0.001), 1)
    np.testing.assert_allclose(found, [weights.LEAST_WEIGHT, 2.0])


def test_constant_scores_give_every_document_weight_one():
    pool = pool_of([(0.3, 0.7, 0)] * 5)
    assert weigh(pool, WeightParams(), 1).tolist() == [1.0] * 5


@pytest.mark.parametrize("alpha", [0.0, 1.0])
def test_alpha_chooses_between_quality_and_diversity(alpha):
    pool = pool_of([(0, 1, 0), (0.5, 0.5, 0), (1, 0, 0)])
    order = np.argsort(weigh(pool, WeightParams(alpha=alpha), 1)).tolist()
    assert order == ([0, 1, 2] if alpha == 0 else [2, 1, 0])


@given(SCORES)
@settings(max_examples=50, deadline=None)
def test_ranks_are_the_share_below_with_ties_counting_half(scores):
    pool = pool_of(scores)
    units = Extent.of(pool, GROUPS).unit(pool)
    found = Ranks.of(units, pool.group, GROUPS).unit(units, pool.group, GROUPS)
    for row in range(2):
        bins = [min(int(u * weights.RANK_BINS), weights.RANK_BINS - 1) for u in units[row]]
        for i, group in enumerate(pool.group.tolist()):
            mine = [b for b, g in zip(bins, pool.group.tolist(), strict=True) if g == group]
            below, ties = sum(b < bins[i] for b in mine), mine.count(bins[i])
            assert found[row][i] == pytest.approx((below + ties / 2) / len(mine))


def test_ranks_do_not_mind_an_outlier():
    quality = [*np.linspace(0, 1e-2, 99).tolist(), 1.0]
    pool = pool_of([(q, 0.0, 0) for q in quality])
    units = Extent.of(pool, 1).unit(pool)
    assert np.median(units[0]) < 0.01
    assert np.median(Ranks.of(units, pool.group, 1).unit(units, pool.group, 1)[0]) == 0.5


def test_an_empty_group_is_no_hindrance():
    pool = pool_of([(0.2, 0.1, 0), (0.4, 0.9, 2)])
    assert weigh(pool, WeightParams(), GROUPS).tolist() == [1.0, 1.0]
    empty = piece(pool, slice(0, 0))
    assert Extent.of(empty, GROUPS).documents.tolist() == [0, 0, 0]
    assert weights.sum_powers(weights.powers(np.zeros((2, 0)), WeightParams()), empty.group) == {}


@pytest.mark.parametrize(
    "bad",
    [
        {"alpha": -0.1},
        {"alpha": 1.1},
        {"tau": 0},
        {"tau": 1e-9},
        {"max_epochs": 0},
        {"beta": 1},
    ],
)
def test_parameters_out_of_range_are_refused(bad):
    with pytest.raises(ValidationError, match=next(iter(bad))):
        ScoreParams(weight=bad)
