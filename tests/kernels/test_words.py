from __future__ import annotations

import re

import numpy as np
import polars as pl
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from mixcurate.kernels.words import Words, ngrams, normalise, split_words

#: Unicode's White_Space, which is what Rust takes for whitespace; Python's ``isspace`` has more.
WHITESPACE = (
    "\t\n\x0b\x0c\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009"
    "\u200a\u2028\u2029\u202f\u205f\u3000"
)

texts = st.lists(
    st.text(
        st.one_of(st.sampled_from(WHITESPACE + "ab\u2027\u300f€"), st.characters(codec="utf-8"))
    )
)


def spelled(words: Words, text: pa.Array) -> list[list[str]]:
    """The words of each text, cut out of the batch's bytes by their places."""
    data = "".join(text.to_pylist()).encode()
    cut = [data[a:b].decode() for a, b in zip(words.starts, words.ends, strict=True)]
    return [cut[a:b] for a, b in zip(words.offsets[:-1], words.offsets[1:], strict=True)]


def split(text: str) -> list[str]:
    return [word for word in re.split(f"[{WHITESPACE}]+", text) if word]


@settings(deadline=None)
@given(texts, st.integers(0, 3))
def test_words_are_runs_without_whitespace_in_any_slice_of_a_batch(batch, skipped):
    text = pa.array(batch, pa.large_string())[skipped:]
    assert spelled(split_words(text), text) == [split(value) for value in batch[skipped:]]


@settings(deadline=None)
@given(texts)
def test_equal_words_and_no_others_have_equal_hashes(batch):
    text = pa.array([*batch, *batch], pa.large_string())
    words = split_words(text)
    flat = [word for document in spelled(words, text) for word in document]
    by_hash = dict(zip(words.hashes.tolist(), flat, strict=True))
    assert [by_hash[value] for value in words.hashes.tolist()] == flat
    assert len(by_hash) == len(set(flat))


@settings(deadline=None)
@given(st.lists(st.sampled_from(["a", "b", "abcdefgh", "abcdefghi", "x" * 63, "x" * 64, "x" * 65])))
def test_words_of_any_length_are_told_apart(batch):
    text = pa.array([" ".join(batch), "x" * 66], pa.large_string())
    hashes = split_words(text).hashes
    assert len(set(hashes.tolist())) == len({*batch, "x" * 66})


def test_a_hash_is_the_same_everywhere():
    text = pa.array(["the cat sat on an extraordinarily long mat " + "x" * 70], pa.large_string())
    assert [f"{value:016x}" for value in split_words(text).hashes[[0, 5, 8]]] == [
        "8aef7425b4c0a0eb",
        "e9fa8dca10f03054",
        "ab628b33d668f5a4",
    ]


@settings(deadline=None)
@given(texts, st.integers(1, 5))
def test_ngrams_stay_inside_their_text(batch, n):
    text = pa.array(batch, pa.large_string())
    words = split_words(text)
    hashes, offsets = ngrams(words, n)
    runs = [
        [tuple(document[i : i + n]) for i in range(len(document) - n + 1)]
        for document in spelled(words, text)
    ]
    assert np.diff(offsets).tolist() == [len(document) for document in runs]
    flat = [run for document in runs for run in document]
    by_hash = dict(zip(hashes.tolist(), flat, strict=True))
    assert [by_hash[value] for value in hashes.tolist()] == flat
    assert len(by_hash) == len(set(flat))


def test_order_of_words_tells_ngrams_apart():
    words = split_words(pa.array(["a b", "b a"], pa.large_string()))
    first, second = ngrams(words, 2)[0].tolist()
    assert first != second


def test_normalised_text_has_no_case_punctuation_or_compatibility_forms():
    given_ = pa.array(["The “Cat”,\n sat—ON ﬁfty mats!", "", "año 2024", "日本語 text", "กขค"])
    assert [value.split() for value in normalise(given_.cast(pa.large_string())).to_pylist()] == [
        ["the", "cat", "sat", "on", "fifty", "mats"],
        [],
        ["año", "2024"],
        ["日", "本", "語", "text"],
        ["ก", "ข", "ค"],
    ]


def normalised_whole(batch: list[str]) -> list[str]:
    """Each text by the regular expressions alone, with nothing taken apart."""
    unspaced = r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}\p{Tibetan}]"
    plain = (
        pl.Series(batch, dtype=pl.String)
        .str.normalize("NFKC")
        .str.to_lowercase()
        .str.replace_all(r"[^\p{L}\p{M}\p{N}]+", " ")
        .str.replace_all(f"({unspaced})", " $1 ")
    )
    return [" ".join(word for word in text.split(" ") if word) for text in plain.to_list()]


#: Composed and loose marks, capital sigma, half-width and Thai letters, controls: what joins.
ODD = "A b\t\n.\x01\x1fé\u0301\u0327ΣσΑ\u00b4ﬁ\uff71\uff9e日ก\u0e33\u2019\xa0\u2028İ\u1100\u1161"


@settings(deadline=None)
@given(
    st.lists(st.text(st.one_of(st.sampled_from(ODD), st.characters(codec="utf-8")), max_size=30)),
    st.integers(0, 2),
)
def test_taking_texts_apart_does_not_change_their_normal_form(batch, skipped):
    text = pa.array(batch, pa.large_string())[skipped:]
    normal = normalise(text)
    normal.validate(full=True)
    assert normal.to_pylist() == normalised_whole(batch[skipped:])
