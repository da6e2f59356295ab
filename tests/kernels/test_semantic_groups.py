from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mixcurate.kernels.semantic import unit_grid
from mixcurate.kernels.semantic_groups import divide, groups_of, plan_groups

SIZES = st.lists(st.integers(0, 300), min_size=1, max_size=12)


@given(SIZES, st.integers(1, 80), st.integers(1, 400), st.integers(0, 2**12 - 1))
@settings(max_examples=60)
def test_groups_are_numbered_by_cluster_and_gathered_in_buckets(sizes, most, bucket, kept):
    documents = np.array(sizes, np.int64)
    wanted = np.array([bool(kept >> place & 1) for place in range(len(sizes))])
    plan = plan_groups(documents, wanted, max_group=most, bucket_documents=bucket)
    number = 0
    for cluster, size in enumerate(sizes):
        if not wanted[cluster] or size < 2:
            assert plan.first[cluster] == -1
            continue
        assert plan.first[cluster] == number
        count = 1 << int(plan.cuts[cluster])
        assert size <= most * count
        assert count == 1 or size > most * count // 2
        number += count
    assert len(plan.bucket) == number
    assert plan.bucket.tolist() == sorted(plan.bucket.tolist())
    assert set(plan.bucket.tolist()) == set(range(plan.buckets))
    expected = np.zeros(number)
    for cluster in np.flatnonzero(plan.first >= 0):
        count = 1 << int(plan.cuts[cluster])
        expected[plan.first[cluster] :][:count] = np.ceil(sizes[cluster] / count)
    for mine in (expected[plan.bucket == b] for b in range(plan.buckets)):
        assert mine.sum() <= bucket or len(mine) == 1


def corpus(n: int, k: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    centroids = rng.standard_normal((k, 16)).astype(np.float32)
    cluster = (k * rng.random(n) ** 2).astype(np.int32)  # the first are the largest
    cluster[::20] = -1
    vectors = (centroids[cluster] + rng.standard_normal((n, 16))).astype(np.float16)
    return vectors, cluster, centroids


def test_a_document_has_the_same_group_in_any_batch():
    vectors, cluster, centroids = corpus(9_000, 5)
    plan = plan_groups(
        np.bincount(cluster[cluster >= 0]), np.arange(5) != 3, max_group=300, bucket_documents=900
    )
    whole = groups_of(vectors, cluster, centroids, plan, seed=4)
    picked = np.random.default_rng(2).permutation(9_000)[:500]
    again = groups_of(vectors[picked], cluster[picked], centroids, plan, seed=4)
    np.testing.assert_array_equal(whole[picked], again)
    assert (whole[(cluster < 0) | (cluster == 3)] == -1).all()
    counts = 1 << plan.cuts[cluster]
    inside = (cluster >= 0) & (cluster != 3)
    offset = whole - plan.first[cluster]
    assert ((offset >= 0) & (offset < counts))[inside].all()
    sizes = np.bincount(whole[inside])
    assert len(sizes) == len(plan.bucket)
    assert sizes.max() < 600  # through the centroid, a plane parts a cluster about in the middle
    assert len(set(counts[inside].tolist())) > 2
    other = groups_of(vectors, cluster, centroids, plan, seed=5)
    assert (other != whole)[inside].mean() > 0.5


def test_near_documents_are_seldom_parted():
    rng = np.random.default_rng(6)
    vectors, _, centroids = corpus(4_000, 1)
    twins = vectors + 0.1 * rng.standard_normal(vectors.shape)
    plan = plan_groups(np.array([4_000]), np.array([True]), max_group=1_000, bucket_documents=1)
    zeros = np.zeros(4_000, np.int32)
    same = groups_of(vectors, zeros, centroids, plan, 0) == groups_of(
        twins, zeros, centroids, plan, 0
    )
    units = [unit_grid(rows) for rows in (vectors, twins)]
    middle = unit_grid(centroids)
    one, two = (rows - middle for rows in units)
    cosine = (one * two).sum(1) / np.linalg.norm(one, axis=1) / np.linalg.norm(two, axis=1)
    expected = (1 - np.arccos(cosine.clip(-1, 1)) / np.pi) ** 2  # two planes
    assert same.mean() == pytest.approx(expected.mean(), abs=0.04)


@given(st.integers(0, 60), st.integers(1, 20), st.randoms(use_true_random=False))
@settings(max_examples=40)
def test_pieces_are_within_bounds_and_do_not_depend_on_the_order_of_rows(n, most, random):
    rng = np.random.default_rng(n)
    vectors = unit_grid(rng.standard_normal((n // 2 + 1, 5))[np.arange(n) // 2])  # pairs
    key = rng.permutation(n).astype(np.uint64)
    pieces = divide(vectors, key, most, seed=1)
    assert sorted(np.concatenate([*pieces, []]).tolist()) == list(range(n))
    assert all(len(piece) <= most for piece in pieces)
    assert all(len(piece) > most // 4 for piece in pieces if n)
    order = np.array(random.sample(range(n), n), np.int64)
    again = divide(vectors[order], key[order], most, seed=1)
    assert {frozenset(order[piece].tolist()) for piece in again} == {
        frozenset(piece.tolist()) for piece in pieces
    }


def test_a_group_within_bounds_stays_whole():
    vectors = unit_grid(np.random.default_rng(0).standard_normal((50, 4)))
    (piece,) = divide(vectors, np.arange(50, dtype=np.uint64), 50, seed=1)
    assert piece.tolist() == list(range(50))
