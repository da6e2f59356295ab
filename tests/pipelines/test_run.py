"""The whole chain through the command line: what is written, that it is exact, that it lasts."""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import webdataset
import yaml
from datasets import load_dataset, load_from_disk

from mixcurate.io.embeddings import read_embeddings
from mixcurate.kernels.words import normalise
from mixcurate.recipe_file import load_recipe
from tests.documents import real_documents
from tests.pipelines.conftest import RECIPE, corpus_digest, invoke, write_job


def manifest_of(folder: Path) -> dict:
    return json.loads((folder / "work/corpus/manifest.json").read_text())


def normal_forms(texts: list[str]) -> list[str]:
    return normalise(pa.array(texts, pa.large_string())).to_pylist()


def test_every_document_is_accounted_for(finished: Path) -> None:
    metrics = json.loads((finished / "work/metrics.json").read_text())
    for stage in ("ingest", "embed", "cluster", "score", "plan", "materialize"):
        numbers = metrics[stage]
        rejected = sum(numbers["rejected"].values())
        assert numbers["documents_in"] == numbers["documents_out"] + rejected, stage
    assert metrics["ingest"]["documents_in"] == 305
    kept = pq.read_table(finished / "work/documents", columns=["text"]).column("text").to_pylist()
    forms = set(normal_forms(kept))
    assert len(forms) == len(kept)
    given = [document["text"] for document in [*real_documents(300), *real_documents(5)]]
    repeated = sum(form in forms for form in normal_forms(given)) - len(kept)
    assert metrics["ingest"]["rejected"]["exact_duplicate"] == repeated > 0
    rows = pq.read_table(finished / "work/rejected").to_pylist()
    reasons = Counter((row["stage"], row["reason"]) for row in rows)
    for stage in ("ingest", "cluster", "plan"):
        for reason, count in metrics[stage]["rejected"].items():
            assert reasons[stage, reason] == count
    assert all(row["path"].startswith("in/") and row["position"] >= 0 for row in rows)


def test_parts_are_aligned_row_by_row(finished: Path) -> None:
    work = finished / "work"
    parts = sorted(path.stem for path in (work / "documents").glob("part-*.parquet"))
    assert len(parts) >= 5
    for part in parts:
        rows = pq.read_metadata(work / f"documents/{part}.parquet").num_rows
        vectors = read_embeddings(str(work / f"embeddings/{part}.arrow"))
        assert vectors.shape == (rows, 384)
        assert np.allclose(np.linalg.norm(vectors.astype(np.float32), axis=1), 1, atol=1e-2)
        for folder in ("assignments", "scores"):
            assert pq.read_metadata(work / f"{folder}/{part}.parquet").num_rows == rows


def test_targets_are_met_within_one_document(finished: Path) -> None:
    manifest = manifest_of(finished)
    corpus = load_from_disk(str(finished / "work/corpus"))["train"].to_pandas()
    assert len(corpus) == manifest["n_documents"]
    assert sum(d["target_tokens"] for d in manifest["domains"]) == 24_000
    assert manifest["n_tokens"] >= 24_000
    for domain in manifest["domains"]:
        mine = corpus[corpus.domain == domain["domain"]]
        assert set(mine.domain_name) == {domain["name"]}
        tokens = int(mine.n_tokens.sum())
        assert tokens == domain["achieved_tokens"]
        over = tokens - domain["target_tokens"]
        assert 0 <= over < mine.n_tokens.max()
    # a repeat comes only after the first time: copies of a document are 0, 1, ..., n - 1
    for _, copies in corpus.groupby("id")["copy"]:
        assert sorted(copies) == list(range(len(copies)))


def test_every_reader_sees_the_same_rows(finished: Path, tmp_path: Path) -> None:
    corpus = finished / "work/corpus"
    first = load_from_disk(str(corpus))["train"]
    again = load_from_disk(str(corpus / "train"))
    loaded = load_dataset(str(corpus), cache_dir=str(tmp_path / "cache"))["train"]
    assert first.to_list() == again.to_list() == loaded.to_list()
    tars = sorted(str(path) for path in (corpus / "wds").glob("*.tar"))
    samples = list(webdataset.WebDataset(tars, shardshuffle=False))
    assert len({sample["__key__"] for sample in samples}) == len(samples)
    rows = [{**json.loads(s["json"]), "text": s["txt"].decode()} for s in samples]
    assert rows == first.to_list()


def test_shards_differ_by_at_most_one_document(finished: Path) -> None:
    shards = manifest_of(finished)["shards"]
    for name in ("arrow", "webdataset"):
        counts = [shard["n_documents"] for shard in shards if shard["format"] == name]
        assert len(counts) >= 4
        assert max(counts) - min(counts) <= 1
        assert min(counts) > 0


def test_verify_agrees(finished: Path) -> None:
    result = invoke("verify", finished / "work/corpus")
    assert result.exit_code == 0, result.output


def test_a_second_run_does_nothing(finished: Path) -> None:
    before = corpus_digest(finished / "work/corpus")
    result = invoke("run", finished / "recipe.yaml")
    assert result.exit_code == 0
    assert result.stderr.count("up to date") == 6
    assert corpus_digest(finished / "work/corpus") == before


def test_the_resolved_recipe_is_kept_and_loads(finished: Path) -> None:
    resolved = load_recipe(str(finished / "work/recipe.yaml"))
    assert resolved == load_recipe(str(finished / "recipe.yaml"))
    text = (finished / "work/recipe.yaml").read_text()
    assert "# materialize: " in text


def test_another_mixture_redoes_plan_and_materialize_only(finished: Path, tmp_path: Path) -> None:
    shutil.copytree(finished, tmp_path / "job")
    recipe = tmp_path / "job/recipe.yaml"
    result = invoke("run", recipe, "--set", "mixture.strategy=samplemix")
    assert result.exit_code == 0, result.output
    assert result.stderr.count("up to date") == 4
    assert manifest_of(tmp_path / "job")["strategy"] == "samplemix"
    assert invoke("verify", tmp_path / "job/work/corpus").exit_code == 0


def test_another_model_redoes_embed_and_what_follows(finished: Path, tmp_path: Path) -> None:
    from mixcurate.models.embedded import encoder_folder

    shutil.copytree(finished, tmp_path / "job")
    model = tmp_path / "job/model"
    shutil.copytree(encoder_folder(), model)
    config = json.loads((model / "sentence_bert_config.json").read_text())
    config["max_seq_length"] = 8
    (model / "sentence_bert_config.json").write_text(json.dumps(config))
    result = invoke("run", tmp_path / "job/recipe.yaml", "--set", "embed.model=model")
    assert result.exit_code == 0, result.output
    assert result.stderr.count("up to date") == 1
    assert len(re.findall(r"^(\w+): [\d,]+ documents in", result.stderr, re.M)) == 5


def test_two_folders_give_the_same_bytes(finished: Path, tmp_path: Path) -> None:
    recipe = write_job(tmp_path / "elsewhere")
    assert invoke("run", recipe).exit_code == 0
    mine, theirs = (corpus_digest(f / "work/corpus") for f in (tmp_path / "elsewhere", finished))
    assert mine == theirs


def test_a_missing_file_of_a_finished_stage_is_made_again(finished: Path, tmp_path: Path) -> None:
    shutil.copytree(finished, tmp_path / "job")
    before = corpus_digest(tmp_path / "job/work/corpus")
    next((tmp_path / "job/work/corpus/train").glob("*.arrow")).unlink()
    next((tmp_path / "job/work/embeddings").glob("*.arrow")).unlink()
    result = invoke("run", tmp_path / "job/recipe.yaml")
    assert result.exit_code == 0, result.output
    assert corpus_digest(tmp_path / "job/work/corpus") == before


def test_another_number_of_shards_leaves_no_old_shard(finished: Path, tmp_path: Path) -> None:
    shutil.copytree(finished, tmp_path / "job")
    result = invoke("run", tmp_path / "job/recipe.yaml", "--set", "output.shard_bytes=1MB")
    assert result.exit_code == 0, result.output
    shards = manifest_of(tmp_path / "job")["shards"]
    assert len(shards) < len(manifest_of(finished)["shards"])
    assert invoke("verify", tmp_path / "job/work/corpus").exit_code == 0


def test_another_output_folder_leaves_the_first_corpus_whole(
    finished: Path, tmp_path: Path
) -> None:
    shutil.copytree(finished, tmp_path / "job")
    recipe = tmp_path / "job/recipe.yaml"
    result = invoke("run", recipe, "--set", "output.path=other")
    assert result.exit_code == 0, result.output
    assert invoke("verify", tmp_path / "job/other").exit_code == 0
    assert invoke("verify", tmp_path / "job/work/corpus").exit_code == 0
    assert (tmp_path / "job/other/README.md").read_text() == (
        finished / "work/corpus/README.md"
    ).read_text()


def test_without_a_budget_everything_comes_once(tmp_path: Path) -> None:
    recipe = write_job(tmp_path, 120, mixture={}, output={})
    assert invoke("run", recipe).exit_code == 0
    manifest = manifest_of(tmp_path)
    metrics = json.loads((tmp_path / "work/metrics.json").read_text())
    assert manifest["n_documents"] == metrics["cluster"]["documents_out"]
    assert all(d["epochs"] == 1 for d in manifest["domains"])
    rows = load_from_disk(str(tmp_path / "work/corpus"))["train"]
    assert set(rows["copy"]) == {0}


def test_stages_run_one_by_one_and_ask_for_their_predecessor(tmp_path: Path) -> None:
    recipe = write_job(tmp_path, 90, mixture={})
    result = invoke("embed", recipe)
    assert result.exit_code == 2
    assert "run it first: mixcurate ingest" in result.stderr
    for stage in ("ingest", "embed", "cluster", "score", "plan", "materialize"):
        result = invoke(stage, recipe, "--json")
        assert result.exit_code == 0, result.output
        numbers = json.loads(result.stdout)["stages"][stage]
        assert numbers["documents_out"] > 0
    assert invoke("verify", tmp_path / "work/corpus").exit_code == 0


def test_run_ends_with_five_lines_that_load_the_corpus(tmp_path: Path) -> None:
    recipe = write_job(tmp_path, 90, mixture={})
    result = invoke("run", recipe)
    lines = result.stdout.splitlines()
    loading = lines[lines.index("To load it:") + 2 :]
    assert len(loading) == 5
    exec("\n".join(loading), {})
    assert "achieved share" in result.stdout
    assert "report.html" in result.stdout


def test_an_infeasible_budget_names_every_short_domain_and_one_that_works(
    finished: Path, tmp_path: Path
) -> None:
    shutil.copytree(finished, tmp_path / "job")
    recipe = tmp_path / "job/recipe.yaml"
    result = invoke("plan", recipe, "--set", "mixture.budget_tokens=9_000_000")
    assert result.exit_code == 2
    domains = json.loads((finished / "work/plan.json").read_text())["domains"]
    for domain in domains:
        assert repr(domain["name"]) in result.stderr
    feasible = result.stderr.split("with these shares is ")[1].split(".")[0]
    result = invoke("plan", recipe, "--set", f"mixture.budget_tokens={feasible.replace(',', '_')}")
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize(
    "mixture",
    [
        {"strategy": "natural", "budget_tokens": 30_000},
        {"strategy": "temperature", "budget_tokens": 50_000, "max_epochs": 8},
        {"strategy": "samplemix", "budget_tokens": 30_000},
        {
            "strategy": "explicit",
            "budget_tokens": 60_000,
            "max_epochs": 9,
            "domains": {0: {"proportion": 0.25}, 3: {"repeat": 2}, 2: {"tokens": 5_000}},
        },
    ],
    ids=lambda mixture: mixture["strategy"],
)
def test_each_strategy_is_exact(finished: Path, tmp_path: Path, mixture: dict) -> None:
    shutil.copytree(finished, tmp_path / "job")
    recipe = tmp_path / "job/recipe.yaml"
    recipe.write_text(yaml.safe_dump(RECIPE | {"mixture": mixture}))
    result = invoke("run", recipe)
    assert result.exit_code == 0, result.output
    manifest = manifest_of(tmp_path / "job")
    largest = max(load_from_disk(str(tmp_path / "job/work/corpus"))["train"]["n_tokens"])
    assert manifest["budget_tokens"] == mixture["budget_tokens"]
    for domain in manifest["domains"]:
        assert 0 <= domain["achieved_tokens"] - domain["target_tokens"] < largest
    if mixture["strategy"] == "explicit":
        targets = [d["target_tokens"] for d in manifest["domains"]]
        available = [d["available_tokens"] for d in manifest["domains"]]
        assert (targets[0], targets[2], targets[3]) == (15_000, 5_000, 2 * available[3])
