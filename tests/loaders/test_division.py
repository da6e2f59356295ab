from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mixcurate.errors import InputError
from mixcurate.loaders.division import Division, Start, merge_states

SHAPES = st.tuples(st.integers(1, 5), st.integers(1, 3), st.integers(1, 4))
SEEN = st.sets(st.integers(10, 40), max_size=12)


def everyone(world_size: int, workers: int, chunk: int) -> list[Division]:
    return [
        Division(rank, world_size, worker, workers, chunk)
        for rank in range(world_size)
        for worker in range(workers)
    ]


def start_of(seen: set[int], base: int = 10) -> Start:
    return Start(base, np.array(sorted(seen), np.int64))


@given(SHAPES)
def test_each_document_has_one_owner_and_owners_know_their_own(shape):
    u = np.arange(60)
    owners = np.array([division.owned(u) for division in everyone(*shape)])
    assert (owners.sum(axis=0) == 1).all()
    for division, mine in zip(everyone(*shape), owners, strict=True):
        expected = np.flatnonzero(mine).tolist()
        assert [division.nth(taken) for taken in range(len(expected))] == expected


@given(SHAPES)
def test_workers_take_the_batches_of_their_rank_in_turn(shape):
    world_size, workers, chunk = shape
    mine = [u for u in range(1_000) if u % world_size == 0]
    batches = [mine[i : i + chunk] for i in range(0, len(mine), chunk)]
    for number, batch in enumerate(batches[:12]):
        worker = Division(0, world_size, number % workers, workers, chunk)
        before = number // workers * chunk
        assert [worker.nth(before + i) for i in range(len(batch))] == batch


@given(SEEN)
def test_numbers_leave_out_what_was_seen(seen):
    start = start_of(seen)
    left = [v for v in range(10, 60) if v not in seen]
    found = start.numbers(np.arange(60))
    assert [found[v] for v in left] == list(range(len(left)))
    assert all(found[v] == -1 for v in [*range(10), *seen])
    assert start.positions(np.arange(len(left))).tolist() == left


def state(division: Division, taken: int, start: Start, v: int = 0) -> dict[str, Any]:
    return {
        "order": {},
        "division": dataclasses.asdict(division),
        "base": start.base,
        "seen": start.seen.tolist(),
        "taken": taken,
        "ended": False,
        "place": {"v": v},
        "n_changes": 0,
    }


@given(SHAPES, SEEN, st.lists(st.integers(0, 8), min_size=15, max_size=15), st.randoms())
def test_merged_states_know_what_each_worker_has_seen(shape, seen, taken, random):
    start = start_of(seen)
    states, read = [], set(range(10)) | seen
    for division, count in zip(everyone(*shape), taken, strict=False):
        states.append(state(division, count, start))
        u = np.array([division.nth(i) for i in range(count)], np.int64)
        read |= set(start.positions(u).tolist())
    random.shuffle(states)
    merged = merge_states(states)
    assert merged["base"] not in read
    found = set(range(merged["base"])) | set(merged["seen"])
    assert found == read
    assert merged["seen"] == sorted(merged["seen"])
    assert merged["taken"] == 0


def test_the_earliest_place_is_kept():
    divisions = everyone(2, 1, 1)
    merged = merge_states(
        [state(d, 1, start_of(set()), v) for d, v in zip(divisions, (9, 4), strict=True)]
    )
    assert merged["place"] == {"v": 4}


@pytest.mark.parametrize("change", ["missing", "twice", "base", "shape"])
def test_states_that_do_not_belong_together(change):
    states = [state(d, 3, start_of(set())) for d in everyone(2, 2, 1)]
    if change == "missing":
        states.pop()
    elif change == "twice":
        states[3] = states[0]
    elif change == "base":
        states[3]["base"] = 12
    else:
        states[3]["division"]["chunk"] = 2
    with pytest.raises(InputError, match=r"expected 4 states|not of one run"):
        merge_states(states)


def test_no_states():
    with pytest.raises(InputError, match="no states"):
        merge_states([])


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ((2, 2), "rank 2 with world_size 2: ranks go from 0"),
        ((-1, 2), "rank -1"),
        ((0, 0), "rank 0 with world_size 0"),
        ((0, 1, 3, 3), "worker 3 with workers 3"),
        ((0, 1, 0, 1, 0), "chunk 0"),
    ],
)
def test_numbers_out_of_range(numbers, message):
    with pytest.raises(InputError, match=message):
        Division(*numbers)
