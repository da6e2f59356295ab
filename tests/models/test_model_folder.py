from __future__ import annotations

import json
from pathlib import Path

import huggingface_hub
import pytest
from huggingface_hub import constants

from mixcurate.errors import InputError
from mixcurate.models.embedded import encoder_folder
from mixcurate.models.model_folder import content_hash, find_model, read_folder
from tests.models.encoding import copied_model

OLD, NEW = "0" * 39 + "1", "0" * 39 + "2"


@pytest.fixture
def model(tmp_path) -> Path:
    return copied_model(tmp_path / "model", weights=False)


@pytest.fixture
def hub(tmp_path, monkeypatch) -> Path:
    """A hub cache without a network: one model, two commits, main at the newer one."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    home = tmp_path / "hub" / "models--some-org--some-model"
    for commit in (OLD, NEW):
        copied_model(home / "snapshots" / commit, weights=False)
    (home / "refs").mkdir()
    (home / "refs" / "main").write_text(NEW)
    (home / "refs" / "v1").write_text(OLD)
    return home


def test_the_embedded_model_and_a_folder_have_no_commit(model):
    assert find_model("embedded", None) == (encoder_folder(), None)
    assert find_model(str(model), None) == (str(model), None)


@pytest.mark.parametrize(
    "name",
    ["/no/such/model", "./model", "../model", "a/b/c", "file:///model", "gs://bucket/model"],
)
def test_what_looks_like_a_path_is_not_looked_up_on_the_hub(name, monkeypatch):
    def never(*arguments: object, **options: object) -> str:
        raise AssertionError("asked the hub")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", never)
    with pytest.raises(InputError, match=f"embed.model: there is no folder '{name}' on this"):
        find_model(name, None)


def test_a_hub_model_that_is_there_needs_no_network(hub):
    assert find_model("some-org/some-model", None) == (str(hub / "snapshots" / NEW), NEW)


@pytest.mark.parametrize(("revision", "commit"), [(OLD, OLD), ("v1", OLD), ("main", NEW)])
def test_a_revision_pins_the_commit(hub, revision, commit):
    folder, found = find_model("some-org/some-model", revision)
    assert (folder, found) == (str(hub / "snapshots" / commit), commit)


@pytest.mark.parametrize("name", ["some-org/other-model", "other-model", "embeded"])
def test_a_hub_model_that_cannot_be_had_is_named(hub, name):
    with pytest.raises(InputError, match=f"embed.model: '{name}' is no folder, and the model hub"):
        find_model(name, None)


def test_a_revision_that_cannot_be_had_is_named(hub):
    with pytest.raises(InputError, match=r"'some-org/some-model' .* at revision v2: "):
        find_model("some-org/some-model", "v2")


@pytest.mark.parametrize("name", ["", "~/model", "two words", "name--with..dots"])
def test_a_name_that_the_hub_does_not_allow_is_refused(hub, name):
    with pytest.raises(InputError, match=r"embed\.model: '.*' is no folder"):
        find_model(name, None)


def test_a_short_name_is_one_of_sentence_transformers(monkeypatch):
    asked = []

    def download(name: str, **options: object) -> str:
        asked.append((name, options["revision"]))
        return f"/cache/snapshots/{OLD}"

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    assert find_model("all-MiniLM-L6-v2", "v9") == (f"/cache/snapshots/{OLD}", OLD)
    find_model("org/name", None)
    assert asked == [("sentence-transformers/all-MiniLM-L6-v2", "v9"), ("org/name", None)]


def test_an_error_of_the_hub_without_a_message_still_has_one(monkeypatch):
    def download(name: str, **options: object) -> str:
        raise OSError

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    with pytest.raises(InputError, match=r"does not give it: OSError\(\)"):
        find_model("org/name", None)


def test_the_modules_of_the_embedded_model():
    folder = read_folder(encoder_folder())
    assert folder.modules == ("Transformer", "Pooling", "Normalize")
    assert folder.first_module == ""
    assert not folder.is_static
    assert not folder.brings_code


def test_modules_come_in_the_order_of_their_numbers(model):
    listed = json.loads((model / "modules.json").read_text())
    (model / "modules.json").write_text(json.dumps(listed[::-1]))
    assert read_folder(str(model)).modules == ("Transformer", "Pooling", "Normalize")


def test_a_bare_transformer_gets_a_mean_pooling(model):
    (model / "modules.json").unlink()
    assert read_folder(str(model)).modules == ("Transformer", "Pooling")


def test_a_model2vec_folder_is_a_static_model(model):
    (model / "modules.json").unlink()
    (model / "config.json").write_text('{"model_type": "model2vec"}')
    folder = read_folder(str(model))
    assert folder.is_static
    assert folder.modules == ("StaticEmbedding", "Normalize")


def test_the_first_module_may_have_a_folder_of_its_own(model):
    listed = json.loads((model / "modules.json").read_text())
    listed[0]["path"] = "0_Transformer"
    (model / "modules.json").write_text(json.dumps(listed))
    with pytest.raises(InputError, match="0_Transformer has no weights"):
        read_folder(str(model))
    (model / "0_Transformer").mkdir()
    (model / "model.safetensors").rename(model / "0_Transformer" / "pytorch_model.bin")
    with pytest.raises(InputError, match=r"0_Transformer/config\.json is missing"):
        read_folder(str(model))
    (model / "config.json").rename(model / "0_Transformer" / "config.json")
    assert read_folder(str(model)).first_module == "0_Transformer"


def test_a_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"is no model: it has neither modules\.json nor config"):
        read_folder(str(tmp_path))


def test_missing_weights_are_named(model):
    (model / "model.safetensors").unlink()
    with pytest.raises(InputError, match=f"{model} has no weights"):
        read_folder(str(model))


@pytest.mark.parametrize("name", ["modules.json", "config.json"])
@pytest.mark.parametrize("content", ["", "{", "not json", "\x00"])
def test_broken_json_is_named(model, name, content):
    (model / name).write_text(content)
    with pytest.raises(InputError, match=rf"embed\.model: cannot read .*/{name}: "):
        read_folder(str(model))


@pytest.mark.parametrize(
    "modules",
    [
        "[]",
        "{}",
        "5",
        "null",
        '{"idx": 0}',
        '["a"]',
        '[{"idx": 0}]',
        '[{"idx": 0, "path": "", "type": 7}]',
        '[{"idx": 0, "path": 7, "type": "sentence_transformers.models.Transformer"}]',
        '[{"idx": 0, "path": null, "type": "sentence_transformers.models.Transformer"}]',
        '[{"idx": 0, "path": "", "type": "a"}, {"idx": "1", "path": "", "type": "b"}]',
    ],
)
def test_a_list_of_modules_that_is_none_is_refused(model, modules):
    (model / "modules.json").write_text(modules)
    with pytest.raises(InputError, match=r"modules\.json lists no modules"):
        read_folder(str(model))


@pytest.mark.parametrize("content", ["[]", "null", '"text"'])
@pytest.mark.parametrize("bare", [False, True])
def test_a_config_that_is_no_object_is_refused(model, content, bare):
    (model / "config.json").write_text(content)
    if bare:
        (model / "modules.json").unlink()
    with pytest.raises(InputError, match=r"config\.json holds no JSON object"):
        read_folder(str(model))


@pytest.mark.parametrize("path", ["/etc", "..", "../other", "a/../../b"])
@pytest.mark.parametrize("module", [0, 1])
def test_modules_outside_the_folder_are_refused(model, path, module):
    listed = json.loads((model / "modules.json").read_text())
    listed[module]["path"] = path
    (model / "modules.json").write_text(json.dumps(listed))
    with pytest.raises(InputError, match="points out of its folder"):
        read_folder(str(model))


def test_python_files_are_code_unless_they_only_trained_the_model(model):
    (model / "train_script.py").touch()
    assert not read_folder(str(model)).brings_code
    (model / "1_Pooling" / "own.py").touch()
    assert read_folder(str(model)).brings_code


def test_code_of_another_hub_model_is_code(model):
    config = json.loads((model / "config.json").read_text())
    config["auto_map"] = {"AutoModel": "org/code--modeling.Net"}
    (model / "config.json").write_text(json.dumps(config))
    assert read_folder(str(model)).brings_code


def test_a_class_of_another_package_is_code(model):
    listed = json.loads((model / "modules.json").read_text())
    listed[1]["type"] = "custom_st.Pooling"
    (model / "modules.json").write_text(json.dumps(listed))
    assert read_folder(str(model)).brings_code


def change(model: Path, name: str) -> bool:
    """Whether the hash changes with a file."""
    before = content_hash(str(model))
    path = model / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b" " + (path.read_bytes() if path.exists() else b""))
    return content_hash(str(model)) != before


@pytest.mark.parametrize(
    "name",
    [
        "model.safetensors",
        "config.json",
        "modules.json",
        "tokenizer.json",
        "vocab.txt",
        "sentence_bert_config.json",
        "1_Pooling/config.json",
        "2_Dense/pytorch_model.bin",
        "sentencepiece.bpe.model",
        "modeling.py",
    ],
)
def test_the_hash_changes_with_what_vectors_depend_on(model, name):
    assert change(model, name)


@pytest.mark.parametrize(
    "name",
    [
        "README.md",
        "data_config.json",
        "train_script.py",
        "config_sentence_transformers.json",
        "model.onnx",
        ".cache/huggingface/config.json",
        ".gitattributes",
    ],
)
def test_the_hash_stays_when_anything_else_changes(model, name):
    assert not change(model, name)


def test_the_hash_changes_with_a_name(model):
    before = content_hash(str(model))
    (model / "vocab.txt").rename(model / "words.txt")
    assert content_hash(str(model)) != before


def test_the_hash_is_the_same_in_another_place(model, tmp_path):
    assert content_hash(str(copied_model(tmp_path / "b", weights=False))) == content_hash(
        str(model)
    )


def test_the_hash_changes_with_the_prompt_that_is_put_before_every_text(model):
    before = content_hash(str(model))
    settings = {"prompts": {"query": "query: ", "document": ""}, "default_prompt_name": None}
    (model / "config_sentence_transformers.json").write_text(json.dumps(settings))
    assert content_hash(str(model)) == before
    settings["default_prompt_name"] = "query"
    (model / "config_sentence_transformers.json").write_text(json.dumps(settings))
    assert content_hash(str(model)) != before
    (model / "config_sentence_transformers.json").write_text("[")
    with pytest.raises(InputError, match=r"cannot read .*config_sentence_transformers\.json"):
        content_hash(str(model))
