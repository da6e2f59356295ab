from __future__ import annotations

import functools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from py3langid.langid import MODEL_FILE, LanguageIdentifier

from mixcurate.models import language
from tests.documents import real_documents

SENTENCES = {
    "en": "This is an English sentence about the weather and the garden behind the house.",
    "de": "Dies ist ein deutscher Satz über das Wetter und den Garten hinter dem Haus.",
    "fr": "Ceci est une phrase française sur le temps qu'il fait et le jardin derrière la maison.",
    "es": "Esta es una frase en español sobre el tiempo y el jardín que está detrás de la casa.",
    "ru": "Это русское предложение о погоде и о саде за домом.",
    "zh": "这是一个关于天气和房子后面花园的中文句子,写得很简单。",
    "ja": "これは天気と家の裏の庭についての日本語の文章です。",
    "ar": "هذه جملة عربية عن الطقس والحديقة خلف المنزل.",
}


def test_sentences_are_in_their_language_with_confidence():
    found, scores = language.identify(list(SENTENCES.values()))
    assert found == list(SENTENCES)
    assert scores.dtype == np.float32
    assert (scores > 0.5).all()


@given(st.lists(st.text(max_size=60) | st.sampled_from(list(SENTENCES.values())), max_size=6))
@settings(max_examples=25, deadline=None)
def test_each_text_gets_a_known_language_whatever_its_batch(texts):
    found, scores = language.identify(texts)
    assert len(found) == len(scores) == len(texts)
    assert set(found) <= set(language.known_languages())
    assert ((scores >= 0) & (scores <= 1)).all()
    for text, code, score in zip(texts, found, scores, strict=True):
        assert language.identify([text])[0] == [code]
        assert language.identify([text])[1][0] == score


@pytest.mark.parametrize("text", ["", "   ", "12345", "🙂", "\x00", "?!"])
def test_a_text_without_words_has_no_confident_language(text):
    _, scores = language.identify([text])
    assert scores[0] < 0.5


def test_only_the_beginning_of_a_text_counts():
    english = SENTENCES["en"] + " "
    beginning = english * (1_000 // len(english) + 1)
    with_more = beginning[:1_000] + SENTENCES["de"] * 1_000
    (one, other), scores = language.identify([beginning[:1_000], with_more])
    assert one == other == "en"
    assert scores[0] == scores[1]


def test_no_texts_have_no_languages():
    found, scores = language.identify([])
    assert found == []
    assert scores.shape == (0,)


def test_known_languages_are_sorted_codes():
    known = language.known_languages()
    assert known == sorted(set(known))
    assert set(SENTENCES) <= set(known)
    assert all(code.isascii() and code.islower() and 2 <= len(code) <= 3 for code in known)


@functools.cache
def py3langid() -> LanguageIdentifier:
    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)


def assert_as_py3langid(texts: list[str]) -> None:
    found, scores = language.identify(texts)
    for text, code, score in zip(texts, found, scores.tolist(), strict=True):
        expected = dict(py3langid().rank(text[:500]))
        best = max(expected, key=expected.__getitem__)
        assert code == best or expected[code] == pytest.approx(expected[best], abs=1e-5)  # a tie
        assert score == pytest.approx(expected[code], abs=1e-4)


@given(
    st.lists(
        st.lists(st.sampled_from(list(SENTENCES.values())) | st.text(max_size=40)).map(" ".join),
        min_size=1,
        max_size=5,
    )
)
@settings(max_examples=40, deadline=None)
def test_answers_are_those_of_py3langid(texts):
    assert_as_py3langid(texts)


def test_answers_are_those_of_py3langid_for_batches_that_are_walked_in_pieces(monkeypatch):
    monkeypatch.setattr(language, "_AT_ONCE", 64)
    texts = [document["text"] for document in real_documents(100)]
    capitals = [text.upper() for text in SENTENCES.values()]
    decomposed = ["Cafe\u0301 et the\u0301 a\u0300 Ne\u0302mes", "n\u0303 " * 300]
    assert_as_py3langid([*texts, *capitals, "", *SENTENCES.values(), *decomposed, "a" * 5_000])


def test_texts_without_a_byte_are_as_py3langid_has_them():
    assert_as_py3langid(["", ""])
    assert_as_py3langid(["", SENTENCES["ja"], ""])
