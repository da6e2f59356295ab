from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mixcurate.kernels import copies
from mixcurate.kernels.hashing import content_hashes

OWN = 1

#: Few distinct contents, so that most collide; they differ in the high or in the low word only.
CONTENTS = [(0, 0), (0, 1), (1, 0), (2**64 - 1, 2**64 - 1), (5, 7)]
ROWS = st.lists(st.sampled_from(CONTENTS), max_size=8)
PLACES = st.dictionaries(st.tuples(st.integers(0, 3), st.integers(0, 2)), ROWS, max_size=8)

Places = dict[tuple[int, int], list[tuple[int, int]]]


def pack(places: Places) -> copies.OccurrenceArray:
    return np.array(
        [
            (high, low, origin, part, row)
            for (origin, part), contents in places.items()
            for row, (high, low) in enumerate(contents)
        ],
        copies.OCCURRENCE,
    )


def brute_force(places: Places, own: int) -> list[tuple[int, int, int, int, int]]:
    """Every content's places in a dict, best place first."""
    found: dict[tuple[int, int], list[tuple[bool, int, int, int]]] = {}
    for (origin, part), contents in places.items():
        for row, content in enumerate(contents):
            found.setdefault(content, []).append((origin == own, origin, part, row))
    result = []
    for candidates in found.values():
        best = min(candidates)
        for place in candidates:
            if place[1] == own and place != best:
                result.append((*place[2:], *best[1:]))
    return sorted(result)


@given(PLACES, st.integers(0, 3))
@settings(max_examples=200, deadline=None)
def test_copies_equal_brute_force(places, own):
    found = copies.find_copies(pack(places), own)
    assert found.dtype == copies.COPY
    assert [tuple(copy) for copy in found.tolist()] == brute_force(places, own)


@given(PLACES)
@settings(max_examples=100, deadline=None)
def test_a_source_is_never_a_copy(places):
    found = copies.find_copies(pack(places), OWN).tolist()
    copied = {(OWN, part, row) for part, row, *_ in found}
    assert copied.isdisjoint((origin, part, row) for *_, origin, part, row in found)


@given(PLACES, st.randoms(use_true_random=False))
@settings(max_examples=100, deadline=None)
def test_the_order_of_the_occurrences_does_not_matter(places, random):
    packed = pack(places)
    order = random.sample(range(len(packed)), len(packed))
    again = copies.find_copies(packed[order], OWN)
    assert again.tobytes() == copies.find_copies(packed, OWN).tobytes()


@given(PLACES, st.integers(1, 4))
@settings(max_examples=100, deadline=None)
def test_buckets_of_hashes_can_be_searched_apart(places, buckets):
    packed = pack(places)
    apart = [copies.find_copies(packed[packed["high"] % buckets == b], OWN) for b in range(buckets)]
    whole = copies.find_copies(packed, OWN)
    assert sorted(np.concatenate(apart).tolist()) == whole.tolist()


def test_another_origin_goes_before_the_own_run_whatever_its_number():
    places = {(0, 0): [(5, 7)], (2, 9): [(0, 0), (5, 7)], (1, 0): [(5, 7), (0, 1)]}
    assert copies.find_copies(pack(places), 1).tolist() == [(0, 0, 0, 0, 0)]
    del places[0, 0]
    assert copies.find_copies(pack(places), 1).tolist() == [(0, 0, 2, 9, 1)]


def test_only_rows_of_the_own_run_are_copies():
    places = {(0, 0): [(5, 7)] * 3, (2, 0): [(5, 7)] * 3}
    assert len(copies.find_copies(pack(places), 1)) == 0


def test_nothing_is_a_copy_of_nothing():
    assert len(copies.find_copies(np.zeros(0, copies.OCCURRENCE), OWN)) == 0


def digests(count: int) -> list[bytes]:
    texts = pa.array([f"text {number}" for number in range(count)])
    found: list[bytes] = content_hashes(texts).to_pylist()
    return found


def as_bytes(hashes: copies.HashArray) -> list[bytes]:
    return [int(h).to_bytes(8, "big") + int(w).to_bytes(8, "big") for h, w in hashes.tolist()]


@pytest.mark.parametrize(("start", "stop"), [(0, 20), (3, 17), (5, 5), (19, 20)])
def test_hashes_come_out_of_a_column_as_they_are(start, stop):
    expected = digests(20)
    column = pa.array(expected, pa.binary(16)).slice(start, stop - start)
    found = copies.hash_words(column)
    assert found.dtype == copies.HASH
    assert as_bytes(found) == expected[start:stop]


def test_hashes_come_out_of_a_column_in_chunks():
    expected = digests(20)
    chunks = [
        pa.array(expected[:7], pa.binary(16)),
        pa.array([], pa.binary(16)),
        pa.array(expected, pa.binary(16)).slice(7, 13),
    ]
    assert as_bytes(copies.hash_words(pa.chunked_array(chunks))) == expected
    assert len(copies.hash_words(pa.chunked_array([], pa.binary(16)))) == 0
