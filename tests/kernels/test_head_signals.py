from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from threadpoolctl import threadpool_limits

from mixcurate.errors import InputError
from mixcurate.kernels.head_signals import CUT, Signals, standardise, transformed
from mixcurate.kernels.heads import Head, HeadDimension, decide, fit, predict
from tests.kernels.test_heads import BINARY, TERNARY, plain, planted, some_head

NAMES = ("n_words", "alpha_words", "sentences")


def with_signals(head: Head, names: tuple[str, ...] = NAMES) -> Head:
    """The last numbers of a head's input are signals."""
    return dataclasses.replace(head, signals=names)


def some_signals(n: int, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    return random.lognormal(size=(n, len(NAMES)), sigma=4).astype(np.float32)


def plain_with_signals(head: Head, vector: list[float], signals: list[float]) -> tuple:
    """Plain Python: signals go through a head without a vector's length, so it is made one."""
    length = math.sqrt(sum(x * x for x in vector))
    d = len(vector)
    shown = [x / length for x in vector] if length > 0 else [math.nan] * d
    means, scales = head.mean[d:].tolist(), head.scale[d:].tolist()
    for value, mean, scale in zip(signals, means, scales, strict=True):
        z = (math.log(max(value, 0) + 0.1) - mean) / scale if math.isfinite(value) else 0.0
        shown.append(mean + scale * min(max(z, -CUT), CUT))
    # `plain` divides by the length: a column of scale 1 / length undoes it
    whole = math.sqrt(sum(x * x for x in shown))
    undone = dataclasses.replace(head, mean=head.mean / whole, scale=head.scale / whole, signals=())
    return plain(undone, shown)


@pytest.mark.parametrize("hidden", [None, 4])
def test_predictions_are_those_of_plain_python(hidden):
    head = with_signals(some_head(5, 7 + len(NAMES), [(0, 1), (1, 4)], hidden))
    vectors = np.random.default_rng(1).normal(size=(70, 7)).astype(np.float32) * 3
    signals = some_signals(70)
    signals[4], signals[6, 1], signals[8, 0], signals[9, 2] = np.nan, np.inf, -5, 0
    vectors[11] = 0
    oracle = [
        plain_with_signals(head, *pair)
        for pair in zip(vectors.astype(float).tolist(), signals.astype(float).tolist(), strict=True)
    ]
    found, points = predict(head, vectors, signals), decide(head, vectors, signals)
    np.testing.assert_allclose(found, [expected for expected, _ in oracle], atol=1e-4)
    np.testing.assert_array_equal(points, [decided for _, decided in oracle])
    assert np.flatnonzero(np.isnan(found).any(axis=1)).tolist() == [11]


@given(seed=st.integers(0, 2**32 - 1), n=st.integers(0, 150), cut=st.integers(0, 150))
@settings(max_examples=40, deadline=None)
def test_values_depend_on_their_row_alone(seed, n, cut):
    head = with_signals(some_head(seed, 9 + len(NAMES), [(0, 1), (2, 5)], None))
    vectors = np.random.default_rng(seed).normal(size=(n, 9)).astype(np.float32)
    signals = some_signals(n, seed)
    whole = predict(head, vectors, signals)
    assert ((whole >= [0, 2]) & (whole <= [1, 5])).all()
    parts = [predict(head, vectors[s], signals[s]) for s in (slice(cut), slice(cut, None))]
    np.testing.assert_array_equal(whole, np.concatenate(parts))
    np.testing.assert_array_equal(whole, predict(head, vectors[::-1], signals[::-1])[::-1])


@given(st.integers(0, 2**32 - 1), st.integers(1, 40))
@settings(max_examples=40, deadline=None)
def test_columns_are_standardised_and_signals_cut(seed, n):
    random = np.random.default_rng(seed)
    signals = some_signals(n, seed)
    signals[random.random(signals.shape) < 0.2] = np.nan
    table = np.hstack([random.normal(size=(n, 2)), transformed(signals)])
    given_table = table.copy()
    mean, scale = standardise(table, 2)
    for column in range(5):
        known = given_table[:, column][~np.isnan(given_table[:, column])]
        if not len(known):
            assert not table[:, column].any()
            continue
        filled = np.where(np.isnan(given_table[:, column]), known.mean(), given_table[:, column])
        assert mean[column] == pytest.approx(known.mean(), abs=1e-4)
        expected = (filled - mean[column]) / scale[column]
        limit = CUT if column >= 2 else math.inf
        np.testing.assert_allclose(table[:, column], np.clip(expected, -limit, limit), atol=1e-4)
        assert scale[column] == pytest.approx(filled.std() if filled.std() > 1e-4 else 1, rel=1e-4)


def both_planted(n: int = 600) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vectors, signals, and labels: by the vector, by a signal, by both."""
    vectors, by_vector = planted(n, BINARY, noise=0.1)
    signals = some_signals(n)
    by_signal = (signals[:, :1] > 1).astype(float)
    either = np.where(np.arange(n)[:, None] % 2, by_vector, by_signal)
    return vectors, signals, np.hstack([by_vector, by_signal, either])


def test_each_dimension_reads_what_tells_it():
    vectors, signals, labels = both_planted()
    names = [HeadDimension(name, 0, 1) for name in ("vector", "signal", "either")]
    head = fit(vectors[:400], labels[:400], names, signals=Signals(NAMES, signals[:400]))
    assert head.signals == NAMES
    assert head.strengths[0] == 0
    assert head.strengths[1] > 0
    assert 0 < head.strengths[2] < math.inf
    ((weight, _),) = head.layers
    assert not weight[12:, 0].any()
    assert weight[12:, 1:].any(axis=0).all()
    right = decide(head, vectors[400:], signals[400:]) == labels[400:]
    assert (right.mean(axis=0) > [0.9, 0.95, 0.65]).all()
    blind = fit(vectors[:400], labels[:400], names)
    assert (blind.signals, blind.strengths) == ((), (0, 0, 0))
    assert np.mean(decide(blind, vectors[400:])[:, 1] == labels[400:, 1]) < 0.7


@pytest.mark.parametrize("hidden", [None, 3])
def test_signals_alone(hidden):
    vectors, signals, labels = both_planted(200)
    head = fit(
        vectors, labels[:, 1:2], [BINARY], signals=Signals(NAMES, signals, alone=True),
        hidden=hidden,
    )  # fmt: skip
    assert head.strengths == (math.inf,)
    assert not head.layers[0][0][:12].any()
    assert np.mean(decide(head, vectors, signals) == labels[:, 1:2]) > 0.95
    np.testing.assert_array_equal(
        predict(head, vectors, signals), predict(head, vectors[::-1].copy(), signals)
    )


@pytest.mark.parametrize("hidden", [None, 3])
def test_the_result_is_a_function_of_documents_and_seed(hidden):
    vectors, signals, labels = both_planted(60)
    vectors[1::2] = vectors[::2]  # equal vectors: the rest says which comes first
    order = np.random.default_rng(3).permutation(len(vectors))
    with threadpool_limits(2):
        first = fit(
            vectors, labels[:, 1:], [BINARY, TERNARY], signals=Signals(NAMES, signals),
            hidden=hidden, penalty=10,
        )  # fmt: skip
    again = fit(
        vectors[order], labels[order, 1:], [BINARY, TERNARY],
        signals=Signals(NAMES, signals[order]), hidden=hidden, penalty=10,
    )  # fmt: skip
    assert first.strengths == again.strengths
    for one, two in zip(first.layers, again.layers, strict=True):
        np.testing.assert_array_equal(one[0], two[0])
        np.testing.assert_array_equal(one[1], two[1])
    np.testing.assert_array_equal(first.scale, again.scale)


def test_signals_that_do_not_fit_are_refused():
    head = with_signals(some_head(0, 6 + len(NAMES), [(0, 1)], None))
    vectors = np.ones((5, 6), np.float32)
    for signals in (None, some_signals(4), some_signals(5)[:, :2]):
        with pytest.raises(InputError, match="the head reads 3 of 5 documents: n_words, alpha"):
            predict(head, vectors, signals)
    with pytest.raises(InputError, match=r"reads the signal 'charm', which this version"):
        with_signals(head, ("n_words", "charm", "sentences"))


def test_a_hidden_layer_reads_what_tells():
    vectors, signals, labels = both_planted(300)
    head = fit(
        vectors[:200], labels[:200, 1:2], [BINARY], signals=Signals(NAMES, signals[:200]),
        hidden=3, penalty=3,
    )  # fmt: skip
    assert head.strengths[0] > 0
    assert np.mean(decide(head, vectors[200:], signals[200:]) == labels[200:, 1:2]) > 0.9
