from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mixcurate.kernels import components

PAIRS = st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), max_size=20)


def pack(pairs: list[tuple[int, int]]) -> np.ndarray:
    return np.array([min(p) << 32 | max(p) for p in pairs], np.uint64)


def unpack(links: np.ndarray) -> list[tuple[int, int]]:
    first, second = components.ends(links)
    return list(zip(first.tolist(), second.tolist(), strict=True))


def brute_force(pairs: list[tuple[int, int]]) -> dict[int, int]:
    """The smallest member of each document's component, by following links until all is still."""
    smallest = {document: document for pair in pairs for document in pair}
    for _ in smallest:
        for a, b in pairs:
            smallest[a] = smallest[b] = min(smallest[a], smallest[b])
    return smallest


@given(PAIRS, st.integers(1, 5), st.integers(0, 6))
@settings(deadline=None)
def test_components_equal_brute_force_however_links_arrive(pairs, pieces, waiting):
    pairs = [pair for pair in pairs if pair[0] != pair[1]]
    components._WAITING, before = waiting, components._WAITING
    try:
        merged = components.merge(pack(pairs[i::pieces]) for i in range(pieces))
    finally:
        components._WAITING = before
    expected = {
        (root, document) for document, root in brute_force(pairs).items() if root != document
    }
    assert unpack(merged) == sorted(expected)


def test_numbers_up_to_the_last_are_told_apart():
    high = 2**32 - 1
    merged = components.merge([pack([(high - 1, high), (0, high), (1, 2)])])
    assert unpack(merged) == [(0, high - 1), (0, high), (1, 2)]


def test_no_links_give_no_groups():
    assert len(components.merge([])) == 0
    assert len(components.merge([np.zeros(0, np.uint64)])) == 0


@given(
    st.lists(st.integers(1, 6), max_size=20), st.randoms(use_true_random=False), st.integers(0, 20)
)
@settings(deadline=None)
def test_documents_of_one_key_become_a_star_around_the_smallest(keys, random, own):
    documents = random.sample(range(20), len(keys))
    links = components.star_links(np.array(keys, np.uint64), np.array(documents, np.uint32), own)
    expected = []
    for key in set(keys):
        members = sorted(d for k, d in zip(keys, documents, strict=True) if k == key)
        expected += [(members[0], other) for other in members[1:] if members[0] < own]
    assert sorted(unpack(links)) == sorted(expected)


@pytest.mark.parametrize("count", [1, 2, 100_000])
def test_a_key_of_many_documents_costs_one_link_each(count):
    keys = np.full(count, 7, np.uint64)
    assert len(components.star_links(keys, np.arange(count, dtype=np.uint32), count)) == count - 1
