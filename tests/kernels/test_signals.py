from __future__ import annotations

import re
from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mixcurate.kernels.signals import SIGNALS, STOP_WORDS, text_signals

#: Unicode's White_Space, which is what Rust takes for whitespace; Python's ``isspace`` has more.
WHITESPACE = (
    "\t\n\x0b\x0c\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009"
    "\u200a\u2028\u2029\u202f\u205f\u3000"
)
BULLETS = "•‣▪●◦○*-–"
TERMINAL = tuple(".!?…。！？؟।")
CLOSERS = "\"'”’»)]"


def is_word_character(character: str) -> bool:
    return character.isalnum() or character in "_\u0301"


def occurs(word: str, text: str) -> bool:
    lower = f" {text.lower()} "
    return any(
        not is_word_character(lower[match.start() - 1])
        and not is_word_character(lower[match.start() + len(word)])
        for match in re.finditer(f"(?={word})", lower)
    )


def reference(text: str) -> dict[str, float]:
    """Every signal as documented, in plain Python."""
    words = re.split(f"[{WHITESPACE}]+", text.strip(WHITESPACE)) if text.strip(WHITESPACE) else []
    lines = [line.strip(WHITESPACE) for line in text.split("\n")]
    lines = [line for line in lines if line]
    n_words, n_lines = max(len(words), 1), max(len(lines), 1)
    repeated = [count - 1 for count in Counter(lines).values()]
    repeated_chars = [(count - 1) * len(line) for line, count in Counter(lines).items()]
    raw = [line for line in text.split("\n") if line.strip(WHITESPACE)]
    return {
        "n_words": len(words),
        "mean_word_length": sum(map(len, words)) / n_words,
        "symbol_word_ratio": (text.count("#") + text.count("...") + text.count("…")) / n_words,
        "alpha_words": sum(any(c.isalpha() for c in word) for word in words) / n_words,
        "stop_words": sum(occurs(word, text) for word in STOP_WORDS),
        "bullet_lines": sum(
            line.lstrip(WHITESPACE)[0] in BULLETS
            and line.lstrip(WHITESPACE)[1:2] in tuple(WHITESPACE)
            for line in raw
        )
        / n_lines,
        "ellipsis_lines": sum(line.endswith(("...", "…")) for line in lines) / n_lines,
        "punctuated_lines": sum(line.rstrip(CLOSERS).endswith(TERMINAL) for line in lines)
        / n_lines,
        "short_lines": sum(len(line) <= 30 for line in lines) / n_lines,
        "newline_ratio": text.count("\n") / n_words,
        "duplicate_lines": sum(repeated) / n_lines,
        "duplicate_line_chars": sum(repeated_chars) / max(sum(map(len, lines)), 1),
    }


def assert_as_documented(texts: list[str]) -> None:
    found = text_signals(pa.array(texts, pa.large_string()))
    assert found.schema.names == list(SIGNALS)
    assert all(field.type == pa.float32() for field in found.schema)
    expected = [reference(text) for text in texts]
    for name in SIGNALS:
        values = found.column(name).to_numpy(zero_copy_only=False)
        assert np.isfinite(values).all()
        wanted = np.array([row[name] for row in expected], np.float32)
        np.testing.assert_allclose(values, wanted, rtol=1e-6, atol=0, err_msg=f"{name} {texts!r}")


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
