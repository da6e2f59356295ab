"""Sequence classifiers of transformers against a plain forward pass of each text alone."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mixcurate.errors import InputError
from mixcurate.models import text_classifier, transformers_classifier
from mixcurate.models.embedded import encoder_folder
from mixcurate.models.text_classifiers import ClassifyStats
from mixcurate.params import ClassifierParams
from tests.models.encoding import ODD, REAL

TEXTS = REAL[:40] + ODD


def write_model(folder: Path, labels: int = 1, **config: Any) -> Path:
    """A small BERT of random weights, wide enough in its answers, with a real tokenizer."""
    import torch
    import transformers

    torch.manual_seed(labels)
    size = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4}
    settings = transformers.BertConfig(
        vocab_size=30_522, intermediate_size=64, max_position_embeddings=128,
        **({"num_labels": labels, "initializer_range": 0.3} | size | config),
    )  # fmt: skip
    transformers.BertForSequenceClassification(settings).save_pretrained(folder)
    transformers.AutoTokenizer.from_pretrained(encoder_folder()).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def regression(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("regression"))


@pytest.fixture(scope="session")
def classes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    named = {0: "Low", 1: "Medium", 2: "High"}
    return write_model(tmp_path_factory.mktemp("classes"), 3, id2label=named)


@pytest.fixture(scope="session")
def independent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    kind = {"problem_type": "multi_label_classification"}
    return write_model(tmp_path_factory.mktemp("independent"), 3, **kind)


def params(folder: Path, **changes: Any) -> ClassifierParams:
    return ClassifierParams(**({"name": "edu", "model": str(folder), "max_tokens": 64} | changes))


def score(params: ClassifierParams, texts: list[str], *, threads: int = 2, size: int = 10_000):
    classifier = text_classifier.load(text_classifier.resolve(params), threads)
    batches = [texts[start : start + size] for start in range(0, len(texts), size)]
    return np.concatenate(list(classifier.score(batches, ClassifyStats())))


@functools.cache
def plain_logits(folder: Path, max_tokens: int = 64) -> np.ndarray:
    """As anyone would write it: one text at a time."""
    import torch
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(folder).eval()
    found = []
    with torch.inference_mode():
        for text in TEXTS:
            read = tokenizer(text, truncation=True, max_length=max_tokens, return_tensors="pt")
            features = {name: read[name] for name in ("input_ids", "attention_mask")}
            found.append(model(**features).logits[0].numpy().astype(float))
    return np.array(found)


def stepped(values: np.ndarray, least: float, most: float) -> np.ndarray:
    """Rounded to 1/4096 of the range, and cut to it."""
    shares = np.clip(np.round((values - least) / (most - least) * 4_096) / 4_096, 0, 1)
    return (least + shares * (most - least)).astype(np.float32)


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def expect(found: np.ndarray, values: np.ndarray, least: float, most: float) -> None:
    blank = np.array([not text.strip() for text in TEXTS])
    np.testing.assert_array_equal(np.isnan(found), blank)
    np.testing.assert_array_equal(found[~blank], stepped(values, least, most)[~blank])
    assert np.nanstd(found) > 0.02 * (most - least)


def test_one_output_is_the_score_cut_to_its_range(regression):
    logits = plain_logits(regression)[:, 0]
    least, most = np.quantile(logits, [0.1, 0.9])
    found = score(params(regression, range=(least, most)), TEXTS)
    expect(found, logits, float(least), float(most))
    assert (found == np.float32(least)).any()
    assert (found == np.float32(most)).any()


@pytest.mark.parametrize("label", ["High", 2])
def test_a_label_gives_its_probability(classes, label):
    found = score(params(classes, label=label), TEXTS)
    expect(found, softmax(plain_logits(classes))[:, 2], 0, 1)


def test_without_a_label_several_classes_give_the_expected_one(classes):
    found = score(params(classes), TEXTS)
    expect(found, softmax(plain_logits(classes)) @ [0, 1, 2], 0, 2)
    assert text_classifier.check(params(classes)).range == (0, 2)


def test_classes_that_do_not_exclude_each_other_have_probabilities_of_their_own(independent):
    found = score(params(independent, label=1), TEXTS)
    expect(found, 1 / (1 + np.exp(-plain_logits(independent)[:, 1])), 0, 1)


def test_a_score_is_a_function_of_its_text(classes):
    whole = score(params(classes, label=0), TEXTS)
    assert score(params(classes, label=0), TEXTS, threads=1, size=1).tobytes() == whole.tobytes()
    for budget in (1, 100_000):
        other = score(params(classes, label=0, batch_tokens=budget), TEXTS[::-1], size=17)
        assert other[::-1].tobytes() == whole.tobytes()


def test_what_could_be_rounded_either_way_is_read_alone(regression, monkeypatch):
    margin = 2.0**-14  # some half of the texts are nearer than that to the middle of two steps
    monkeypatch.setattr(transformers_classifier, "_MARGIN", margin)
    classifier = text_classifier.load(text_classifier.resolve(params(regression, range=(-3, 3))), 2)
    launch, random = classifier._lanes._launch, np.random.default_rng(1)

    def noisy(ids: np.ndarray, mask: np.ndarray) -> Any:
        found = launch(ids, mask)
        if len(ids) > 1:  # a padded batch is changed by almost as much as is allowed for
            found = found + 0.9 * margin * 6 * float(random.choice([-1, 1]))
        return found

    monkeypatch.setattr(classifier._lanes, "_launch", noisy)
    stats = ClassifyStats()
    (found,) = classifier.score([TEXTS], stats)
    assert 5 < stats.read_again < 45
    expect(found, plain_logits(regression)[:, 0], -3, 3)


@given(st.integers(0, 4_095), st.floats(-2, 2), st.floats(-0.99, 0.99))
@settings(max_examples=300, deadline=None)
def test_noise_below_the_margin_changes_no_score(step, offset, noise):
    margin = transformers_classifier._MARGIN
    alone = (step + 0.5) / 4_096 + offset * margin
    padded = np.array([alone + noise * margin])
    again = transformers_classifier._is_near(padded)
    settled = np.where(again, [alone], padded)
    assert stepped(settled, 0, 1) == stepped(np.array([alone]), 0, 1)


@pytest.mark.parametrize("asked", [7, 500])
def test_texts_are_cut_to_what_is_asked_or_the_model_can_take(regression, asked):
    found = score(params(regression, range=(-9, 9), max_tokens=asked), TEXTS)
    logits = plain_logits(regression, min(asked, 128))[:, 0]
    blank = np.isnan(found)
    np.testing.assert_array_equal(found[~blank], stepped(logits, -9, 9)[~blank])


def test_odd_texts_end_in_a_number_or_nan(regression):
    odd = ["\0\0", "\ud800 alone \udfff", "🙂🎉", "x" * 1_000_000, "the " * 100_000, " ", "", "\n"]
    values = score(params(regression, range=(-9, 9)), odd)
    assert np.isnan(values).tolist() == [False] * 5 + [True] * 3


def test_a_text_that_is_not_finite_has_no_score_and_harms_no_other(classes, tmp_path):
    folder = broken(classes, tmp_path, "bert.embeddings.word_embeddings.weight", row=29_145)
    texts = ["fine", "a zebra", "fine as well"]
    found = score(params(folder, label=0), texts)
    assert np.isnan(found).tolist() == [False, True, False]
    assert found[0] == score(params(classes, label=0), texts)[0]


def broken(folder: Path, target: Path, name: str, row: int | None) -> Path:
    """A copy of a model with values that are not finite in one of its tensors."""
    import shutil

    from safetensors.numpy import load_file, save_file

    shutil.copytree(folder, target, dirs_exist_ok=True)
    tensors = load_file(target / "model.safetensors")
    tensors[name][slice(None) if row is None else row] = np.nan
    save_file(tensors, target / "model.safetensors", {"format": "pt"})
    return target


def test_a_model_that_is_not_finite_for_plain_text_is_refused(classes, tmp_path):
    folder = broken(classes, tmp_path, "classifier.bias", row=None)
    with pytest.raises(InputError, match="not finite for plain texts"):
        score(params(folder, label=0), [])


def edit_config(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


SPOILT = {
    "no config": (lambda f: (f / "config.json").unlink(), "has no config.json"),
    "broken config": (lambda f: (f / "config.json").write_text("{"), "cannot read .*config.json"),
    "a list": (lambda f: (f / "config.json").write_text("[]"), "holds no JSON object"),
    "pickles": (
        lambda f: (f / "model.safetensors").rename(f / "pytorch_model.bin"),
        "no weights in safetensors, and pickled ones are not read",
    ),
    "own code": (
        lambda f: edit_config(f, auto_map={"AutoModel": "m.M"}),
        "runs only with trust_remote_code: true",
    ),
    "another model": (
        lambda f: edit_config(f, architectures=["BertForMaskedLM"]),
        "is no sequence classifier but BertForMaskedLM",
    ),
}


@pytest.mark.parametrize("what", SPOILT)
def test_a_folder_that_is_no_classifier_is_found_out_before_it_is_loaded(tmp_path, what):
    spoil, message = SPOILT[what]
    spoil(write_model(tmp_path))
    with pytest.raises(InputError, match=f"score.quality.classifiers, 'edu': model: .*{message}"):
        text_classifier.check(params(tmp_path, range=(0, 5)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, r"range: .* say which are its least and its greatest, such as range: \[0, 5\]"),
        ({"label": 0}, "gives one number and has no classes; set label: null"),
        ({"kind": "fasttext"}, "should hold one fastText file"),
        ({"range": (0, 5), "device": "cuda"}, "torch sees no GPU"),
    ],
)
def test_requests_that_do_not_fit_one_output(regression, monkeypatch, changes, message):
    monkeypatch.setattr(text_classifier, "sees_gpu", lambda: False)
    with pytest.raises(InputError, match=f"score.quality.classifiers, 'edu': .*{message}"):
        text_classifier.check(params(regression, **changes))


@pytest.mark.parametrize(
    ("label", "message"),
    [("high", "did you mean 'High'"), (3, "no class 3; it has: Low, Medium, High"), (-1, "-1")],
)
def test_an_unknown_label_names_the_nearest_or_all(classes, label, message):
    with pytest.raises(InputError, match=f"label: .*{message}"):
        text_classifier.check(params(classes, label=label))


def test_classes_with_probabilities_of_their_own_need_a_label(independent):
    with pytest.raises(InputError, match=r"say the probability of which class.*LABEL_0, LABEL_1"):
        text_classifier.check(params(independent))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda f: (f / "model.safetensors").write_bytes(b"\0" * 99), "cannot load"),
        (lambda f: (f / "tokenizer.json").write_text("{}"), "cannot load"),
        (lambda f: without(f, "classifier.weight"), "lacks weights .*classifier.weight"),
    ],
)
def test_a_model_that_does_not_load_says_why(tmp_path, spoil, message):
    spoil(write_model(tmp_path))
    with pytest.raises(InputError, match=f"'edu': model: .*{message}"):
        score(params(tmp_path, range=(0, 5)), ["x"])


def without(folder: Path, name: str) -> None:
    from safetensors.numpy import load_file, save_file

    tensors = load_file(folder / "model.safetensors")
    del tensors[name]
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})


def test_a_length_without_room_for_text_is_refused(regression):
    with pytest.raises(InputError, match="'edu': max_tokens: 2 is too small"):
        score(params(regression, range=(0, 5), max_tokens=2), ["x"])


def test_a_model_that_minds_its_padding_is_refused_unless_texts_are_read_alone(tmp_path):
    import torch
    import transformers

    torch.manual_seed(1)
    tokenizer = transformers.AutoTokenizer.from_pretrained(encoder_folder())
    tokenizer.padding_side = "left"  # as decoders like it; GPT-2's positions count the padding
    tokenizer.save_pretrained(tmp_path)
    config = transformers.GPT2Config(
        vocab_size=30_522, n_positions=128, n_embd=32, n_layer=1, n_head=4, num_labels=2,
        pad_token_id=0, bos_token_id=1, eos_token_id=1, initializer_range=0.5,
    )  # fmt: skip
    transformers.GPT2ForSequenceClassification(config).save_pretrained(tmp_path)
    with pytest.raises(InputError, match=r"another score when it is padded .*batch_tokens: 1"):
        score(params(tmp_path, label=1), [])
    found = score(params(tmp_path, label=1, batch_tokens=1), TEXTS)
    values = softmax(plain_logits(tmp_path))[:, 1]
    expect(found, values, 0, 1)


def test_what_a_score_depends_on_changes_its_identity(classes):
    plain = text_classifier.resolve(params(classes)).identity
    for changes in ({"label": 0}, {"max_tokens": 9}, {"range": (0, 3)}):
        assert text_classifier.resolve(params(classes, **changes)).identity != plain
    same = params(classes, name="other", batch_tokens=7)
    assert text_classifier.resolve(same).identity == plain
