from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.cluster.hierarchy import fcluster, linkage
from sklearn.cluster import AgglomerativeClustering
from sklearn.metrics import adjusted_rand_score

from mixcurate.kernels import domains
from mixcurate.kernels.clustering import MergeParams
from mixcurate.kernels.kmeans import normalise

LINKAGES = ["ward", "average", "complete", "single", "centroid"]


def unit_rows(n: int, d: int, seed: int) -> np.ndarray:
    return normalise(np.random.default_rng(seed).normal(size=(n, d)))


def grouped(groups: int, members: int, seed: int = 0) -> np.ndarray:
    """Centroids in well separated groups, the members of a group side by side."""
    random = np.random.default_rng(seed)
    centres = np.repeat(np.eye(groups, groups + 2), members, axis=0)
    return normalise(centres + random.normal(scale=0.02, size=centres.shape))


def everything(n: int) -> np.ndarray:
    return np.ones(n, bool)


def cut(n: int, linkage: str = "ward") -> MergeParams:
    return MergeParams(domains=n, linkage=linkage)


@pytest.mark.parametrize("method", LINKAGES)
def test_separated_groups_become_the_domains(method):
    centroids = grouped(4, 3)
    found = domains.merge(centroids, everything(12), np.arange(12) + 1, cut(4, method))
    # tokens: the last group of three has most
    assert found.tolist() == [3, 3, 3, 2, 2, 2, 1, 1, 1, 0, 0, 0]


@pytest.mark.parametrize("method", ["ward", "average", "complete", "single"])
def test_merging_by_number_equals_agglomerative_clustering(method):
    centroids = unit_rows(40, 6, seed=3)
    found = domains.merge(centroids, everything(40), np.ones(40, np.int64), cut(7, method))
    peer = AgglomerativeClustering(7, linkage=method).fit_predict(centroids.astype(np.float64))
    assert adjusted_rand_score(found, peer) == 1.0


@pytest.mark.parametrize("method", LINKAGES)
@pytest.mark.parametrize("distance", [0.3, 0.8, 1.5, 5.0])
def test_merging_by_distance_equals_scipy_by_hand(method, distance):
    centroids = unit_rows(30, 4, seed=4)
    params = MergeParams(domains=None, distance=distance, linkage=method)
    found = domains.merge(centroids, everything(30), np.ones(30, np.int64), params)
    tree = linkage(centroids.astype(np.float64), method)
    by_hand = fcluster(tree, distance, criterion="distance")
    assert adjusted_rand_score(found, by_hand) == 1.0


@given(st.data())
@settings(max_examples=50, deadline=None)
def test_domains_partition_the_kept_clusters_and_the_largest_is_domain_zero(data):
    n = data.draw(st.integers(1, 15))
    kept = np.array(data.draw(st.lists(st.booleans(), min_size=n, max_size=n)))
    tokens = np.array(data.draw(st.lists(st.integers(0, 50), min_size=n, max_size=n)))
    params = data.draw(
        st.none()
        | st.builds(cut, st.integers(1, 20), st.sampled_from(LINKAGES))
        | st.builds(MergeParams, domains=st.none(), distance=st.floats(0.1, 3))
    )
    found = domains.merge(unit_rows(n, 5, n), kept, tokens, params)
    assert found.dtype == np.int32
    assert ((found >= 0) == kept).all()
    count = found.max(initial=-1) + 1
    assert set(found[kept].tolist()) == set(range(count))
    if params is None:
        assert count == kept.sum()
    elif params.domains is not None:
        assert count <= params.domains
    sizes = [int(tokens[found == number].sum()) for number in range(count)]
    assert sizes == sorted(sizes, reverse=True)


def test_clusters_that_are_not_kept_have_no_say():
    centroids = grouped(3, 4)
    kept = everything(12)
    kept[[0, 5]] = False
    whole = domains.merge(centroids, kept, np.arange(12), cut(3))
    alone = domains.merge(centroids[kept], everything(10), np.arange(12)[kept], cut(3))
    assert whole[kept].tolist() == alone.tolist()
    assert whole[~kept].tolist() == [-1, -1]


def test_nothing_kept_is_no_domain():
    found = domains.merge(grouped(2, 2), np.zeros(4, bool), np.ones(4, np.int64), cut(3))
    assert found.tolist() == [-1] * 4


def test_a_single_cluster_is_a_domain():
    assert domains.merge(unit_rows(1, 4, 0), everything(1), np.ones(1, int), cut(3)).tolist() == [0]


def test_fewer_clusters_than_domains_are_a_domain_each():
    found = domains.merge(unit_rows(3, 4, 0), everything(3), np.array([1, 3, 2]), cut(20))
    assert found.tolist() == [2, 0, 1]


def test_equal_centroids_are_one_domain():
    same = np.repeat(unit_rows(1, 4, 0), 6, axis=0)
    assert domains.merge(same, everything(6), np.ones(6, int), cut(3)).tolist() == [0] * 6


def test_more_centroids_than_a_hierarchy_holds_are_grouped_first(monkeypatch):
    centroids = grouped(5, 30)
    monkeypatch.setattr(domains, "MOST_LINKED", 40)
    found = domains.merge(centroids, everything(150), np.arange(150), cut(5), seed=1)
    assert found.tolist() == np.repeat([4, 3, 2, 1, 0], 30).tolist()
    again = domains.merge(centroids, everything(150), np.arange(150), cut(5), seed=1)
    assert again.tolist() == found.tolist()


def test_without_merging_each_kept_cluster_is_a_domain_by_size():
    found = domains.merge(unit_rows(3, 4, 0), everything(3), np.array([5, 5, 9]), None)
    assert found.tolist() == [1, 2, 0]


@given(st.integers(1, 8), st.integers(0, 2**31), st.randoms(use_true_random=False))
@settings(max_examples=50, deadline=None)
def test_the_id_of_a_domain_is_that_of_its_set_of_centroids(n, seed, random):
    centroids = unit_rows(n, 4, seed)
    order = random.sample(range(n), n)
    identity = domains.domain_id(centroids)
    assert domains.domain_id(centroids[order]) == identity
    assert domains.domain_id(np.asfortranarray(centroids)) == identity
    changed = centroids.copy()
    changed[0, 0] = np.nextafter(changed[0, 0], np.float32(2))
    assert domains.domain_id(changed) != identity
    assert domains.domain_id(centroids[1:]) != identity
    assert len(identity) == 32


def test_the_id_of_a_domain_never_changes():
    assert domains.domain_id(np.eye(2, 3, dtype=np.float32)) == "a925a8e5e11585f8b07e17dc7608aa0f"


def test_tiers_of_a_domain_have_ids_of_their_own():
    centroids = np.eye(2, 3, dtype=np.float32)
    tiers = [None, "", "low", "high"]
    assert len({domains.domain_id(centroids, tier) for tier in tiers}) == 4
    assert domains.domain_id(centroids, "high") == domains.domain_id(centroids[::-1], "high")
