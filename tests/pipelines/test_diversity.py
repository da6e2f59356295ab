"""Diversity as a step of a real job."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from mixcurate.errors import JobError, RecipeError, RequestError
from mixcurate.io import partfiles, storage
from mixcurate.io.embeddings import read_embeddings
from mixcurate.io.workdir import Heartbeat, TaskResult
from mixcurate.transforms.diversity import MeasurePart
from mixcurate.transforms.diversity_columns import cluster_of, diversity_path, read_diversity
from mixcurate.transforms.tasks import Task
from pipelines.diversity import run_diversity
from pipelines.job import Job
from pipelines.start import start_job
from tests.pipelines.clustering import cluster, replace_vectors
from tests.pipelines.conftest import write_job

PROCESSES = ["--direct_running_mode=multi_processing", "--direct_num_workers=2"]


@pytest.fixture(scope="session")
def clustered(embedded: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A job whose documents are clustered, some of them pruned; its folder."""
    folder = tmp_path_factory.mktemp("clustered") / "job"
    shutil.copytree(embedded, folder)
    cluster(folder / "recipe.yaml", "cluster.prune.thresholds={form: 0.95}")
    return folder


@pytest.fixture
def recipe(clustered: Path, tmp_path: Path) -> Path:
    """A copy of it that a test may change; its recipe."""
    shutil.copytree(clustered, tmp_path / "job")
    return tmp_path / "job" / "recipe.yaml"


def start(recipe: Path, *settings: str, beam: list[str] | None = None) -> Job:
    chosen = [f"score.diversity.{setting}" for setting in settings]
    return start_job(str(recipe), chosen, beam or [], quiet=True)


def parts(job: Job) -> list[str]:
    success = job.workdir.success("cluster")
    assert success is not None
    return [part.name for part in success.parts]


def found(job: Job) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vectors, clusters and diversity of all documents."""
    vectors = [read_embeddings(job.workdir.part("embed", part)) for part in parts(job)]
    clusters = [cluster_of(job.workdir, part) for part in parts(job)]
    values = [read_diversity(job.workdir, part) for part in parts(job)]
    wide = np.concatenate(vectors).astype(np.float64)
    return wide, np.concatenate(clusters), np.concatenate(values)


def files(job: Job) -> dict[str, bytes]:
    """What the step leaves beside its manifests."""
    folder = Path(diversity_path(job.workdir))
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.parent.name != "tasks"
    }


def written(job: Job) -> dict[str, int]:
    folder = Path(diversity_path(job.workdir)) / "parts"
    return {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}


def note(job: Job) -> dict[str, object]:
    about: dict[str, object] = storage.read_json(diversity_path(job.workdir, "note.json"))
    return about


def samplemix(vectors: np.ndarray, centroids: np.ndarray) -> np.ndarray:
    """Section 2.3 of SampleMix on a whole pool: every document to its nearest centroid."""
    vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    wide = centroids.astype(np.float64)
    far = np.linalg.norm(vectors[:, None] - wide[None], axis=2)
    nearest = far.argmin(axis=1)
    compactness = np.array([far[nearest == c, c].mean() for c in range(len(wide))])
    apart = np.linalg.norm(wide[:, None] - wide[None], axis=2).sum(axis=1) / (len(wide) - 1)
    result: np.ndarray = (compactness * apart)[nearest]
    return result


def test_diversity_is_that_of_the_paper_over_the_pool(recipe: Path) -> None:
    job = start(recipe)
    run_diversity(job)
    vectors, number, diversity = found(job)
    pool = number >= 0
    assert 0 < (~pool).sum() < pool.sum()
    centroids = partfiles.read_array(diversity_path(job.workdir, "centroids.npy"))
    about = note(job)
    assert len(centroids) == int(np.sqrt(pool.sum())) == about["k"]
    assert (about["documents"], about["sample"], about["own"]) == (pool.sum(), pool.sum(), True)
    np.testing.assert_allclose(diversity[pool], samplemix(vectors[pool], centroids), atol=1e-6)
    assert (diversity[~pool] == 0).all()


def test_what_is_up_to_date_is_not_done_again(recipe: Path) -> None:
    job = start(recipe)
    mark = run_diversity(job)
    before = files(job), written(job)
    assert run_diversity(job) == mark
    assert (files(job), written(job)) == before
    nearest = start(recipe, "separation=nearest", "compactness=distance")
    assert run_diversity(nearest) != mark
    assert written(job) == before[1], "separation is no matter of the parts"
    assert run_diversity(start(recipe)) == mark
    assert files(job) == before[0]
    assert run_diversity(start(recipe, "distance=cosine")) != mark
    assert written(job) != before[1]
    cluster(recipe, "cluster.prune=null")
    assert run_diversity(start(recipe)) != mark


def test_two_worker_processes_give_the_same_bytes(recipe: Path) -> None:
    settings = ["k=7", "compactness=neighbours"]
    job = start(recipe, *settings)
    mark = run_diversity(job)
    first = files(job)
    storage.remove(diversity_path(job.workdir))
    assert run_diversity(start(recipe, *settings, beam=PROCESSES)) == mark
    assert files(job) == first
    assert len(first) >= 2 * len(parts(job)) + 4


@pytest.mark.parametrize("setting", ["k=cluster", "compactness=neighbours"])
def test_a_run_that_failed_goes_on_where_it_stopped(
    recipe: Path, monkeypatch: pytest.MonkeyPatch, setting: str
) -> None:
    job = start(recipe, setting)
    run_diversity(job)
    whole = files(job)
    storage.remove(diversity_path(job.workdir))
    measure, done = MeasurePart.run, []

    def failing(self: MeasurePart, task: Task, heartbeat: Heartbeat) -> TaskResult:
        if len(done) == 2:
            raise OSError("the disk is gone")
        done.append(task.name)
        return measure(self, task, heartbeat)

    monkeypatch.setattr(MeasurePart, "run", failing)
    with pytest.raises(JobError, match="the disk is gone"):
        run_diversity(job)
    storage.remove(diversity_path(job.workdir, "error.txt"))
    assert not storage.exists(diversity_path(job.workdir, "note.json"))
    kept = {name: time for name, time in written(job).items() if name[5:-8] in done}
    assert len(kept) == 2
    monkeypatch.setattr(MeasurePart, "run", measure)
    run_diversity(job)
    assert files(job) == whole
    assert kept.items() <= written(job).items(), "a finished part was done again"


def test_the_square_root_is_not_fitted_twice(tmp_path: Path, recipe: Path) -> None:
    cluster(recipe, "cluster.prune=null", "cluster.k=16")
    job = start(recipe)
    documents = len(found_clusters(job))
    assert int(np.sqrt(documents)) == 16
    run_diversity(job)
    about = note(job)
    assert (about["k"], about["own"], about["sample"]) == (16, False, 0)
    assert about["notes"] == ["the cluster stage has just the 16 clusters asked for: they are used"]
    theirs = job.workdir.centroids
    ours = diversity_path(job.workdir, "centroids.npy")
    assert Path(ours).read_bytes() == Path(theirs).read_bytes()
    vectors, _, diversity = found(job)
    expected = samplemix(vectors, partfiles.read_array(theirs))
    np.testing.assert_allclose(diversity, expected, atol=1e-6)


def found_clusters(job: Job) -> np.ndarray:
    """Clusters of the cluster stage."""
    tables = [partfiles.read_table(job.workdir.part("cluster", part)) for part in parts(job)]
    result: np.ndarray = np.concatenate([t.column("cluster").to_numpy() for t in tables])
    return result


def test_more_clusters_than_documents_are_one_for_each_that_differs(recipe: Path) -> None:
    job = start(recipe, "k=5000")
    run_diversity(job)
    _, number, diversity = found(job)
    pool = number >= 0
    documents = int(pool.sum())
    assert f"k lowered from 5,000 to {documents:,}, the documents" in str(note(job)["notes"])
    assert int(note(job)["k"]) <= documents
    alone = np.bincount(number[pool])[number[pool]] == 1
    assert alone.mean() > 0.8
    np.testing.assert_allclose(diversity[pool][alone], 0, atol=1e-6)
    assert f"alone in their cluster: {alone.sum()}; their diversity" in str(note(job)["notes"])


def test_documents_that_are_all_alike_have_no_diversity(job: Path) -> None:
    replace_vectors(job, np.ones_like)
    cluster(job, "cluster.prune=null")
    for setting in ("k=sqrt", "k=cluster"):
        started = start(job, setting)
        run_diversity(started)
        _, number, diversity = found(started)
        assert (number == 0).all()
        np.testing.assert_allclose(diversity, 0, atol=1e-6)


def test_a_fit_that_does_not_fit_in_memory_is_a_clear_error(recipe: Path) -> None:
    job = start_job(str(recipe), ["cluster.memory=1MB"], [], quiet=True)
    with pytest.raises(RecipeError, match=r"score\.diversity\.k: a fit of 1\d clusters.*raise"):
        run_diversity(job)


def test_the_cluster_stage_comes_first(tmp_path: Path) -> None:
    job = start(write_job(tmp_path))
    with pytest.raises(RequestError, match="stage 'cluster' has not finished"):
        run_diversity(job)
