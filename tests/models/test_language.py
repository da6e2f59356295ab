from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mixcurate.models import language

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
@settings(max_examples=50, deadline=None)
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
