from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from mixcurate.kernels import heads_fit
from mixcurate.kernels.heads import decide, fit
from tests.kernels.test_heads import BINARY, SHIFTED, TERNARY, planted


@pytest.mark.parametrize("hidden", [None, 4])
def test_gradients_are_slopes_of_the_loss(hidden):
    random = np.random.default_rng(0)
    sample = heads_fit._Sample(
        random.normal(size=(30, 5)),
        random.uniform(size=(30, 3)),
        (random.uniform(size=(30, 3)) < 0.8).astype(float),
    )
    start = heads_fit._start(sample, hidden, 1)
    flat = np.concatenate([part.ravel() for layer in start for part in layer])
    flat += random.normal(size=len(flat)) * 0.1
    rest = (start, sample, np.array([0.5, 2.0, 3.0]))
    _, gradient = heads_fit._loss_and_gradient(flat, *rest)
    for place in range(len(flat)):
        step = np.zeros(len(flat))
        step[place] = 1e-6
        up, down = (heads_fit._loss_and_gradient(flat + s, *rest)[0] for s in (step, -step))
        assert gradient[place] == pytest.approx((up - down) / 2e-6, abs=1e-6)


def chosen(monkeypatch, *arguments, **options) -> np.ndarray:
    """The penalty of each output that the last fit is made with."""
    found = []
    fit_chosen = heads_fit._fit_chosen

    def noting(sample, way, penalties, *rest):
        found.append(penalties)
        return fit_chosen(sample, way, penalties, *rest)

    monkeypatch.setattr(heads_fit, "_fit_chosen", noting)
    fit(*arguments, **options)
    monkeypatch.undo()
    return found[0]


def test_the_penalty_goes_by_what_can_be_learned(monkeypatch):
    vectors, signal = planted(400, TERNARY, noise=0.2)
    noise = np.random.default_rng(0).integers(0, 2, (400, 1)).astype(float)
    labels = np.hstack([signal, noise])
    penalties = chosen(monkeypatch, vectors, labels, [TERNARY, BINARY])
    assert penalties[0] == penalties[1] <= 10
    assert penalties[2] >= 1_000
    together = chosen(monkeypatch, vectors[:100], labels[:100], [TERNARY, BINARY], hidden=2)
    assert len(set(together)) == 1


def test_the_penalty_is_chosen_by_the_first_rows(monkeypatch):
    vectors, labels = planted(500, BINARY, noise=0.2)
    monkeypatch.setattr(heads_fit, "_ROWS_OF_CHOICE", 60)
    assert chosen(monkeypatch, vectors, labels, [BINARY])[0] <= 30


def test_versions_of_a_text_are_not_learned_by_heart(monkeypatch):
    random = np.random.default_rng(0)
    texts = random.normal(size=(60, 40))
    vectors = np.repeat(texts, 5, axis=0) + random.normal(size=(300, 40)) * 0.05
    labels = np.repeat(random.integers(0, 2, 60), 5)[:, None].astype(float)
    groups = np.repeat(np.arange(60), 5)
    vectors = vectors.astype(np.float32)
    apart = chosen(monkeypatch, vectors, labels, [BINARY])
    together = chosen(monkeypatch, vectors, labels, [BINARY], groups=groups)
    assert apart[0] <= 30
    assert together[0] >= 300
    assert chosen(monkeypatch, texts.astype(np.float32).repeat(5, 0), labels, [BINARY]) >= 300


@given(st.integers(0, 200), st.integers(1, 40), st.integers(0, 9))
@settings(max_examples=50, deadline=None)
def test_folds_take_whole_groups_in_turn(n, n_groups, seed):
    random = np.random.default_rng(seed)
    groups = random.integers(-3, n_groups, n)
    vectors = random.normal(size=(n, 2)).astype(np.float32)
    rows, folds = heads_fit.choose_rows(vectors, np.zeros((n, 1)), groups, np.arange(n), 1, seed)
    assert sorted(rows.tolist()) == list(range(n))
    pairs = {(groups[row], fold) for row, fold in zip(rows.tolist(), folds.tolist(), strict=True)}
    assert len(pairs) == len(np.unique(groups))
    # in turn, so that the first rows, which may be all that is looked at, are of all folds
    fold_of, firsts = dict(pairs), dict.fromkeys(groups[rows].tolist())
    assert [fold_of[group] for group in firsts] == [place % 5 for place in range(len(firsts))]


def test_labels_beyond_the_bounds_are_left_out_by_their_hash(monkeypatch):
    vectors, labels = planted(500, BINARY)
    whole = fit(vectors, labels, [BINARY], penalty=10)
    monkeypatch.setattr(heads_fit, "_MOST_NUMBERS", 13 * 200)
    rows, _ = heads_fit.choose_rows(vectors, labels, None, np.arange(500), 1, 0)
    assert len(rows) == 200
    part = fit(vectors, labels, [BINARY], penalty=10)
    subset = fit(vectors[rows], labels[rows], [BINARY], penalty=10)
    np.testing.assert_array_equal(part.layers[0][0], subset.layers[0][0])
    assert not np.array_equal(part.layers[0][0], whole.layers[0][0])
    monkeypatch.setattr(heads_fit, "_MOST_WORK_IN_ALL", 0)
    assert np.mean(decide(fit(vectors, labels, [BINARY], penalty=10), vectors) == labels) > 0.7


def test_a_constant_entry_of_the_vectors_tells_nothing():
    vectors, labels = planted(100, BINARY, d=5)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors = np.hstack([vectors, np.ones((100, 1), np.float32)])
    head = fit(vectors, labels, [BINARY], penalty=1)
    assert head.scale[-1] == 1
    assert abs(head.layers[0][0][-1, 0]) < 1e-3


@pytest.mark.parametrize("penalty", [1.0, 40.0])
def test_the_fit_is_that_of_scikit_learn(penalty):
    """Soft targets are rows that count twice, by their share; other dimensions change nothing."""
    vectors, labels = planted(400, BINARY)
    labels[::3] = np.random.default_rng(0).uniform(size=(134, 1))
    labels[5:50:7] = np.nan
    other = np.where(np.arange(400) % 2, np.nan, planted(400, SHIFTED)[1][:, 0])[:, None]
    head = fit(vectors, np.hstack([other, labels]), [SHIFTED, BINARY], penalty=penalty)
    unit = vectors.astype(np.float64) / np.linalg.norm(vectors, axis=1, keepdims=True)
    rows = (unit - head.mean) / head.scale
    np.testing.assert_allclose(rows.std(axis=0), 1, atol=1e-3)
    known = ~np.isnan(labels[:, 0])
    rows, target = rows[known], labels[known, 0]
    model = LogisticRegression(C=1 / penalty, tol=1e-8, max_iter=10_000).fit(
        np.concatenate([rows, rows]),
        np.repeat([1, 0], len(rows)),
        sample_weight=np.concatenate([target, 1 - target]),
    )
    ((weight, bias),) = head.layers
    np.testing.assert_allclose(weight[:, -1], model.coef_[0], atol=2e-3)
    np.testing.assert_allclose(bias[-1], model.intercept_[0], atol=2e-3)


def test_rows_and_folds_are_a_function_of_content_and_seed():
    vectors, labels = planted(90, BINARY)
    vectors[60:] = vectors[:30]
    shuffled = np.random.default_rng(0).permutation(90)
    rows, folds = heads_fit.choose_rows(vectors, labels, None, np.arange(90), 1, 4)
    again, same = heads_fit.choose_rows(
        vectors[shuffled], labels[shuffled], None, np.arange(90), 1, 4
    )
    np.testing.assert_array_equal(vectors[rows], vectors[shuffled][again])
    np.testing.assert_array_equal(labels[rows], labels[shuffled][again])
    np.testing.assert_array_equal(folds, same)
    fold_of = dict(zip(rows.tolist(), folds.tolist(), strict=True))
    assert all(fold_of[row] == fold_of[row + 60] for row in range(30))
    other, _ = heads_fit.choose_rows(vectors, labels, None, np.arange(90), 1, 5)
    assert not np.array_equal(rows, other)
