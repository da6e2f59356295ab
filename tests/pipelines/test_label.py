from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from mixcurate.errors import InputError, OutputError, RequestError
from mixcurate.io import records
from mixcurate.io.classifier_file import (
    ClassifierFile,
    read_classifier_file,
    write_classifier_file,
)
from mixcurate.io.readers import InputParams
from mixcurate.io.workdir import Workdir
from mixcurate.kernels.classifier import fit_classifier
from mixcurate.kernels.hashing import document_ids
from mixcurate.models.encoders import EmbedParams, EncodeStats
from mixcurate.models.resolve import load, resolve
from mixcurate.recipe_file import dump_recipe, load_recipe
from pipelines.label import classifier_path, label

SPORT = ["the goalkeeper saved the penalty", "the team won the football match", "a late goal"]
FOOD = ["bake the bread in a hot oven", "add flour, butter and sugar", "a soup of fresh onions"]
NEW = ["the striker scored two goals in the final", "boil the potatoes and season with salt"]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workdir with a classifier of two domains, without the stages that make one."""
    root = tmp_path_factory.mktemp("work")
    recipe = root / "recipe.yaml"
    asked = {
        "name": "small",
        "workdir": ".",
        "inputs": [{"path": "in.jsonl"}],
        "embed": {"max_tokens": 16},
        "mixture": {"budget_tokens": 1_000},
    }
    recipe.write_text(yaml.safe_dump(asked))
    recipe.write_text(dump_recipe(load_recipe(str(recipe))))
    spec = resolve(EmbedParams(max_tokens=16))
    encoder = load(spec, 1)
    [vectors] = list(encoder.encode([(SPORT + FOOD) * 2], EncodeStats()))
    found = fit_classifier(vectors, np.tile(np.repeat([3, 5], 3), 2).astype(np.int32), seed=0)
    file = ClassifierFile(
        weight=found.weight,
        bias=found.bias,
        domains=found.domains,
        domain_ids=("a", "b"),
        names=("Sport", "Food"),
        encoder={
            "model": spec.name,
            "weights_sha256": spec.weights,
            "max_tokens": 16,
            "long_documents": "truncate",
            "dimension": encoder.dimension,
        },
        accuracy=found.accuracy,
        macro_f1=found.macro_f1,
        n_train=found.n_train,
        n_held_out=found.n_held_out,
    )
    write_classifier_file(classifier_path(Workdir(str(root))), file)
    return root


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_lines(path: Path, *records: Any) -> None:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))


def read_lines(path: str | Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(path).read_text().splitlines()]


def test_new_documents_find_their_domain(home, folder):
    write_lines(folder / "new.jsonl", *({"text": text} for text in NEW))
    done = label(str(home), [InputParams(path="new.jsonl")], "out.jsonl", threads=1)
    lines = read_lines("out.jsonl")
    assert [(line["domain"], line["domain_name"]) for line in lines] == [(3, "Sport"), (5, "Food")]
    assert all(0.5 < line["probability"] <= 1 for line in lines)
    expected = document_ids(
        "web", "new.jsonl", np.array([0, len(json.dumps({"text": NEW[0]})) + 1])
    )
    assert [line["id"] for line in lines] == expected.to_pylist()
    assert done.documents == 2
    assert done.by_domain == {"Sport": 1, "Food": 1}
    assert done.rejected == {}
    assert done.rejected_path is None
    assert not Path("out.jsonl.rejected").exists()


def test_what_has_no_domain_is_listed(home, folder):
    (folder / "bad.jsonl").write_text('{"text": "a goal"}\nnot JSON\n{"text": " "}\n{"x": 1}\n')
    done = label(str(home), [InputParams(path="bad.jsonl")], "out.jsonl", threads=1)
    assert done.documents == len(read_lines("out.jsonl")) == 1
    assert done.rejected == {"not_json": 1, "empty": 1, "no_text_field": 1}
    rejected = read_lines(done.rejected_path)
    assert {line["reason"]: line["position"] for line in rejected} == {
        "not_json": 19,
        "empty": 28,
        "no_text_field": 42,
    }


def test_inputs_of_several_formats_with_ids_of_their_own(home, folder):
    (folder / "a.txt").write_text(NEW[0])
    write_lines(folder / "b.jsonl", {"body": NEW[1], "key": "mine"})
    inputs = [
        InputParams(path="a.txt"),
        InputParams(path="b.jsonl", text_field="body", id_field="key"),
    ]
    label(str(home), inputs, "out.jsonl", threads=1)
    lines = read_lines("out.jsonl")
    assert [line["domain_name"] for line in lines] == ["Sport", "Food"]
    assert lines[1]["id"] == "mine"


def test_texts_are_repaired_as_the_run_repairs_them(home, folder):
    texts = ["café goal\x00", "cafÃ© goal", "\u200bcafe\u0301 goal"]
    write_lines(folder / "new.jsonl", *({"text": text} for text in texts))
    label(str(home), [InputParams(path="new.jsonl")], "out.jsonl", threads=1)
    assert len({line["probability"] for line in read_lines("out.jsonl")}) == 1


def test_more_documents_than_a_batch_keep_their_order(home, folder, monkeypatch):
    monkeypatch.setattr(records, "BATCH_DOCUMENTS", 7)
    write_lines(folder / "new.jsonl", *({"text": NEW[n % 2], "n": f"{n}"} for n in range(30)))
    inputs = [InputParams(path="new.jsonl", id_field="n")]
    done = label(str(home), inputs, "out.jsonl", threads=1)
    lines = read_lines("out.jsonl")
    assert [line["id"] for line in lines] == [f"{n}" for n in range(30)]
    assert [line["domain"] for line in lines] == [3, 5] * 15
    assert done.by_domain == {"Sport": 15, "Food": 15}


def test_a_workdir_without_a_classifier_is_told_with_the_fix(folder):
    with pytest.raises(RequestError, match="classifier: true"):
        label(str(folder), [InputParams(path="x")], "out.jsonl", threads=1)


def test_the_output_may_not_be_an_input(home, folder):
    write_lines(folder / "new.jsonl", {"text": NEW[0]})
    with pytest.raises(OutputError, match="one of the inputs"):
        label(str(home), [InputParams(path="*.jsonl")], str(folder / "new.jsonl"), threads=1)
    assert read_lines("new.jsonl") == [{"text": NEW[0]}]


def test_an_input_that_is_not_there_leaves_no_output(home, folder):
    with pytest.raises(InputError, match="nothing"):
        label(str(home), [InputParams(path="nothing.jsonl")], "out.jsonl", threads=1)
    assert not Path("out.jsonl").exists()


def test_vectors_of_another_model_are_refused(home, folder, tmp_path_factory):
    other = tmp_path_factory.mktemp("other")
    text = (home / "recipe.yaml").read_text().replace("max_tokens: 16", "max_tokens: 17")
    (other / "recipe.yaml").write_text(text)
    file = read_classifier_file(classifier_path(Workdir(str(home))))
    write_classifier_file(classifier_path(Workdir(str(other))), file)
    write_lines(folder / "new.jsonl", {"text": NEW[0]})
    with pytest.raises(InputError, match="max_tokens 16 there, 17 here"):
        label(str(other), [InputParams(path="new.jsonl")], "out.jsonl", threads=1)
    assert not Path("out.jsonl").exists()
