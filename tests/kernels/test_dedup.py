from __future__ import annotations

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from mixcurate.kernels import dedup

#: (content hash, id hash): few distinct contents, so that most collide; they differ in one byte
#: only, in the high or in the low word.
CONTENTS = [bytes(16), bytes(15) + b"\1", b"\1" + bytes(15), b"\xff" * 16, bytes(8) + b"\1" * 8]
IDS = st.binary(min_size=16, max_size=16) | st.sampled_from(CONTENTS)
ROWS = st.lists(st.tuples(st.sampled_from(CONTENTS), IDS), max_size=30)


def pack(parts: dict[int, list[tuple[bytes, bytes]]]) -> dedup.KeyArray:
    packed = [
        dedup.pack_keys(
            pa.array([content for content, _ in rows], pa.binary(16)),
            pa.array([document for _, document in rows], pa.binary(16)),
            part,
        )
        for part, rows in parts.items()
    ]
    return np.concatenate([np.zeros(0, dedup.KEY), *packed])


def places(keys: dedup.KeyArray) -> list[tuple[int, int]]:
    return list(zip(keys["part"].tolist(), keys["row"].tolist(), strict=True))


def brute_force(parts: dict[int, list[tuple[bytes, bytes]]]) -> dict[tuple[int, int], tuple]:
    """Each dropped place and its survivor, by comparing every document with every other."""
    everything = [
        (content, document, part, row)
        for part, rows in parts.items()
        for row, (content, document) in enumerate(rows)
    ]
    result = {}
    for content, document, part, row in everything:
        survivor = min(other[1:] for other in everything if other[0] == content)
        if survivor != (document, part, row):
            result[part, row] = survivor[1:]
    return result


@given(ROWS, ROWS, ROWS)
@settings(max_examples=50, deadline=None)
def test_what_is_dropped_and_what_survives_equals_brute_force(first, second, third):
    parts = {0: first, 1: second, 7: third}
    dropped, survivors = dedup.duplicates(pack(parts))
    assert dict(zip(places(dropped), places(survivors), strict=True)) == brute_force(parts)
    assert places(dropped) == sorted(places(dropped))
    assert len(set(places(dropped))) == len(dropped)


@given(ROWS, st.randoms(use_true_random=False))
@settings(max_examples=50, deadline=None)
def test_the_order_of_the_keys_does_not_matter(rows, random):
    keys = pack({0: rows[:10], 1: rows[10:]})
    order = random.sample(range(len(keys)), len(keys))
    dropped, survivors = dedup.duplicates(keys)
    again, same = dedup.duplicates(keys[order])
    assert dropped.tobytes() == again.tobytes()
    assert survivors.tobytes() == same.tobytes()


@given(ROWS, st.integers(1, 4))
@settings(max_examples=50, deadline=None)
def test_buckets_of_contents_can_be_searched_apart(rows, buckets):
    keys = pack({0: rows})
    whole, _ = dedup.duplicates(keys)
    apart = [dedup.duplicates(keys[keys["hash_low"] % buckets == b])[0] for b in range(buckets)]
    assert sorted(places(np.concatenate(apart))) == places(whole)


def test_the_smallest_id_survives_wherever_it_is():
    same = b"c" * 16
    ids = [b"b" + bytes(15), b"\0" + b"\xff" * 15, b"b" * 16, bytes(7) + b"\1" + bytes(8)]
    dropped, survivors = dedup.duplicates(pack({0: [(same, i) for i in ids]}))
    assert places(dropped) == [(0, 0), (0, 1), (0, 2)]
    assert places(survivors) == [(0, 3)] * 3


def test_ids_compare_as_their_hex_digits_do():
    ids = [np.random.default_rng(3).bytes(16) for _ in range(50)]
    keys = pack({0: [(b"c" * 16, i) for i in ids]})
    _, survivors = dedup.duplicates(keys)
    assert ids[int(survivors["row"][0])].hex() == min(i.hex() for i in ids)


def test_of_equal_ids_the_first_place_survives():
    one = (b"c" * 16, b"i" * 16)
    dropped, survivors = dedup.duplicates(pack({3: [one], 1: [one, one]}))
    assert places(dropped) == [(1, 1), (3, 0)]
    assert places(survivors) == [(1, 0)] * 2


def test_nothing_in_nothing_is_a_duplicate():
    dropped, survivors = dedup.duplicates(pack({0: []}))
    assert len(dropped) == len(survivors) == 0


def test_different_contents_are_all_kept():
    dropped, _ = dedup.duplicates(pack({0: [(content, b"i" * 16) for content in CONTENTS]}))
    assert len(dropped) == 0
