from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from mixcurate.kernels.estimate import (
    Interval,
    PartSample,
    RatesParams,
    allocate,
    probed_rate,
    total_tokens,
    transformer_flops,
)

#: Coverage of a 95 % interval in 600 trials is within this, unless it is not 95 %.
COVERAGE = (0.925, 0.975)


def population(rng, parts=60):
    """Parts of unequal sizes that differ from one another, cut off at 256 tokens."""
    sizes = rng.integers(30, 120, parts)
    means = rng.normal(180, 25, parts)
    return [
        np.clip(rng.normal(mean, 60, size).astype(int), 3, 256)
        for mean, size in zip(means, sizes, strict=True)
    ]


def drawn(rng, docs, n, m):
    picked = rng.choice(len(docs), n, replace=False)
    return [PartSample(len(docs[i]), rng.choice(docs[i], m, replace=False)) for i in picked]


@pytest.mark.parametrize(("n", "m"), [(16, 12), (60, 2), (60, 8), (30, 30)])
def test_total_is_in_its_interval_95_times_of_100(n, m):
    rng = np.random.default_rng(n * 100 + m)
    docs = population(rng)
    truth, documents = sum(int(d.sum()) for d in docs), sum(len(d) for d in docs)
    found = [
        total_tokens(drawn(rng, docs, n, m), parts=len(docs), documents=documents)
        for _ in range(600)
    ]
    inside = np.mean([interval.low <= truth <= interval.high for interval in found])
    assert COVERAGE[0] <= inside <= COVERAGE[1]
    assert np.mean([interval.value for interval in found]) == pytest.approx(truth, rel=0.01)


def test_one_part_is_a_simple_random_sample():
    tokens = np.array([10, 30, 20, 40])
    found = total_tokens([PartSample(10, tokens)], parts=1, documents=10)
    error = 10 * math.sqrt((1 - 0.4) * tokens.var(ddof=1) / 4)
    assert found.value == 250
    assert found.high - found.value == pytest.approx(3.182446 * error)  # t with 3 degrees


def test_what_was_all_counted_is_exact_and_never_less_than_counted():
    whole = [PartSample(3, np.array([5, 6, 7])), PartSample(1, np.array([9]))]
    assert total_tokens(whole, parts=2, documents=4) == (27, 27, 27)
    wild = [PartSample(4, np.array([1, 1])), PartSample(4, np.array([1, 500]))]
    assert total_tokens(wild, parts=9, documents=36).low == 503


def test_rate_is_in_its_interval_95_times_of_100():
    rng = np.random.default_rng(5)
    inside = 0
    for _ in range(600):
        tokens = rng.integers(4_000, 8_000, 9)
        found = probed_rate(tokens, tokens / 2_000 * rng.gamma(100, 1 / 100, 9))
        inside += found.low <= 2_000 <= found.high
    assert COVERAGE[0] <= inside / 600 <= COVERAGE[1]


def test_rate_is_all_tokens_over_all_seconds_and_positive():
    found = probed_rate([1_000, 3_000], [1.0, 1.0])
    assert found.value == 2_000
    assert 0 < found.low < found.value < found.high < math.inf
    assert probed_rate([500, 1_000], [1.0, 2.0]) == (500, 500, 500)


@given(
    amount=st.floats(1, 1e12),
    rate=st.floats(1, 1e7),
    amount_error=st.floats(0, 1),
    rate_errors=st.tuples(st.floats(0.01, 1.5), st.floats(0.01, 1.5)),
)
def test_quotient_agrees_with_brute_force(amount, rate, amount_error, rate_errors):
    rng = np.random.default_rng(1)
    up, down = rate_errors
    found = Interval(amount, amount * math.exp(-amount_error), amount * math.exp(amount_error))
    found = found.over(Interval(rate, rate * math.exp(-down), rate * math.exp(up)))
    assert found.value == pytest.approx(amount / rate)
    a, r = rng.standard_normal((2, 40_000)) / 1.959964
    for bound, error, share in ((found.high, down, 0.975), (found.low, up, 0.025)):
        drawn = amount * np.exp(amount_error * a) / (rate * np.exp(error * r))
        spread = abs(math.log(bound / found.value))
        assert math.log(np.quantile(drawn, share) / bound) == pytest.approx(0, abs=0.03 * spread)


def test_nothing_takes_no_time():
    assert Interval(0, 0, 0).over(Interval(5, 4, 6)) == (0, 0, 0)
    assert Interval(0, 0, 0).relative == 0
    assert Interval(100, 90, 140).relative == pytest.approx(0.4)
    assert Interval(100, 90, 140).times(0.5) == (50, 45, 70)


@given(st.lists(st.integers(1, 5_000), min_size=1, max_size=32), st.integers(1, 1_024))
def test_every_part_gives_enough_to_tell_its_spread(sizes, sample):
    counts = allocate(sizes, sample)
    assert all(min(size, 2) <= n <= size for size, n in zip(sizes, counts, strict=True))
    assert min(sample, sum(sizes)) <= sum(counts) <= sample + 2 * len(sizes)


def test_flops_of_minilm_and_of_attention_pair_by_pair():
    weights = 6 * (4 * 384 * 384 + 2 * 384 * 1536)
    flops = transformer_flops(layer_weights=weights, layers=6, width=384)
    assert flops.per_token == pytest.approx(21.2e6, rel=2e-3)
    assert flops.per_token_and_length == pytest.approx(9.2e3, rel=2e-3)
    lengths = np.array([3, 256, 17])
    pairs = sum(1 for length in lengths for _ in range(length) for _ in range(length))
    total = flops.per_token * lengths.sum() + 6 * 4 * 384 * pairs
    assert flops.mean_per_token(lengths) == pytest.approx(total / lengths.sum())


SPEED = {"low": 1, "typical": 2, "high": 3, "measured": True, "date": "2026", "source": "x"}


@pytest.mark.parametrize(
    "bad",
    [{"low": 0}, {"high": -1}, {"high": math.inf}, {"typical": math.nan}, {"low": 2.5}],
)
def test_speeds_that_cannot_be_are_refused(bad):
    table = {"devices": {"one": {"kind": "cpu", "tflops": {"fp32": SPEED}}}}
    assert RatesParams.model_validate(table).devices["one"].price is None
    table["devices"]["one"]["tflops"] = {"fp32": SPEED | bad}
    with pytest.raises(ValidationError):
        RatesParams.model_validate(table)
