from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mixcurate.kernels import topics

FILLER = "people said today that many things about other places were found again"


def keywords(
    texts: list[str], domains: np.ndarray, n_domains: int, count: int, language: str = "en"
) -> list[list[str]]:
    return topics.keywords(texts, [language] * len(texts), domains, n_domains, count)


def planted(words: list[str], documents: int) -> tuple[list[str], np.ndarray]:
    texts = [f"{FILLER} {word} real{word}" for word in words for _ in range(documents)]
    return texts, np.repeat(np.arange(len(words)), documents)


def test_planted_words_come_first():
    words = ["football", "recipe", "galaxy"]
    texts, domains = planted(words, 20)
    found = keywords(texts, domains, 3, 8)
    assert [set(row[:2]) for row in found] == [{word, f"real{word}"} for word in words]


def test_words_that_are_everywhere_are_no_keywords():
    texts, domains = planted(["football", "recipe"], 30)
    found = keywords(texts, domains, 2, 20)
    assert not set(FILLER.split()) & {word for row in found for word in row}


def test_a_word_that_one_document_repeats_names_nothing():
    texts, domains = planted(["football", "recipe"], 30)
    texts[0] += " spam" * 1_000
    found = keywords(texts, domains, 2, 5)
    assert "spam" not in found[0]


def test_ties_are_broken_alphabetically_and_texts_may_come_in_any_order():
    texts = ["zebra apple mango"] * 3 + ["stone brick metal"] * 3
    domains = np.array([0] * 3 + [1] * 3)
    found = keywords(texts, domains, 2, 3)
    assert found == [["apple", "mango", "zebra"], ["brick", "metal", "stone"]]
    order = [5, 0, 3, 1, 4, 2]
    assert keywords([texts[i] for i in order], domains[order], 2, 3) == found


def test_an_empty_sample_gives_no_keywords():
    assert keywords([], np.zeros(0, int), 3, 5) == [[], [], []]


@pytest.mark.parametrize("text", ["the and of with", "", "12 345 6_7", "a b c", "?! ..."])
def test_a_sample_without_words_gives_no_keywords(text):
    assert keywords([text] * 3, np.zeros(3, int), 2, 5) == [[], []]


def test_a_domain_without_documents_in_the_sample_gets_no_keywords():
    texts, _ = planted(["football", "recipe"], 5)
    found = keywords(texts, np.repeat([0, 2], 5), 4, 3)
    assert found[1] == found[3] == []
    assert "football" in found[0]
    assert "recipe" in found[2]


def test_only_the_beginning_of_a_document_is_read():
    late = "filler  " * (topics.READ_CHARACTERS // 8) + "football"
    assert keywords([late, "recipe"], np.array([0, 1]), 2, 5) == [["filler"], ["recipe"]]


def test_of_a_huge_sample_less_of_each_document_is_read(monkeypatch):
    monkeypatch.setattr(topics, "MAX_CHARACTERS", 28)
    texts = ["galaxy football", "recipe violin"]
    assert keywords(texts * 2, np.array([0, 1] * 2), 2, 5) == [["galaxy"], ["recipe"]]


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

    found = keywords(texts, domains, 3, count)
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


def test_one_domain_alone_is_named_by_its_most_frequent_words():
    texts = ["galaxy violin", "galaxy", "galaxy desert violin"]
    assert keywords(texts, np.zeros(3, int), 1, 2) == [["galaxy", "violin"]]


@pytest.mark.parametrize(
    ("language", "texts", "functions"),
    [
        ("fr", ["Vous pouvez lire notre histoire de la musique"], {"vous", "notre", "la"}),
        ("de", ["Wir haben unsere Musik immer wieder gehört"], {"wir", "unsere", "haben"}),
        ("sv", ["Jag vill att du lyssnar på musik"], {"jag", "vill", "att"}),
        ("is", ["Það er tónlist sem hefur verið leikin"], {"það", "sem", "hefur", "verið"}),
    ],
)
def test_stop_words_are_those_of_the_documents_own_language(language, texts, functions):
    texts, domains = texts * 4 + ["football"] * 4, np.repeat([0, 1], 4)
    languages = [language] * 4 + ["en"] * 4
    found = set(topics.keywords(texts, languages, domains, 2, 20)[0])
    assert found
    assert not functions & found
    other = set(topics.keywords(texts, [""] * 8, domains, 2, 20)[0])
    assert {word for word in functions if len(word) > 2} <= other


def test_words_that_differ_by_case_or_a_plural_s_do_not_both_appear():
    texts = ["Engine ENGINE engines glass Glass"] * 5 + ["engine glas"] + ["violin"] * 6
    found = keywords(texts, np.repeat([0, 1], 6), 2, 8)[0]
    assert sorted(found) == ["engine", "glass"]


def test_chinese_bigrams_that_occur_together_become_words():
    texts = ["我们研究机器学习和深度网络", "机器学习的模型", "他在写机器学习"] * 2
    texts += ["足球比赛", "看足球", "世界足球"] * 2
    found = keywords(texts, np.repeat([0, 1], 6), 2, 3, "zh")
    assert found[0][0] == "机器学习"
    assert found[1][0] == "足球"


def test_japanese_keeps_chinese_characters_and_katakana():
    texts = ["データベースの設計について", "データベースを設計します"] * 2 + ["音楽です"] * 4
    found = keywords(texts, np.repeat([0, 1], 4), 2, 3, "ja")
    assert found == [["データベース", "設計"], ["音楽"]]


def test_thai_words_are_put_together_from_their_pieces():
    texts = ["เศรษฐกิจไทย", "แผนเศรษฐกิจ", "ข่าวเศรษฐกิจวันนี้"] * 2 + [
        "ฟุตบอลโลก",
        "ทีมฟุตบอล",
        "ฟุตบอลลีก",
    ] * 2
    found = keywords(texts, np.repeat([0, 1], 6), 2, 1, "th")
    assert "เศรษฐ" in found[0][0]
    assert "ฟุตบ" in found[1][0]


def test_marks_and_short_hangul_words_are_parts_of_words():
    texts = ["हिन्दी संगीत"] * 3 + ["경제 성장"] * 3
    found = topics.keywords(texts, ["hi"] * 3 + ["ko"] * 3, np.repeat([0, 1], 3), 2, 4)
    assert found == [["संगीत", "हिन्दी"], ["경제", "성장"]]


@pytest.mark.parametrize(
    "text",
    [
        "x" * 3_000,
        "字" * 3_000,
        "\u0301" * 3_000,
        "\u200b\x00\ufffd" * 500,
        "ﷺ" * 3_000,
        "ก" * 3_000,
        "a\u0300" * 1_500,
    ],
)
def test_hostile_text_does_no_harm(text):
    found = keywords([text, "football game"] * 2, np.array([0, 1] * 2), 2, 5)
    assert found[1] == ["football", "game"]
    assert all(len(word) <= 40 for word in found[0])


@given(st.lists(st.text(max_size=40), min_size=1, max_size=8), st.integers(1, 5))
@settings(max_examples=50, deadline=None)
def test_any_text_gives_bounded_different_lower_case_keywords(texts, count):
    domains = np.arange(len(texts)) % 2
    for row in keywords(texts, domains, 2, count, "zh"):
        assert len(row) == len(set(row)) <= count
        assert all(0 < len(word) <= 40 for word in row)
        assert all(word.isprintable() and not any(c.isspace() for c in word) for word in row)


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
