from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from mixcurate.errors import InputError, JobError
from mixcurate.models.embedded import encoder_folder
from mixcurate.models.encoders import EmbedParams
from mixcurate.models.torch_encoder import TorchEncoder, token_budget_batches

TEXTS = [
    "A short sentence about rivers.",
    "",
    "🙂🎉 emoji only 🙂",
    "Ein deutscher Satz über Flüsse und Brücken.",
    "这是一个关于河流的句子。",
    "one",
    "   blanks around   ",
    "The quick brown fox jumps over the lazy dog. " * 4,
    "Rivers and bridges " * 200,  # cut to the model's length
    "x" * 500,  # one unknown word
    " " * 4_000 + "a sentence after many blanks",
    "Line one.\nLine two.\r\n\tLine three.",
]


def encoder(threads: int = 1, **params: object) -> TorchEncoder:
    return TorchEncoder(EmbedParams.model_validate({"device": "cpu"} | params), threads)


def silent(documents: int, tokens: int) -> None: ...


@pytest.fixture(scope="module")
def embedded() -> TorchEncoder:
    return encoder()


@pytest.fixture(scope="module")
def reference() -> np.ndarray:
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(encoder_folder(), device="cpu").encode(TEXTS)


def cosines(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1)
    return (left * right).sum(axis=1) / lengths


def test_vectors_are_those_of_sentence_transformers(embedded, reference):
    vectors, _ = embedded.encode(TEXTS, silent)
    assert vectors.shape == (len(TEXTS), embedded.dimension) == (12, 384)
    assert vectors.dtype == np.float32
    assert (cosines(vectors, reference) >= 0.9999).all()
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_one_and_two_threads_give_the_same_bytes(embedded):
    one, _ = encoder(batch_tokens=64).encode(TEXTS, silent)
    two, _ = encoder(threads=2, batch_tokens=64).encode(TEXTS, silent)
    assert one.tobytes() == two.tobytes()
    assert encoder(threads=2).encode(TEXTS, silent)[0].tobytes() == (
        embedded.encode(TEXTS, silent)[0].tobytes()
    )


def test_row_i_belongs_to_text_i_in_any_order(embedded, reference):
    order = np.random.default_rng(1).permutation(len(TEXTS))
    vectors, _ = embedded.encode([TEXTS[i] for i in order], silent)
    assert (cosines(vectors, reference[order]) >= 0.9999).all()


@pytest.mark.parametrize("batch_tokens", [1, 50, 100_000])
def test_the_size_of_a_batch_changes_no_direction(batch_tokens, reference):
    vectors, _ = encoder(batch_tokens=batch_tokens).encode(TEXTS, silent)
    assert (cosines(vectors, reference) >= 0.9999).all()


def test_no_texts_give_no_vectors(embedded):
    vectors, stats = embedded.encode([], silent)
    assert vectors.shape == (0, 384)
    assert (stats.documents, stats.tokens, stats.padded_tokens) == (0, 0, 0)


def test_progress_and_stats_add_up(embedded):
    beats: list[tuple[int, int]] = []
    _, stats = embedded.encode(TEXTS, lambda *beat: beats.append(beat))
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(f"{encoder_folder()}/tokenizer.json")
    tokenizer.no_padding()
    tokenizer.enable_truncation(256)
    tokens = sum(len(row) for row in tokenizer.encode_batch(TEXTS))
    assert stats.documents == sum(documents for documents, _ in beats) == len(TEXTS)
    assert stats.tokens == sum(tokens for _, tokens in beats) == tokens
    assert stats.padded_tokens >= stats.tokens


def test_documents_are_cut_to_the_tokens_that_were_asked_for():
    short = encoder(max_tokens=8)
    assert short.max_tokens == 8
    vectors, stats = short.encode(["one two three four five six " + "x " * 50] * 2, silent)
    same, _ = short.encode(["one two three four five six", "one two three four five seven"], silent)
    assert stats.tokens == 16
    assert cosines(vectors, same)[0] > 0.9999
    assert cosines(vectors, same)[1] < 0.9999


def test_the_models_own_maximum_is_not_exceeded():
    assert encoder(max_tokens=100_000).max_tokens == 256


def test_a_folder_is_a_model(embedded):
    vectors, _ = encoder(model=encoder_folder()).encode(TEXTS[:3], silent)
    assert vectors.tobytes() == embedded.encode(TEXTS[:3], silent)[0].tobytes()


def test_a_value_that_is_not_finite_stops_the_job():
    import torch

    broken = encoder()
    with torch.no_grad():
        broken._model[0].auto_model.embeddings.word_embeddings.weight[1012] = float("nan")
    word = broken._model.tokenizer.convert_ids_to_tokens(1012)
    broken.encode(["fine", "also fine"], silent)
    with pytest.raises(JobError, match="not finite for document 1 of a batch of 2"):
        broken.encode(["fine", f"fine {word}"], silent)


@pytest.mark.parametrize("content", [None, "{}", '{"model_type": "no such type"}', "not json"])
def test_a_folder_that_is_no_model_is_refused(tmp_path, content):
    if content is not None:
        (tmp_path / "config.json").write_text(content)
    with pytest.raises(InputError, match=r"embed\.model: cannot load '.*test_a_folder"):
        encoder(model=str(tmp_path))


def test_a_missing_folder_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"embed\.model: cannot load"):
        encoder(model=str(tmp_path / "missing"))


@given(st.lists(st.integers(0, 300), max_size=60), st.integers(1, 1_000))
@settings(max_examples=50, deadline=None)
def test_batches_hold_every_row_once_and_keep_the_budget(lengths, budget):
    array = np.array(lengths, np.int64)
    batches = list(token_budget_batches(array, budget))
    assert sorted(np.concatenate([np.zeros(0, int), *batches]).tolist()) == list(
        range(len(lengths))
    )
    for rows in batches:
        assert len(rows) >= 1
        assert array[rows].max() * len(rows) <= budget or len(rows) == 1
    longest = [int(array[rows].max()) for rows in batches]
    assert longest == sorted(longest, reverse=True)


@given(st.lists(st.integers(1, 300), min_size=1, max_size=60), st.integers(1, 1_000))
@settings(max_examples=50, deadline=None)
def test_a_batch_is_closed_only_when_it_is_full(lengths, budget):
    array = np.array(lengths, np.int64)
    for rows in list(token_budget_batches(array, budget))[:-1]:
        assert array[rows].max() * (len(rows) + 1) > budget


@pytest.mark.parametrize(
    "bad", [{"device": "tpu"}, {"max_tokens": 0}, {"batch_tokens": 0}, {"backend": "onnx"}]
)
def test_parameters_out_of_range_are_refused(bad):
    with pytest.raises(ValidationError, match=next(iter(bad))):
        EmbedParams.model_validate(bad)
