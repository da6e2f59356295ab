from __future__ import annotations

import dataclasses
import json

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mixcurate.loaders.blend import Blend, BlendState, Fetch

LENGTHS = st.lists(st.lists(st.integers(1, 50), min_size=1, max_size=30), min_size=1, max_size=5)
WEIGHTS = st.lists(st.integers(0, 9), min_size=5, max_size=5)
COUNTS = st.lists(st.integers(1, 20), max_size=8)


def pool(lengths: list[list[int]], step: int = 3, endless: bool = False) -> Fetch:
    """Groups as lists of lengths, fetched ``step`` at a time; document p of a group is p + 1,000 g.

    Numbers of a group's documents count from 0; ``p`` tells group and number.
    """

    def fetch(group: int, p: int) -> tuple[np.ndarray, np.ndarray, int | None]:
        mine = lengths[group]
        end = p + step if endless else min(p + step, len(mine))
        numbers = np.arange(p, end)
        tokens = np.array([mine[i % len(mine)] for i in numbers], np.int64)
        return numbers.astype(np.int64), tokens, end if endless or end < len(mine) else None

    return fetch


def beginning(weights: list[int], n: int) -> BlendState:
    return BlendState.beginning([float(w) for w in weights[:n]], 0)


def deal(blend: Blend, count: int) -> list[tuple[int, int]]:
    """Group and number of the next documents, from the cursors' moves."""
    found = []
    for _ in range(count):
        before = blend.state().cursors
        taken = blend.take(1).tolist()
        if not taken:
            break
        moved = [
            g for g, (a, b) in enumerate(zip(before, blend.state().cursors, strict=True)) if a != b
        ]
        assert len(moved) == 1
        found.append((moved[0], taken[0]))
    return found


def brute_force(lengths: list[list[int]], weights: list[int]) -> list[tuple[int, int]]:
    """All documents sorted by when half of them is due."""
    total = sum(weights)
    turns = []
    for group, mine in enumerate(lengths):
        before = 0
        for number, tokens in enumerate(mine):
            if weights[group]:
                turns.append(((before + tokens / 2) / (weights[group] / total), group, number))
            before += tokens
    return [(group, number) for _, group, number in sorted(turns)]


@given(LENGTHS, WEIGHTS, st.integers(1, 7))
def test_the_sequence_is_that_of_the_definition(lengths, weights, step):
    weights = weights[: len(lengths)]
    blend = Blend(beginning(weights, len(lengths)), pool(lengths, step))
    assert deal(blend, 1_000) == brute_force(lengths, weights)


@given(LENGTHS, WEIGHTS, COUNTS)
def test_a_blend_goes_on_from_its_state(lengths, weights, counts):
    state = beginning(weights, len(lengths))
    whole = Blend(state, pool(lengths)).take(1_000).tolist()
    parts: list[int] = []
    for count in counts:
        blend = Blend(state, pool(lengths, step=count))
        parts += blend.take(count).tolist()
        state = BlendState(**json.loads(json.dumps(blend.state().as_json())))
    assert parts == whole[: len(parts)]
    assert len(parts) == min(sum(counts), len(whole))


@given(LENGTHS, st.lists(st.integers(1, 9), min_size=5, max_size=5))
def test_shares_are_within_half_a_document_of_each_group(lengths, weights):
    n = len(lengths)
    blend = Blend(beginning(weights, n), pool(lengths, endless=True))
    shares = np.array(weights[:n]) / sum(weights[:n])
    largest = np.array([max(mine) for mine in lengths])
    for _ in range(60):
        blend.take(1)
        tokens = np.array(blend.state().tokens)
        error = np.abs(tokens - shares * tokens.sum())
        assert (error <= largest / 2 + shares * largest.sum() / 2 + 1e-6).all()


@given(LENGTHS, WEIGHTS, WEIGHTS, st.integers(0, 30))
def test_other_weights_lose_and_repeat_nothing(lengths, before, after, count):
    n = len(lengths)
    blend = Blend(beginning(before, n), pool(lengths))
    found = deal(blend, count)
    state = blend.state().reweighed([float(w) for w in after[:n]])
    found += deal(Blend(state, pool(lengths)), 1_000)
    assert len(set(found)) == len(found)
    for group in range(n):
        mine = [number for g, number in found if g == group]
        assert mine == list(range(len(mine)))
        if after[group]:
            assert len(mine) == len(lengths[group])


def test_other_weights_take_into_account_what_a_group_has_above_its_share():
    lengths = [[100] * 50, [1] * 500]
    state = beginning([1, 1], 2)
    whole = Blend(state, pool(lengths)).take(400).tolist()
    blend = Blend(state, pool(lengths))
    parts = blend.take(30).tolist()
    for _ in range(5):
        blend = Blend(blend.state().reweighed([1.0, 1.0]), pool(lengths))
        parts += blend.take(30).tolist()
    assert parts == whole[: len(parts)]


def test_documents_without_tokens_do_not_stop_time():
    blend = Blend(beginning([1, 1], 2), pool([[0, 0, 0], [5]], endless=True))
    assert len(blend.take(100)) == 100
    assert min(blend.state().cursors) > 0


def test_no_weight_at_all_deals_nothing():
    state = dataclasses.replace(beginning([1, 1], 2), weights=[0.0, 0.0])
    assert len(Blend(state, pool([[1], [1]])).take(5)) == 0
