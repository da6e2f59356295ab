from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mixcurate.errors import PlanError
from mixcurate.kernels import allocation
from mixcurate.kernels.allocation import Amounts, CopyRule, Scale
from mixcurate.kernels.hashing import unit_interval

METHODS = ["samplemix", "soft_cap", "gumbel"]
POOLS = st.lists(
    st.tuples(st.floats(2.0**-30, 200, width=32), st.integers(1, 1_000)), min_size=1, max_size=50
)


def columns(pool):
    weight, tokens = zip(*pool, strict=True)
    return np.array(weight, np.float32), np.array(tokens, np.int64)


def bins_of(weight, tokens, low_bits=allocation.FINE):
    return allocation.bin_weights(weight, tokens, np.zeros(len(weight), np.int32), low_bits)


def expected(rule: CopyRule, weight: float, scale: Scale) -> float:
    """Expected copies of one document, as the module's docstring tells."""
    if rule.method == "samplemix":
        copies = scale.value * weight
    elif rule.method == "soft_cap":
        copies = math.log(1 + rule.penalty * scale.value * weight) / rule.penalty
    else:
        copies = scale.whole + 1 - math.exp(-scale.value * weight)
    return min(copies, rule.cap)


@given(POOLS, st.sampled_from(METHODS), st.floats(0.01, 20), st.integers(0, 3))
@settings(max_examples=80, deadline=None)
def test_expected_copies_are_as_the_methods_say(pool, method, value, whole):
    weight, _ = columns(pool)
    rule = CopyRule(method, 0.2, 6.5)
    found = rule.expected(weight, Scale(value, whole))
    plain = [expected(rule, float(w), Scale(value, whole)) for w in weight]
    np.testing.assert_allclose(found, plain, rtol=1e-9, atol=1e-12)


@given(POOLS, st.sampled_from(METHODS), st.floats(0.05, 3), st.booleans(), st.booleans())
@settings(max_examples=150, deadline=None)
def test_the_scale_meets_the_target(pool, method, share, capped, by_tokens):
    weight, tokens = columns(pool)
    rule = CopyRule(method, 0.15, 3.0 if capped else math.inf)
    amount = tokens if by_tokens else np.ones(len(tokens))
    target = share * float(amount.sum())
    what = "tokens" if by_tokens else "documents"
    scale = allocation.find_scale(rule, Amounts.of(bins_of(weight, tokens), what), target, what)
    reached = float(np.dot(rule.expected(weight, scale), amount))
    # a bin of weights is 2 ** -12 wide, and at most all documents lie in the one where a cap begins
    assert reached == pytest.approx(target, rel=2.0**-12 if capped else 1e-6)


def test_the_scale_is_exact_where_the_cap_does_not_split_a_bin():
    weight = np.repeat(np.array([0.25, 1.0, 4.0], np.float32), 10)
    bins = bins_of(weight, np.ones(30, np.int64))
    scale = allocation.find_scale(CopyRule(cap=2.0), Amounts.of(bins, "documents"), 30.0, "")
    # ten documents at the cap; the other twenty share ten copies in proportion to their weight
    assert CopyRule(cap=2.0).expected(weight, scale)[[0, 10, 20]].tolist() == pytest.approx(
        [0.2, 0.8, 2.0]
    )


def test_a_cap_below_the_target_says_what_it_allows():
    bins = bins_of(np.ones(10, np.float32), np.full(10, 100, np.int64))
    with pytest.raises(PlanError, match=r"max_epochs 1\.5 allows 1,500 tokens.*2,000") as error:
        allocation.find_scale(CopyRule(cap=1.5), Amounts.of(bins, "tokens"), 2_000, "tokens")
    assert "mixture.budget_tokens" in str(error.value)
    scale = allocation.find_scale(CopyRule(cap=1.5), Amounts.of(bins, "tokens"), 1_500, "tokens")
    assert CopyRule(cap=1.5).expected(np.ones(1), scale).tolist() == pytest.approx([1.5])


def test_nothing_is_drawn_of_nothing():
    empty = Amounts.of(bins_of(np.zeros(0, np.float32), np.zeros(0, np.int64)), "tokens")
    assert allocation.find_scale(CopyRule(), empty, 10.0, "tokens") == Scale(0.0)
    assert allocation.largest_key(CopyRule(), empty, 10.0) == 0.0


@given(POOLS, st.sampled_from([allocation.FINE, allocation.COARSE]))
@settings(max_examples=50, deadline=None)
def test_bins_keep_the_sums_of_the_weights_exactly(pool, low_bits):
    weight, tokens = columns(pool)
    bins = bins_of(weight, tokens, low_bits)
    for what, amount in (("documents", np.ones(len(tokens))), ("tokens", tokens)):
        found = Amounts.of(bins, what, low_bits)
        assert found.amount.sum() == amount.sum()
        exact = math.fsum(float(w) * float(a) for w, a in zip(weight, amount, strict=True))
        assert float(np.dot(found.weight, found.amount)) == pytest.approx(exact, rel=1e-13)


@given(POOLS, st.integers(0, 50))
@settings(max_examples=50, deadline=None)
def test_bins_merge_in_any_order(pool, cut):
    weight, tokens = columns(pool)
    domain = (tokens % 3).astype(np.int32)
    pieces = [
        allocation.bin_weights(weight[rows], tokens[rows], domain[rows])
        for rows in (slice(cut, None), slice(0, cut))
    ]
    whole = allocation.bin_weights(weight, tokens, domain)
    assert allocation.merge_bins(pieces).tobytes() == whole.tobytes()
    assert allocation.merge_bins([]).tobytes() == b""


@given(POOLS, st.sampled_from(METHODS), st.floats(0.05, 5), st.integers(0, 2**32))
@settings(max_examples=100, deadline=None)
def test_copies_are_those_whose_keys_are_up_to_the_scale(pool, method, value, seed):
    """What score rounds is what the draw takes at the same scale."""
    weight, _ = columns(pool)
    hashes = np.random.default_rng(seed).integers(0, 2**64, len(weight), np.uint64)
    rule, scale = CopyRule(method, 0.15, 4.0), Scale(value)
    copies = rule.copies(rule.expected(weight, scale), hashes)
    limit = value / (1 + value) if method == "gumbel" else value
    counted = np.zeros(len(weight), int)
    for copy in range(1, 12):
        keys, possible = rule.keys_of_copies(weight.astype(np.float64), hashes, copy)
        assert (keys > 0).all()
        counted += possible & (keys <= limit)
    near = np.abs(rule.expected(weight, scale) + unit_interval(hashes)) % 1
    sure = (near > 1e-9) & (near < 1 - 1e-9)  # a coin on its edge
    assert (counted[sure] == copies[sure]).all()


@given(st.integers(0, 2**32), st.sampled_from(METHODS))
@settings(max_examples=30, deadline=None)
def test_keys_rise_from_copy_to_copy(seed, method):
    random = np.random.default_rng(seed)
    weight, hashes = random.random(20) * 10, random.integers(0, 2**64, 20, np.uint64)
    rule = CopyRule(method)
    keys = [rule.keys_of_copies(weight, hashes, copy)[0] for copy in range(1, 6)]
    assert (np.diff(keys, axis=0) > 0).all()


@given(st.floats(0, 50), st.sampled_from(["samplemix", "soft_cap"]))
@settings(max_examples=30, deadline=None)
def test_copies_are_the_expected_ones_rounded(value, method):
    hashes = np.random.default_rng(0).integers(0, 2**64, 2_000, np.uint64)
    copies = CopyRule(method).copies(np.full(2_000, value), hashes)
    assert set(copies.tolist()) <= {math.floor(value), math.floor(value) + 1}
    assert copies.mean() == pytest.approx(value, abs=0.06)


def test_a_document_of_weight_one_comes_once_at_a_budget_as_large_as_the_pool():
    weight, tokens = np.ones(1_000, np.float32), np.arange(1, 1_001)
    hashes = np.random.default_rng(1).integers(0, 2**64, 1_000, np.uint64)
    for what in ("documents", "tokens"):
        amounts = Amounts.of(bins_of(weight, tokens), what)
        scale = allocation.find_scale(CopyRule(), amounts, float(amounts.amount.sum()), what)
        assert set(CopyRule().copies(CopyRule().expected(weight, scale), hashes).tolist()) == {1}


@given(POOLS, st.sampled_from(METHODS), st.floats(0.05, 5), st.booleans(), st.integers(0, 2**32))
@settings(max_examples=100, deadline=None)
def test_no_key_that_a_draw_needs_is_above_the_largest(pool, method, share, capped, seed):
    weight, tokens = columns(pool)
    rule = CopyRule(method, 0.15, 6.0 if capped else math.inf)
    target = share * float(tokens.sum())
    coarse = bins_of(weight, tokens, allocation.COARSE)
    amounts = Amounts.of(coarse, "tokens", allocation.COARSE)
    limit = allocation.largest_key(rule, amounts, target)
    hashes = np.random.default_rng(seed).integers(0, 2**64, len(weight), np.uint64)
    reached = 0
    for copy in range(1, 5_000):
        keys, possible = rule.keys_of_copies(weight.astype(np.float64), hashes, copy)
        mine = possible & (keys <= limit)
        if not mine.any():
            break
        reached += int(tokens[mine].sum())
        if reached >= target:
            return
    assert reached >= target or math.isinf(limit)
