from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mixcurate.kernels.word_places import word_places
from mixcurate.kernels.words import normalise

#: Letters that compose, decompose, melt, give several words, are words or change their length.
SPECIAL = (
    "aZ9 -.,\n\té\u0301\u0308½㈱…ﬁİΣςß株で"
    "\u3099ﾞｶกัあ\u1100\u1161\u11a8가=\u0338≠\u00ad\u200b\ufeff😀²ﷺ"
    "\x01\xa0\u3000'’_"
)


def normal_words(text: str) -> list[str]:
    return normalise(pa.array([text], pa.large_string()))[0].as_py().split()


@settings(deadline=None, max_examples=120)
@given(st.text(st.one_of(st.sampled_from(SPECIAL), st.characters(codec="utf-8")), max_size=40))
def test_there_is_a_place_for_each_word_in_order_and_it_holds_the_word(text):
    words, places = normal_words(text), word_places(text)
    assert len(places) == len(words)
    assert all(a <= b for a, b in zip(places, places[1:], strict=False))
    for word, (start, end) in zip(words, places, strict=True):
        assert 0 <= start < end <= len(text)
        assert word.replace("ς", "σ") in [
            other.replace("ς", "σ") for other in normal_words(text[start:end])
        ]


@pytest.mark.parametrize(
    ("text", "cut"),
    [
        ('"Hello," she said.', ["Hello", "she", "said"]),
        ("«Été» -- l’été à Nîmes!", ["Été", "l", "été", "à", "Nîmes"]),
        ("Cafe\u0301, ok", ["Cafe\u0301", "ok"]),
        ("東京は big", ["東", "京", "は", "big"]),
        ("ab½c", ["ab½", "½c"]),
        ("", []),
        ("… — !", []),
        ("ΟΔΟΣ ΟΔΟΣ-α", ["ΟΔΟΣ", "ΟΔΟΣ", "α"]),
    ],
)
def test_places_hold_the_word_as_it_is_written_and_nothing_else(text, cut):
    assert [text[a:b] for a, b in word_places(text)] == cut
