from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import silhouette_score

from mixcurate.errors import RecipeError
from mixcurate.kernels import fit_memory, kmeans
from mixcurate.kernels.choose_k import Choice, choose_k
from mixcurate.kernels.clustering import SilhouetteParams


def blobs(n: int, k: int, d: int, seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    centres = np.eye(k, d) * 4
    noise = random.normal(scale=0.4, size=(n, d))
    return kmeans.normalise(centres[random.integers(0, k, n)] + noise)


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("truth", [5, 8])
def test_as_many_clusters_as_there_are_groups(truth, metric):
    params = SilhouetteParams(least=2, most=18, candidates=9, sample_documents=400)
    sample = blobs(1_000, truth, 24, seed=1)
    chosen = choose_k(sample, params, documents=50_000, seed=1, metric=metric)
    tried = [k for k, _ in chosen.silhouettes]
    assert tried == sorted(set(tried))
    assert (tried[0], tried[-1]) == (2, 18)
    assert chosen.k == truth


def test_the_table_is_scikit_learn_s_silhouette_of_the_first_rows():
    params = SilhouetteParams(least=3, most=6, candidates=2, sample_documents=150)
    sample = blobs(400, 5, 8, seed=2)
    chosen = choose_k(sample, params, documents=400, seed=7)
    for k, silhouette in chosen.silhouettes:
        found = kmeans.fit(sample, k=k, seed=7)
        cluster, _ = kmeans.assign(sample[:150], found.centroids)
        assert silhouette == pytest.approx(silhouette_score(sample[:150], cluster), abs=1e-5)
    assert chosen == choose_k(sample, params, documents=400, seed=7)


def test_candidates_leave_eight_documents_to_a_cluster():
    params = SilhouetteParams(least=5, most=200, candidates=20)
    sample = blobs(90, 3, 8, seed=3)
    assert max(k for k, _ in choose_k(sample, params, documents=90, seed=1).silhouettes) == 11
    few = choose_k(sample, params, documents=20, seed=1)
    assert [k for k, _ in few.silhouettes] == [2]


@pytest.mark.parametrize("documents", [1, 15])
def test_too_few_documents_are_one_cluster(documents):
    sample = blobs(documents, 2, 4, seed=4)
    assert choose_k(sample, SilhouetteParams(), documents=documents, seed=1) == Choice(1, [])


def test_vectors_that_are_all_alike_are_one_cluster():
    sample = kmeans.normalise(np.ones((100, 4)))
    assert choose_k(sample, SilhouetteParams(), documents=100, seed=1) == Choice(1, [])


def test_the_sample_is_what_is_wanted_where_memory_allows():
    assert fit_memory.sample_size(1_000, 64, 10**9, 384, 4 * 10**9) == 64_000
    assert fit_memory.sample_size(1_000, 64, 40_000, 384, 4 * 10**9) == 40_000
    assert fit_memory.sample_size(1, 64, 3, 384, 4 * 10**9) == 3


@pytest.mark.parametrize("d", [64, 384, 1_024])
def test_a_sample_is_as_large_as_memory_allows(d):
    memory = 4 * 10**9
    rows = fit_memory.sample_size(20_000, 256, 10**9, d, memory)
    assert rows < 20_000 * 256
    assert fit_memory.memory_of_fit(rows, d, 20_000) <= memory
    assert fit_memory.memory_of_fit(rows + 1, d, 20_000) > memory
    assert fit_memory.memory_of_fit(rows, d, 20_000, 1) <= memory


def test_memory_for_less_than_eight_documents_a_cluster_is_refused_and_what_is_named_is_enough():
    with pytest.raises(RecipeError, match=r"cluster\.memory: 1,000,000,000 bytes do not") as caught:
        fit_memory.sample_size(100_000, 64, 10**9, 1_024, 10**9)
    needed = int(str(caught.value).split("it takes ")[1].split(":")[0].replace(",", ""))
    assert fit_memory.sample_size(100_000, 64, 10**9, 1_024, needed) == 800_000
    with pytest.raises(RecipeError):
        fit_memory.sample_size(100_000, 64, 10**9, 1_024, needed - 1)
