"""The embed stage by the command line: what is computed, what is taken over, what stops it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml

from mixcurate.io.embeddings import embeddings_info, read_embeddings
from mixcurate.models.embedded import encoder_folder
from tests.documents import real_documents, write_jsonl
from tests.pipelines.conftest import RECIPE, invoke

KEEP_ALL = {"languages": [], "filters": None, "dedup": None, "part_documents": 20}


def write(folder: Path, texts: dict[str, list[str]], **embed: object) -> Path:
    """A job with the given texts by input file, nothing filtered."""
    for name, found in texts.items():
        write_jsonl(folder / "in" / f"{name}.jsonl", [{"text": text} for text in found])
    recipe = folder / "recipe.yaml"
    changed = RECIPE | {"ingest": KEEP_ALL, "embed": {"max_tokens": 16} | embed}
    recipe.write_text(yaml.safe_dump(changed))
    return recipe


def embedded(recipe: Path, *options: str) -> dict:
    """Run ingest and embed; what embed says of itself."""
    assert invoke("ingest", recipe, "--quiet").exit_code == 0
    result = invoke("embed", recipe, *options)
    assert result.exit_code == 0, result.output
    return json.loads((recipe.parent / "work/embeddings/_SUCCESS").read_text())


def vectors_by_text(recipe: Path) -> dict[str, bytes]:
    """The stored vector of each text, all parts together."""
    found: dict[str, bytes] = {}
    for part in sorted((recipe.parent / "work/documents").glob("part-*.parquet")):
        texts = pq.read_table(part, columns=["text"]).column("text").to_pylist()
        vectors = read_embeddings(str(recipe.parent / f"work/embeddings/{part.stem}.arrow"))
        for text, vector in zip(texts, vectors, strict=True):
            assert found.setdefault(text, vector.tobytes()) == vector.tobytes()
    return found


def texts(count: int, start: int = 0) -> list[str]:
    return [document["text"] for document in real_documents(start + count)[start:]]


def test_exact_duplicates_are_computed_once(tmp_path):
    plain = write(tmp_path / "plain", {"a": texts(50), "b": texts(30, 50)})
    alone = embedded(plain)
    assert alone["details"]["copied"] == 0
    mixed = {"a": texts(50) + texts(10), "b": texts(30, 50) + texts(15) + texts(5, 50)}
    job = write(tmp_path / "mixed", mixed)
    done = embedded(job)
    assert done["documents_out"] == 110
    assert done["details"]["copied"] == 30
    assert vectors_by_text(job) == vectors_by_text(plain)
    assert not (job.parent / "work/_stages/embed/computed").exists()
    assert invoke("cluster", job, "--quiet").exit_code == 0


def test_changed_filters_compute_nothing_anew(tmp_path):
    job = write(tmp_path, {"a": texts(60)})
    embedded(job)
    before = vectors_by_text(job)
    shifted = ["ingest.part_documents=17", "ingest.dedup={exact: true, near: null}"]
    options = [word for change in shifted for word in ("--set", change)]
    assert invoke("ingest", job, *options).exit_code == 0
    result = invoke("embed", job, *options)
    assert "60 vectors were there already" in result.stderr
    assert vectors_by_text(job) == before
    assert not (tmp_path / "work/_stages/embed/previous").exists()


def test_a_new_crawl_takes_over_what_an_old_one_has(tmp_path):
    old = write(tmp_path / "old", {"a": texts(40)})
    embedded(old)
    new = write(tmp_path / "new", {"a": texts(60, 20)}, reuse=["../old/work"])
    done = embedded(new)
    assert done["details"]["copied"] == 20
    fresh = write(tmp_path / "fresh", {"a": texts(60, 20)})
    embedded(fresh)
    assert vectors_by_text(new) == vectors_by_text(fresh)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"reuse": ["../nowhere"]}, "is no workdir"),
        ({"reuse": ["../old/work"], "max_tokens": 12}, "another model or other parameters"),
        ({"reuse": ["../old/work"], "store": "int8"}, "another model or other parameters"),
    ],
)
def test_workdirs_that_do_not_fit_are_refused_before_work(tmp_path, changes, message):
    embedded(write(tmp_path / "old", {"a": texts(5)}))
    new = write(tmp_path / "new", {"a": texts(5)}, **changes)
    assert invoke("ingest", new, "--quiet").exit_code == 0
    result = invoke("embed", new)
    assert result.exit_code == 2
    assert "embed.reuse" in result.output
    assert message in result.output
    assert not list((tmp_path / "new/work").glob("embeddings/part-*"))


def test_a_workdir_of_another_dimension_is_refused_with_both(tmp_path):
    old = write(tmp_path / "old", {"a": texts(5)}, model=str(static_model(tmp_path / "m")))
    embedded(old)
    new = write(tmp_path / "new", {"a": texts(5)}, reuse=["../old/work"])
    assert invoke("ingest", new, "--quiet").exit_code == 0
    result = invoke("embed", new)
    assert result.exit_code == 2
    assert "dimension 32" in result.output
    assert "384" in result.output


def static_model(folder: Path) -> Path:
    """A small static model with the embedded model's tokenizer."""
    from safetensors.numpy import save_file

    table = np.random.default_rng(3).normal(size=(30_522, 32)).astype(np.float32)
    folder.mkdir(parents=True)
    save_file({"embeddings": table}, str(folder / "model.safetensors"))
    (folder / "config.json").write_text('{"model_type": "model2vec"}')
    tokenizer = Path(encoder_folder()) / "tokenizer.json"
    (folder / "tokenizer.json").write_text(tokenizer.read_text())
    return folder


@pytest.mark.parametrize("backend", ["auto", "torch"])
def test_odd_documents_never_stop_the_job(tmp_path, backend):
    odd = [
        "   ",
        "🙂🎉🙂",
        "\ud800 alone \udfff",
        "x" * 5_000_000,
        " " * 4_000 + "late",
        "a\x00b",
        "",
    ]
    job = write(tmp_path, {"a": odd + texts(10)}, backend=backend)
    done = embedded(job)
    kept = sum(
        pq.read_metadata(p).num_rows for p in (tmp_path / "work/documents").glob("*.parquet")
    )
    assert done["documents_in"] == done["documents_out"] == kept >= 14
    assert done["details"]["not_finite"] == 0
    for found in vectors_by_text(job).values():
        assert np.linalg.norm(np.frombuffer(found, np.float16).astype(float)) == pytest.approx(
            1, abs=0.01
        )


def test_a_model_that_gives_no_numbers_stops_before_work(tmp_path):
    model = static_model(tmp_path / "m")
    from safetensors.numpy import load_file, save_file

    table = load_file(str(model / "model.safetensors"))["embeddings"]
    table[:] = np.nan
    save_file({"embeddings": table}, str(model / "model.safetensors"))
    job = write(tmp_path, {"a": texts(5)}, model=str(model))
    assert invoke("ingest", job, "--quiet").exit_code == 0
    result = invoke("embed", job)
    assert result.exit_code == 2
    assert "not finite" in result.output
    assert not list((tmp_path / "work").glob("embeddings/part-*"))


def test_a_document_whose_vector_is_no_number_is_counted_and_said(tmp_path):
    model = static_model(tmp_path / "m")
    from safetensors.numpy import load_file, save_file
    from tokenizers import Tokenizer

    table = load_file(str(model / "model.safetensors"))["embeddings"]
    word = "zebra"
    table[Tokenizer.from_file(str(model / "tokenizer.json")).token_to_id(word)] = np.nan
    save_file({"embeddings": table}, str(model / "model.safetensors"))
    job = write(tmp_path, {"a": [f"a {word} here", *texts(5)]}, model=str(model))
    assert invoke("ingest", job, "--quiet").exit_code == 0
    result = invoke("embed", job)
    assert result.exit_code == 0
    assert "for 1 documents the model gave values that are not finite" in result.stderr
    done = json.loads((tmp_path / "work/embeddings/_SUCCESS").read_text())
    assert done["documents_out"] == 6
    assert done["details"]["not_finite"] == 1


@pytest.mark.parametrize("missing", ["model.safetensors", "config.json", "tokenizer.json"])
def test_a_model_folder_with_a_file_missing_stops_before_work(tmp_path, missing):
    model = static_model(tmp_path / "m")
    (model / missing).unlink()
    job = write(tmp_path, {"a": texts(5)}, model=str(model))
    assert invoke("ingest", job, "--quiet").exit_code == 0
    result = invoke("embed", job)
    assert result.exit_code == 2
    assert "embed.model" in result.output
    assert not list((tmp_path / "work").glob("embeddings/part-*"))


@pytest.mark.parametrize("store", ["float16", "float32", "int8"])
def test_vectors_are_stored_as_asked_and_the_run_goes_on(tmp_path, store):
    model = str(static_model(tmp_path / "m"))
    job = write(tmp_path, {"a": texts(60)}, model=model, store=store)
    embedded(job)
    part = next((tmp_path / "work/embeddings").glob("part-*.arrow"))
    assert embeddings_info(str(part)).kind == store
    result = invoke("run", job, "--quiet", "--set", "mixture.budget_tokens=1000")
    assert result.exit_code == 0, result.output
    manifest = json.loads((tmp_path / "work/corpus/manifest.json").read_text())
    assert manifest["encoder"]["dimension"] == 32
    assert len(manifest["encoder"]["weights_sha256"]) == 64


def test_long_documents_are_read_in_windows(tmp_path):
    long = "Rivers run to the sea. " * 40 + "Bread is baked in an oven. " * 39
    long += "It smells good."
    short = texts(3)
    cut = write(tmp_path / "cut", {"a": [long, *short]})
    whole = write(tmp_path / "whole", {"a": [long, *short]}, long_documents="mean_of_windows")
    embedded(cut)
    tokens = embedded(whole)["tokens"]
    assert tokens > json.loads((cut.parent / "work/embeddings/_SUCCESS").read_text())["tokens"]
    assert vectors_by_text(cut)[long] != vectors_by_text(whole)[long]


def test_what_runs_is_said_with_the_reason(tmp_path):
    job = write(tmp_path, {"a": texts(5)}, backend="torch")
    assert invoke("ingest", job, "--quiet").exit_code == 0
    result = invoke("embed", job)
    assert "all-MiniLM-L6-v2, torch fp32 on cpu, 16 tokens, stored as float16" in result.stderr


def test_a_second_run_embeds_nothing(tmp_path):
    job = write(tmp_path, {"a": texts(25)})
    embedded(job)
    assert "embed: up to date" in invoke("embed", job).stderr
    next((tmp_path / "work/embeddings").glob("part-*.arrow")).unlink()
    again = invoke("embed", job)
    assert "1 of 2 tasks were finished before" in again.stderr
