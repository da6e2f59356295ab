from __future__ import annotations

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mixcurate.kernels.signals import SIGNALS, text_signals
from mixcurate.kernels.stopwords import STOP_WORDS
from mixcurate.kernels.tokens import separate_tokens
from tests.documents import real_documents
from tests.kernels.reference_signals import reference, split


def assert_as_documented(texts: list[str], languages: list[str] | None = None) -> None:
    codes = None if languages is None else pa.array(languages, pa.string())
    found = text_signals(pa.array(texts, pa.large_string()), codes)
    assert found.schema == pa.schema([(name, pa.float32()) for name in SIGNALS])
    expected = [
        reference(text, code)
        for text, code in zip(texts, languages or ["en"] * len(texts), strict=True)
    ]
    for name in SIGNALS:
        values = found.column(name).to_numpy(zero_copy_only=False)
        assert np.isfinite(values).all()
        wanted = np.array([row[name] for row in expected], np.float32)
        np.testing.assert_array_equal(values, wanted, err_msg=f"{name} {texts!r}")


NASTY = {
    "empty": "",
    "blank": "  \t ",
    "only newlines": "\n\n\n",
    "blank lines": " \n\t\n\u3000\n",
    "crlf": "One line.\r\nAnother line!\r\n\r\nOne line.\r\n",
    "crlf of just thirty characters": "x" * 30 + "\r\n" + "y" * 31 + "\r\n",
    "thirty characters and blanks": "  " + "x" * 30 + "  \n" + "x" * 29 + " z",
    "form feed and vertical tab": "a\x0bb\x0cc\x85d",
    "unicode spaces": "a\u00a0b\u2003c\u3000d\u2028e\u2029f",
    "no break": "x" * 100_000,
    "very long line": "word " * 20_000,
    "information separators are not blanks": "a\x1cb\x1dc \x1f d",
    "zero width space is no blank": "a\u200bb",
    "emoji": "🙂 👨‍👩‍👧 👍🏽 ok 🙂.",
    "bullets": "• one\n  - two\n*three\n* four\n–\tfive\n-\n●\u00a0six\n1. seven",
    "a bullet alone before the next line": "-\nword\n- \nword",
    "ellipses": "to be ...\nor not…  \n... no\nfour....\nand ... then\n…",
    "punctuation": 'He said "Stop!"\n(really?)\nno."x\n完了。\nهل؟\nठीक।\nso.)."]  \n.\n,\n»',
    "symbols": "# Title\n## b ...... #tag",
    "words without letters": "123 4a -- ... 5,0 é 日本 ½ ² _",
    "stop words": "The AND tO-be. have/with of,thebe withe",
    "stop words with digits": "the1 2be to_ _of",
    "duplicates": "one\none\n one \ntwo\nTwo\n\n\nthree",
    "no newline at the end": "last line",
    "chinese": "这是一个测试。\n没有空格的文字。",
    "nul": "a\x00b\n\x00",
    "combining": "be\u0301 the\u0301 e\u0301",
    "number signs or ellipses": "# # # a...\nb… c",
    "paragraphs": "one\ntwo\n\none\n \u2028\t\n\r\none\ntwo\n\n\n\n three \n\nthree",
    "blank at both ends": "\n\n \nsame\n\nsame\n \n",
    "a sentence for each line": 'Title\nMr. X came... "No!" (Why?) v1.2 e.g.\nend.\n.\n...',
    "sentences without spaces": "完了。次です！「本当？」はい。\nབོད། ཡིག\n။\n.。x",
    "placeholders": "Lorem Ipsum dolor. LOREM IPSUM lorem  ipsum {{ x }} ſlorem ipſum",
    "one n-gram over and over": "a a a a a a a a a a a a a a a a a a a a a a a",
    "a repeat that hides another": "a b c d e x y a b c d e z w b c d e z q b c d e z b c d e z",
    "several equally frequent": "ab c ab c long words long words x",
}


@pytest.mark.parametrize("name", NASTY)
def test_every_signal_is_as_documented_on(name):
    assert_as_documented([NASTY[name]])


def test_rows_keep_their_order_among_empty_texts():
    texts = [text for nasty in NASTY.values() for text in ("", nasty, " \n")]
    assert_as_documented(texts)


ALPHABET = [
    *"aAé日#*-–•….!?\"')_19🙂\u0301",
    *"\n\n\n   \r\t\u00a0\u2028\x1c",
    "the",
    "and ",
    "...",
]
LINES = st.lists(
    st.sampled_from(["one.", " one.", "two", "", "- x", "x" * 30, "y" * 31]), max_size=6
)


@given(st.lists(st.lists(st.sampled_from(ALPHABET), max_size=40).map("".join), max_size=4))
@settings(max_examples=50, deadline=None)
def test_every_signal_is_as_documented_on_generated_text(texts):
    assert_as_documented(texts)


@given(LINES.map("\n".join), LINES.map("\r\n".join))
@settings(max_examples=50, deadline=None)
def test_every_signal_is_as_documented_on_generated_lines(unix, dos):
    assert_as_documented([unix, dos])


WORDS = st.lists(st.sampled_from(["a", "bb", "ccc", "é", "."]), max_size=60).map(" ".join)


@given(st.lists(WORDS, max_size=4), st.integers(2, 12))
@settings(max_examples=100, deadline=None)
def test_repeats_are_counted_as_by_a_loop_over_words(texts, times):
    assert_as_documented([*texts, *(f"{text} " * times for text in texts)])


@given(st.lists(st.sampled_from(["one", "two\n2", "three three"]), max_size=8))
@settings(max_examples=50, deadline=None)
def test_paragraphs_are_compared_whole(paragraphs):
    assert_as_documented(["\n\n".join(paragraphs), "\n \n\n".join(paragraphs)])


def test_every_signal_is_as_documented_on_real_text():
    texts = [document["text"] for document in real_documents(60)]
    assert_as_documented([*texts, "\n\n".join(texts), " ".join(texts[:3] * 2)])


@pytest.mark.parametrize("language", sorted(STOP_WORDS))
def test_stop_words_are_those_of_the_language(language):
    words = STOP_WORDS[language]
    texts = ["", words[0].upper(), f"({words[1]})", "x".join(words), " ".join(words)]
    assert_as_documented(texts, [language] * len(texts))
    found = text_signals(pa.array(texts, pa.large_string()), pa.array([language] * len(texts)))
    assert found.column("stop_words").to_pylist()[-1] == len(words)


def test_tokens_count_as_words_if_asked_for():
    texts = [*NASTY.values(), *(document["text"] for document in real_documents(20))]
    array = pa.array(texts, pa.large_string())
    found = text_signals(array[1:], words="tokens")
    tokens = [split(text) for text in separate_tokens(pl.Series(texts)).to_list()]
    expected = [reference(text, "en", own) for text, own in zip(texts, tokens, strict=True)]
    for name in SIGNALS:
        wanted = np.array([row[name] for row in expected[1:]], np.float32)
        np.testing.assert_array_equal(found.column(name).to_numpy(), wanted, err_msg=name)


def test_stop_words_follow_the_language_of_each_row_and_its_accents_may_stand_apart():
    texts = ["là và của", "la\u0300 va\u0300 cu\u0309a", "the and", "the and", "och att", "och att"]
    found = text_signals(
        pa.array(texts, pa.large_string()), pa.array(["vi", "vi", "en", "xx", "sv", "en"])
    )
    assert found.column("stop_words").to_pylist() == [3, 3, 2, 0, 2, 0]


def test_rows_keep_their_order_in_a_large_batch():
    texts = ["" if i % 7 == 0 else "word " * (i % 13) + "\nsame\nsame" for i in range(5_000)]
    found = text_signals(pa.array(texts, pa.large_string()))
    assert found.column("n_words").to_pylist() == [len(text.split()) for text in texts]
    repeated = [value > 0 for value in found.column("duplicate_lines").to_pylist()]
    assert repeated == [text != "" for text in texts]


def test_an_empty_batch_has_all_columns():
    found = text_signals(pa.array([], pa.large_string()))
    assert found.num_rows == 0
    assert found.schema == pa.schema([(name, pa.float32()) for name in SIGNALS])


def test_a_slice_has_the_signals_of_its_rows():
    texts = pa.array(["first text", "the second, and more", "", "last"], pa.large_string())
    whole, part = text_signals(texts), text_signals(texts.slice(1, 2))
    assert part.equals(whole.slice(1, 2))


def test_a_signal_does_not_depend_on_the_rest_of_the_batch():
    texts = list(NASTY.values())
    whole = text_signals(pa.array(texts, pa.large_string()))
    for row, text in enumerate(texts):
        alone = text_signals(pa.array([text], pa.large_string()))
        assert alone.to_pylist() == whole.slice(row, 1).to_pylist()
