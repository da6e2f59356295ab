from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mixcurate.errors import PlanError
from mixcurate.kernels import draw, hashing
from mixcurate.kernels.draw import Drawn, Pool

EVERYTHING = math.inf


def split(pool: Pool, cuts: list[int]) -> list[Pool]:
    bounds = [0, *sorted(min(cut, len(pool.cell)) for cut in cuts), len(pool.cell)]
    return [
        dataclasses.replace(
            pool,
            **{name: getattr(pool, name)[a:b] for name in ("cell", "tokens", "weight", "key")},
            factor=None if pool.factor is None else pool.factor[a:b],
        )
        for a, b in zip(bounds[:-1], bounds[1:], strict=True)
    ]


def run_phases(
    parts: list[Pool],
    goals: np.ndarray,
    *,
    max_copies: int = 20,
    bits: int = 8,
    most: float = EVERYTHING,
    exact: bool = False,
) -> list[Drawn]:
    """The passes of the real job: what is drawn of each part."""
    limit = np.full(len(goals), most)
    bounds = {"most": limit, "max_copies": max_copies, "bits": bits}
    bins = draw.merge_histograms([draw.histogram(part, **bounds) for part in parts])
    largest = np.zeros(len(goals), np.int64)
    for part in parts:
        np.maximum.at(largest, part.cell[part.cell >= 0], part.tokens[part.cell >= 0])
    wanted = draw.wanted_bins(bins, goals, slack=largest if exact else None)
    found = np.concatenate([draw.candidates(part, wanted, **bounds) for part in parts])
    limits = draw.thresholds(wanted, found, goals, bits=bits, exact=exact)
    return [draw.drawn(part, limits, max_copies) for part in parts]


def run(parts: list[Pool], targets: list[int], **how: Any) -> list[list[tuple[int, int]]]:
    """One phase: (row, copy) drawn of each part."""
    found = run_phases(parts, np.array(targets, np.int64)[:, None], **how)
    return [list(zip(one.row.tolist(), one.copy.tolist(), strict=True)) for one in found]


def brute_force(pool: Pool, targets: list[int], max_copies: int) -> list[tuple[int, int]] | None:
    """Enumerate all copies, sort them, take until each target is reached; None if it is not."""
    result = []
    for domain, target in enumerate(targets):
        copies = sorted(
            (
                (j - (int(pool.key[row]) >> 11) / 2**53) / pool.weight[row],
                int(pool.key[row]),
                row,
                j,
            )
            for row in range(len(pool.cell))
            if pool.cell[row] == domain and pool.weight[row] > 0
            for j in range(1, max_copies + 1)
        )
        total = 0
        for _, _, row, j in copies:
            if total >= target:
                break
            total += int(pool.tokens[row])
            result.append((row, j - 1))
        if total < target:
            return None
    return sorted(result)


def tokens_by_domain(pool: Pool, drawn: list[tuple[int, int]], n_domains: int) -> list[int]:
    rows = np.array([row for row, _ in drawn], np.int64)
    return (
        np.bincount(pool.cell[rows], pool.tokens[rows].astype(float), minlength=n_domains)
        .astype(int)
        .tolist()
    )


@st.composite
def pools(draw_from, max_size: int = 25) -> Pool:
    rows = draw_from(
        st.lists(
            st.tuples(
                st.integers(-1, 2),
                st.integers(0, 50),
                st.sampled_from([0.0, 0.25, 0.5, 1.0, 1.0, 1.7, 3.0, 10.0]),
            ),
            max_size=max_size,
        )
    )
    # distinct, as 64-bit hashes of ids are, but many share their leading 53 bits
    keys = draw_from(
        st.lists(
            st.integers(0, 2**64 - 1) | st.integers(2**63, 2**63 + 3_000),
            min_size=len(rows),
            max_size=len(rows),
            unique=True,
        )
    )
    return Pool(
        np.array([domain for domain, _, _ in rows], np.int32),
        np.array([tokens for _, tokens, _ in rows], np.int64),
        np.array([weight for _, _, weight in rows]),
        np.array(keys, np.uint64),
    )


@given(
    pools(),
    st.lists(st.integers(0, 300), min_size=3, max_size=3),
    st.integers(1, 5),
    st.lists(st.integers(0, 25), max_size=3),
    st.integers(1, 16),
)
@settings(max_examples=100, deadline=None)
def test_what_is_drawn_equals_brute_force_for_any_parts(pool, targets, max_copies, cuts, bits):
    expected = brute_force(pool, targets, max_copies)
    parts = split(pool, cuts)
    if expected is None:
        with pytest.raises(PlanError):
            run(parts, targets, max_copies=max_copies, bits=bits)
        return
    drawn, start = [], 0
    for part, rows in zip(
        parts, run(parts, targets, max_copies=max_copies, bits=bits), strict=True
    ):
        drawn += [(start + row, copy) for row, copy in rows]
        start += len(part.cell)
    assert drawn == expected


@given(pools(), st.lists(st.integers(0, 300), min_size=3, max_size=3))
@settings(max_examples=50, deadline=None)
def test_a_domain_reaches_its_target_and_exceeds_it_by_less_than_one_document(pool, targets):
    if brute_force(pool, targets, 20) is None:
        return
    (drawn,) = run([pool], targets)
    assert all(pool.cell[row] >= 0 and pool.weight[row] > 0 for row, _ in drawn)
    for domain, (target, total) in enumerate(
        zip(targets, tokens_by_domain(pool, drawn, 3), strict=True)
    ):
        largest = max(pool.tokens[pool.cell == domain], default=0)
        assert target <= total < target + max(largest, 1)


@given(pools(), st.lists(st.integers(0, 300), min_size=3, max_size=3))
@settings(max_examples=50, deadline=None)
def test_copies_of_a_document_are_numbered_from_zero_without_gaps(pool, targets):
    if brute_force(pool, targets, 20) is None:
        return
    (drawn,) = run([pool], targets)
    assert drawn == sorted(set(drawn))
    for row in {row for row, _ in drawn}:
        copies = [copy for other, copy in drawn if other == row]
        assert copies == list(range(len(copies)))


@given(pools(), st.randoms(use_true_random=False))
@settings(max_examples=50, deadline=None)
def test_histograms_merge_in_any_order(pool, random):
    most = np.full(3, 5.0)
    pieces = [
        draw.histogram(part, most=most, max_copies=4, bits=8) for part in split(pool, [3, 9, 15])
    ]
    whole = draw.histogram(pool, most=most, max_copies=4, bits=8)
    random.shuffle(pieces)
    nested = draw.merge_histograms([draw.merge_histograms(pieces[:2]), *pieces[2:]])
    assert nested.tobytes() == draw.merge_histograms(pieces).tobytes() == whole.tobytes()


def large_pool(n: int, weight: float | np.ndarray = 1.0, seed: int = 1) -> Pool:
    ids = pa.array([f"document {i}" for i in range(n)])
    return Pool(
        np.zeros(n, np.int32),
        np.random.default_rng(seed).integers(50, 500, n),
        np.full(n, weight) if np.isscalar(weight) else weight,
        hashing.uniform_keys(ids, seed, "draw"),
    )


@pytest.mark.parametrize("epochs", [0.0001, 0.3, 1.0, 1.5, 2.0, 3.7])
@pytest.mark.parametrize("weight", [1.0, 0.37])
def test_equal_weights_give_whole_epochs_and_a_part_of_the_next_one(epochs, weight):
    pool = large_pool(3_000, weight)
    target = int(pool.tokens.sum() * epochs)
    (drawn,) = run([pool], [target])
    copies = np.bincount([row for row, _ in drawn], minlength=3_000)
    assert set(copies.tolist()) <= {math.floor(epochs), math.ceil(epochs)}
    assert 0 <= tokens_by_domain(pool, drawn, 1)[0] - target < 500


def test_documents_are_drawn_in_proportion_to_their_weight():
    heavy = np.arange(4_000) % 2 == 0
    pool = large_pool(4_000, np.where(heavy, 1.5, 0.5))
    (drawn,) = run([pool], [int(pool.tokens.sum())])
    copies = np.bincount([row for row, _ in drawn], minlength=4_000)
    assert copies[heavy].mean() == pytest.approx(1.5, abs=0.03)
    assert copies[~heavy].mean() == pytest.approx(0.5, abs=0.03)


def test_a_larger_target_draws_all_that_a_smaller_one_does():
    pool = large_pool(500)
    smaller, larger = (set(run([pool], [target])[0]) for target in (20_000, 60_000))
    assert smaller < larger


def test_a_bound_on_the_keys_that_is_no_too_small_changes_nothing():
    pool = large_pool(1_000)
    target = int(pool.tokens.sum() * 1.3)
    assert run([pool], [target], most=2.3) == run([pool], [target])


def test_a_target_that_copies_cannot_reach_is_refused_with_both_numbers():
    pool = large_pool(10)
    total = int(pool.tokens.sum())
    with pytest.raises(PlanError, match=f"allow {2 * total:,} tokens, fewer than its target"):
        run([pool], [2 * total + 1], max_copies=2)
    assert len(run([pool], [2 * total], max_copies=2)[0]) == 20


def test_a_domain_without_documents_is_refused_only_if_it_has_a_target():
    pool = large_pool(10)
    assert len(run([pool], [100, 0])[0]) > 0
    with pytest.raises(PlanError, match="cell 1: the weights and max_epochs allow 0 tokens"):
        run([pool], [100, 1])


def test_nothing_is_drawn_where_there_is_no_target_or_no_document():
    assert run([large_pool(10)], [0]) == [[]]
    assert run([large_pool(0)], [0]) == [[]]


def test_equal_leading_bits_of_the_hash_are_told_apart_by_the_rest():
    ones = np.ones(8, np.int64)
    keys = np.uint64(2**63) + np.arange(8, dtype=np.uint64)[::-1]
    pool = Pool(np.zeros(8, np.int32), ones, np.ones(8), keys)
    assert run([pool], [3]) == [[(5, 0), (6, 0), (7, 0)]]


@pytest.mark.parametrize(
    ("documents", "cells", "bits"),
    [
        *((0, 1, 8), (1, 1, 8), (10**6, 1, 8), (10**8, 8, 13), (10**12, 1, 16)),
        *((10**9, 10**5, 3), (10**8, 1_000, 10), (10**8, 10**7, 3)),
    ],
)
def test_a_bin_of_the_histogram_holds_few_documents(documents, cells, bits):
    assert draw.mantissa_bits(documents, cells) == bits
