from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mixcurate.errors import RequestError
from mixcurate.kernels import filters
from mixcurate.kernels.signals import SIGNALS, text_signals
from mixcurate.kernels.stopwords import STOP_WORDS
from tests.documents import real_documents
from tests.kernels import reference_signals
from tests.kernels.reference_signals import UNSPACED, applies

#: A document that passes every rule of every preset.
GOOD = dict.fromkeys(SIGNALS, 0.0) | {
    "n_words": 500.0,
    "mean_word_length": 5.0,
    "alpha_words": 0.95,
    "stop_words": 6.0,
    "punctuated_lines": 0.9,
    "short_lines": 0.1,
    "newline_ratio": 0.05,
    "sentences": 20.0,
}


def batch(rows: list[dict[str, float]]) -> pa.RecordBatch:
    columns = [pa.array([row[name] for row in rows], pa.float32()) for name in SIGNALS]
    return pa.RecordBatch.from_arrays(columns, names=list(SIGNALS))


def failed_rule(changes: dict[str, float], bounds, language: str = "en") -> str | None:
    index = filters.first_failures(batch([GOOD | changes]), pa.array([language]), bounds)
    assert index.dtype == np.int32
    return None if index[0] < 0 else list(bounds)[index[0]]


@pytest.mark.parametrize(
    ("preset", "name", "least", "most"),
    [(preset, *rule) for preset, found in reference_signals.PRESETS.items() for rule in found],
)
def test_a_preset_cuts_at_the_published_number_and_keeps_the_number_itself(
    preset, name, least, most
):
    bounds = filters.rules(preset, {})
    for bound, beyond in ((least, -1), (most, 1)):
        if bound is not None:
            assert failed_rule({name: bound}, bounds) is None
            assert failed_rule({name: bound + beyond * max(0.001, bound / 1e4)}, bounds) == name


@pytest.mark.parametrize("preset", filters.PRESETS)
def test_a_preset_has_the_published_rules_in_their_order_and_no_others(preset):
    published = reference_signals.PRESETS[preset]
    assert list(filters.PRESETS[preset].items()) == [(name, (a, b)) for name, a, b in published]


def test_gopher_has_none_of_the_rules_of_fineweb():
    bad = {"punctuated_lines": 0.0, "short_lines": 1.0, "newline_ratio": 5.0, "sentences": 1}
    assert failed_rule(bad, filters.rules("gopher", {})) is None
    assert failed_rule(bad, filters.rules("c4", {})) == "sentences"
    assert failed_rule(bad, filters.rules("fineweb", {})) == "sentences"


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


@pytest.mark.parametrize(
    ("language", "rule"), [*dict.fromkeys(STOP_WORDS, "stop_words").items(), ("xx", None)]
)
def test_stop_words_are_asked_where_there_is_a_list(language, rule):
    assert failed_rule({"stop_words": 1}, filters.rules("gopher", {}), language) == rule


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
        "top_2gram_chars": 1,
        "duplicate_5gram_chars": 1,
    }
    assert failed_rule(words, bounds, language) is None
    assert failed_rule(words, bounds, "en") == "n_words"
    assert failed_rule(words | {"duplicate_lines": 0.9}, bounds, language) == "duplicate_lines"


@pytest.mark.parametrize(("language", "rule"), [("th", None), ("lo", None), ("zh", "sentences")])
def test_sentences_are_counted_where_something_marks_their_end(language, rule):
    bad = {"sentences": 1, "punctuated_lines": 0}
    assert failed_rule(bad, filters.rules("fineweb", {}), language) == rule


@pytest.mark.parametrize(("language", "length"), [("ko", 2.8), ("ml", 12), ("ta", 10.4)])
def test_words_may_be_as_long_as_the_language_has_them(language, length):
    bounds = filters.rules("gopher", {})
    assert failed_rule({"mean_word_length": length}, bounds, language) is None
    assert failed_rule({"mean_word_length": length}, bounds, "en") == "mean_word_length"


@pytest.mark.parametrize("preset", filters.PRESETS)
def test_verdicts_are_those_of_the_published_rules_on_real_text(preset):
    texts = [document["text"] for document in real_documents(60)]
    texts += [texts[0] * 5, "{" + texts[1], texts[2][:200], "\n".join(texts[3].split())]
    found = text_signals(pa.array(texts, pa.large_string()))
    bounds = filters.rules(preset, {})
    failed = filters.first_failures(found, pa.array(["en"] * len(texts)), bounds)
    names = [None if index < 0 else list(bounds)[index] for index in failed]
    assert names == [
        reference_signals.first_failure(reference_signals.reference(text), "en", preset)
        for text in texts
    ]
    assert preset == "none" or len(set(names)) > 2


def test_an_empty_batch_fails_nothing():
    found = filters.first_failures(batch([]), pa.array([], pa.string()), filters.PRESETS["fineweb"])
    assert found.tolist() == []


def naive_first_failure(row: dict[str, float], language: str, bounds) -> int:
    for index, (name, (least, most)) in enumerate(bounds.items()):
        if not applies(name, language):
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
    st.lists(st.tuples(ROW, st.sampled_from(["en", "ko", "zh", "th", "und"])), max_size=6),
    st.sampled_from([None, "gopher", "c4", "fineweb"]),
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


def test_stop_words_are_only_asked_of_a_certain_language():
    signals = pa.record_batch({"stop_words": pa.array([0.0, 0.0, 5.0], pa.float32())})
    languages, bounds = pa.array(["en"] * 3), {"stop_words": (2.0, None)}
    assert filters.first_failures(signals, languages, bounds).tolist() == [0, 0, -1]
    certain = np.array([True, False, False])
    assert filters.first_failures(signals, languages, bounds, certain).tolist() == [0, -1, -1]
