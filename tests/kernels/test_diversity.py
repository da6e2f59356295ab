from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mixcurate.kernels import diversity
from mixcurate.kernels.diversity import Distance, Sample
from mixcurate.kernels.nearest import assign, normalise
from mixcurate.kernels.scoring import DiversityParams
from mixcurate.kernels.semantic import unit_grid

DISTANCES: tuple[Distance, ...] = ("euclidean", "cosine")
WAYS = [(distance, to) for distance in DISTANCES for to in ("mean", "nearest")]


def made_up(n: int, k: int, d: int = 6, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Vectors of any length around some centroids, and the centroids, unit rows."""
    random = np.random.default_rng([seed, n, k])
    centroids = normalise(random.normal(size=(k, d)))
    vectors = centroids[random.integers(0, k, n)] + 0.3 * random.normal(size=(n, d))
    lengths = random.uniform(0.5, 20, (n, 1))
    return (normalise(vectors) * lengths).astype(np.float32), centroids


def unit(row: np.ndarray) -> list[float]:
    values = [float(value) for value in row]
    length = math.sqrt(sum(value * value for value in values))
    return [value / length for value in values]


def apart(one: np.ndarray, other: np.ndarray, distance: str) -> float:
    """Distance of two directions, as it is defined."""
    left, right = unit(one), unit(other)
    if distance == "cosine":
        return 1 - sum(a * b for a, b in zip(left, right, strict=True))
    return math.sqrt(sum((a - b) ** 2 for a, b in zip(left, right, strict=True)))


def samplemix(vectors: np.ndarray, centroids: np.ndarray, params: DiversityParams) -> list[float]:
    """Section 2.3 of SampleMix in plain Python: the diversity of each document."""
    kind = params.distance
    nearest = [
        min(range(len(centroids)), key=lambda c: apart(vector, centroids[c], "euclidean"))
        for vector in vectors
    ]
    there = sorted(set(nearest))
    compactness, separation = {}, {}
    for c in there:
        mine = [apart(v, centroids[c], kind) for v, at in zip(vectors, nearest, strict=True)
                if at == c]  # fmt: skip
        compactness[c] = sum(mine) / len(mine)
        others = [apart(centroids[c], centroids[o], kind) for o in there if o != c]
        if not others:
            separation[c] = 1.0
        else:
            mean = sum(others) / len(others)
            separation[c] = mean if params.separation == "mean" else min(others)
    own = [apart(v, centroids[c], kind) for v, c in zip(vectors, nearest, strict=True)]
    return [
        (compactness[c] if params.compactness == "cluster" else far) * separation[c]
        for c, far in zip(nearest, own, strict=True)
    ]


def measured(vectors: np.ndarray, centroids: np.ndarray, params: DiversityParams) -> np.ndarray:
    """The same by the kernels."""
    cluster, euclidean = assign(vectors, centroids)
    own = diversity.as_distance(euclidean, params.distance)
    total = diversity.sums(cluster, own, len(centroids))
    clusters = diversity.measure(total, centroids, params)
    return diversity.of_documents(
        cluster, own, clusters, each=params.compactness == "distance"
    )  # fmt: skip


@pytest.mark.parametrize(("distance", "to"), WAYS)
@pytest.mark.parametrize("compactness", ["cluster", "distance"])
@pytest.mark.parametrize(("n", "k"), [(60, 7), (40, 1), (3, 9), (1, 1)])
def test_diversity_is_that_of_the_paper(distance, to, compactness, n, k):
    params = DiversityParams(distance=distance, separation=to, compactness=compactness)
    vectors, centroids = made_up(n, k)
    found = measured(vectors, centroids, params)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, samplemix(vectors, centroids, params), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("distance", "to"), WAYS)
@pytest.mark.parametrize("k", [2, 3, 8, 30])
def test_separation_is_that_of_all_pairs(monkeypatch, distance, to, k):
    centroids = made_up(1, k, d=12)[1]
    pairs = [[apart(a, b, distance) for b in centroids] for a in centroids]
    rows = [[far for j, far in enumerate(row) if j != i] for i, row in enumerate(pairs)]
    expected = [sum(row) / len(row) if to == "mean" else min(row) for row in rows]
    whole = diversity.separation(centroids, distance, to)
    np.testing.assert_allclose(whole, expected, atol=1e-6)
    monkeypatch.setattr(diversity, "_TILE", 7)
    assert diversity.separation(centroids, distance, to).tobytes() == whole.tobytes()


@pytest.mark.parametrize(("distance", "to"), WAYS)
def test_separation_does_not_go_by_the_order_of_centroids(distance, to):
    centroids = made_up(1, 3_000, d=16)[1]
    order = np.random.default_rng(1).permutation(len(centroids))
    found = diversity.separation(centroids, distance, to)
    other = diversity.separation(centroids[order], distance, to)
    assert found[order].tobytes() == other.tobytes()


@pytest.mark.parametrize(("distance", "to"), WAYS)
def test_a_centroid_alone_has_separation_one_and_copies_of_one_have_none(distance, to):
    centroid = made_up(1, 1)[1]
    assert diversity.separation(centroid, distance, to).tolist() == [1.0]
    assert diversity.separation(centroid[:0], distance, to).tolist() == []
    copies = diversity.separation(np.repeat(centroid, 3, axis=0), distance, to)
    np.testing.assert_allclose(copies, 0, atol=1e-6)


@given(st.integers(0, 50), st.integers(1, 8), st.integers(0, 2**31), st.randoms())
@settings(max_examples=40, deadline=None)
def test_parts_add_up_in_any_order_to_the_same_bits(n, k, seed, random):
    draw = np.random.default_rng(seed)
    cluster = draw.integers(-1, k, n).astype(np.int32)
    far = np.where(cluster < 0, np.nan, 2 * draw.random(n)).astype(np.float32)
    whole = diversity.sums(cluster, far, k)
    cuts = sorted(random.sample(range(n + 1), min(3, n + 1)))
    pieces = [
        diversity.sums(cluster[a:b], far[a:b], k) for a, b in zip([0, *cuts], [*cuts, n],
                                                                  strict=True)
    ]  # fmt: skip
    random.shuffle(pieces)
    np.testing.assert_array_equal(sum(pieces), whole)
    counts = np.bincount(cluster[cluster >= 0], minlength=k)
    np.testing.assert_array_equal(whole[0], counts)


@given(st.integers(2, 40), st.integers(1, 6), st.integers(0, 2**31))
@settings(max_examples=30, deadline=None)
def test_lengths_and_turns_of_the_space_change_nothing(n, k, seed):
    random = np.random.default_rng(seed)
    vectors, centroids = made_up(n, k, seed=seed)
    turn = np.linalg.qr(random.normal(size=(6, 6)))[0]
    params = DiversityParams()
    cluster, far = assign(vectors, centroids)

    def found(rows, centres):
        again = diversity.centroid_distances(rows, centres, cluster)
        clusters = diversity.measure(diversity.sums(cluster, again, k), centres, params)
        return diversity.of_documents(cluster, again, clusters, each=False)

    plain = found(vectors, centroids)
    longer = (vectors * random.uniform(0.1, 9, (n, 1))).astype(np.float32)
    np.testing.assert_allclose(found(longer, centroids), plain, atol=1e-5)
    turned = (vectors @ turn).astype(np.float32), normalise(centroids @ turn)
    np.testing.assert_allclose(found(*turned), plain, atol=1e-5)
    np.testing.assert_allclose(diversity.centroid_distances(vectors, centroids, cluster), far,
                               atol=1e-5)  # fmt: skip


def test_clusters_without_documents_count_for_nobody():
    centroids = normalise(np.array([[1, 0], [0, 1], [-1, 0]]))
    cluster = np.array([0, 0, 2, 2, -1], np.int32)
    far = np.array([0.1, 0.3, 0.5, 0.5, np.nan], np.float32)
    clusters = diversity.measure(diversity.sums(cluster, far, 3), centroids, DiversityParams())
    assert clusters.n_documents.tolist() == [2, 0, 2]
    np.testing.assert_allclose(clusters.compactness, [0.2, 0, 0.5], atol=1e-7)
    np.testing.assert_allclose(clusters.separation, [2, 0, 2])
    np.testing.assert_allclose(clusters.diversity, [0.4, 0, 1.0], atol=1e-7)
    shared = diversity.of_documents(cluster, far, clusters, each=False)
    np.testing.assert_allclose(shared, [0.4, 0.4, 1, 1, 0], atol=1e-7)
    each = diversity.of_documents(cluster, far, clusters, each=True)
    np.testing.assert_allclose(each, [0.2, 0.6, 1, 1, 0], atol=1e-6)


def test_a_document_alone_in_its_cluster_has_the_lowest_diversity():
    vectors, centroids = made_up(50, 5)
    alone = np.zeros((1, 6), np.float32)
    alone[0, 0] = -1
    found = measured(
        np.concatenate([vectors, alone]), np.concatenate([centroids, alone]), DiversityParams()
    )
    assert found[-1] == 0
    assert (found[:-1] > 0).all()


def test_nothing_has_no_diversity():
    none = diversity.Clusters(np.zeros(0, np.int64), np.zeros(0), np.zeros(0))
    cluster = np.full(2, -1, np.int32)
    far = np.full(2, np.nan, np.float32)
    assert diversity.of_documents(cluster, far, none, each=True).tolist() == [0, 0]


def nearest_mean(
    vectors: np.ndarray, rows: list[tuple[int, int]], cluster: np.ndarray, params: DiversityParams
) -> list[float]:
    """Mean distance to the nearest sampled documents of the same cluster, in plain Python.

    ``rows`` are (row of the sampled document, its cluster).
    """
    found = []
    for i, vector in enumerate(vectors):
        far = sorted(
            apart(vector, vectors[j], params.distance)
            for j, c in rows
            if c == cluster[i] and j != i
        )[: params.neighbours]
        enough = len(far) == params.neighbours and cluster[i] >= 0
        found.append(sum(far) / len(far) if enough else math.nan)
    return found


@pytest.mark.parametrize("distance", DISTANCES)
@pytest.mark.parametrize("neighbours", [1, 4, 12])
def test_neighbours_are_those_of_all_pairs(monkeypatch, distance, neighbours):
    params = DiversityParams(distance=distance, neighbours=neighbours)
    vectors, centroids = made_up(120, 6)
    vectors[7] = vectors[3] * 2  # two documents of one direction are neighbours
    cluster = assign(vectors, centroids).cluster
    cluster[11] = -1
    picked = np.flatnonzero(np.random.default_rng(2).random(120) < 0.6)
    picked = picked[np.argsort(cluster[picked], kind="stable")]
    picked = picked[cluster[picked] >= 0]
    itself = np.full(120, -1)
    itself[picked] = np.arange(len(picked))
    start = np.searchsorted(cluster[picked], np.arange(7))
    sample = Sample(unit_grid(vectors[picked]), start)
    found = diversity.neighbour_distances(vectors, cluster, itself, sample, params)
    rows = [(int(row), int(cluster[row])) for row in picked]
    np.testing.assert_allclose(found, nearest_mean(vectors, rows, cluster, params), atol=2e-6)
    assert np.isnan(found[11])
    assert np.isnan(found).any()
    assert np.isfinite(found).any()
    monkeypatch.setattr(diversity, "_TILE", 5)
    again = diversity.neighbour_distances(vectors, cluster, itself, sample, params)
    assert again.tobytes() == found.tobytes()


def test_a_document_is_no_neighbour_of_its_own_but_its_copy_is():
    vectors = np.array([[1, 0], [2, 0], [0, 1]], np.float32)
    sample = Sample(unit_grid(vectors), np.array([0, 3]))
    cluster = np.zeros(3, np.int32)
    params = DiversityParams(neighbours=1)
    found = diversity.neighbour_distances(vectors, cluster, np.arange(3), sample, params)
    np.testing.assert_allclose(found, [0, 0, math.sqrt(2)])
    fresh = diversity.neighbour_distances(vectors, cluster, np.full(3, -1), sample, params)
    np.testing.assert_allclose(fresh, 0)


@pytest.mark.parametrize(
    ("k", "documents", "expected"),
    [("sqrt", 0, 1), ("sqrt", 1, 1), ("sqrt", 99, 9), ("sqrt", 100, 10), (7, 100, 7), (9, 4, 4)],
)
def test_clusters_are_the_square_root_of_documents_or_a_number(k, documents, expected):
    assert diversity.number_of_clusters(k, documents) == expected


def test_cosine_distance_is_half_the_square():
    found = diversity.as_distance(np.array([0, 1, 2, np.nan], np.float32), "cosine")
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, np.array([0, 0.5, 2, np.nan], np.float32))
