from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mixcurate.kernels import prototypes

#: Few values, so that many are equal; those that do not count are among them.
DISTANCE = st.one_of(
    st.sampled_from([0.0, -0.0, 1e-40, 0.5, 0.50001, 1.9999, float("nan"), float("inf"), -1.0]),
    st.floats(0, 2, width=32),
)
PARTS = st.lists(st.lists(DISTANCE, max_size=20), min_size=1, max_size=5)
SHARE = st.sampled_from([0.01, 0.1, 0.29, 0.5, 0.99])

Parts = list[tuple[np.ndarray, np.ndarray]]


def with_keys(parts: list[list[float]]) -> Parts:
    keys = np.random.default_rng(1).permutation(1_000).astype(np.uint64)
    found, start = [], 0
    for part in parts:
        found.append((np.array(part, np.float32), keys[start : start + len(part)]))
        start += len(part)
    return found


def dropped(parts: Parts, share: float) -> list[list[bool]]:
    """As stages do it: two passes over the parts, and then each part alone."""
    counted = prototypes.merge_histograms([prototypes.histogram(d) for d, _ in parts])
    found = prototypes.boundary(counted, share)
    last = prototypes.limit([prototypes.candidates(d, k, found) for d, k in parts], found)
    return [prototypes.are_prototypes(d, k, last).tolist() for d, k in parts]


def by_sorting(parts: Parts, share: float) -> list[list[bool]]:
    """All documents in one list, sorted."""
    ranked = sorted(
        (abs(float(distance)), int(key), number, row)
        for number, (distances, keys) in enumerate(parts)
        for row, (distance, key) in enumerate(zip(distances, keys, strict=True))
        if np.isfinite(distance) and distance >= 0
    )
    wanted = int(Fraction(str(share)) * len(ranked))
    first = {(number, row) for *_, number, row in ranked[:wanted]}
    return [[(n, row) in first for row in range(len(d))] for n, (d, _) in enumerate(parts)]


@given(PARTS, SHARE)
@settings(max_examples=80)
def test_two_passes_equal_sorting(parts, share):
    keyed = with_keys(parts)
    assert dropped(keyed, share) == by_sorting(keyed, share)


@given(PARTS, st.randoms(use_true_random=False))
@settings(max_examples=25)
def test_histograms_merge_in_any_order(parts, random):
    counted = [prototypes.histogram(d) for d, _ in with_keys(parts)]
    whole = prototypes.merge_histograms(counted)
    random.shuffle(counted)
    apart = prototypes.merge_histograms(counted[:1])
    assert prototypes.merge_histograms([apart, *counted[1:]]).tobytes() == whole.tobytes()
    joined = np.concatenate([d for d, _ in with_keys(parts)])
    assert prototypes.histogram(joined).tobytes() == whole.tobytes()


def test_a_large_corpus_in_parts():
    rng = np.random.default_rng(0)
    distance = np.sqrt(rng.gamma(9, 0.05, 50_000)).astype(np.float32)
    key = rng.integers(0, 2**64, 50_000, np.uint64)
    cuts = np.array_split(np.arange(50_000), 7)
    parts = [(distance[rows], key[rows]) for rows in cuts]
    lost = np.concatenate(dropped(parts, 0.2))
    assert lost.sum() == 10_000
    assert distance[lost].max() <= distance[~lost].min()
    counted = prototypes.histogram(distance)
    found = prototypes.boundary(counted, 0.2)
    assert len(counted) < 10_000
    assert len(prototypes.candidates(distance, key, found)) < 100


def test_equal_distances_are_settled_by_the_hash():
    distance, key = np.full(100, 0.25, np.float32), np.arange(100, dtype=np.uint64)[::-1]
    (lost,) = dropped([(distance, key)], 0.3)
    assert np.flatnonzero(lost).tolist() == list(range(70, 100))


def test_a_share_is_taken_as_it_is_written():
    distance, key = np.arange(100, dtype=np.float32), np.arange(100, dtype=np.uint64)
    assert int(0.29 * 100) == 28
    assert sum(dropped([(distance, key)], 0.29)[0]) == 29


def test_the_limit_as_a_distance():
    distance, key = np.linspace(0, 1, 101, dtype=np.float32), np.arange(101, dtype=np.uint64)
    found = prototypes.boundary(prototypes.histogram(distance), 0.5)
    last = prototypes.limit([prototypes.candidates(distance, key, found)], found)
    assert last.distance == pytest.approx(0.49)


@pytest.mark.parametrize("distance", [[], [float("nan")], [0.5]])
def test_a_share_of_no_document_drops_none(distance):
    parts = [(np.array(distance, np.float32), np.arange(len(distance), dtype=np.uint64))]
    counted = prototypes.histogram(parts[0][0])
    assert prototypes.boundary(counted, 0.5) is None
    assert np.isnan(prototypes.limit([], None).distance)
    assert not any(dropped(parts, 0.5)[0])
