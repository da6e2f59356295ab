from __future__ import annotations

from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mixcurate.kernels import repetition
from mixcurate.kernels.words import split_words
from tests.kernels.reference_signals import duplicate_ngrams, split, top_ngram


def shares(texts: list[str]) -> dict[str, list[float]]:
    words = split_words(pa.array(texts, pa.large_string()))
    word_chars = np.array([len(word) for text in texts for word in split(text)], np.int64)
    text_chars = np.array([len(text) for text in texts], np.int64)
    found = repetition.repeated_ngrams(words, word_chars, text_chars)
    return {name: values.tolist() for name, values in found.items()}


def expected(texts: list[str]) -> dict[str, list[float]]:
    wanted = {
        f"top_{n}gram_chars": [top_ngram(split(text), n) / max(len(text), 1) for text in texts]
        for n in repetition.TOP
    }
    return wanted | {
        f"duplicate_{n}gram_chars": [
            duplicate_ngrams(split(text), n) / max(len(text), 1) for text in texts
        ]
        for n in repetition.DUPLICATED
    }


TEXT = st.lists(st.sampled_from(["a", "bb", "é", "d"]), max_size=80).map(" ".join)


@given(st.lists(TEXT, max_size=5))
@settings(max_examples=150, deadline=None)
def test_shares_are_those_of_a_loop_over_words(texts):
    assert shares(texts) == expected(texts)


@given(st.lists(TEXT, min_size=1, max_size=5), st.integers(0, 40))
@settings(max_examples=50, deadline=None)
def test_texts_searched_apart_have_the_same_shares(texts, at_once):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(repetition, "_WORDS_AT_ONCE", at_once)
        assert shares(texts) == expected(texts)


def test_a_repeat_in_another_text_does_not_count():
    assert shares(["one two three four five six seven"] * 3) == expected(
        ["one two three four five six seven"] * 3
    )
    assert shares(["one two three four five"] * 3)["duplicate_5gram_chars"] == [0, 0, 0]


def test_a_text_that_is_one_word_over_and_over_is_read_in_steps():
    text = "na " * 5_000
    found = shares([text])
    assert found["top_2gram_chars"] == [5 * 4_999 / 15_000]
    assert found["duplicate_10gram_chars"] == [20 * 499 / 15_000]


def test_hashes_that_share_their_upper_bits_are_told_apart():
    hashes = np.array([5, 6, 5, 7, 6, 5], np.uint64)
    places, grams, firsts = repetition._repeated(np.arange(10, 16), hashes)
    assert (places.tolist(), firsts.tolist()) == ([10, 12, 15, 11, 14], [10, 10, 10, 11, 11])
    assert grams.tolist() == [5, 5, 5, 6, 6]


@given(st.lists(st.sampled_from([1, 2, 3, 2**63, 2**63 + 1, 2**63 + 2**40]), max_size=30))
def test_what_occurs_once_is_left_out(values):
    places, grams, firsts = repetition._repeated(
        np.arange(len(values)), np.array(values, np.uint64)
    )
    counts = Counter(values)
    assert sorted(places.tolist()) == [i for i, value in enumerate(values) if counts[value] > 1]
    assert grams.tolist() == [values[place] for place in places]
    assert firsts.tolist() == [values.index(values[place]) for place in places]
