"""What ingest does beyond reading, through the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import yaml
from click.testing import Result

from tests.documents import real_documents, write_jsonl
from tests.pipelines.conftest import invoke

QUESTION = (
    "Which of the three witnesses of the accident near the old harbour bridge told the officer "
    "that the blue van had been parked there since the early morning?"
)


def write_job(folder: Path, documents: list[dict[str, object]], **ingest: object) -> Path:
    write_jsonl(folder / "in" / "a.jsonl", documents)
    recipe = folder / "recipe.yaml"
    recipe.write_text(
        yaml.safe_dump(
            {
                "name": "one",
                "workdir": "work",
                "inputs": [{"path": "in/*"}],
                "ingest": {"filters": None, "dedup": None} | ingest,
            }
        )
    )
    return recipe


def numbers_of(result: Result) -> dict:
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)["stages"]["ingest"]


def texts(folder: Path) -> list[str]:
    return pq.read_table(folder / "work/documents").column("text").to_pylist()


def rejected(folder: Path) -> list[dict]:
    return pq.read_table(folder / "work/rejected").to_pylist()


def test_a_document_with_an_evaluation_item_is_dropped_and_listed(tmp_path: Path) -> None:
    documents = real_documents(30)
    documents[4]["text"] += "\n" + QUESTION.upper().replace(" ", "  ")
    evaluation = [{"question": QUESTION}, {"question": "Too short to tell?"}]
    write_jsonl(tmp_path / "evals" / "trivia.jsonl", evaluation)
    sets = [{"path": "evals/*.jsonl", "name": "trivia"}]
    recipe = write_job(tmp_path, documents, decontaminate={"sets": sets})
    result = invoke("ingest", recipe, "--json")
    numbers = numbers_of(result)
    assert numbers["rejected"] == {"contaminated": 1}
    assert "trivia: 1 of 2 items are searched (1 have fewer than 8 words)" in result.stderr
    (row,) = rejected(tmp_path)
    assert (row["reason"], row["detail"]) == ("contaminated", "holds items of trivia")
    (hit,) = pq.read_table(tmp_path / "work/contamination").to_pylist()
    assert (hit["id"], hit["set"], hit["item"]) == (row["id"], "trivia", 0)
    assert hit["overlap"] == 1.0
    assert hit["excerpt"].split() == QUESTION.upper().split()[:13]  # the first n-gram
    # another evaluation set under the same name makes ingest run again
    write_jsonl(tmp_path / "evals" / "trivia.jsonl", [{"question": QUESTION.replace("van", "car")}])
    again = numbers_of(invoke("ingest", recipe, "--json", "--set", "ingest.decontaminate.ngram=20"))
    assert again["rejected"] == {}
    assert len(texts(tmp_path)) == 30


def test_only_the_shared_words_are_cut_where_spans_are_asked_for(tmp_path: Path) -> None:
    documents = real_documents(5)
    before = documents[2]["text"].strip()
    documents[2]["text"] = f"{before} {QUESTION} And more."
    write_jsonl(tmp_path / "evals.jsonl", [{"question": QUESTION}])
    recipe = write_job(
        tmp_path,
        documents,
        decontaminate={"sets": [{"path": "evals.jsonl"}], "action": "span"},
    )
    assert numbers_of(invoke("ingest", recipe, "--json"))["details"]["changed"] == {
        "decontaminate": 1
    }
    assert f"{before} ? And more." in texts(tmp_path)


def test_a_wrong_evaluation_set_is_told_before_any_work(tmp_path: Path) -> None:
    recipe = write_job(tmp_path, real_documents(3), decontaminate={"sets": [{"path": "no.jsonl"}]})
    result = invoke("ingest", recipe)
    assert result.exit_code == 2
    assert "no.jsonl" in result.stderr
    assert not (tmp_path / "work/_stages/extract").exists()


def test_a_job_that_drops_too_much_stops_and_goes_on_when_more_is_allowed(tmp_path: Path) -> None:
    recipe = write_job(tmp_path, [*real_documents(10), *[{"text": " "}] * 40])
    stopped = invoke("ingest", recipe, "--max-drop", "0.6")
    assert stopped.exit_code == 1
    assert "dropped 40 of 50 records (80.00%); ingest.max_drop allows 60.00%" in stopped.stderr
    assert "80.00%  empty (40)" in stopped.stderr
    assert not (tmp_path / "work/documents/_SUCCESS").exists()
    allowed = invoke("ingest", recipe, "--max-drop", "0.9", "--json")
    assert numbers_of(allowed)["documents_out"] == 10
    assert "1 of 1 tasks were finished before" in allowed.stderr


def test_a_step_that_did_nothing_is_named(tmp_path: Path) -> None:
    recipe = write_job(tmp_path, real_documents(120), pii={"keys": "mask"}, licences=["unknown"])
    result = invoke("ingest", recipe)
    assert "warning: ingest.pii neither dropped nor changed a document" in result.stderr
    assert "warning: ingest.licences neither dropped nor changed a document" in result.stderr
    assert "ingest.filters" not in result.stderr


def test_what_was_dropped_is_told_in_documents_bytes_and_tokens(tmp_path: Path) -> None:
    documents = real_documents(60)
    long = [document for document in documents if len(document["text"].split()) > 150]
    recipe = write_job(
        tmp_path, [*documents, *long[:7]], thresholds={"n_words": [150, None]}, dedup={}
    )
    numbers = numbers_of(invoke("ingest", recipe, "--json"))
    rows = rejected(tmp_path)
    for reason, (n_bytes, tokens) in numbers["rejected_sizes"].items():
        mine = [row for row in rows if row["reason"] == reason]
        assert len(mine) == numbers["rejected"][reason]
        assert n_bytes == sum(row["n_bytes"] for row in mine)
        if reason == "exact_duplicate":
            assert tokens == sum(row["n_tokens"] for row in mine)
        else:  # dropped before tokens are counted: estimated
            assert abs(tokens / n_bytes - numbers["tokens"] / len("".join(texts(tmp_path)))) < 0.01
    assert set(numbers["rejected_sizes"]) == {"exact_duplicate", "filter_n_words"}


def test_inputs_have_languages_and_filters_of_their_own(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "other.jsonl", [{"text": "Kurz, aber gut: so ist das Leben am Meer."}])
    recipe = write_job(tmp_path, real_documents(20), filters="gopher", languages=["en"])
    loaded = yaml.safe_load(recipe.read_text())
    own = {"path": "other.jsonl", "source": "poems", "languages": ["de"], "filters": "none"}
    recipe.write_text(yaml.safe_dump(loaded | {"inputs": [*loaded["inputs"], own]}))
    numbers_of(invoke("ingest", recipe, "--json"))
    table = pq.read_table(tmp_path / "work/documents", columns=["source", "language"])
    assert table.to_pylist().count({"source": "poems", "language": "de"}) == 1
    wrong = own | {"languages": ["xx"]}
    recipe.write_text(yaml.safe_dump(loaded | {"inputs": [*loaded["inputs"], wrong]}))
    result = invoke("ingest", recipe)
    assert result.exit_code == 2
    assert "inputs.1.languages: unknown language 'xx'" in result.stderr
