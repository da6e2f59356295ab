from __future__ import annotations

from typing import get_args

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mixcurate.kernels import filters
from mixcurate.kernels.lines import (
    LINE_RULES,
    PRESET_LINES,
    LineRule,
    clean_lines,
    drop_repeated_paragraphs,
)
from tests.documents import real_documents
from tests.kernels import reference_lines

PAGE = """Home

  The library of the town opened in May.[1] It is large[citation needed].
Read more
This page needs JavaScript.


We use cookies to do what is useful.
It has three rooms and
a large garden...

"""


def cleaned(texts: list[str], *rules: LineRule) -> list[str]:
    found = clean_lines(pa.array(texts, pa.large_string()), rules)
    assert found.type == pa.large_string()
    return found.to_pylist()


def without_repeats(texts: list[str], **options) -> list[str]:
    return drop_repeated_paragraphs(pa.array(texts, pa.large_string()), **options).to_pylist()


def test_each_rule_has_a_name_and_each_preset_rules_that_exist():
    assert set(LINE_RULES) == set(get_args(LineRule))
    assert set(PRESET_LINES) == set(filters.PRESETS)
    assert set(PRESET_LINES["c4"]) - set(PRESET_LINES["fineweb"]) == {"unpunctuated"}
    for rules in PRESET_LINES.values():
        assert set(rules) <= set(LINE_RULES)


def test_a_page_loses_what_c4_takes_out():
    expected = "The library of the town opened in May. It is large."
    assert cleaned([PAGE], *PRESET_LINES["c4"]) == [expected]
    assert cleaned([PAGE], *PRESET_LINES["fineweb"]) == [
        expected + "\n\nIt has three rooms and\na large garden..."
    ]
    assert cleaned([PAGE], *PRESET_LINES["gopher"]) == [PAGE]


@pytest.mark.parametrize(
    ("rule", "line"),
    [
        ("long_words", "a word of " + "x" * 1001 + " characters"),
        ("long_words", "é" * 1001 + " in two bytes each"),
        ("unpunctuated", "no end"),
        ("unpunctuated", "in a bracket (so.)"),
        ("unpunctuated", "to be continued..."),
        ("unpunctuated", "to be continued…"),
        ("short", "Two words."),
        ("short", "One\u00a0more."),
        ("javascript", "Please enable JavaScript in your browser."),
        ("policy", "By this you accept our Terms of Use."),
        ("policy", "Nous UTILISONS DES COOKIES pour vous servir."),
        ("policy", "Unsere Datenschutzerklärung finden Sie hier."),
        ("navigation", "» Skip to main content"),
        ("navigation", "READ MORE..."),
        ("navigation", "Sign in to your account"),
        ("navigation", "Home | News | About us"),
        ("navigation", "Shop › Tools › Hammers"),
        ("counters", "1,234"),
        ("counters", "(12 comments)"),
        ("counters", "3.5k likes"),
    ],
)
def test_a_line_goes(rule, line):
    text = f"What stands before it.\n  {line}\t\nWhat stands after it."
    assert cleaned([text], rule) == ["What stands before it.\nWhat stands after it."]
    others = [name for name in LINE_RULES if name != rule and line != "READ MORE..."]
    if rule in ("javascript", "policy"):
        assert cleaned([text], *others) == [text]


@pytest.mark.parametrize(
    ("rule", "line"),
    [
        ("long_words", "x" * 1000 + " and " + "y" * 1000),
        ("long_words", "é" * 1000),
        ("long_words", "没有空格的文字" * 500),
        *[("unpunctuated", f"an end{mark}") for mark in [*".?!\"'”’»", '."', ".'", "?!", '...."']],
        ("unpunctuated", "完了。"),
        ("unpunctuated", "ठीक है।"),
        ("unpunctuated", "ภาษาไทยไม่มีจุด"),
        ("short", "three words here"),
        ("short", "これは文です。"),
        ("short", "สวัสดี ครับ"),
        ("javascript", "Java and scripts of it."),
        ("policy", "The privacy of a policy holder."),
        ("navigation", "At home they read more than a book a day."),
        ("navigation", "The bar was a | between two words."),
        ("counters", "12 people came."),
        ("counters", "A number: 12"),
        ("citations", "An array a[i] and a note [sic]."),
    ],
)
def test_a_line_stays(rule, line):
    assert cleaned([line], rule) == [line]


def test_citation_marks_go_and_nothing_else_does():
    text = " A fact.[12][] Another[edit]\n\n\n\nEnd [citation needed]. "
    assert cleaned([text], "citations") == [" A fact. Another\n\n\n\nEnd . "]


def test_untouched_texts_are_the_same_bytes_and_order_is_kept():
    untouched = " \r\nTwo lines of text.\r\n\n\n\n\tAnd the second one. \x0b"
    texts = ["", untouched, "gone", untouched, "\n\n", "A line of text.\ngone", untouched]
    array = pa.array(texts, pa.large_string())
    expected = ["", untouched, "", untouched, "\n\n", "A line of text.", untouched]
    assert clean_lines(array, ["short"]).to_pylist() == expected
    assert array.to_pylist() == texts
    assert clean_lines(array[2:5], ["short"]).to_pylist() == expected[2:5]
    assert clean_lines(array[:0], list(LINE_RULES)).to_pylist() == []


def test_real_text_is_cleaned_as_by_a_loop_over_lines():
    texts = [
        document["text"].replace(". ", ".\n").replace(",", "\n\n")
        for document in real_documents(40)
    ]
    texts += [PAGE, "\n".join(texts)]
    for rules in PRESET_LINES.values():
        assert cleaned(texts, *rules) == [reference_lines.clean(text, rules) for text in texts]


LINE = st.sampled_from(
    [
        *["", " ", "\t", "\u2028", "One.", "one two three", "A b c.", " x y z!\r", "Why not..."],
        *["JavaScript is on.", "use cookies now.", "[1]", "end of it[3].", "文字", "y" * 40],
        "x" * 1001,
    ]
)
TEXTS = st.lists(st.lists(LINE, max_size=8).map("\n".join), max_size=4)
C4_RULES = st.lists(st.sampled_from(PRESET_LINES["c4"]), unique=True).map(tuple)


@given(TEXTS, C4_RULES)
@settings(max_examples=150, deadline=None)
def test_texts_are_cleaned_as_by_a_loop_over_lines(texts, rules):
    assert cleaned(texts, *rules) == [reference_lines.clean(text, rules) for text in texts]


@given(TEXTS, st.integers(1, 60))
@settings(max_examples=100, deadline=None)
def test_repeated_lines_go_as_by_a_loop_over_lines(texts, least):
    expected = [reference_lines.drop_repeats(text, least) for text in texts]
    assert without_repeats(texts, min_chars=least) == expected


def test_the_first_of_repeated_lines_stays():
    line = "This line stands here more than once, with all of its characters. " * 2
    line = line.strip()
    texts = [f"{line}\nA\n  {line} \nA\n\n{line}", line, f"{line}\n{line[:90]}\n{line[:90]}"]
    assert without_repeats(texts) == [f"{line}\nA\nA", line, texts[2]]


def test_paragraphs_are_compared_whole_and_within_their_text():
    text = "one\ntwo\n\nthree\n\none\nother\n\n one\ntwo \n\nend"
    texts = [text, "one\ntwo", "one\ntwo", ""]
    expected = ["one\ntwo\n\nthree\n\none\nother\n\nend", "one\ntwo", "one\ntwo", ""]
    assert without_repeats(texts, unit="paragraph", min_chars=3) == expected
    assert without_repeats(texts, unit="paragraph", min_chars=8) == texts
