from __future__ import annotations

import re
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mistral_common.tokens.tokenizers.tekken import Tekkenizer
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers, processors

from mixcurate.errors import InputError
from mixcurate.models.embedded import tekken
from mixcurate.models.tokenizer import _cut, token_counter

LONG = 4_096

MISTRAL = Tekkenizer.from_file(
    str(resources.files("mistral_common") / "data" / "tekken_240911.json")
)


def pieces(ids: list[int]) -> bytes:
    """The bytes that ids of the embedded tokenizer stand for."""
    return tekken().decode_bytes([one - 1_000 for one in ids])


def count(texts: list[str], threads: int = 1) -> list[int]:
    found = token_counter("embedded", threads).count(texts)
    assert found.dtype == np.int32
    return found.tolist()


@given(st.lists(st.text(max_size=200), max_size=8))
@settings(max_examples=50, deadline=None)
def test_counts_are_those_of_tiktoken_itself(texts):
    expected = [len(tekken().encode_ordinary(text)) for text in texts]
    assert count(texts) == expected
    assert count(texts, threads=2) == expected


@given(st.lists(st.text(max_size=200), max_size=8))
@settings(max_examples=50, deadline=None)
def test_ids_are_those_that_mistral_models_have(texts):
    found = token_counter("embedded", 1).encode(texts)
    assert [ids.tolist() for ids in found] == [MISTRAL.encode(t, False, False) for t in texts]
    assert {ids.dtype for ids in found} <= {np.dtype(np.uint32)}


def test_special_ids_and_vocabulary_are_those_of_mistral_models():
    tokenizer = token_counter("embedded", 1)
    assert tokenizer.special.require("bos") == MISTRAL.bos_id
    assert tokenizer.special.require("eos") == MISTRAL.eos_id
    assert tokenizer.vocabulary == MISTRAL.n_words


@pytest.mark.parametrize("text", ["a" * 9_999, "x " + " " * 9_999 + "y", "東" * 9_999])
def test_long_runs_have_as_many_ids_as_are_counted(text):
    tokenizer = token_counter("embedded", 2)
    texts = ["one", text, "", text + " end"]
    assert [len(ids) for ids in tokenizer.encode(texts)] == tokenizer.count(texts).tolist()
    assert pieces(tokenizer.encode([text])[0].tolist()) == text.encode()


@given(st.text(max_size=300))
@settings(max_examples=50, deadline=None)
def test_tokens_end_where_their_characters_do(text):
    tokenizer = token_counter("embedded", 1)
    ends = tokenizer.ends(text)
    assert ends.dtype == np.int64
    assert len(ends) == tokenizer.count([text])[0]
    ids, data = tokenizer.encode([text])[0].tolist(), text.encode()
    for i, end in enumerate(ends.tolist()):
        before = pieces(ids[: i + 1])
        assert data.startswith(before)
        assert text[:end].encode() == before.decode("utf-8", "ignore").encode()


def test_counts_of_special_token_text_are_counts_of_plain_text():
    assert count(["<s>[INST] </s>"]) == [len(tekken().encode_ordinary("<s>[INST] </s>"))]


def test_nothing_has_no_tokens():
    assert count([]) == []
    assert count([""]) == [0]


def test_long_texts_of_ordinary_words_are_counted_whole():
    texts = ["word and another word.\n" * 5_000, "a" * LONG + " " + "b" * LONG, "x", " " * LONG]
    assert count(texts) == [len(tekken().encode_ordinary(text)) for text in texts]


@pytest.mark.parametrize("run", ["a", "é", "日", "!", "=", " ", "\n", " \n", "a1", "🙂", "\u3000"])
def test_a_long_run_is_counted_within_some_tokens_of_the_truth(run):
    text = f"before {run * (20_000 // len(run))} after"
    cuts = len(text) // LONG
    (found,) = count([text])
    assert abs(found - len(tekken().encode_ordinary(text))) <= 2 * cuts


@pytest.mark.parametrize("run", ["a", " ", "\n", "!", "\u00a0", "日", "ab1"])
def test_a_hostile_run_of_millions_is_counted(run):
    """The regular expression of the vocabulary alone panics on a million blanks."""
    text = f"a {run * (2_000_000 // len(run))} b"
    (found,) = count([text])
    assert len(text) / 200 < found < len(text.encode())


def test_a_hostile_text_leaves_the_counts_of_its_neighbours_alone():
    texts = ["one", " " * 50_000, "two words", "a" * 50_000, ""]
    found = count(texts)
    assert [found[0], found[2], found[4]] == count(["one", "two words", ""])


@pytest.fixture
def tokenizer_file(tmp_path: Path) -> str:
    """A word tokenizer that would add special tokens, truncate and pad if it were let."""
    vocabulary = {"[UNK]": 0, "[CLS]": 1, "[PAD]": 2, "one": 3, "two": 4}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A", special_tokens=[("[CLS]", 1)]
    )
    tokenizer.enable_truncation(3)
    tokenizer.enable_padding(length=5, pad_id=2, pad_token="[PAD]")
    path = tmp_path / "tokenizer.json"
    tokenizer.save(str(path))
    return str(path)


def test_a_tokenizer_file_counts_without_special_tokens_truncation_or_padding(tokenizer_file):
    counter = token_counter(tokenizer_file, 1)
    found = counter.count(["one two three four five", "", "one", "two " * 1_000])
    assert found.dtype == np.int32
    assert found.tolist() == [5, 0, 1, 1_000]
    assert counter.count([]).tolist() == []


def test_ids_of_a_tokenizer_file(tokenizer_file):
    tokenizer = token_counter(tokenizer_file, 1)
    found = tokenizer.encode(["one  two three", "", "two"])
    assert [ids.tolist() for ids in found] == [[3, 4, 0], [], [4]]
    assert {ids.dtype for ids in found} == {np.dtype(np.uint32)}
    assert tokenizer.ends("one  two").tolist() == [3, 8]
    assert (tokenizer.vocabulary, tokenizer.name) == (5, "tokenizer.json")


def test_a_text_that_names_a_special_token_does_not_get_it(tokenizer_file, tmp_path):
    ended = Tokenizer.from_file(tokenizer_file)
    ended.add_special_tokens([AddedToken("</s>", special=True)])
    path = tmp_path / "ended.json"
    ended.save(str(path))
    tokenizer = token_counter(str(path), 1)
    eos = tokenizer.special.require("eos")
    assert eos == 5
    assert tokenizer.vocabulary == 6
    assert [ids.tolist() for ids in tokenizer.encode(["one</s>", "</s>"])] == [[0], [0]]
    assert tokenizer.count(["one</s>", "</s> one"]).tolist() == [1, 2]


def test_a_missing_tokenizer_file_is_refused(tmp_path):
    missing = str(tmp_path / "tokenizer.json")
    message = f"no file {missing}; give a tokenizer.json or 'embedded'"
    with pytest.raises(InputError, match=f"ingest.tokenizer: {message}"):
        token_counter(missing, 1)
    with pytest.raises(InputError, match=f"output.tokens.tokenizer: {message}"):
        token_counter(missing, 1, "output.tokens.tokenizer")


@pytest.mark.parametrize("content", ["", "{}", "not json", '{"model": 3}'])
def test_a_file_that_is_no_tokenizer_is_refused(tmp_path, content):
    path = tmp_path / "tokenizer.json"
    path.write_text(content)
    with pytest.raises(InputError, match=f"cannot read {path}"):
        token_counter(str(path), 1)


@given(
    st.lists(
        st.sampled_from(["a", "bc" * 9, " ", "\n", "\u3000 ", "x" * 4096, "y" * 4097, " " * 4095]),
        max_size=12,
    )
)
@settings(deadline=None)
def test_texts_are_cut_exactly_if_they_have_a_long_run(pieces):
    text = "".join(pieces)
    longest = max(map(len, re.findall(r"\S+|\s+", text)), default=0)
    assert (len(_cut(text)) > 1) == (longest > 4_096)
    assert "".join(_cut(text)) == text
