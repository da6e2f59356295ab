"""Diversity of the documents of a small workdir, against the paper in plain numpy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from mixcurate.errors import InputError, JobError
from mixcurate.io import partfiles, storage
from mixcurate.io.embeddings import read_embeddings
from mixcurate.io.workdir import Heartbeat, Workdir
from mixcurate.kernels import kmeans
from mixcurate.kernels.scoring import DiversityParams
from mixcurate.tables import ASSIGNMENTS
from mixcurate.transforms.diversity import (
    DiversityPlan,
    FitClusters,
    MeasurePart,
    WriteClusters,
    add_sums,
)
from mixcurate.transforms.diversity_columns import (
    DIVERSITY,
    cluster_of,
    diversity_path,
    read_clusters,
    read_diversity,
)
from mixcurate.transforms.sample import SamplePart
from mixcurate.transforms.tasks import Task
from tests.transforms.small_workdir import write_documents, write_vectors

PARTS = {"a": 90, "b": 60, "c": 1}  # the one document of c is not in the pool
EUCLIDEAN = kmeans.normalise(np.eye(4, 5)) * np.array([[1], [2], [3], [0.5]], np.float32)


@pytest.fixture
def workdir(tmp_path: Path) -> Workdir:
    """Three parts: documents, vectors of any length, clusters; a third is not in the pool."""
    workdir = Workdir(str(tmp_path))
    random = np.random.default_rng(6)
    partfiles.write_array(workdir.centroids, kmeans.normalise(EUCLIDEAN))
    for part, n in PARTS.items():
        write_documents(workdir, part, n)
        vectors = EUCLIDEAN[random.integers(0, 4, n)] + 0.2 * random.normal(size=(n, 5))
        vectors = vectors.astype(np.float32)
        if n > 3:
            vectors[3] = np.nan
        write_vectors(workdir, part, vectors)
        assign(workdir, part, vectors, "cosine")
    return workdir


def assign(workdir: Workdir, part: str, vectors: np.ndarray, metric: kmeans.Metric) -> None:
    """What the cluster stage leaves of a part."""
    cluster, distance = kmeans.assign(vectors, partfiles.read_array(workdir.centroids), metric)
    domain = np.where((np.arange(len(vectors)) % 3 == 0) | (cluster < 0), -1, 0).astype(np.int32)
    arrays = [pa.array(array) for array in (cluster, distance, domain)]
    table = pa.Table.from_arrays(arrays, schema=ASSIGNMENTS)
    partfiles.write_table(workdir.part("cluster", part), table)


def vectors_of(workdir: Workdir, part: str) -> np.ndarray:
    return read_embeddings(workdir.part("embed", part)).astype(np.float64)


def pool_of(workdir: Workdir, part: str) -> np.ndarray:
    table = partfiles.read_table(workdir.part("cluster", part))
    return table.column("domain").to_numpy() >= 0


def run(workdir: Workdir, plan: DiversityPlan, parts: list[str] | None = None) -> None:
    """The step without Beam, part after part."""
    parts = list(PARTS) if parts is None else parts
    if plan.share > 0:
        pick = SamplePart(workdir, plan.seed, plan.share, DIVERSITY, pool=True)
        for part in parts:
            assert list(pick.process(part)) == [(0, part)]
    list(FitClusters(workdir, plan).process((0, parts)))
    work = MeasurePart(workdir, plan)
    for part in parts:
        result = work.run(Task(part, "f"), Heartbeat(workdir, DIVERSITY, part))
        assert result.details == {"pool": pool_of(workdir, part).sum()}
    list(WriteClusters(work).process(add_sums(work.read_sums(part) for part in parts)))
    note = {"params": plan.params.model_dump()}
    storage.write_json(diversity_path(workdir, "note.json"), note)


def plan_of(k: int | None, metric: kmeans.Metric = "cosine", **params: object) -> DiversityPlan:
    chosen = DiversityParams.model_validate(params)
    share = 1.0 if k is not None or chosen.compactness == "neighbours" else 0.0
    return DiversityPlan(chosen, k, metric, share, 17, "m")


def brute_force(workdir: Workdir, params: DiversityParams) -> np.ndarray:
    """Diversity of all parts' documents from their vectors, clusters and unit centroids."""
    centroids = partfiles.read_array(diversity_path(workdir, "centroids.npy")).astype(np.float64)
    vectors = np.concatenate([vectors_of(workdir, part) for part in PARTS])
    cluster = np.concatenate([cluster_of(workdir, part) for part in PARTS])
    with np.errstate(invalid="ignore"):
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)

    def apart(left: np.ndarray, right: np.ndarray) -> np.ndarray:
        if params.distance == "cosine":
            return 1 - left @ right.T
        return np.linalg.norm(left[:, None] - right[None], axis=2)

    there = np.unique(cluster[cluster >= 0])
    found = np.zeros(len(vectors))
    for c in there:
        mine = np.flatnonzero(cluster == c)
        own = apart(vectors[mine], centroids[[c]])[:, 0]
        if params.compactness == "neighbours" and len(mine) > params.neighbours:
            pairs = apart(vectors[mine], vectors[mine])
            np.fill_diagonal(pairs, np.inf)
            own = np.sort(pairs, axis=1)[:, : params.neighbours].mean(axis=1)
        others = apart(centroids[[c]], centroids[there[there != c]])[0]
        separation = others.mean() if params.separation == "mean" else others.min()
        value = own.mean() if params.compactness == "cluster" else own
        found[mine] = value * separation
    return found


@pytest.mark.parametrize("k", [None, 2, 6])
@pytest.mark.parametrize("distance", ["euclidean", "cosine"])
@pytest.mark.parametrize("compactness", ["cluster", "distance", "neighbours"])
def test_diversity_is_that_of_brute_force(workdir, k, distance, compactness):
    to = "nearest" if compactness == "distance" else "mean"
    plan = plan_of(k, distance=distance, compactness=compactness, separation=to, neighbours=3)
    run(workdir, plan)
    found = np.concatenate([read_diversity(workdir, part) for part in PARTS])
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, brute_force(workdir, plan.params), atol=2e-6)
    pool = np.concatenate([pool_of(workdir, part) for part in PARTS])
    cluster = np.concatenate([cluster_of(workdir, part) for part in PARTS])
    np.testing.assert_array_equal(cluster >= 0, pool)
    assert ((found > 0) == pool).all()
    clusters = read_clusters(workdir)
    assert len(clusters.n_documents) == (4 if k is None else k)
    assert clusters.n_documents.sum() == pool.sum()
    np.testing.assert_array_equal(clusters.n_documents, np.bincount(cluster[pool]))
    sums = np.bincount(cluster[pool], found[pool])
    np.testing.assert_allclose(clusters.diversity * clusters.n_documents, sums, atol=1e-5)


def test_own_clusters_are_the_nearest_of_a_fit_on_the_pool_alone(workdir):
    run(workdir, plan_of(5))
    centroids = partfiles.read_array(diversity_path(workdir, "centroids.npy"))
    np.testing.assert_allclose(np.linalg.norm(centroids, axis=1), 1, atol=1e-6)
    first = centroids.tobytes()
    for part in PARTS:
        nearest = kmeans.assign(vectors_of(workdir, part), centroids).cluster
        expected = np.where(pool_of(workdir, part), nearest, -1)
        np.testing.assert_array_equal(cluster_of(workdir, part), expected)
        vectors = vectors_of(workdir, part)
        vectors[~pool_of(workdir, part)] = 7  # what is not in the pool has no say
        write_vectors(workdir, part, vectors)
    run(workdir, plan_of(5))
    again = partfiles.read_array(diversity_path(workdir, "centroids.npy"))
    assert again.tobytes() == first


def test_euclidean_clusters_of_the_stage_keep_their_documents(workdir):
    partfiles.write_array(workdir.centroids, EUCLIDEAN)
    for part in PARTS:
        assign(workdir, part, vectors_of(workdir, part), "euclidean")
    plan = plan_of(None, "euclidean", compactness="neighbours", neighbours=2)
    run(workdir, plan)
    for part in PARTS:
        table = partfiles.read_table(workdir.part("cluster", part))
        theirs = np.where(pool_of(workdir, part), table.column("cluster").to_numpy(), -1)
        np.testing.assert_array_equal(cluster_of(workdir, part), theirs)
    found = np.concatenate([read_diversity(workdir, part) for part in PARTS])
    np.testing.assert_allclose(found, brute_force(workdir, plan.params), atol=2e-6)


def test_with_too_few_neighbours_the_distance_to_the_centroid_counts(workdir):
    run(workdir, plan_of(None, compactness="neighbours", neighbours=1_000))
    near = [read_diversity(workdir, part) for part in PARTS]
    run(workdir, plan_of(None, compactness="distance"))
    far = [read_diversity(workdir, part) for part in PARTS]
    np.testing.assert_array_equal(np.concatenate(near), np.concatenate(far))


@pytest.mark.parametrize("k", [None, 6])
@pytest.mark.parametrize("compactness", ["cluster", "neighbours"])
def test_the_order_of_parts_does_not_matter(workdir, k, compactness):
    plan = plan_of(k, compactness=compactness)
    files = ("centroids.npy", "clusters.parquet", "parts/part-a.parquet", "parts/part-b.parquet")
    run(workdir, plan)
    first = [storage.read_bytes(diversity_path(workdir, name)) for name in files]
    run(workdir, plan, ["c", "b", "a"])
    assert [storage.read_bytes(diversity_path(workdir, name)) for name in files] == first


def test_an_empty_pool_has_no_diversity(workdir):
    for part in PARTS:
        table = partfiles.read_table(workdir.part("cluster", part))
        none = pa.array(np.full(table.num_rows, -1, np.int32))
        table = table.set_column(2, table.schema.field("domain"), none)
        partfiles.write_table(workdir.part("cluster", part), table)
    for compactness in ("cluster", "neighbours"):
        run(workdir, plan_of(None, compactness=compactness))
        assert all((read_diversity(workdir, part) == 0).all() for part in PARTS)
        assert read_clusters(workdir).n_documents.sum() == 0
    with pytest.raises(JobError, match="no document of the pool"):
        run(workdir, plan_of(3))


def test_documents_that_are_all_alike_have_none_either(workdir):
    for part, n in PARTS.items():
        vectors = np.tile(np.array([1, 2, 0, 0, 0], np.float32), (n, 1))
        write_vectors(workdir, part, vectors)
        assign(workdir, part, vectors, "cosine")
    run(workdir, plan_of(4))
    fit = storage.read_json(diversity_path(workdir, "fit.json"))
    assert fit["k"] == 1
    assert fit["notes"] == ["only 1 of 4 clusters: no more vectors differ"]
    found = np.concatenate([read_diversity(workdir, part) for part in PARTS])
    np.testing.assert_allclose(found, 0, atol=1e-6)


def test_a_file_that_holds_no_vectors_is_named(workdir):
    run(workdir, plan_of(None))
    storage.write_bytes(workdir.part("embed", "b"), b"not Arrow")
    work = MeasurePart(workdir, plan_of(3))
    with pytest.raises(InputError, match=r"part-b\.arrow is no readable embeddings file"):
        work.run(Task("b", "f"), Heartbeat(workdir, DIVERSITY, "b"))
