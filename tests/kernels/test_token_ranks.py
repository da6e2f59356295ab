from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mixcurate.kernels import token_ranks
from mixcurate.kernels.token_ranks import TokenRanks

SCORES = st.sampled_from([0.0, -0.0, 1e-12, 0.25, 0.25 + 2**-40, 0.5]) | st.floats(0, 1e30)


def columns(pool: list[tuple[float, int]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    scores, tokens = zip(*pool, strict=True)
    keys = np.random.default_rng(len(pool)).integers(0, 2**64, len(pool), np.uint64)
    return np.array(scores), np.array(tokens, np.int64), keys


@given(st.lists(st.tuples(SCORES, st.integers(1, 90)), min_size=1, max_size=40))
@settings(max_examples=150, deadline=None)
def test_ranks_rise_with_the_score_and_lie_where_a_sort_puts_them(
    pool: list[tuple[float, int]],
) -> None:
    scores, tokens, keys = columns(pool)
    bins = token_ranks.count(scores, tokens)
    ranks = TokenRanks(bins).of(scores, keys)
    assert ((ranks > 0) & (ranks < 1)).all()
    total = tokens.sum()
    leading = np.abs(scores).view(np.uint64) >> np.uint64(40)
    for i in range(len(pool)):
        below = tokens[leading < leading[i]].sum() / total
        up_to = tokens[leading <= leading[i]].sum() / total
        assert below - 1e-12 <= ranks[i] <= up_to + 1e-12
        assert (ranks[scores < scores[i]] <= ranks[i]).all()


@given(st.lists(st.tuples(SCORES, st.integers(1, 90)), min_size=2, max_size=40), st.data())
@settings(max_examples=60, deadline=None)
def test_tables_merge_in_any_order(pool: list[tuple[float, int]], data: st.DataObject) -> None:
    scores, tokens, _ = columns(pool)
    cut = data.draw(st.integers(0, len(pool)))
    pieces = [
        token_ranks.from_bytes(token_ranks.count(scores[rows], tokens[rows]).tobytes())
        for rows in (slice(cut, None), slice(0, cut))
    ]
    whole = token_ranks.count(scores, tokens)
    assert token_ranks.merge(pieces).tobytes() == whole.tobytes()
    assert whole["tokens"].sum() == tokens.sum()


def test_pages_of_one_score_are_spread_evenly_over_their_part_of_the_scale() -> None:
    scores = np.repeat([0.0, 3.0], [6_000, 2_000])
    keys = np.random.default_rng(0).integers(0, 2**64, 8_000, np.uint64)
    ranks = TokenRanks(token_ranks.count(scores, np.ones(8_000, np.int64))).of(scores, keys)
    assert ranks[:6_000].max() < 0.75 < ranks[6_000:].min()
    np.testing.assert_allclose(np.quantile(ranks, [0.1, 0.5, 0.9]), [0.1, 0.5, 0.9], atol=0.03)


def test_scores_in_one_bin_are_in_their_order() -> None:
    scores = np.array([1 + 3e-7, 1 + 1e-7, 1.0, 1 + 2e-7])
    keys = np.array([0, 0, 2**64 - 1, 2**63], np.uint64)
    bins = token_ranks.count(scores, np.ones(4, np.int64))
    assert len(bins) == 1
    assert np.argsort(TokenRanks(bins).of(scores, keys)).tolist() == [2, 1, 3, 0]


def test_nothing_ranks_nothing() -> None:
    empty = token_ranks.count(np.zeros(0), np.zeros(0, np.int64))
    assert len(TokenRanks(empty).of(np.zeros(0), np.zeros(0, np.uint64))) == 0
    one = token_ranks.count(np.zeros(1), np.zeros(1, np.int64))
    assert TokenRanks(one).of(np.zeros(1), np.zeros(1, np.uint64)) == pytest.approx(0, abs=1e-12)
