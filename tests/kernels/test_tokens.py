from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mixcurate.kernels.tokens import separate_tokens
from tests.kernels.reference_signals import WHITESPACE, split


def separated(text: str) -> str:
    return separate_tokens(pl.Series([text]))[0]


#: What spaCy 3.8 makes of these with `spacy.blank("en")`.
SPACY = {
    "Don't stop, it's Mr. Smith's (old) dog...": "Do n't stop , it 's Mr. Smith 's ( old ) dog ...",
    "The U.S.A. paid $1,234.50 at 3:30 p.m., i.e. half.": "The U.S.A. paid $ 1,234.50 at 3:30 p.m. "
    ", i.e. half .",
    "See https://example.org/a?b=c, or mail me@example.org!": "See https://example.org/a?b=c , or "
    "mail me@example.org !",
    "They'll say: \"we can't\" -- end.": "They 'll say : \" we ca n't \" -- end .",
    "Größe: 3,5 km/h; naïve café.": "Größe : 3,5 km / h ; naïve café .",
    "A well-known end.Next": "A well - known end . Next",
}


@pytest.mark.parametrize("text", SPACY)
def test_tokens_are_those_of_spacy(text):
    assert separated(text) == SPACY[text]


@pytest.mark.parametrize("text", ["", " \n", "word", "...", "e\u0301 \u0301", "日本、東京"])
def test_odd_texts_have_tokens_too(text):
    assert "".join(split(separated(text))) == "".join(split(text))


@given(st.text(st.sampled_from([*"aB1é日.,'’-_@:/!\u0301…", *WHITESPACE]) | st.characters()))
def test_only_whitespace_changes(text):
    assert "".join(split(separated(text))) == "".join(split(text))
