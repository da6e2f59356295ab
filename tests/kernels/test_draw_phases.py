from __future__ import annotations

import dataclasses

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mixcurate.errors import PlanError
from mixcurate.kernels import draw, hashing
from mixcurate.kernels.draw import Pool
from mixcurate.kernels.epochs import epoch_keys
from tests.kernels.test_draw import pools, run_phases, split


def brute_force_phases(
    pool: Pool, goals: list[list[int]], max_copies: int, *, exact: bool
) -> list[tuple[int, int, int, int]] | None:
    """(row, copy, phase, tokens kept or -1) by sorting all copies; None if a goal is not met."""
    result = []
    for cell, mine in enumerate(goals):
        copies = []
        for row in np.flatnonzero((pool.cell == cell) & (pool.weight > 0)).tolist():
            for j in range(1, max_copies + 1):
                tie = int(pool.key[row])
                if pool.fresh:
                    tie = int(epoch_keys(pool.key[row : row + 1], j)[0])
                copies.append(((j - (tie >> 11) / 2**53) / pool.weight[row], tie, row, j))
        copies.sort()
        taken = total = 0
        for phase, goal in enumerate(mine):
            goal_now = goal if exact else sum(mine[: phase + 1])
            phase_total = 0 if exact else total
            while phase_total < goal_now:
                if taken == len(copies):
                    return None
                _, _, row, j = copies[taken]
                phase_total += int(pool.tokens[row])
                total += int(pool.tokens[row])
                over = phase_total - goal_now if exact else 0
                keep = int(pool.tokens[row]) - over if over > 0 else -1
                result.append((row, j - 1, phase, keep))
                taken += 1
    return sorted(result)


@given(
    pools(),
    st.lists(st.lists(st.integers(0, 120), min_size=3, max_size=3), min_size=3, max_size=3),
    st.integers(1, 16),
    st.lists(st.integers(0, 25), max_size=2),
    st.booleans(),
    st.booleans(),
)
@settings(max_examples=150, deadline=None)
def test_phases_take_one_after_another_as_brute_force_does(pool, goals, bits, cuts, exact, fresh):
    if fresh:
        pool = dataclasses.replace(pool, weight=np.ones(len(pool.cell)), fresh=True)
    expected = brute_force_phases(pool, goals, 8, exact=exact)
    cumulative = np.cumsum(np.array(goals, np.int64), axis=1)
    parts = split(pool, cuts)
    if expected is None:
        if not exact:  # a document that is cut at the very end of what there is may be missing
            with pytest.raises(PlanError):
                run_phases(parts, cumulative, max_copies=8, bits=bits)
        return
    found, start = [], 0
    for part, one in zip(
        parts, run_phases(parts, cumulative, max_copies=8, bits=bits, exact=exact), strict=True
    ):
        rows = (one.row + start).tolist()
        found += zip(rows, *(x.tolist() for x in (one.copy, one.phase, one.keep)), strict=True)
        start += len(part.cell)
    assert found == expected


@given(pools(), st.lists(st.lists(st.integers(0, 99), min_size=4, max_size=4), min_size=3))
@settings(max_examples=50, deadline=None)
def test_the_sum_up_to_each_phase_is_never_below_its_target_and_a_phase_is_within_a_document(
    pool, goals
):
    goals = goals[:3]
    try:
        (one,) = run_phases([pool], np.cumsum(np.array(goals, np.int64), axis=1))
    except PlanError:
        return
    for cell, mine in enumerate(goals):
        largest = max(pool.tokens[pool.cell == cell], default=0)
        total = 0
        for phase, goal in enumerate(mine):
            rows = one.row[(pool.cell[one.row] == cell) & (one.phase == phase)]
            taken = int(pool.tokens[rows].sum())
            total += taken
            assert sum(mine[: phase + 1]) <= total < sum(mine[: phase + 1]) + max(largest, 1)
            assert abs(taken - goal) < max(largest, 1)


def test_thousands_of_cells_are_drawn_at_once():
    n, cells = 60_000, 5_000
    keys = hashing.uniform_keys(pa.array([f"{i}" for i in range(n)]), 1, "draw")
    tokens = np.random.default_rng(2).integers(1, 90, n)
    pool = Pool(np.arange(n, dtype=np.int32) % cells, tokens, np.ones(n), keys, fresh=True)
    have = np.bincount(pool.cell, tokens, cells).astype(np.int64)
    goals = np.stack([have // 3, have * 5 // 4], axis=1)
    bits = draw.mantissa_bits(n, cells)
    (one,) = run_phases([pool], goals, bits=bits, exact=True, max_copies=3)
    sizes = np.where(one.keep < 0, tokens[one.row], one.keep)
    for phase, wanted in enumerate((goals[:, 0], goals[:, 1] - goals[:, 0])):
        mine = one.phase == phase
        found = np.bincount(pool.cell[one.row][mine], sizes[mine], cells)
        assert (found == wanted).all()
