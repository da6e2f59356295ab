from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from threadpoolctl import threadpool_limits

from mixcurate.kernels import semantic
from mixcurate.kernels.semantic import Repeats, Rule, find_repeats, unit_grid

RULES: tuple[Rule, ...] = ("earlier", "kept")


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(semantic, "_ROWS", 5)
    monkeypatch.setattr(semantic, "_COLUMNS", 3)


@st.composite
def clusters(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vectors of few directions, many of them the same, with equal priorities among them."""
    n = draw(st.integers(0, 40))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    base = rng.standard_normal((max(1, n // 3), 8))
    vectors = base[rng.integers(0, len(base), n)] + draw(
        st.sampled_from([0.0, 0.1, 0.3])
    ) * rng.standard_normal((n, 8))
    priority = rng.integers(0, 4, n).astype(np.float64)
    return unit_grid(vectors), priority, rng.permutation(n).astype(np.uint64)


def exact_cosines(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Cosines as integer multiples of 2 ** -48: int64 arithmetic has no rounding."""
    one, two = (np.rint(rows.astype(np.float64) * 2**24).astype(np.int64) for rows in (left, right))
    np.testing.assert_array_equal(one / 2**24, left)
    return one @ two.T


def limit_of(epsilon: float) -> int:
    """The largest such multiple that is not above 1 - epsilon."""
    return int(Fraction(1.0 - epsilon) * 2**48)


def brute_force(
    vectors: np.ndarray, priority: np.ndarray, key: np.ndarray, epsilon: float, rule: Rule
) -> dict[int, int]:
    """Each dropped row and what it repeats, one pair after the other in exact arithmetic."""
    order = sorted(range(len(vectors)), key=lambda row: (-priority[row], key[row]))
    above = exact_cosines(vectors, vectors) > limit_of(epsilon)
    repeated: dict[int, int] = {}
    for place, row in enumerate(order):
        for other in order[:place]:
            if rule == "kept" and other in repeated:
                continue
            if above[row, other]:
                repeated[row] = other
                break
    return repeated


def as_dict(found: Repeats) -> dict[int, int]:
    assert (np.diff(found.row) > 0).all()
    return dict(zip(found.row.tolist(), found.of.tolist(), strict=True))


@pytest.mark.parametrize("rule", RULES)
@given(clusters(), st.sampled_from([0.001, 0.05, 0.3]))
@settings(max_examples=25)
def test_repeats_equal_brute_force(rule, cluster, epsilon):
    found = find_repeats(*cluster, epsilon=epsilon, rule=rule)
    assert as_dict(found) == brute_force(*cluster, epsilon, rule)


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("rule", RULES)
def test_repeats_equal_brute_force_over_many_blocks(rule):
    rng = np.random.default_rng(8)
    for n in (1, 4, 5, 6, 11, 40):
        base = rng.standard_normal((4, 6))
        vectors = unit_grid(base[rng.integers(0, 4, n)] + 0.2 * rng.standard_normal((n, 6)))
        priority, key = rng.integers(0, 3, n).astype(float), rng.permutation(n).astype(np.uint64)
        found = find_repeats(vectors, priority, key, epsilon=0.1, rule=rule)
        assert as_dict(found) == brute_force(vectors, priority, key, 0.1, rule)


@pytest.mark.parametrize("rule", RULES)
@given(clusters(), st.randoms(use_true_random=False))
@settings(max_examples=25)
def test_rows_may_come_in_any_order(rule, cluster, random):
    n = len(cluster[0])
    order = np.array(random.sample(range(n), n), np.int64)
    plain = as_dict(find_repeats(*cluster, epsilon=0.05, rule=rule))
    shuffled = find_repeats(*(column[order] for column in cluster), epsilon=0.05, rule=rule)
    assert {int(order[a]): int(order[b]) for a, b in as_dict(shuffled).items()} == plain


@given(clusters(), st.sampled_from([0.01, 0.1]))
@settings(max_examples=25)
def test_kept_documents_are_apart_and_cover_the_dropped_ones(cluster, epsilon):
    vectors = cluster[0].astype(np.float64)
    found = find_repeats(*cluster, epsilon=epsilon, rule="kept")
    kept = np.setdiff1d(np.arange(len(vectors)), found.row)
    between = vectors[kept] @ vectors[kept].T
    np.fill_diagonal(between, -1)
    assert (between <= 1 - epsilon).all()
    assert np.isin(found.of, kept).all()
    assert (found.cosine > 1 - epsilon).all()
    np.testing.assert_array_equal(found.kept, found.of)


@given(clusters())
@settings(max_examples=25)
def test_the_rule_of_the_paper_drops_no_less_and_its_chains_end_at_a_kept_document(cluster):
    found = find_repeats(*cluster, epsilon=0.05, rule="earlier")
    cover = find_repeats(*cluster, epsilon=0.05, rule="kept")
    assert set(cover.row.tolist()) <= set(found.row.tolist())
    of = as_dict(found)
    for row, kept in zip(found.row.tolist(), found.kept.tolist(), strict=True):
        end = row
        while end in of:
            end = of[end]
        assert end == kept


def test_of_a_chain_the_paper_leaves_one_and_a_cover_leaves_its_ends():
    angles = np.array([0.0, 0.3, 0.6, 0.9, 1.2])  # a step has cosine 0.955, two have 0.825
    vectors = unit_grid(np.stack([np.cos(angles), np.sin(angles)], axis=1))
    priority, key = -angles, np.arange(5, dtype=np.uint64)
    paper = find_repeats(vectors, priority, key, epsilon=0.1, rule="earlier")
    cover = find_repeats(vectors, priority, key, epsilon=0.1, rule="kept")
    assert as_dict(paper) == {1: 0, 2: 1, 3: 2, 4: 3}
    assert paper.kept.tolist() == [0, 0, 0, 0]
    assert as_dict(cover) == {1: 0, 3: 2}
    np.testing.assert_allclose(cover.cosine, np.cos(0.3), atol=1e-6)


def test_the_largest_priority_survives_then_the_smallest_key_and_nan_comes_last():
    vectors = unit_grid(np.ones((4, 3)))
    priority, key = np.array([np.nan, 1.0, 2.0, 2.0]), np.array([0, 1, 3, 2], np.uint64)
    for rule in RULES:
        found = find_repeats(vectors, priority, key, epsilon=0.05, rule=rule)
        assert as_dict(found) == {0: 3, 1: 3, 2: 3}
        assert (found.cosine > 1 - 1e-6).all()


def near_the_threshold(n: int, dimension: int) -> np.ndarray:
    """Vectors whose cosines to the first one lie within float32's error of 0.95."""
    rng = np.random.default_rng(3)
    first = rng.standard_normal(dimension)
    first /= np.linalg.norm(first)
    other = rng.standard_normal((n, dimension))
    other -= np.outer(other @ first, first)
    other /= np.linalg.norm(other, axis=1, keepdims=True)
    cosine = 0.95 + rng.uniform(-1, 1, (n, 1)) * 1e-7
    return unit_grid(np.vstack([first, cosine * first + np.sqrt(1 - cosine**2) * other]))


@pytest.mark.parametrize("rule", RULES)
def test_float32_does_not_decide_at_the_threshold(rule, monkeypatch):
    vectors = near_the_threshold(200, 384)
    exact = exact_cosines(vectors[1:], vectors[:1])[:, 0] > limit_of(0.05)
    in_float32 = (vectors[1:] @ vectors[0]) > np.float32(0.95)
    assert (in_float32 != exact).any()
    priority, key = -np.arange(201.0), np.arange(201, dtype=np.uint64)
    for rows, threads in ((1024, 1), (1024, 2), (30, 1), (100, 2)):
        monkeypatch.setattr(semantic, "_ROWS", rows)
        monkeypatch.setattr(semantic, "_COLUMNS", 3 * rows)
        with threadpool_limits(threads):
            found = find_repeats(vectors, priority, key, epsilon=0.05, rule=rule)
        assert found.row.tolist() == (np.flatnonzero(exact) + 1).tolist()


def test_a_cosine_of_just_the_threshold_is_not_above_it():
    step = 2.0**-24
    others = [[x, np.sqrt(1 - x * x)] for x in (0.5 - step, 0.5, 0.5 + step)]
    for row, other in enumerate(others):
        vectors = unit_grid(np.array([[1.0, 0.0], other]))
        assert vectors[1, 0] == other[0]
        found = find_repeats(
            vectors, np.zeros(2), np.arange(2, dtype=np.uint64), epsilon=0.5, rule="kept"
        )
        assert len(found.row) == (row == 2)


@given(st.integers(0, 2**32 - 1), st.sampled_from([1, 3, 384, 1024]))
@settings(max_examples=20)
def test_products_on_the_grid_are_exact(seed, dimension):
    rng = np.random.default_rng(seed)
    vectors = unit_grid(rng.standard_normal((2, dimension)) * rng.choice([1e-20, 1.0, 1e20]))
    one, two = vectors.astype(np.float64)
    exact = Fraction(int(exact_cosines(vectors[:1], vectors[1:])[0, 0]), 2**48)
    for order in (np.arange(dimension), rng.permutation(dimension)):
        assert Fraction(float(np.cumsum(one[order] * two[order])[-1])) == exact
    assert abs(np.linalg.norm(one) - 1) < 1e-6


def test_a_row_has_the_same_unit_vector_and_distance_in_any_batch():
    rng = np.random.default_rng(1)
    stored = rng.standard_normal((9_000, 24)).astype(np.float16)
    centroids = rng.standard_normal((3, 24)).astype(np.float32)
    cluster = rng.integers(0, 3, 9_000).astype(np.int32)
    picked = rng.permutation(9_000)[:200]
    np.testing.assert_array_equal(unit_grid(stored[picked]), unit_grid(stored)[picked])
    for metric in ("cosine", "euclidean"):
        whole = semantic.squared_distances(stored, centroids, cluster, metric)
        one = [
            semantic.squared_distances(stored[[r]], centroids, cluster[[r]], metric)[0]
            for r in picked
        ]
        np.testing.assert_array_equal(whole[picked], one)


def test_distances_are_those_of_the_metric():
    rng = np.random.default_rng(1)
    rows, centroids = rng.standard_normal((50, 6)), rng.standard_normal((4, 6)).astype(np.float32)
    cluster = rng.integers(0, 4, 50).astype(np.int32)
    plain = np.linalg.norm(rows - centroids[cluster], axis=1)
    units = [v / np.linalg.norm(v, axis=1, keepdims=True) for v in (rows, centroids)]
    unit = np.linalg.norm(units[0] - units[1][cluster], axis=1)
    found = semantic.squared_distances(rows, centroids, cluster, "euclidean")
    np.testing.assert_allclose(np.sqrt(found), plain, rtol=1e-12)
    found = semantic.squared_distances(rows, centroids, cluster, "cosine")
    np.testing.assert_allclose(np.sqrt(found), unit, rtol=1e-5)


def test_a_zero_vector_repeats_nothing():
    assert not unit_grid(np.zeros((2, 3))).any()
    found = find_repeats(
        unit_grid(np.zeros((3, 4))), np.zeros(3), np.arange(3, dtype=np.uint64),
        epsilon=0.9, rule="kept",
    )  # fmt: skip
    assert len(found.row) == 0
