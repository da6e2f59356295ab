from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from mixcurate.models.cut_tokens import cut
from mixcurate.models.tokenizer import DocumentTokenizer, token_counter
from tests.documents import real_documents

EMBEDDED = token_counter("embedded", 1)
TEXTS = [document["text"] for document in real_documents(60)]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> DocumentTokenizer:
    """A byte-level BPE of a few hundred merges, as a file."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=600, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    path: Path = tmp_path_factory.mktemp("trained") / "tokenizer.json"
    tokenizer.save(str(path))
    return token_counter(str(path), 1)


def one(tokenizer: DocumentTokenizer, text: str, most: int) -> tuple[str, int]:
    texts, found = cut(tokenizer, [text], np.array([most], np.int32))
    assert found.dtype == np.int32
    return texts[0], int(found[0])


def best(tokenizer: DocumentTokenizer, text: str, most: int) -> tuple[int, int]:
    """Tokens and length of the best of all prefixes."""
    counts = tokenizer.count([text[:n] for n in range(len(text) + 1)]).tolist()
    return max((count, n) for n, count in enumerate(counts) if count <= most)


@given(st.text(max_size=40), st.integers(0, 50))
@settings(max_examples=150, deadline=None)
def test_no_prefix_of_a_short_text_has_more_of_the_wanted_tokens(text, most):
    prefix, found = one(EMBEDDED, text, most)
    assert text.startswith(prefix)
    assert found == EMBEDDED.count([prefix])[0] <= most
    if prefix != text:
        assert found == best(EMBEDDED, text, most)[0]


@given(st.integers(0, len(TEXTS) - 1), st.integers(0, 120))
@settings(max_examples=30, deadline=None)
def test_of_real_text_the_best_prefix_is_found(number, most):
    text = TEXTS[number][:500]
    prefix, found = one(EMBEDDED, text, most)
    assert (found, len(prefix)) == best(EMBEDDED, text, most)


def test_real_text_is_cut_to_the_token(trained):
    for tokenizer in (EMBEDDED, trained):
        counts = tokenizer.count(TEXTS)
        wanted = (counts * np.linspace(0.05, 0.95, len(TEXTS))).astype(np.int32)
        prefixes, found = cut(tokenizer, TEXTS, wanted)
        assert found.tolist() == tokenizer.count(prefixes).tolist()
        assert (found <= wanted).all()
        assert np.count_nonzero(found < wanted) <= 1
        assert all(text.startswith(prefix) for text, prefix in zip(TEXTS, prefixes, strict=True))


def test_a_text_with_no_more_tokens_than_wanted_stays_whole():
    assert one(EMBEDDED, "two words", 2) == ("two words", 2)
    assert one(EMBEDDED, "two words", 99) == ("two words", 2)
    assert one(EMBEDDED, "", 3) == ("", 0)
    assert one(EMBEDDED, "two words", 0) == ("", 0)
    assert cut(EMBEDDED, [], np.zeros(0, np.int32))[0] == []


@pytest.mark.parametrize("run", ["a", " ", "東", "🙂", "\n"])
def test_hostile_runs_are_cut_too(run):
    text = "start " + run * 30_000
    most = int(EMBEDDED.count([text])[0]) // 2
    prefix, found = one(EMBEDDED, text, most)
    assert text.startswith(prefix)
    assert most - 4 <= found == EMBEDDED.count([prefix])[0] <= most


def test_a_character_of_several_tokens_stays_whole():
    text = "\U00013000" * 5  # four bytes, each a token
    each = int(EMBEDDED.count([text[0]])[0])
    assert each > 1
    prefix, found = one(EMBEDDED, text, 2 * each + 1)
    assert (prefix, found) == (text[:2], 2 * each)
