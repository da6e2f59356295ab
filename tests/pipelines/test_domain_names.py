"""Names of domains through the command line: a person's file, a language model, a classifier."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from mixcurate.io import partfiles
from tests.fake_endpoint import Sent, answer, error, fake_endpoint
from tests.pipelines.clustering import cluster, parts, rejected, table
from tests.pipelines.conftest import invoke


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)


def edit(recipe: Path, change: Any) -> Path:
    """A copy of ``domains.yaml`` beside the recipe, its list of domains changed."""
    value = yaml.safe_load((recipe.parent / "work/domains.yaml").read_text())
    change(value["domains"])
    path = recipe.parent / "names.yaml"
    path.write_text(yaml.safe_dump(value))
    return path


def test_a_person_names_merges_and_drops_domains(job: Path) -> None:
    cluster(job)
    before = table(job, "domains")
    documents = {row["domain_id"]: row["n_documents"] for row in before}

    def change(domains: list[dict[str, Any]]) -> None:
        domains[0]["name"] = "Python, the language"
        domains[1]["name"] = domains[2]["name"] = "Modules"
        domains[3]["drop"] = True

    edit(job, change)
    run = invoke("run", job, "--set", "cluster.topics.names=names.yaml")
    assert run.exit_code == 0, run.output
    after = table(job, "domains")
    ids = [row["domain_id"] for row in before]
    assert {row["name"]: row["n_documents"] for row in after} == {
        "Python, the language": documents[ids[0]],
        "Modules": documents[ids[1]] + documents[ids[2]],
    }
    same = next(row for row in after if row["name"] == "Python, the language")
    assert same["domain_id"] == ids[0]
    assert rejected(job)["dropped_domain"] == documents[ids[3]]
    written = yaml.safe_load((job.parent / "work/domains.yaml").read_text())["domains"]
    assert [row["id"] for row in written] == ids  # it can be edited and named again
    assert [row["name"] for row in written][:3] == ["Python, the language", "Modules", "Modules"]
    assert written[3]["drop"] is True
    corpus = next((job.parent / "work/corpus").glob("**/*.arrow"))
    assert "Python, the language" in corpus.read_bytes().decode("latin-1")


def test_a_file_for_clusters_that_are_gone_is_a_clear_error(job: Path) -> None:
    cluster(job)
    edit(job, lambda domains: domains[0].update(name="first"))
    refit = invoke(
        "cluster", job, "--set", "cluster.k=9", "--set", "cluster.topics.names=names.yaml"
    )
    assert refit.exit_code == 2
    assert "are no domains of this clustering" in refit.output
    assert "domains.yaml" in refit.output


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("domains: [", "not valid YAML"),
        ("domains:\n  - {id: x, nmae: y}\n", "name"),
        ("domains:\n  - {id: x, name: y}\n  - {id: x, name: z}\n", "x"),
    ],
)
def test_a_broken_file_is_found_before_any_work(job: Path, text: str, expected: str) -> None:
    (job.parent / "names.yaml").write_text(text)
    result = invoke("run", job, "--set", "cluster.topics.names=names.yaml")
    assert result.exit_code == 2
    assert "names.yaml:" in result.output
    assert expected in result.output


def test_a_file_that_drops_every_domain_is_refused(job: Path) -> None:
    cluster(job)
    edit(job, lambda domains: [domain.update(drop=True) for domain in domains])
    result = invoke("cluster", job, "--set", "cluster.topics.names=names.yaml")
    assert result.exit_code == 2
    assert "drops every domain" in result.output


def model(body: dict[str, Any]) -> Sent:
    """Names domains after their first keyword, and puts all but one into one topic."""
    asked = json.loads(body["messages"][1]["content"])
    if "documents" in asked:
        return answer(f"All about {asked['keywords'][0]}")
    first, *rest = [topic["number"] for topic in asked["topics"]]
    topics = [{"name": "One", "numbers": [first]}, {"name": "The Rest", "numbers": rest}]
    return answer(json.dumps({"topics": topics}))


def test_a_language_model_names_domains_and_merges_them_into_topics(job: Path) -> None:
    with fake_endpoint(model) as fake:
        namer = f"cluster.topics.namer={{endpoint: {fake.url}, model: m, topics: 2}}"
        cluster(job, namer)
        names = {row["name"] for row in table(job, "domains")}
        assert names == {"One", "The Rest"}
        assert len(fake.requests) == 5  # four domains, and how they merge
        cluster(job, namer, "cluster.topics.keywords=9")
        assert len(fake.requests) <= 10
        asked = len(fake.requests)
        cluster(job, namer, "cluster.prototypes=0.1")
        cluster(job, namer)
        assert len(fake.requests) == asked  # answers are kept


def test_a_language_model_that_never_answers_stops_the_stage_with_a_hint(job: Path) -> None:
    with fake_endpoint(lambda _: error(401, "bad key")) as fake:
        namer = f"cluster.topics.namer={{endpoint: {fake.url}, model: m, retries: 0}}"
        result = invoke("cluster", job, "--set", namer)
        assert result.exit_code in (1, 2)
        assert "401" in result.output
        assert "Traceback" not in result.output


def test_new_text_is_labelled_by_the_classifier(job: Path, tmp_path: Path) -> None:
    said = cluster(job, "cluster.topics.classifier=true")
    assert "held-out documents" in said
    out = tmp_path / "labels.jsonl"
    source = job.parent / "in" / "a.jsonl"
    field = ["--text-field", "text"]
    result = invoke("label", job.parent / "work", source, "--out", out, "--json", *field)
    assert result.exit_code == 0, result.output
    labelled = [json.loads(line) for line in out.read_text().splitlines()]
    lines = source.read_bytes().splitlines(keepends=True)
    assert json.loads(result.output)["documents"] == len(labelled) == len(lines)
    names = [row["name"] for row in table(job, "domains")]
    assert all(row["domain_name"] == names[row["domain"]] for row in labelled)
    places = np.cumsum([0, *map(len, lines[:-1])]).tolist()  # a document's position is its byte
    found = dict(zip(places, labelled, strict=True))
    rows = parts(job, "documents").select(["path", "position"]).to_pylist()
    domains = parts(job, "assignments").column("domain").to_pylist()
    agree = [
        found[row["position"]]["domain"] == domain
        for row, domain in zip(rows, domains, strict=True)
        if row["path"] == "in/a.jsonl" and domain >= 0
    ]
    assert np.mean(agree) > 0.7


def test_labelling_without_a_classifier_says_how_to_get_one(job: Path, tmp_path: Path) -> None:
    cluster(job)
    result = invoke("label", job.parent / "work", job, "--out", tmp_path / "out")
    assert result.exit_code == 2
    assert "classifier: true" in result.output


def test_the_shards_carry_the_names(job: Path) -> None:
    run = invoke("run", job)
    assert run.exit_code == 0, run.output
    names = {row["name"] for row in table(job, "domains")}
    manifest = json.loads((job.parent / "work/corpus/manifest.json").read_text())
    assert {row["name"] for row in manifest["domains"]} == names
    ids = partfiles.read_table(str(job.parent / "work/domains.parquet")).column("domain_id")
    assert len(set(ids.to_pylist())) == len(names)
