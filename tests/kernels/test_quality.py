from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mixcurate.kernels import quality
from mixcurate.kernels.signals import SIGNALS

#: Where each signal stops to be bad, and where it is as good as it gets.
WORST_TO_BEST = {
    "alpha_words": (0.6, 0.9),
    "punctuated_lines": (0.0, 0.6),
    "symbol_word_ratio": (0.1, 0.0),
    "bullet_lines": (0.9, 0.1),
    "ellipsis_lines": (0.3, 0.0),
    "newline_ratio": (0.3, 0.05),
    "duplicate_line_chars": (0.3, 0.0),
    "n_words": (50.0, 1000.0),
}
BEST = {name: good for name, (_, good) in WORST_TO_BEST.items()} | {"mean_word_length": 5.0}


def score(rows: list[dict[str, float]]) -> dict[str, np.ndarray]:
    columns = {name: np.array([row[name] for row in rows], np.float32) for name in quality.INPUTS}
    return quality.heuristic_quality(columns)


def naive(row: dict[str, float]) -> dict[str, float]:
    def ramp(value: float, bad: float, good: float) -> float:
        return min(max((value - bad) / (good - bad), 0.0), 1.0)

    row = {name: float(np.float32(value)) for name, value in row.items()}
    length = row["mean_word_length"]
    form = [
        ramp(row[name], *WORST_TO_BEST[name])
        for name in (
            "punctuated_lines",
            "symbol_word_ratio",
            "bullet_lines",
            "ellipsis_lines",
            "newline_ratio",
        )
    ]
    words = ramp(row["alpha_words"], 0.6, 0.9)
    return {
        "fluency": (words + min(ramp(length, 2.5, 4.0), ramp(length, 10.0, 6.5))) / 2,
        "form": sum(form) / 5,
        "originality": ramp(row["duplicate_line_chars"], 0.3, 0.0),
        "substance": ramp(math.log(max(row["n_words"], 1)), math.log(50), math.log(1000)),
    }


ROW = st.fixed_dictionaries(
    {name: st.floats(0, 2, width=32) for name in quality.INPUTS}
    | {"mean_word_length": st.floats(0, 100, width=32)}
    | {"n_words": st.integers(0, 1_000_000).map(float)}
)


@given(st.lists(ROW, max_size=5))
@settings(max_examples=50, deadline=None)
def test_dimensions_are_the_documented_means_of_ramps(rows):
    found = score(rows)
    assert tuple(found) == quality.DIMENSIONS
    for name in quality.DIMENSIONS:
        assert found[name].dtype == np.float32
        assert ((found[name] >= 0) & (found[name] <= 1)).all()
        np.testing.assert_allclose(found[name], [naive(row)[name] for row in rows], atol=1e-6)


@given(st.lists(ROW, min_size=1, max_size=5))
@settings(max_examples=50, deadline=None)
def test_quality_is_the_mean_of_the_dimensions(rows):
    found = score(rows)
    overall = quality.overall(found)
    assert overall.dtype == np.float32
    assert ((overall >= 0) & (overall <= 1)).all()
    np.testing.assert_allclose(
        overall, [sum(map(float, d)) / 4 for d in zip(*found.values(), strict=True)]
    )


@pytest.mark.parametrize("name", WORST_TO_BEST)
def test_each_ramp_rises_from_its_bad_value_to_its_good_one(name):
    bad, good = WORST_TO_BEST[name]
    values = np.linspace(bad - (good - bad), good + (good - bad), 61)
    overall = quality.overall(score([BEST | {name: max(float(v), 0.0)} for v in values]))
    assert (np.diff(overall) >= 0).all()
    assert overall[0] == overall[values <= bad if good > bad else values >= bad].max()
    assert overall[-1] == 1.0
    assert overall[0] < overall[30] < 1


def test_words_too_short_and_too_long_are_both_worse():
    found = score(
        [
            BEST | {"alpha_words": 1.0, "mean_word_length": v}
            for v in (2.5, 3.0, 4.0, 6.5, 8.0, 10.0)
        ]
    )
    fluency = found["fluency"].tolist()
    assert fluency[0] == fluency[5] == 0.5
    assert fluency[2] == fluency[3] == 1.0
    assert 0.5 < fluency[1] < 1
    assert 0.5 < fluency[4] < 1


def test_a_text_without_words_has_finite_quality():
    found = score([dict.fromkeys(quality.INPUTS, 0.0)])
    assert all(np.isfinite(values).all() for values in found.values())
    assert found["substance"][0] == 0


def test_the_inputs_are_signals():
    assert set(quality.INPUTS) <= set(SIGNALS)


def test_an_empty_batch_has_no_quality():
    assert quality.overall(score([])).shape == (0,)
