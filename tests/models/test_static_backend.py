from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from tokenizers import Tokenizer

from mixcurate.errors import InputError
from mixcurate.models.embedded import encoder_folder
from mixcurate.models.encoder import Encoder
from mixcurate.models.encoders import EmbedParams, EncodeStats
from mixcurate.models.resolve import load, resolve
from tests.models.encoding import ODD, REAL, cosines, embed

VOCABULARY, DIMENSION = 30_522, 32
TEXTS = REAL[:30] + ODD


def tokenizer() -> Tokenizer:
    found = Tokenizer.from_file(f"{encoder_folder()}/tokenizer.json")
    found.no_padding()
    found.no_truncation()
    return found


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "normalised"])
def folder(request, tmp_path_factory) -> Path:
    """A model as sentence-transformers saves it."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Normalize, StaticEmbedding

    table = np.random.default_rng(5).normal(size=(VOCABULARY, DIMENSION)).astype(np.float32)
    modules = [StaticEmbedding(tokenizer(), embedding_weights=table)]
    modules += [Normalize()] * request.param
    target = tmp_path_factory.mktemp("static")
    SentenceTransformer(modules=modules, device="cpu").save(str(target))
    return target


@pytest.fixture
def model2vec(tmp_path) -> Path:
    """A vocabulary-quantised model in the layout of model2vec."""
    rng = np.random.default_rng(6)
    tensors = {
        "embeddings": rng.normal(size=(1_000, DIMENSION)).astype(np.float16),
        "mapping": rng.integers(0, 1_000, VOCABULARY),
        "weights": rng.uniform(0.1, 2, VOCABULARY),
    }
    save_file(tensors, tmp_path / "model.safetensors")
    tokenizer().save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "config.json").write_text('{"model_type": "model2vec", "normalize": true}')
    return tmp_path


def encoder(folder: Path, **params: object) -> Encoder:
    values = {"model": str(folder), "max_tokens": 5_000} | params
    found = resolve(EmbedParams.model_validate(values))
    assert found.backend == "static"
    return load(found, threads=2)


def test_vectors_are_those_of_sentence_transformers(folder):
    from sentence_transformers import SentenceTransformer

    expected = SentenceTransformer(str(folder), device="cpu").encode(TEXTS)
    found = embed(encoder(folder), TEXTS)
    assert found.dtype == np.float32
    full = [row for row, text in enumerate(TEXTS) if text]
    assert cosines(found[full], expected[full]).min() >= 0.9999
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_model2vec_folder_is_read_as_sentence_transformers_reads_it(model2vec):
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding

    expected = StaticEmbedding.load(str(model2vec)).embedding.weight.detach().numpy()
    model = encoder(model2vec)
    rows = [model.tokenize([text]).ids for text in TEXTS if text]
    found = embed(model, [text for text in TEXTS if text])
    means = np.array([expected[ids].mean(axis=0) for ids in rows])
    assert cosines(found, means).min() >= 0.9999
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)
    assert not embed(model, [""]).any()


@pytest.mark.parametrize("missing", [[], ["mapping"], ["weights"], ["mapping", "weights"]])
def test_mapping_and_weights_may_be_missing(model2vec, missing):
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding

    tensors = load_file(model2vec / "model.safetensors")
    if "mapping" in missing:
        tensors["embeddings"] = tensors["embeddings"][tensors["mapping"]]
    save_file(
        {name: tensor for name, tensor in tensors.items() if name not in missing},
        model2vec / "model.safetensors",
    )
    expected = StaticEmbedding.load(str(model2vec)).embedding.weight.detach().numpy()
    np.testing.assert_allclose(encoder(model2vec)._backend._table, expected, rtol=2e-3, atol=2e-3)


def test_documents_are_cut_to_the_tokens_that_were_asked_for(folder):
    short, stats = encoder(folder, max_tokens=4), EncodeStats()
    (found,) = short.encode([["one two three four five", "one two three four"]], stats)
    assert found[0].tobytes() == found[1].tobytes()
    assert stats.tokens == stats.padded_tokens == 8


def test_windows_of_a_static_model_mean_the_whole_document(folder):
    texts = ["one", "", REAL[0], " ".join(REAL[1:4])]
    windows = encoder(folder, max_tokens=16, long_documents="mean_of_windows", max_windows=1_000)
    stats = EncodeStats()
    (found,) = windows.encode([texts], stats)
    whole = embed(encoder(folder), texts)
    assert stats.not_finite == 0
    assert found[:2].tobytes() == whole[:2].tobytes()
    if not windows._backend.normalises:
        np.testing.assert_allclose(found, whole, atol=1e-5)


def test_order_batches_and_threads_change_no_bit(folder):
    model = encoder(folder)
    expected = embed(model, TEXTS)
    assert embed(load(model.spec, threads=1), TEXTS, 1).tobytes() == expected.tobytes()
    order = np.random.default_rng(3).permutation(len(TEXTS))
    assert embed(model, [TEXTS[i] for i in order], 7).tobytes() == expected[order].tobytes()


def test_a_document_of_many_tokens_is_averaged_in_pieces(folder):
    text = "one two three " * 40_000
    model = encoder(folder, max_tokens=1_000_000)
    ids = model.tokenize([text]).ids
    assert len(ids) == 120_000
    mean = model._backend._table[ids].mean(axis=0, dtype=np.float64)
    if model._backend.normalises:
        mean /= np.linalg.norm(mean)
    np.testing.assert_allclose(embed(model, [text])[0], mean, atol=1e-6)


def test_progress_and_stats_add_up(folder):
    beats, stats, model = [], EncodeStats(), encoder(folder)
    list(model.encode([TEXTS, [], ["one"]], stats, lambda *beat: beats.append(beat)))
    documents, tokens = np.sum(beats, axis=0).tolist()
    assert documents == stats.documents == len(TEXTS) + 1
    assert tokens == stats.tokens == stats.padded_tokens == len(model.tokenize(TEXTS).ids) + 1


def test_a_table_with_a_value_that_is_not_finite_is_counted(model2vec):
    tensors = load_file(model2vec / "model.safetensors")
    row = tokenizer().encode("zebra", add_special_tokens=False).ids[0]
    tensors["weights"][row] = np.nan
    save_file(tensors, model2vec / "model.safetensors")
    stats = EncodeStats()
    (found,) = encoder(model2vec).encode([["one", "a zebra", "two"]], stats)
    assert stats.not_finite == 1
    assert not found[1].any()
    assert found[[0, 2]].any(axis=1).all()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("model.safetensors", b""),
        ("model.safetensors", b"no tensors at all"),
        ("tokenizer.json", b"{"),
        ("tokenizer.json", None),
    ],
)
def test_a_broken_file_is_an_error_of_the_model(model2vec, name, content):
    if content is None:
        (model2vec / name).unlink()
    else:
        (model2vec / name).write_bytes(content)
    with pytest.raises(InputError, match=f"embed.model: cannot load '{model2vec}': "):
        encoder(model2vec)


def test_half_of_a_file_is_an_error_of_the_model(model2vec):
    path = model2vec / "model.safetensors"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(InputError, match=f"embed.model: cannot load '{model2vec}': "):
        encoder(model2vec)


def test_a_table_for_another_tokenizer_is_refused(model2vec):
    save_file(
        {"embeddings": np.ones((500, DIMENSION), np.float32)}, model2vec / "model.safetensors"
    )
    with pytest.raises(InputError, match=r"30522 tokens.* vectors of 500"):
        encoder(model2vec)


def test_weights_of_another_kind_are_refused(model2vec):
    save_file({"bias": np.ones(3, np.float32)}, model2vec / "model.safetensors")
    with pytest.raises(InputError, match=r"has neither embedding\.weight nor embeddings"):
        encoder(model2vec)


def test_modules_in_subfolders_are_found(model2vec):
    (model2vec / "0_StaticEmbedding").mkdir()
    for name in ("model.safetensors", "tokenizer.json"):
        (model2vec / name).rename(model2vec / "0_StaticEmbedding" / name)
    kind = "sentence_transformers.models.StaticEmbedding"
    listed = [{"idx": 0, "name": "0", "path": "0_StaticEmbedding", "type": kind}]
    (model2vec / "modules.json").write_text(json.dumps(listed))
    assert not encoder(model2vec)._backend.normalises
