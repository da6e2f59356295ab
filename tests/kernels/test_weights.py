from __future__ import annotations

import math
from functools import reduce

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from mixcurate.kernels import hashing, weights
from mixcurate.kernels.fixedpoint import from_fixed, to_fixed
from mixcurate.kernels.scoring import ScoreParams, WeightParams
from mixcurate.kernels.weights import Range

SCORES = st.lists(
    st.tuples(st.floats(0, 1, width=32), st.floats(0, 4, width=32)), min_size=1, max_size=30
)
PARAMS = st.builds(WeightParams, alpha=st.floats(0, 1), tau=st.floats(0.1, 5))


def columns(scores: list[tuple[float, float]]) -> tuple[np.ndarray, np.ndarray]:
    quality, diversity = zip(*scores, strict=True)
    return np.array(quality, np.float32), np.array(diversity, np.float32)


def samplemix(
    quality: list[float], diversity: list[float], alpha: float, tau: float
) -> list[float]:
    """SampleMix, section 2.4, as it is written: expected count at a budget as large as the pool."""

    def unit(values: list[float]) -> list[float]:
        least, most = min(values), max(values)
        return [(v - least) / (most - least) if most > least else 0.5 for v in values]

    pairs = zip(unit(quality), unit(diversity), strict=True)
    exponentials = [math.exp((alpha * d + (1 - alpha) * q) / tau) for q, d in pairs]
    return [len(quality) * value / sum(exponentials) for value in exponentials]


@given(SCORES, PARAMS)
@settings(max_examples=50, deadline=None)
def test_weights_over_their_mean_are_those_of_samplemix(scores, params):
    quality, diversity = columns(scores)
    ranges = (Range.of(quality), Range.of(diversity))
    raw = weights.unnormalised(quality, diversity, ranges, params)
    assert ((raw > 0) & (raw <= 1)).all()
    weight = raw / raw.mean()
    assert weight.mean() == pytest.approx(1)
    expected = samplemix(quality.tolist(), diversity.tolist(), params.alpha, params.tau)
    # one step of the fixed-point grid, relative to the least of the unnormalised weights
    np.testing.assert_allclose(weight, expected, rtol=2.0**-29 / raw.min() + 1e-9)


@given(SCORES, PARAMS)
@settings(max_examples=50, deadline=None)
def test_unnormalised_weights_lie_on_the_grid_so_that_their_sum_is_exact(scores, params):
    quality, diversity = columns(scores)
    ranges = (Range.of(quality), Range.of(diversity))
    raw = weights.unnormalised(quality, diversity, ranges, params)
    assert from_fixed(to_fixed(raw)).tobytes() == raw.tobytes()


@given(SCORES, PARAMS, st.integers(0, 30))
@settings(max_examples=50, deadline=None)
def test_a_batch_has_the_weights_it_has_in_the_pool(scores, params, cut):
    quality, diversity = columns(scores)
    ranges = (Range.of(quality), Range.of(diversity))
    whole = weights.unnormalised(quality, diversity, ranges, params)
    pieces = [
        weights.unnormalised(quality[rows], diversity[rows], ranges, params)
        for rows in (slice(0, cut), slice(cut, None))
    ]
    assert np.concatenate(pieces).tobytes() == whole.tobytes()


def test_weights_too_small_for_the_grid_stay_positive():
    quality = np.array([0, 1], np.float32)
    ranges = (Range(0, 1), Range(0, 1))
    raw = weights.unnormalised(quality, quality, ranges, WeightParams(tau=0.001))
    assert raw.tolist() == [2.0**-30, 1.0]


def test_constant_scores_give_every_document_weight_one():
    same = np.full(5, 0.3, np.float32)
    raw = weights.unnormalised(same, same, (Range.of(same), Range.of(same)), WeightParams())
    assert (raw / raw.mean()).tolist() == [1.0] * 5


@pytest.mark.parametrize("alpha", [0.0, 1.0])
def test_alpha_chooses_between_quality_and_diversity(alpha):
    up, down = np.array([0, 0.5, 1], np.float32), np.array([1, 0.5, 0], np.float32)
    raw = weights.unnormalised(up, down, (Range(0, 1), Range(0, 1)), WeightParams(alpha=alpha))
    order = np.argsort(raw).tolist()
    assert order == ([0, 1, 2] if alpha == 0 else [2, 1, 0])


@given(st.lists(st.lists(st.floats(-1e3, 1e3, width=32), max_size=6), max_size=5), st.randoms())
@settings(max_examples=50, deadline=None)
def test_ranges_merge_in_any_order(batches, random):
    shuffled = random.sample(batches, len(batches))
    merged = reduce(Range.merge, [Range.of(np.array(b, np.float32)) for b in shuffled], Range())
    values = [value for batch in batches for value in batch]
    assert merged == (Range(min(values), max(values)) if values else Range())


def test_an_empty_pool_has_the_neutral_range():
    assert Range.of(np.zeros(0, np.float32)) == Range()
    assert Range().merge(Range(1, 2)) == Range(1, 2)


def test_diversity_is_compactness_times_separation():
    found = weights.diversity(np.array([0.5, 0.0, 1.2]), np.array([1.4, 1.0, 0.1]))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, [0.7, 0.0, 0.12], rtol=1e-6)


@given(st.lists(st.tuples(st.floats(0, 50, width=32), st.integers(0, 2**64 - 1)), max_size=30))
@settings(max_examples=50, deadline=None)
def test_copies_are_the_weight_rounded_down_or_up(pairs):
    weight = np.array([w for w, _ in pairs], np.float32)
    copies = weights.copies(weight, np.array([key for _, key in pairs], np.uint64))
    assert copies.dtype == np.int32
    for value, count in zip(weight.tolist(), copies.tolist(), strict=True):
        assert count in (math.floor(value), math.floor(value) + 1)
        assert count == value or value != math.floor(value)


@pytest.mark.parametrize("weight", [0.1, 1.0, 2.75])
def test_copies_are_the_weight_on_average(weight):
    keys = hashing.uniform_keys(pa_ids(20_000), 1, "copies")
    copies = weights.copies(np.full(20_000, weight, np.float32), keys)
    assert copies.mean() == pytest.approx(weight, abs=0.015)


def pa_ids(n: int):
    import pyarrow as pa

    return pa.array([f"document {i}" for i in range(n)])


@pytest.mark.parametrize("bad", [{"alpha": -0.1}, {"alpha": 1.1}, {"tau": 0}, {"beta": 1}])
def test_parameters_out_of_range_are_refused(bad):
    with pytest.raises(ValidationError, match=next(iter(bad))):
        ScoreParams(weight=bad)
