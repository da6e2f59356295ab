from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mixcurate.kernels import allocation, draw
from mixcurate.kernels.allocation import Amounts, CopyRule, Scale
from mixcurate.kernels.draw import Pool

TOP = CopyRule("top")
STEP = 2.0**-48


def drawn(pool: Pool, targets: list[int], bits: int = 8) -> list[tuple[int, int]]:
    goal, most = np.array(targets, np.int64), np.full(len(targets), np.inf)
    limits = {"most": most, "max_copies": 20, "bits": bits}
    goals = goal[:, None]
    wanted = draw.wanted_bins(draw.histogram(pool, **limits), goals)
    found = draw.candidates(pool, wanted, **limits)
    one = draw.drawn(pool, draw.thresholds(wanted, found, goals, bits=bits), 20)
    return list(zip(one.row.tolist(), one.copy.tolist(), strict=True))


def by_sorting(pool: Pool, targets: list[int]) -> list[tuple[int, int]]:
    """Whole epochs, in each the largest weights first, equal ones by hash."""
    found = []
    for domain, target in enumerate(targets):
        mine = [row for row in range(len(pool.cell)) if pool.cell[row] == domain]
        mine.sort(key=lambda row: (-min(pool.weight[row] // STEP, 2**48 - 1), int(pool.key[row])))
        total = 0
        for copy, row in [(copy, row) for copy in range(20) for row in mine]:
            if total >= target:
                break
            total += int(pool.tokens[row])
            found.append((row, copy))
    return sorted(found)


@st.composite
def pools(draw_from: st.DrawFn) -> Pool:
    weights = st.sampled_from([STEP, 0.25, 0.5, 0.5, 0.5 + STEP, 1.0]) | st.floats(1e-9, 1)
    rows = draw_from(
        st.lists(st.tuples(st.integers(0, 1), st.integers(1, 50), weights), min_size=1, max_size=30)
    )
    n = len(rows)
    keys = draw_from(st.lists(st.integers(0, 2**64 - 1), min_size=n, max_size=n, unique=True))
    domain, tokens, weight = (np.array(column) for column in zip(*rows, strict=True))
    return Pool(domain.astype(np.int32), tokens, weight, np.array(keys, np.uint64), TOP)


@given(pools(), st.floats(0, 4.5), st.floats(0, 4.5), st.integers(0, 16))
@settings(max_examples=150, deadline=None)
def test_the_draw_is_that_of_a_sort(pool: Pool, first: float, second: float, bits: int) -> None:
    have = [int(pool.tokens[pool.cell == domain].sum()) for domain in (0, 1)]
    targets = [int(have[0] * first), int(have[1] * second)]
    assert drawn(pool, targets, bits) == by_sorting(pool, targets)


def test_documents_of_one_weight_are_drawn_uniformly() -> None:
    random = np.random.default_rng(0)
    counts = np.zeros(50)
    for _ in range(400):
        keys = random.integers(0, 2**64, 50, np.uint64)
        ones = np.ones(50, np.int64)
        pool = Pool(np.zeros(50, np.int32), ones, np.full(50, 0.3), keys, TOP)
        counts[[row for row, _ in drawn(pool, [10])]] += 1
    # 80 expected, standard deviation 8
    assert counts.min() > 45
    assert counts.max() < 115


@given(st.lists(st.floats(1e-9, 1), min_size=1, max_size=20), st.integers(1, 16))
@settings(max_examples=60, deadline=None)
def test_keys_lie_in_their_epoch_and_fall_with_the_weight(weights: list[float], copy: int) -> None:
    weight = np.sort(np.array(weights))
    keys, possible = TOP.keys_of_copies(weight, np.zeros(len(weight), np.uint64), copy)
    assert possible.all()
    assert ((keys > copy - 1) & (keys <= copy)).all()
    assert (np.diff(keys) <= 0).all()
    apart = np.floor(weight / STEP)
    apart = np.minimum(apart, 2**48 - 1)
    assert ((np.diff(keys) < 0) == (np.diff(apart) > 0)).all()


@given(pools(), st.floats(0.01, 4.5))
@settings(max_examples=60, deadline=None)
def test_no_key_that_a_draw_needs_is_above_the_largest(pool: Pool, share: float) -> None:
    domain = np.zeros(len(pool.cell), np.int32)
    bins = allocation.bin_weights(pool.weight.astype(np.float32), pool.tokens, domain)
    target = share * float(pool.tokens.sum())
    limit = allocation.largest_key(TOP, Amounts.of(bins, "tokens"), target)
    reached = 0
    for copy in range(1, 8):
        keys, _ = TOP.keys_of_copies(pool.weight, pool.key, copy)
        reached += int(pool.tokens[keys <= limit].sum())
    assert reached >= target


def test_expected_copies_are_whole_epochs_and_one_of_those_above_the_scale() -> None:
    weight = np.array([0.1, 0.5, 0.5, 0.9])
    expected = TOP.expected(weight, Scale(0.5, 2))
    assert expected.tolist() == [2, 3, 3, 3]
    assert TOP.copies(expected, np.arange(4, dtype=np.uint64)).tolist() == [2, 3, 3, 3]
    assert (
        CopyRule("top", cap=2.0)
        .keys_of_copies(weight, np.arange(4, dtype=np.uint64), 3)[1]
        .tolist()
        == [False] * 4
    )
    assert TOP.expected(weight, Scale(0.0)).sum() == pytest.approx(0)
