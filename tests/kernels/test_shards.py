from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mixcurate.kernels import shards

MB = 1 << 20
#: Distinct, as hashes are; some share their leading 16 bits, so that shards are cut inside a bin.
KEYS = st.lists(
    st.integers(0, 2**64 - 1) | st.integers(2**60, 2**60 + 99), min_size=1, max_size=60, unique=True
)


def find_limits(parts: list[np.ndarray], n_shards: int) -> np.ndarray:
    """The passes of the real job."""
    histogram = sum(shards.key_histogram(part) for part in parts)
    total = sum(map(len, parts))
    bins, ranks = shards.boundary_bins(histogram, shards.first_ranks(total, n_shards))
    found = np.concatenate([shards.keys_in_bins(part, bins) for part in parts])
    return shards.boundaries(found, bins, ranks)


@given(KEYS, st.integers(1, 60), st.lists(st.integers(0, 60), max_size=3))
@settings(max_examples=50, deadline=None)
def test_shards_are_slices_of_the_global_sort_for_any_parts(values, n_shards, cuts):
    n_shards = min(n_shards, len(values))
    keys = np.array(values, np.uint64)
    parts = np.split(keys, sorted(min(cut, len(values)) for cut in cuts))
    limits = find_limits(parts, n_shards)
    found = np.concatenate([shards.shard_of(part, limits) for part in parts])
    assert found.dtype == np.int32

    ordered = sorted(values)
    starts = [len(values) * i // n_shards for i in range(n_shards + 1)]
    expected = {
        key: shard
        for shard in range(n_shards)
        for key in ordered[starts[shard] : starts[shard + 1]]
    }
    assert found.tolist() == [expected[key] for key in values]

    counts = np.bincount(found, minlength=n_shards)
    assert counts.max() - counts.min() <= 1
    assert counts.min() > 0
    assert limits.tobytes() == find_limits([keys[::-1]], n_shards).tobytes()


def test_hash_keys_fill_many_shards_evenly():
    keys = np.random.default_rng(1).integers(0, 2**64, 10_007, dtype=np.uint64)
    found = shards.shard_of(keys, find_limits([keys[:3_000], keys[3_000:]], 64))
    counts = np.bincount(found)
    assert len(counts) == 64
    assert set(counts.tolist()) == {156, 157}


def test_the_histogram_counts_leading_bits():
    keys = np.array([0, 2**48 - 1, 2**48, 2**64 - 1], np.uint64)
    histogram = shards.key_histogram(keys)
    assert histogram.shape == (65_536,)
    assert (histogram[0], histogram[1], histogram[-1]) == (2, 1, 1)
    assert shards.key_histogram(np.zeros(0, np.uint64)).sum() == 0


def test_one_shard_has_no_boundary():
    keys = np.array([3, 1, 2], np.uint64)
    limits = find_limits([keys], 1)
    assert len(limits) == 0
    assert shards.shard_of(keys, limits).tolist() == [0, 0, 0]


@given(
    st.lists(
        st.tuples(KEYS, st.integers(0, 9)), min_size=1, max_size=4, unique_by=lambda x: x[0][0]
    )
)
@settings(max_examples=50, deadline=None)
def test_shards_of_ranges_follow_each_other_and_each_range_is_cut_by_itself(drawn):
    keys = np.array([key for keys, _ in drawn for key in keys], np.uint64)
    ranges = np.repeat(np.arange(len(drawn)), [len(keys) for keys, _ in drawn]).astype(np.uint8)
    counts = [min(n, len(keys)) or 1 for keys, n in drawn]
    histogram = shards.range_histogram(keys, ranges, len(drawn))
    limits = {}
    for number, n in enumerate(counts):
        mine = keys[ranges == number]
        assert histogram[number].tolist() == shards.key_histogram(mine).tolist()
        limits[number] = find_limits([mine], n).tolist()
    found = shards.shard_in_ranges(keys, ranges, limits, counts)
    assert found.dtype == np.int32
    first = 0
    for number, n in enumerate(counts):
        mine = ranges == number
        alone = shards.shard_of(keys[mine], np.array(limits[number], np.uint64))
        assert (found[mine] - first).tolist() == alone.tolist()
        sizes = np.bincount(found[mine] - first, minlength=n)
        assert len(sizes) == n
        assert sizes.max() - sizes.min() <= 1
        first += n


def test_an_empty_range_takes_no_number():
    keys, ranges = np.array([5, 7], np.uint64), np.array([0, 2], np.uint8)
    assert shards.shard_in_ranges(keys, ranges, {}, [1, 0, 1]).tolist() == [0, 1]
    assert shards.range_histogram(keys[:0], ranges[:0], 3).sum() == 0


def test_shards_are_numbered_within_their_split():
    ranges = [
        shards.ShardRange("train", "warm", 2),
        shards.ShardRange("train", "empty", 0),
        shards.ShardRange("train", "anneal", 1),
        shards.ShardRange("holdout", "holdout", 2),
    ]
    assert shards.places(ranges) == [
        shards.Place("train", "warm", 0, 3),
        shards.Place("train", "warm", 1, 3),
        shards.Place("train", "anneal", 2, 3),
        shards.Place("holdout", "holdout", 0, 2),
        shards.Place("holdout", "holdout", 1, 2),
    ]


def count(documents: int, n_bytes: int, shard_bytes: int = 256 * MB, multiple_of: int = 1) -> int:
    return shards.count_shards(
        documents=documents, n_bytes=n_bytes, shard_bytes=shard_bytes, multiple_of=multiple_of
    )


@pytest.mark.parametrize(
    ("n_bytes", "multiple_of", "expected"),
    [
        (256 * MB, 1, 1),
        (256 * MB + 1, 1, 2),
        (1_000 * MB, 1, 4),
        (1_000 * MB, 64, 64),
        (64 * 256 * MB, 64, 64),
        (64 * 256 * MB + 1, 64, 128),
        (64 * MB, 64, 64),  # a megabyte each is still large enough
        (64 * MB - 1, 64, 32),
        (10 * MB, 64, 8),
        (1, 64, 1),
        (0, 64, 1),
    ],
)
def test_the_number_of_shards(n_bytes, multiple_of, expected):
    assert count(10**6, n_bytes, multiple_of=multiple_of) == expected


@given(st.integers(1, 10**9), st.integers(0, 2**45), st.integers(MB, 2**32), st.integers(1, 512))
@settings(max_examples=50, deadline=None)
def test_shards_keep_their_size_their_multiple_and_are_never_empty(
    documents, n_bytes, shard_bytes, multiple_of
):
    found = count(documents, n_bytes, shard_bytes, multiple_of)
    assert 1 <= found <= documents
    if found < documents:
        assert n_bytes <= found * shard_bytes
        assert found % multiple_of == 0 or n_bytes // (found * 2) < shards.LEAST_SHARD_BYTES
        fewest = max(-(-n_bytes // shard_bytes), 1)
        assert found < fewest + multiple_of


def test_there_are_no_more_shards_than_documents():
    assert count(3, 10**12, multiple_of=64) == 3
