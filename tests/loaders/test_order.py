from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mixcurate.loaders.order import Order, permutation

COUNTS = st.lists(st.integers(1, 6), min_size=1, max_size=8)


def order_of(counts: list[int], *, lanes: int = 1, shuffle: bool = True, phases: int = 2) -> Order:
    names = tuple(str(i * phases // len(counts)) for i in range(len(counts)))
    return Order(tuple(counts), names, 7, shuffle, lanes)


def rows(order: Order, p: np.ndarray) -> list[tuple[int, int]]:
    shard, row = order.locate(p)
    return list(zip(shard.tolist(), row.tolist(), strict=True))


@given(COUNTS)
def test_the_first_epoch_has_the_order_of_the_shards(counts):
    expected = [(shard, row) for shard, count in enumerate(counts) for row in range(count)]
    assert rows(order_of(counts), np.arange(len(expected))) == expected


@given(COUNTS, st.integers(1, 4))
def test_every_epoch_has_every_document_once_and_phases_in_order(counts, epoch):
    order = order_of(counts)
    n = sum(counts)
    found = rows(order, np.arange(n) + epoch * n)
    assert sorted(found) == rows(order, np.arange(n))
    phases = [order.phases[shard] for shard, _ in found]
    assert phases == sorted(phases)


def test_epochs_differ_unless_shards_keep_their_order():
    counts, n = [2] * 8, 16
    for shuffle in (True, False):
        order = order_of(counts, shuffle=shuffle)
        epochs = [rows(order, np.arange(n) + epoch * n) for epoch in range(3)]
        assert (epochs[0] != epochs[1] != epochs[2]) == shuffle
        assert epochs[1] == rows(order_of(counts, shuffle=shuffle), np.arange(n) + n)


@given(COUNTS, st.integers(1, 5))
def test_lanes_are_read_in_turn(counts, lanes):
    order, n = order_of(counts, lanes=lanes), sum(counts)
    found = order.in_lanes(np.arange(n) + n) - n
    expected, first = [], 0
    for phase in ("0", "1"):
        size = sum(c for c, p in zip(counts, order.phases, strict=True) if p == phase)
        length = size // lanes
        expected += [first + lane * length + i for i in range(length) for lane in range(lanes)]
        expected += range(first + length * lanes, first + size)
        first += size
    assert found.tolist() == expected


@given(COUNTS, st.integers(0, 2), st.data())
def test_the_rest_of_a_shard(counts, epoch, data):
    order, n = order_of(counts), sum(counts)
    p = data.draw(st.integers(0, n - 1)) + epoch * n
    rest = order.rest_of_shard(p)
    found = rows(order, np.arange(p, p + rest.length))
    assert found == [(rest.shard, rest.first + i) for i in range(rest.length)]
    assert found[-1][1] == counts[rest.shard] - 1
    assert rest.p == p


def splitmix64(seed: int, number: int) -> int:
    """Output ``number`` of the generator as its authors publish it."""
    mask = 2**64 - 1
    z = (seed + (number + 1) * 0x9E3779B97F4A7C15) & mask
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 & mask
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB & mask
    return z ^ (z >> 31)


def test_a_permutation_is_a_function_of_its_seed():
    found = permutation(1_000, 5)
    assert sorted(found.tolist()) == list(range(1_000))
    keys = [splitmix64(5, i) for i in range(1_000)]
    assert found.tolist() == sorted(range(1_000), key=keys.__getitem__)
    assert permutation(1_000, 6).tolist() != found.tolist()
    assert abs(np.corrcoef(found, np.arange(1_000))[0, 1]) < 0.1


@pytest.mark.parametrize("count", [0, 1])
def test_permutations_of_hardly_anything(count):
    assert permutation(count, 3).tolist() == list(range(count))
