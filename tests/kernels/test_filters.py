from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mixcurate.errors import RequestError
from mixcurate.kernels import filters
from mixcurate.kernels.signals import SIGNALS

#: A document that passes every rule of every preset.
GOOD = {
    "n_words": 500.0,
    "mean_word_length": 5.0,
    "symbol_word_ratio": 0.0,
    "alpha_words": 0.95,
    "stop_words": 6.0,
    "bullet_lines": 0.0,
    "ellipsis_lines": 0.0,
    "punctuated_lines": 0.9,
    "short_lines": 0.1,
    "newline_ratio": 0.05,
    "duplicate_lines": 0.0,
    "duplicate_line_chars": 0.0,
}
UNSPACED = ["zh", "ja", "th", "lo", "km", "my", "bo", "dz"]


def batch(rows: list[dict[str, float]]) -> pa.RecordBatch:
    columns = [pa.array([row[name] for row in rows], pa.float32()) for name in SIGNALS]
    return pa.RecordBatch.from_arrays(columns, names=list(SIGNALS))


def failed_rule(changes: dict[str, float], bounds, language: str = "en") -> str | None:
    index = filters.first_failures(batch([GOOD | changes]), pa.array([language]), bounds)
    assert index.dtype == np.int32
    return None if index[0] < 0 else list(bounds)[index[0]]


#: Published: Gopher, appendix A.1.1 (first two columns); FineWeb, section 3.6 and datatrove.
GOPHER = [
    ("n_words", 50, 49),
    ("n_words", 100_000, 100_001),
    ("mean_word_length", 3, 2.99),
    ("mean_word_length", 10, 10.01),
    ("symbol_word_ratio", 0.1, 0.101),
    ("bullet_lines", 0.9, 0.901),
    ("ellipsis_lines", 0.3, 0.301),
    ("alpha_words", 0.8, 0.799),
    ("stop_words", 2, 1),
    ("duplicate_lines", 0.3, 0.301),
]
FINEWEB = [
    ("punctuated_lines", 0.12, 0.119),
    ("short_lines", 0.67, 0.671),
    ("duplicate_line_chars", 0.01, 0.011),
    ("newline_ratio", 0.3, 0.301),
]


@pytest.mark.parametrize(
    ("preset", "name", "good", "bad"),
    [("gopher", *rule) for rule in [*GOPHER, ("duplicate_line_chars", 0.2, 0.201)]]
    + [("fineweb", *rule) for rule in GOPHER + FINEWEB],
)
def test_a_preset_cuts_at_the_published_number_and_keeps_the_number_itself(preset, name, good, bad):
    bounds = filters.rules(preset, {})
    assert failed_rule({name: good}, bounds) is None
    assert failed_rule({name: bad}, bounds) == name


def test_gopher_has_none_of_the_rules_of_fineweb():
    bad = {"punctuated_lines": 0.0, "short_lines": 1.0, "newline_ratio": 5.0}
    assert failed_rule(bad, filters.rules("gopher", {})) is None
    assert failed_rule(bad, filters.rules("fineweb", {})) is not None


@pytest.mark.parametrize("preset", [None, "none"])
def test_no_preset_keeps_everything(preset):
    assert filters.rules(preset, {}) == {}
    assert failed_rule(dict.fromkeys(SIGNALS, 0.0), {}) is None


def test_own_thresholds_replace_those_of_the_preset_and_add_new_ones():
    bounds = filters.rules("gopher", {"n_words": (5, None), "short_lines": (None, 0.5)})
    assert bounds["n_words"] == (5, None)
    assert failed_rule({"n_words": 200_000}, bounds) is None
    assert failed_rule({"n_words": 4}, bounds) == "n_words"
    assert failed_rule({"short_lines": 0.6}, bounds) == "short_lines"
    assert failed_rule({"alpha_words": 0.5}, bounds) == "alpha_words"


def test_own_thresholds_leave_the_presets_alone():
    before = dict(filters.PRESETS["gopher"])
    filters.rules("gopher", {"n_words": (1, 2)})
    assert filters.PRESETS["gopher"] == before


def test_a_rule_without_bounds_is_off():
    bounds = filters.rules("gopher", {"stop_words": (None, None)})
    assert failed_rule({"stop_words": 0}, bounds) is None


def test_an_unknown_signal_is_refused_with_the_nearest_name():
    with pytest.raises(RequestError, match="no signal 'n_word'; did you mean 'n_words'"):
        filters.rules("gopher", {"n_word": (1, None)})


@pytest.mark.parametrize(("language", "rule"), [("en", "stop_words"), ("de", None), ("zh", None)])
def test_stop_words_are_asked_of_english_only(language, rule):
    assert failed_rule({"stop_words": 0}, filters.rules("gopher", {}), language) == rule


@pytest.mark.parametrize("language", UNSPACED)
def test_word_rules_do_not_hold_for_languages_without_spaces(language):
    bounds = filters.rules("fineweb", {})
    words = {
        "n_words": 1,
        "mean_word_length": 500,
        "symbol_word_ratio": 9,
        "alpha_words": 0,
        "newline_ratio": 9,
        "stop_words": 0,
    }
    assert failed_rule(words, bounds, language) is None
    assert failed_rule(words, bounds, "en") == "n_words"
    assert failed_rule(words | {"duplicate_lines": 0.9}, bounds, language) == "duplicate_lines"


def test_an_empty_batch_fails_nothing():
    found = filters.first_failures(batch([]), pa.array([], pa.string()), filters.PRESETS["fineweb"])
    assert found.tolist() == []


def naive_first_failure(row: dict[str, float], language: str, bounds) -> int:
    for index, (name, (least, most)) in enumerate(bounds.items()):
        if name == "stop_words" and language != "en":
            continue
        words = ("n_words", "mean_word_length", "symbol_word_ratio", "alpha_words", "newline_ratio")
        if name in words and language in UNSPACED:
            continue
        value = np.float32(row[name])
        if least is not None and value < np.float32(least):
            return index
        if most is not None and value > np.float32(most):
            return index
    return -1


VALUE = st.sampled_from([0.0, 0.01, 0.1, 0.2, 0.3, 0.5, 0.8, 0.9, 1.0, 2.0, 3.0, 10.0, 50.0, 1e5])
BOUND = st.none() | VALUE
ROW = st.fixed_dictionaries(dict.fromkeys(SIGNALS, VALUE))


@given(
    st.lists(st.tuples(ROW, st.sampled_from(["en", "de", "zh", "und"])), max_size=6),
    st.sampled_from([None, "gopher", "fineweb"]),
    st.dictionaries(st.sampled_from(list(SIGNALS)), st.tuples(BOUND, BOUND), max_size=4),
)
@settings(max_examples=50, deadline=None)
def test_the_first_failed_rule_is_that_of_a_loop_over_documents(documents, preset, thresholds):
    bounds = filters.rules(preset, thresholds)
    rows, languages = [row for row, _ in documents], [language for _, language in documents]
    found = filters.first_failures(batch(rows), pa.array(languages, pa.string()), bounds)
    assert found.tolist() == [naive_first_failure(r, lang, bounds) for r, lang in documents]


def test_a_failure_is_described_by_its_numbers():
    assert filters.describe("n_words", 12.0, (50, 100_000)) == "n_words 12 is below 50"
    assert filters.describe("n_words", 123_456.0, (50, 100_000)) == (
        "n_words 1.235e+05 is above 100000"
    )
    assert filters.describe("alpha_words", 0.5, (0.8, None)) == "alpha_words 0.5 is below 0.8"
    assert filters.describe("short_lines", 0.7, (None, 0.67)) == "short_lines 0.7 is above 0.67"
