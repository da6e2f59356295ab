from __future__ import annotations

import dataclasses
import json
import math
import statistics

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr

from mixcurate.kernels.head_metrics import BINS, Measured, held_out, measure
from mixcurate.kernels.heads import HeadDimension

KNOWLEDGE = HeadDimension("knowledge", 0, 2)


def measured(predicted: list[float], labels: list[float], decided: list[float] | None = None):
    columns = [predicted, [round(v) for v in predicted] if decided is None else decided, labels]
    return measure(*(np.array(column, float)[:, None] for column in columns), [KNOWLEDGE])[0]


def test_figures_of_an_example():
    found = measured([0.5, 1.0, 1.5, 2.0], [0, 1, 2, 0], [0, 1, 1, 2])
    assert (found.name, found.n, found.n_unpredicted) == ("knowledge", 4, 0)
    assert found.mae == (0.5 + 0 + 0.5 + 2) / 4
    assert found.mse == (0.25 + 0 + 0.25 + 4) / 4
    assert found.accuracy == 0.5
    assert found.within_one == 0.75
    assert found.constant_mae == 0.75
    assert found.constant_mse == (0.5625 * 2 + 0.0625 + 1.5625) / 4
    assert found.constant_accuracy == 0.5
    assert found.calibration_error == (0.5 + 0 + 0.5 + 2) / 4
    assert [dataclasses.astuple(one) for one in found.reliability] == [
        (1, 0.5, 0.0), (1, 1.0, 1.0), (1, 1.5, 2.0), (1, 2.0, 0.0),
    ]  # fmt: skip


def test_a_prediction_that_is_right_on_average_is_calibrated():
    found = measured([0.5, 0.5, 1.5, 1.5], [0, 1, 1, 2])
    assert found.calibration_error == 0
    assert found.mae == 0.5
    assert [one.n for one in found.reliability] == [2, 2]


def test_the_table_goes_by_tenths():
    values = np.random.default_rng(0).permutation(100) / 50
    assert [one.n for one in measured(values, np.ones(100)).reliability] == [10] * 10


def test_labels_between_points_are_decided_by_the_nearest():
    found = measured([0, 0, 0, 0], [0.4, 0.5, 1.0, 1.2], [0, 1, 1, 2])
    assert found.accuracy == 0.75
    assert found.within_one == 1


def test_each_dimension_is_measured_on_its_own_labels():
    dimensions = [KNOWLEDGE, HeadDimension("depth", 1, 4), HeadDimension("form", 0, 1)]
    labels = np.array([[1, np.nan, np.nan], [2, 3, np.nan], [0, 4, np.nan]])
    predicted = np.array([[1, 2, 0.5], [np.nan, 3, 0.5], [0, 3, 0.5]], np.float32)
    first, second, third = measure(predicted, predicted, labels, dimensions)
    assert (first.n, first.n_unpredicted, first.mse) == (2, 1, 0)
    assert (second.n, second.n_unpredicted, second.mse) == (2, 0, 0.5)
    assert third == Measured("form", 0, 0)
    assert third.mae is None
    assert third.reliability == ()


def test_figures_are_plain_json():
    found = measured([1, 1], [0, 2])
    assert found.spearman is None
    text = json.dumps(dataclasses.asdict(found), allow_nan=False)
    assert json.loads(text)["reliability"] == [{"n": 2, "predicted": 1.0, "labelled": 1.0}]


@given(
    st.lists(
        st.tuples(st.sampled_from([0.0, 0.1, 0.7, 1.3, 2.0]) | st.floats(0, 2), st.integers(0, 2)),
        min_size=1,
        max_size=60,
    )
)
@settings(max_examples=100, deadline=None)
def test_figures_are_those_of_plain_python(pairs):
    predicted, labels = map(list, zip(*pairs, strict=True))
    found = measured(predicted, labels)
    mean = statistics.fmean(labels)
    expected = {
        "mae": [abs(p - y) for p, y in pairs],
        "mse": [(p - y) ** 2 for p, y in pairs],
        "accuracy": [round(p) == y for p, y in pairs],
        "within_one": [abs(round(p) - y) <= 1 for p, y in pairs],
        "constant_mae": [abs(mean - y) for y in labels],
        "constant_mse": [(mean - y) ** 2 for y in labels],
        "constant_accuracy": [y == statistics.mode(labels) for y in labels],
    }
    for name, values in expected.items():
        assert getattr(found, name) == pytest.approx(statistics.fmean(values)), name
    if len(set(predicted)) == 1 or len(set(labels)) == 1:
        assert found.spearman is None
    else:
        assert found.spearman == pytest.approx(spearmanr(predicted, labels).statistic)


@given(st.lists(st.integers(0, 30), min_size=1, max_size=80))
@settings(max_examples=100, deadline=None)
def test_the_table_holds_every_document_once_and_equal_predictions_together(values):
    predicted = [value / 15 for value in values]
    found = measured(predicted, [value % 3 for value in values])
    assert 1 <= len(found.reliability) <= BINS
    assert sum(one.n for one in found.reliability) == len(values)
    centres = [one.predicted for one in found.reliability]
    assert centres == sorted(centres)
    left = sorted(predicted)
    for one in found.reliability:  # rows are stretches of the sorted predictions
        here, left = left[: one.n], left[one.n :]
        assert one.predicted == pytest.approx(math.fsum(here) / one.n)
        assert not left or here[-1] < left[0]
    total = sum(one.n * one.labelled for one in found.reliability)
    assert total == pytest.approx(sum(value % 3 for value in values))


def test_groups_are_on_one_side_and_about_the_share_is_held_out():
    groups = pa.array([f"article {n // 3}" for n in range(3_000)])
    found = held_out(groups, 1, 0.2)
    assert found.dtype == bool
    assert 0.17 < found.mean() < 0.23
    assert (found.reshape(-1, 3).sum(axis=1) % 3 == 0).all()
    order = np.random.default_rng(0).permutation(3_000)
    np.testing.assert_array_equal(held_out(groups.take(pa.array(order)), 1, 0.2), found[order])
    np.testing.assert_array_equal(held_out(groups.cast(pa.large_string()), 1, 0.2), found)
    assert not np.array_equal(held_out(groups, 2, 0.2), found)
    assert not held_out(groups, 1, 0).any()
    assert held_out(groups, 1, 1).all()


def test_a_larger_share_holds_out_the_same_and_more():
    keys = pa.array([str(n) for n in range(500)])
    assert (held_out(keys, 1, 0.5) >= held_out(keys, 1, 0.2)).all()
    assert held_out(keys[:0], 1, 0.5).tolist() == []
