from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from mixcurate.kernels.hash_sample import HashSample, piece_keys, smallest

ITEMS = st.dictionaries(
    st.integers(0, 2**64 - 1), st.lists(st.integers(0, 2**32 - 1), max_size=6), max_size=20
)


def sample(items: list[tuple[int, list[int]]]) -> HashSample:
    words = [word for _, data in items for word in data]
    return HashSample(
        np.array([key for key, _ in items], np.uint64),
        np.array([len(data) for _, data in items], np.int64),
        np.array(words, np.uint32),
    )


def reference(items: dict[int, list[int]], most: int) -> list[tuple[int, list[int]]]:
    kept, total = [], 0
    for key in sorted(items):
        if total >= most:
            break
        kept.append((key, items[key]))
        total += len(items[key])
    return kept


def listed(found: HashSample) -> list[tuple[int, list[int]]]:
    ends = np.cumsum(found.lengths)
    pieces = zip(found.keys.tolist(), ends - found.lengths, ends, strict=True)
    return [(key, found.words[start:end].tolist()) for key, start, end in pieces]


@given(ITEMS, st.integers(1, 60), st.integers(1, 5), st.randoms(use_true_random=False))
@settings(max_examples=100, deadline=None)
def test_samples_of_parts_merge_to_the_sample_of_the_whole(items, most, n_parts, random):
    parts: list[list[tuple[int, list[int]]]] = [[] for _ in range(n_parts)]
    for item in random.sample(sorted(items.items()), len(items)):
        parts[random.randrange(n_parts)].append(item)
    expected = reference(items, most)
    samples = [smallest([sample(part)], most) for part in parts]
    random.shuffle(samples)
    assert listed(smallest(samples, most)) == expected
    merged = samples[0]
    for other in samples[1:]:  # two by two, and over the wire
        merged = HashSample.from_bytes(smallest([merged, other], most).to_bytes())
    assert listed(merged) == expected
    words = [word for _, data in expected for word in data]
    assert [word for piece in merged.items(most) for word in piece.tolist()] == words[:most]


def test_the_last_item_is_cut():
    found = sample([(1, [10, 11]), (5, []), (7, [12, 13, 14])])
    assert [piece.tolist() for piece in found.items(4)] == [[10, 11], [12, 13]]
    assert [piece.tolist() for piece in found.items(2)] == [[10, 11]]
    assert [piece.tolist() for piece in found.items(99)] == [[10, 11], [12, 13, 14]]


def test_nothing_is_a_sample():
    empty = smallest([], 5)
    assert HashSample.from_bytes(empty.to_bytes()).items(5) == []


def test_keys_of_pieces_are_those_of_splitmix():
    """The first outputs of SplitMix64 from the state 1234567 (its reference implementation)."""
    found = piece_keys(np.full(3, 1234567, np.uint64), np.arange(3))
    assert found.tolist() == [6457827717110365317, 3203168211198807973, 9817491932198370423]
