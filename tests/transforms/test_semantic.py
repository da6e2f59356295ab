from __future__ import annotations

import dataclasses
import random
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pytest

from mixcurate.io import partfiles, storage
from mixcurate.io.embeddings import EmbeddingsWriter, read_embeddings
from mixcurate.io.workdir import Workdir
from mixcurate.kernels import quality
from mixcurate.kernels.clustering import SemanticDedupParams
from mixcurate.kernels.hashing import fingerprint, uniform_keys
from mixcurate.kernels.semantic import squared_distances, unit_grid
from mixcurate.tables import EmbeddingKind
from mixcurate.transforms import semantic
from mixcurate.transforms.cluster import assigned_path
from mixcurate.transforms.runner import BeamArgs, make_pipeline
from mixcurate.transforms.semantic import Clusters, SemanticDedup, read_drops
from mixcurate.transforms.semantic_compare import COMPARE
from mixcurate.transforms.semantic_exchange import EXCHANGE
from tests.transforms.small_workdir import judge

ARGS = BeamArgs("FnApiRunner", (), 1, None)
K, DIMENSION, SEED = 6, 16, 11
DEFAULT = SemanticDedupParams()
PRUNED, ALONE = 2, 5


class Document(NamedTuple):
    id: str
    cluster: int
    vector: np.ndarray
    words: float


def corpus(n: int = 300, spread: float = 0.06) -> tuple[list[Document], np.ndarray]:
    """Documents with near and exact copies, in some clusters; one vector is not a number."""
    rng = np.random.default_rng(5)
    centroids = unit_grid(rng.standard_normal((K, DIMENSION)))
    documents: list[Document] = []
    while len(documents) < n:
        cluster = int(rng.integers(0, K - 1))
        base = centroids[cluster] + 0.3 * rng.standard_normal(DIMENSION)
        for _ in range(int(rng.choice([1, 1, 2, 5]))):
            vector = base + rng.choice([0, spread]) * rng.standard_normal(DIMENSION)
            name = fingerprint("document", str(len(documents)))
            words = float(rng.choice([3.0, 5.0, 9.0]))
            documents.append(Document(name, cluster, vector.astype(np.float32), words))
    documents[7] = documents[7]._replace(cluster=-1)
    documents[8] = documents[8]._replace(cluster=ALONE)
    return documents, centroids


def write(
    workdir: Workdir,
    parts: dict[str, list[Document]],
    centroids: np.ndarray,
    kind: EmbeddingKind = "float16",
) -> None:
    """A workdir as it is when documents are assigned."""
    partfiles.write_array(workdir.centroids, centroids)
    for name, documents in parts.items():
        columns = {"id": pa.array([document.id for document in documents])}
        for signal in quality.INPUTS:
            values = [d.words if signal == "mean_word_length" else 0.5 for d in documents]
            columns[f"signal_{signal}"] = pa.array(values, pa.float32())
        partfiles.write_table(workdir.part("ingest", name), pa.table(columns))
        judge(workdir, name)
        with EmbeddingsWriter(workdir.part("embed", name), DIMENSION, kind) as writer:
            writer.write(np.stack([document.vector for document in documents]))
        cluster = pa.array([document.cluster for document in documents], pa.int32())
        partfiles.write_table(assigned_path(workdir, name), pa.table({"cluster": cluster}))


def cut(documents: list[Document], names: str, seed: int = 0) -> dict[str, list[Document]]:
    shuffled = random.Random(seed).sample(documents, len(documents))
    return {name: shuffled[place :: len(names)] for place, name in enumerate(names)}


def clusters_of(documents: list[Document], metric: str = "cosine") -> Clusters:
    numbers = np.array([document.cluster for document in documents])
    counts = np.bincount(numbers[numbers >= 0], minlength=K)
    return Clusters(np.arange(K) != PRUNED, counts, metric)  # type: ignore[arg-type]


def run(stage: SemanticDedup) -> None:
    pipeline = make_pipeline(ARGS, job_name="x", work_seconds=0)
    stage.build(pipeline)
    pipeline.run().wait_until_finish()


def planned(
    workdir: Workdir,
    parts: dict[str, list[Document]],
    params: SemanticDedupParams = DEFAULT,
    bucket_documents: int = 70,
    **about: str,
) -> SemanticDedup:
    everything = [document for some in parts.values() for document in some]
    stage = semantic.plan(
        workdir,
        params,
        seed=SEED,
        clusters=clusters_of(everything, about.pop("metric", "cosine")),
        parts=list(parts),
        upstream="u",
        **about,  # type: ignore[arg-type]
    )
    exchange = dataclasses.replace(stage.exchange, bucket_documents=bucket_documents)
    return dataclasses.replace(stage, exchange=exchange)


def drops(workdir: Workdir, parts: dict[str, list[Document]]) -> dict[str, tuple[str, float]]:
    """What is kept for each dropped document, and the cosine of the two."""
    found: dict[str, tuple[str, float]] = {}
    for name, documents in parts.items():
        rows, kept, cosine = read_drops(workdir, name)
        assert rows.tolist() == sorted(rows.tolist())
        for row, other, near in zip(rows.tolist(), kept, cosine.tolist(), strict=True):
            found[documents[row].id] = (other, near)
    return found


def deduplicate(
    folder: Path, parts: dict[str, list[Document]], centroids: np.ndarray, *args, **about
) -> dict[str, tuple[str, float]]:
    workdir = Workdir(str(folder))
    write(workdir, parts, centroids, about.pop("kind", "float16"))
    run(planned(workdir, parts, *args, **about))
    return drops(workdir, parts)


def brute_force(
    documents: list[Document],
    centroids: np.ndarray,
    params: SemanticDedupParams = DEFAULT,
    metric: str = "cosine",
) -> dict[str, tuple[str, float]]:
    """The whole corpus in one place, one pair after the other."""
    stored = np.stack([document.vector for document in documents]).astype(np.float16)
    units = unit_grid(stored).astype(np.float64)
    cluster = np.array([document.cluster for document in documents], np.int32)
    far = squared_distances(stored, centroids, np.maximum(cluster, 0), metric)  # type: ignore[arg-type]
    words = np.array([document.words for document in documents], np.float32)
    same = {name: np.full(len(words), 0.5, np.float32) for name in quality.INPUTS}
    score = quality.overall(quality.heuristic_quality(same | {"mean_word_length": words}))
    priority = {"farthest": far, "nearest": -far, "quality": score}[params.keep]
    key = uniform_keys(pa.array([d.id for d in documents]), SEED, "semantic order")
    order = sorted(range(len(documents)), key=lambda row: (-priority[row], key[row]))
    kept: list[int] = []
    lost: dict[str, tuple[str, float]] = {}
    for row in order:
        if cluster[row] in (-1, PRUNED):
            continue
        for other in kept:
            cosine = float(units[row] @ units[other])
            if cluster[other] == cluster[row] and cosine > 1 - params.epsilon:
                lost[documents[row].id] = (documents[other].id, cosine)
                break
        else:
            kept.append(row)
    return lost


DOCUMENTS, CENTROIDS = corpus()


@pytest.mark.parametrize(
    ("keep", "metric", "names", "seed", "size"),
    [
        ("farthest", "cosine", "abc", 0, 70),
        ("farthest", "euclidean", "a", 1, 10**6),
        ("nearest", "cosine", "dcba", 2, 1),
        ("quality", "cosine", "xy", 3, 40),
    ],
)
def test_drops_equal_brute_force_whatever_parts_and_buckets(
    tmp_path, keep, metric, names, seed, size
):
    params = SemanticDedupParams.model_validate({"keep": keep})
    found = deduplicate(
        tmp_path, cut(DOCUMENTS, names, seed), CENTROIDS, params, size, metric=metric
    )
    assert found == brute_force(DOCUMENTS, CENTROIDS, params, metric)
    assert 50 < len(found) < 200


def test_vectors_of_few_bits_are_taken(tmp_path: Path) -> None:
    parts = cut(DOCUMENTS, "ab")
    found = deduplicate(tmp_path, parts, CENTROIDS, kind="int8")
    workdir = Workdir(str(tmp_path))
    units = {
        document.id: vector
        for name, documents in parts.items()
        for document, vector in zip(
            documents, unit_grid(read_embeddings(workdir.part("embed", name))), strict=True
        )
    }
    assert len(found) > 50
    for lost, (kept, cosine) in found.items():
        assert kept not in found
        assert cosine == units[lost].astype(float) @ units[kept].astype(float) > 0.95


def test_a_vector_that_is_not_finite_has_no_cluster_and_repeats_nothing(tmp_path: Path) -> None:
    strange = DOCUMENTS[7]._replace(vector=np.full(DIMENSION, 1e9, np.float32))
    rest = [document for document in DOCUMENTS if document.id != strange.id]
    found = deduplicate(tmp_path, cut([*rest, strange], "ab"), CENTROIDS, kind="float32")
    assert found.keys() == brute_force(rest, CENTROIDS).keys()


def test_the_rule_of_the_paper_drops_more_and_names_a_kept_document(tmp_path: Path) -> None:
    documents, centroids = corpus(200, spread=0.12)
    cover = brute_force(documents, centroids)
    params = SemanticDedupParams(rule="earlier")
    paper = deduplicate(tmp_path, cut(documents, "ab"), centroids, params)
    assert set(cover) < set(paper)
    assert all(kept not in paper for kept, _ in paper.values())


def test_a_part_that_loses_nothing_says_so(tmp_path: Path) -> None:
    parts = cut(DOCUMENTS, "ab") | {"c": [DOCUMENTS[8]._replace(id="alone", cluster=ALONE)]}
    parts["b"] = [d for d in parts["b"] if d.cluster == PRUNED]
    workdir = Workdir(str(tmp_path))
    deduplicate(tmp_path, parts, CENTROIDS)
    assert len(read_drops(workdir, "b")[0]) == len(read_drops(workdir, "c")[0]) == 0
    counts = storage.read_json(semantic.found_path(workdir))["dropped"]
    assert counts == {"a": len(read_drops(workdir, "a")[0]), "b": 0, "c": 0}


def test_nothing_to_compare_drops_nothing(tmp_path: Path) -> None:
    one = [DOCUMENTS[8]]
    assert deduplicate(tmp_path, {"a": one}, CENTROIDS) == {}


def test_a_cluster_above_the_limit_is_divided(tmp_path: Path) -> None:
    params = SemanticDedupParams(max_group=10)
    found = deduplicate(tmp_path, cut(DOCUMENTS, "abc"), CENTROIDS, params)
    again = deduplicate(tmp_path / "2", cut(DOCUMENTS, "zy", 4), CENTROIDS, params)
    whole = brute_force(DOCUMENTS, CENTROIDS)
    assert found == again
    assert 0.5 * len(whole) < len(found) <= len(whole)
    assert all(cosine > 0.95 and kept not in found for kept, cosine in found.values())


def test_a_group_that_no_cut_divides_is_halved(tmp_path: Path) -> None:
    same = [DOCUMENTS[0]._replace(id=fingerprint("same", str(row))) for row in range(100)]
    found = deduplicate(tmp_path, cut(same, "ab"), CENTROIDS, SemanticDedupParams(max_group=10))
    assert len(found) == 100 - 8  # pieces of 12 or 13: at most twice the limit


def test_what_is_done_is_not_done_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workdir, parts = Workdir(str(tmp_path)), cut(DOCUMENTS, "abc")
    monkeypatch.setattr(semantic, "clear", lambda workdir: None)  # as if it had been killed before
    expected = deduplicate(tmp_path, parts, CENTROIDS)
    assert planned(workdir, parts).finished
    before = {
        path: path.stat().st_mtime_ns
        for stage in (EXCHANGE, COMPARE)
        for path in (tmp_path / "_stages" / stage).rglob("*.arrow")
    }
    assert len(before) > 4
    lost = [next((tmp_path / "_stages" / stage).rglob("*.arrow")) for stage in (EXCHANGE, COMPARE)]
    for path in [*lost, Path(semantic.found_path(workdir))]:
        path.unlink()
    stage = planned(workdir, parts)
    assert not stage.finished
    assert len(stage.exchanged.todo) == 1
    run(stage)
    assert drops(workdir, parts) == expected
    assert {p for p, time in before.items() if p.stat().st_mtime_ns != time} == set(lost)


def test_another_search_begins_anew_and_vectors_are_cleared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workdir, parts = Workdir(str(tmp_path)), cut(DOCUMENTS, "abc")
    with monkeypatch.context() as patch:
        patch.setattr(semantic, "clear", lambda workdir: None)
        deduplicate(tmp_path, parts, CENTROIDS)
    assert storage.exists(workdir.path("_stages", COMPARE))
    del parts["c"]
    params = SemanticDedupParams(epsilon=0.3)
    stage = planned(workdir, parts, params)
    assert not stage.finished
    assert len(stage.exchanged.todo) == 2
    assert not storage.exists(semantic.found_path(workdir))  # or half of each would count as whole
    run(stage)
    left = [document for some in parts.values() for document in some]
    assert drops(workdir, parts) == brute_force(left, CENTROIDS, params)
    assert not storage.exists(semantic.drops_path(workdir, "c"))
    assert not storage.exists(workdir.path("_stages", EXCHANGE))
    assert not storage.exists(workdir.path("_stages", COMPARE))
    assert planned(workdir, parts, params).finished
