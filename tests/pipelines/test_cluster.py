"""The cluster stage through the command line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml

from mixcurate.io import partfiles
from mixcurate.io.embeddings import EmbeddingsWriter, read_embeddings
from tests.pipelines.clustering import cluster, parts, rejected, replace_vectors, table
from tests.pipelines.conftest import RECIPE, invoke, write_job


def test_the_tables_agree_with_the_documents(job: Path) -> None:
    cluster(job)
    documents, assigned = parts(job, "documents"), parts(job, "assignments")
    tokens = documents.column("n_tokens").to_numpy()
    domain, number = (assigned.column(name).to_numpy() for name in ("domain", "cluster"))
    distance = assigned.column("distance").to_numpy().astype(np.float64)
    for row in table(job, "domains"):
        mine = domain == row["domain"]
        assert row["n_documents"] == mine.sum()
        assert row["n_tokens"] == tokens[mine].sum()
        assert row["mean_distance"] == pytest.approx(distance[mine].mean())
        assert row["std_distance"] == pytest.approx(distance[mine].std(), abs=1e-6)
        assert row["coherence"] == pytest.approx(1 - (distance[mine] ** 2).mean() / 2)
        assert row["domain"] not in row["nearest"]
        assert len(row["nearest"]) == 3
    clusters = table(job, "clusters")
    for row in clusters:
        mine = number == row["cluster"]
        assert row["n_documents"] == mine.sum()
        assert sum(n for _, n in row["sources"]) == sum(n for _, n in row["languages"])
        assert sum(n for _, n in row["sources"]) == mine.sum()
        if mine.any():
            assert row["mean_distance"] == pytest.approx(distance[mine].mean(), abs=1e-6)
            assert row["distance_p99"] >= np.quantile(distance[mine], 0.99, method="lower") * 0.99
        if row["kept"]:
            assert set(domain[mine].tolist()) <= {row["domain"]}
    assert rejected(job).get("low_quality_cluster", 0) == (domain < 0).sum()


def test_pruned_clusters_are_rejected_with_the_numbers(job: Path) -> None:
    cluster(job, "cluster.prune.thresholds={form: 0.95}")
    pruned = [row for row in table(job, "clusters") if row["drop_reason"] == "low_quality"]
    assert pruned
    assert all(row["mean_quality_form"] < 0.95 for row in pruned)
    assert all("form" in row["drop_detail"] for row in pruned)
    gone = parts(job, "rejected").to_pylist()
    details = [row["detail"] for row in gone if row["reason"] == "low_quality_cluster"]
    assert len(details) == sum(row["n_documents"] for row in pruned)
    assert all("form" in detail for detail in details)


def test_a_preset_prunes_by_what_documents_carry(tmp_path: Path) -> None:
    recipe = write_job(tmp_path)
    for path in (tmp_path / "in").glob("*.jsonl"):
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        for number, row in enumerate(rows):
            row |= {"advertisement": 5, "educational_value": "2" if number % 2 else 0}
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    result = invoke("run", recipe, "--until", "embed")
    assert result.exit_code == 0, result.output
    cluster(recipe, "cluster.prune.preset=card")
    clusters = [row for row in table(recipe, "clusters") if row["n_documents"]]
    assert {row["kept"] for row in clusters} == {True, False}
    for row in clusters:
        assert row["mean_quality_advertisement"] == 5
        assert row["kept"] == (row["mean_quality_educational_value"] >= 1)


def test_a_preset_without_its_dimensions_is_a_clear_error(job: Path) -> None:
    result = invoke("cluster", job, "--set", "cluster.prune.preset=paper")
    assert result.exit_code == 2
    assert "advertisement" in result.output
    assert "no document carries such a number" in result.output


def test_tiers_divide_domains_by_quality(job: Path) -> None:
    cluster(job, "cluster.merge={domains: 3, tiers: 2}")
    rows = table(job, "domains")
    assert len(rows) == 6
    for low, high in zip(rows[::2], rows[1::2], strict=True):
        assert low["mean_quality"] < high["mean_quality"]
        assert low["name"].split(" (")[0] == high["name"].split(" (")[0]
        assert low["domain_id"] != high["domain_id"]
    totals = [sum(row["n_documents"] for row in rows[tier::2]) for tier in (0, 1)]
    assert abs(totals[0] - totals[1]) < 0.2 * sum(totals)
    run = invoke("run", job, "--set", "cluster.merge={domains: 3, tiers: 2}")
    assert run.exit_code == 0, run.output


@pytest.mark.parametrize(
    "settings",
    [
        ["cluster.k=sqrt", "cluster.metric=euclidean", "cluster.merge=null"],
        ["cluster.levels=2", "cluster.balance=2", "cluster.merge.linkage=spectral"],
        ["cluster.resample={rounds: 2, per_cluster: 4}", "cluster.map={documents: 50}"],
    ],
)
def test_every_way_to_cluster_runs(job: Path, settings: list[str]) -> None:
    said = cluster(job, *settings)
    clusters, domains = table(job, "clusters"), table(job, "domains")
    assert sum(row["n_documents"] for row in clusters) > 200
    if "cluster.k=sqrt" in settings:
        assert len(clusters) == 16
        assert "fits k = 16" in said
        assert len(domains) == sum(row["kept"] for row in clusters)
    else:
        assert len(domains) == 4
    if "cluster.levels=2" in settings:
        assert max(row["n_documents"] for row in clusters) <= 2 * 266 / 24 + 1
    assert (job.parent / "work/map.parquet").exists() == ("map" in str(settings))


def test_k_is_chosen_by_silhouette(job: Path) -> None:
    said = cluster(
        job, "cluster.k=silhouette", "cluster.silhouette={least: 2, most: 12, candidates: 3}"
    )
    fit = json.loads((job.parent / "work/_stages/cluster/fit.json").read_text())
    assert len(fit["silhouette"]) == 3
    best = max(value for _, value in fit["silhouette"])
    assert fit["k"] in [k for k, value in fit["silhouette"] if value == best]
    assert f"k = {fit['k']} has the best silhouette" in said


def test_the_fit_says_what_it_needs_and_keeps_to_it(job: Path) -> None:
    said = cluster(job)
    assert "needs up to" in said
    assert "cluster.memory: 4.00 GB" in said
    result = invoke("cluster", job, "--set", "cluster.memory=10kB")
    assert result.exit_code == 2
    assert "cluster.memory" in result.output


def test_duplicates_by_meaning_and_prototypes_are_dropped(job: Path) -> None:
    def repeat(vectors: np.ndarray) -> np.ndarray:
        vectors[1::4] = vectors[: len(vectors[1::4]) * 4 : 4] * 1.001
        return vectors

    replace_vectors(job, repeat)
    cluster(job, "cluster.dedup={epsilon: 0.01}", "cluster.prototypes=0.1", "cluster.prune=null")
    found = rejected(job)
    n = parts(job, "documents").num_rows
    assert found["semantic_duplicate"] >= n // 4 - 8
    assert found["prototype"] == int(0.1 * (n - found["semantic_duplicate"]))
    domain = parts(job, "assignments").column("domain").to_numpy()
    assert (domain < 0).sum() == sum(found.values())


def test_a_refit_maps_the_old_domains_on_the_new_ones(job: Path) -> None:
    cluster(job)
    before = {row["domain_id"]: row["name"] for row in table(job, "domains")}
    assert not (job.parent / "work/domain_map.parquet").exists()
    said = cluster(job, "cluster.k=12")
    assert "domains before" in said
    rows = table(job, "domain_map")
    after = {row["domain_id"] for row in table(job, "domains")}
    shares: dict[str, float] = {}
    for row in rows:
        assert before[row["old_id"]] == row["old_name"]
        assert row["new_id"] in after
        shares[row["old_id"]] = shares.get(row["old_id"], 0) + row["share"]
    assert set(shares) == set(before)
    assert all(0 < share <= 1 + 1e-9 for share in shares.values())


def test_an_update_keeps_the_domains_and_judges_the_drift(job: Path, tmp_path: Path) -> None:
    cluster(job, "cluster.metric=euclidean")  # the metric, too, is that of the earlier run
    old = table(job, "domains")
    settings = {**RECIPE, "workdir": str(tmp_path / "new"), "cluster": {"drift": {"max_far": 2}}}
    recipe = job.parent / "new.yaml"
    recipe.write_text(yaml.safe_dump(settings))
    same = invoke("update", recipe, "--onto", job.parent / "work")
    assert same.exit_code == 0, same.output
    assert "no refit is due" in same.output
    new = partfiles.read_table(str(tmp_path / "new/domains.parquet")).to_pylist()
    assert [(r["domain_id"], r["name"], r["n_documents"]) for r in new] == [
        (r["domain_id"], r["name"], r["n_documents"]) for r in old
    ]
    drift = json.loads((tmp_path / "new/drift.json").read_text())
    assert (drift["refit"], drift["divergence"]) == (False, 0)
    assert sum(row["documents"] for row in drift["domains"]) == sum(r["n_documents"] for r in old)

    other = recipe.with_name("other.yaml")
    other.write_text(
        yaml.safe_dump(
            {
                **settings,
                "workdir": str(tmp_path / "other"),
                "cluster": {
                    "onto": str(job.parent / "work"),
                    "drift": {"least_documents": 50, "confidence": 0.9},
                },
            }
        )
    )
    assert invoke("run", other, "--until", "embed").exit_code == 0
    random = np.random.default_rng(1)
    for path in sorted((tmp_path / "other/embeddings").glob("part-*.arrow")):
        shape = read_embeddings(str(path)).shape
        with EmbeddingsWriter(str(path), shape[1], "float16") as writer:
            writer.write(random.normal(size=shape).astype(np.float32))
    changed = invoke("cluster", other)
    assert changed.exit_code == 0, changed.output
    assert "a refit is due" in changed.output
    assert json.loads((tmp_path / "other/drift.json").read_text())["share_beyond_p99"] > 0.2
    report = (tmp_path / "other/report.html").read_text()
    assert "refit" in report


def test_an_update_needs_an_earlier_run_of_the_same_model(job: Path, tmp_path: Path) -> None:
    assert invoke("update", job).exit_code == 2
    unfinished = invoke("update", job, "--onto", job.parent / "work", "--set", "workdir=new")
    assert unfinished.exit_code == 2
    assert "no finished cluster stage" in unfinished.output
    cluster(job)
    own = invoke("update", job, "--onto", job.parent / "work")
    assert own.exit_code == 2
    assert "own workdir" in own.output
    decided = job.parent / "work/_stages/cluster/decision.json"
    decided.rename(decided.with_suffix(".away"))
    older = invoke("update", job, "--onto", job.parent / "work", "--set", "workdir=new")
    assert older.exit_code == 2
    assert "older version" in older.output
    decided.with_suffix(".away").rename(decided)
    note = job.parent / "work/_stages/cluster/fit.json"
    fit = json.loads(note.read_text())
    fit["encoder"]["weights_sha256"] = "0" * 64
    note.write_text(json.dumps(fit))
    other = invoke("update", job, "--onto", job.parent / "work", "--set", "workdir=new")
    assert other.exit_code == 2
    assert "embed with the same model" in other.output


def test_vectors_of_no_use_are_rejected(job: Path) -> None:
    def spoil(vectors: np.ndarray) -> np.ndarray:
        vectors[0], vectors[1, 3], vectors[2, 0] = 0, np.nan, np.inf
        return vectors

    replace_vectors(job, spoil)
    cluster(job)
    n_parts = len(list((job.parent / "work/embeddings").glob("part-*.arrow")))
    assert rejected(job)["invalid_embedding"] == 3 * n_parts
    assert invoke("run", job).exit_code == 0


def test_no_usable_vector_at_all_is_a_clear_error(job: Path) -> None:
    replace_vectors(job, np.zeros_like)
    result = invoke("cluster", job)
    assert result.exit_code == 1
    assert "no document has a vector that can be clustered" in result.output


def test_documents_that_are_all_equal_are_one_domain(job: Path) -> None:
    replace_vectors(job, np.ones_like)
    cluster(job, "cluster.prune=null")
    held = [row for row in table(job, "clusters") if row["n_documents"]]
    assert len(held) == 1
    assert len(table(job, "domains")) == 1
    assert invoke("run", job, "--set", "cluster.prune=null").exit_code == 0


def test_a_cluster_that_holds_most_documents_is_worth_a_warning(job: Path) -> None:
    def crowd(vectors: np.ndarray) -> np.ndarray:
        random = np.random.default_rng(len(vectors))
        crowded = int(0.9 * len(vectors))
        vectors[:crowded] = 1 + 1e-3 * random.normal(size=(crowded, vectors.shape[1]))
        return vectors

    replace_vectors(job, crowd)
    said = cluster(job, "cluster.k=4", "cluster.prune=null", "cluster.merge=null")
    assert "of the documents; set cluster.balance" in said


def test_few_documents_lower_k(tmp_path: Path) -> None:
    recipe = write_job(tmp_path, documents=30)
    result = invoke("run", recipe, "--until", "cluster")
    assert result.exit_code == 0, result.output
    assert "k lowered from 24 to 3" in result.output


def test_two_processes_cluster_as_one(job: Path) -> None:
    settings = ["--set", "cluster.dedup={epsilon: 0.2}", "--set", "cluster.prototypes=0.1"]
    assert invoke("cluster", job, *settings).exit_code == 0
    work = job.parent / "work"
    names = ["centroids.npy", "clusters.parquet", "domains.parquet"]
    first = {name: (work / name).read_bytes() for name in names}
    first |= {p.name: p.read_bytes() for p in (work / "assignments").glob("part-*")}
    shutil.rmtree(work / "_stages/cluster")
    shutil.rmtree(work / "_stages/assign")
    shutil.rmtree(work / "assignments")
    beam = ["--", "--direct_running_mode=multi_processing", "--direct_num_workers=2"]
    result = invoke("cluster", job, *settings, *beam)
    assert result.exit_code == 0, result.output
    for name, content in first.items():
        path = work / ("assignments" if name.startswith("part-") else "") / name
        assert path.read_bytes() == content, name
