from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mixcurate.kernels import topics

FILLER = "people said today that many things about other places were found again"


def planted(words: list[str], documents: int) -> tuple[list[str], np.ndarray]:
    texts = [f"{FILLER} {word} {word}s" for word in words for _ in range(documents)]
    return texts, np.repeat(np.arange(len(words)), documents)


def test_planted_words_come_first():
    words = ["football", "recipe", "galaxy"]
    texts, domains = planted(words, 20)
    found = topics.keywords(texts, domains, 3, 8)
    assert [set(row[:2]) for row in found] == [{word, f"{word}s"} for word in words]


def test_words_that_are_everywhere_are_no_keywords():
    texts, domains = planted(["football", "recipe"], 30)
    found = topics.keywords(texts, domains, 2, 20)
    assert not set(FILLER.split()) & {word for row in found for word in row}


def test_a_word_that_one_document_repeats_names_nothing():
    texts, domains = planted(["football", "recipe"], 30)
    texts[0] += " spam" * 1_000
    found = topics.keywords(texts, domains, 2, 5)
    assert "spam" not in found[0]


def test_ties_are_broken_alphabetically_and_texts_may_come_in_any_order():
    texts = ["zebra apple mango"] * 3 + ["stone brick metal"] * 3
    domains = np.array([0] * 3 + [1] * 3)
    found = topics.keywords(texts, domains, 2, 3)
    assert found == [["apple", "mango", "zebra"], ["brick", "metal", "stone"]]
    order = [5, 0, 3, 1, 4, 2]
    assert topics.keywords([texts[i] for i in order], domains[order], 2, 3) == found


def test_an_empty_sample_gives_no_keywords():
    assert topics.keywords([], np.zeros(0, int), 3, 5) == [[], [], []]


@pytest.mark.parametrize("text", ["the and of with", "", "12 345 6_7", "a b c", "?! ..."])
def test_a_sample_without_words_gives_no_keywords(text):
    assert topics.keywords([text] * 3, np.zeros(3, int), 2, 5) == [[], []]


def test_a_domain_without_documents_in_the_sample_gets_no_keywords():
    texts, _ = planted(["football", "recipe"], 5)
    found = topics.keywords(texts, np.repeat([0, 2], 5), 4, 3)
    assert found[1] == found[3] == []
    assert "football" in found[0]
    assert "recipe" in found[2]


def test_only_the_beginning_of_a_document_is_read():
    late = "filler  " * (topics.READ_CHARACTERS // 8) + "football"
    assert topics.keywords([late, "recipe"], np.array([0, 1]), 2, 5) == [["filler"], ["recipe"]]


WORDS = ["football", "recipe", "galaxy", "engine", "violin", "desert"]


@given(
    st.lists(
        st.tuples(st.lists(st.sampled_from(WORDS), max_size=8), st.integers(0, 2)),
        min_size=1,
        max_size=20,
    ),
    st.integers(1, 6),
)
@settings(max_examples=50, deadline=None)
def test_keywords_are_ranked_by_the_documented_weight(documents, count):
    texts = [" ".join(words) for words, _ in documents]
    domains = np.array([domain for _, domain in documents])

    def weight(word: str, domain: int) -> float:
        def share(rows: list[list[str]]) -> float:
            occurrences = [len(set(words)) for words in rows]
            return sum(word in words for words in rows) / max(sum(occurrences), 1)

        mine = share([words for words, d in documents if d == domain])
        everywhere = share([words for words, _ in documents])
        return mine * math.log(mine / everywhere) if mine else 0.0

    found = topics.keywords(texts, domains, 3, count)
    for domain, row in enumerate(found):
        weights = {word: weight(word, domain) for word in WORDS}
        assert len(row) == len(set(row)) <= count
        assert all(weights[word] > -1e-12 for word in row)
        ranked = [weights[word] for word in row]
        assert all(a >= b - 1e-12 for a, b in zip(ranked, ranked[1:], strict=False))
        left_out = [value for word, value in weights.items() if word not in row]
        if len(row) < count:
            assert all(value <= 1e-12 for value in left_out)
        else:
            assert all(value <= min(ranked) + 1e-12 for value in left_out)


def test_a_name_is_the_first_three_keywords():
    found = topics.names([["game", "team", "season", "player"], ["oven"], []])
    assert found == ["game-team-season", "oven", "domain-2"]


def test_equal_names_are_numbered():
    assert topics.names([["a"], ["a"], ["a-2"], ["a"]]) == ["a", "a-2", "a-2-2", "a-3"]
    assert topics.names([["domain"], ["domain"], []]) == ["domain", "domain-2", "domain-2-2"]


@given(st.lists(st.lists(st.sampled_from(["a", "b", "domain", "a-2"]), max_size=4), max_size=12))
@settings(max_examples=50, deadline=None)
def test_names_are_unique_and_never_empty(keyword_lists):
    names = topics.names(keyword_lists)
    assert len(set(names)) == len(names) == len(keyword_lists)
    assert all(names)
    for words, name in zip(keyword_lists, names, strict=True):
        assert name.startswith("-".join(words[:3]))
