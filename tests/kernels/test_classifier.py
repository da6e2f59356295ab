from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from threadpoolctl import threadpool_limits

from mixcurate.kernels import classifier as kernel
from mixcurate.kernels.classifier import Classifier, fit_classifier, predict


def planted(
    n_domains: int, each: int, *, noise: float = 0.3, d: int = 16, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    centres = np.eye(n_domains, d) * 3 + random.normal(size=(n_domains, d)) * 0.2
    labels = np.repeat(np.arange(n_domains, dtype=np.int32), each)
    vectors = centres[labels] + random.normal(size=(len(labels), d)) * noise
    vectors *= random.uniform(0.1, 10, size=(len(labels), 1))  # length tells nothing
    order = random.permutation(len(labels))
    return vectors[order].astype(np.float32), labels[order]


def test_planted_domains_are_learned():
    vectors, labels = planted(5, 60)
    found = fit_classifier(vectors, labels, seed=1)
    assert found.weight.shape == (16, 5)
    assert found.bias.shape == (5,)
    assert {found.weight.dtype, found.bias.dtype} == {np.dtype(np.float32)}
    assert found.accuracy > 0.95
    assert found.macro_f1 > 0.95
    assert (found.n_train, found.n_held_out) == (270, 30)
    fresh, truth = planted(5, 40, seed=9)
    label, probability = predict(found, fresh)
    assert label.dtype == np.int32
    assert probability.dtype == np.float32
    assert (label == truth).mean() > 0.9


def test_labels_at_random_cannot_be_learned():
    vectors, labels = planted(4, 200)
    shuffled = np.random.default_rng(0).permutation(labels).astype(np.int32)
    found = fit_classifier(vectors, shuffled, seed=1)
    assert found.accuracy < 0.45
    assert found.macro_f1 < 0.45


def test_probabilities_are_those_of_softmax_over_unit_vectors():
    vectors, labels = planted(4, 30)
    found = fit_classifier(vectors, labels, seed=1)
    unit = vectors.astype(np.float64) / np.linalg.norm(vectors, axis=1, keepdims=True)
    score = np.exp(unit @ found.weight.astype(float) + found.bias)
    expected = score / score.sum(axis=1, keepdims=True)
    label, probability = predict(found, vectors)
    np.testing.assert_array_equal(label, expected.argmax(axis=1))
    np.testing.assert_allclose(probability, expected.max(axis=1), rtol=1e-5)


def test_two_domains_have_probabilities_too():
    vectors, labels = planted(2, 50, noise=1.5)
    found = fit_classifier(vectors, labels, seed=1)
    assert found.weight.shape == (16, 2)
    label, probability = predict(found, vectors)
    assert (probability >= 0.5).all()
    assert len(set(label.tolist())) == 2
    unit = kernel._unit(vectors)
    weight, bias = kernel._fit(unit, labels, 2, kernel._INVERSE_PENALTY)
    model = LogisticRegression(C=kernel._INVERSE_PENALTY).fit(unit, labels)
    score = np.exp(unit @ weight + bias)
    expected = model.predict_proba(unit)
    np.testing.assert_allclose(score / score.sum(axis=1, keepdims=True), expected, atol=2e-3)


def test_the_fit_of_many_domains_does_not_end_before_it_has_begun(monkeypatch):
    monkeypatch.setattr(kernel, "_MOST_WORK_IN_ALL", 0)
    vectors = np.random.default_rng(0).normal(size=(1_200, 300)).astype(np.float32)
    labels = np.arange(1_200, dtype=np.int32) // 2
    found = fit_classifier(vectors, labels, seed=1)
    assert (predict(found, vectors)[0] == labels).mean() > 0.5


def test_one_domain_needs_no_fit():
    found = fit_classifier(np.ones((30, 4), np.float32), np.full(30, 7, np.int32), seed=1)
    label, probability = predict(found, np.ones((2, 4), np.float32))
    assert label.tolist() == [7, 7]
    assert probability.tolist() == [1, 1]


def test_domains_keep_their_numbers():
    vectors, labels = planted(3, 40)
    found = fit_classifier(vectors, np.array([2, 5, 11], np.int32)[labels], seed=1)
    assert found.domains.tolist() == [2, 5, 11]
    assert set(predict(found, vectors)[0].tolist()) == {2, 5, 11}


def test_documents_without_a_domain_or_a_vector_are_left_out():
    vectors, labels = planted(3, 40)
    expected = fit_classifier(vectors, labels, seed=1)
    bad = np.array([[np.nan], [np.inf], [0.0], [1.0]], np.float32).repeat(16, axis=1)
    more = np.concatenate([vectors, bad])
    found = fit_classifier(more, np.append(labels, np.array([0, 1, 2, -1], np.int32)), seed=1)
    np.testing.assert_array_equal(found.weight, expected.weight)
    label, probability = predict(found, bad)
    assert label.tolist()[:3] == [-1] * 3
    assert probability.tolist()[:3] == [0] * 3
    assert probability[3] > 0


def test_a_sample_without_domains_is_refused():
    with pytest.raises(ValueError, match="no document"):
        fit_classifier(np.ones((3, 4), np.float32), np.full(3, -1, np.int32), seed=1)


def test_a_domain_of_one_document_is_learned_and_not_held_out():
    vectors, labels = planted(2, 30)
    vectors = np.concatenate([vectors, -vectors[:1]])
    found = fit_classifier(vectors, np.append(labels, np.int32(2)), seed=1)
    assert found.domains.tolist() == [0, 1, 2]
    assert found.n_train + found.n_held_out == 61


def test_too_few_documents_to_hold_any_out_give_no_figures():
    vectors, labels = planted(2, 3)
    found = fit_classifier(vectors, labels, seed=1)
    assert np.isnan(found.accuracy)
    assert np.isnan(found.macro_f1)
    assert found.n_held_out == 0


def test_held_out_documents_are_not_trained_on(monkeypatch):
    vectors, labels = planted(3, 50)
    seen = []
    fit = kernel._fit

    def watched(unit, label, n, inverse_penalty):
        seen.append(unit)
        return fit(unit, label, n, inverse_penalty)

    monkeypatch.setattr(kernel, "_fit", watched)
    found = fit_classifier(vectors, labels, seed=1)
    assert len(seen[0]) == found.n_train == 135
    assert len(np.unique(seen[0], axis=0)) == 135


def test_the_result_is_a_function_of_sample_and_seed():
    vectors, labels = planted(4, 100, noise=1.0)
    with threadpool_limits(2):
        first = fit_classifier(vectors, labels, seed=1)
    with threadpool_limits(1):
        again = fit_classifier(vectors, labels, seed=1)
    other = fit_classifier(vectors, labels, seed=2)
    np.testing.assert_array_equal(first.weight, again.weight)
    assert first[3:] == again[3:]
    assert not np.array_equal(first.weight, other.weight)


def test_a_sample_that_is_too_large_is_cut_where_domains_are_large(monkeypatch):
    vectors, labels = planted(3, 100)
    keep = (labels != 2) | (np.cumsum(labels == 2) <= 10)
    monkeypatch.setattr(kernel, "_MOST_NUMBERS", 16 * 110)
    monkeypatch.setattr(kernel, "_LEAST_ROWS_PER_DOMAIN", 1)
    found = fit_classifier(vectors[keep], labels[keep], seed=1)
    assert found.n_train + found.n_held_out == 50 + 50 + 10
    assert found.accuracy > 0.9


def test_prediction_goes_row_by_row(monkeypatch):
    vectors, labels = planted(3, 40)
    found = fit_classifier(vectors, labels, seed=1)
    whole = predict(found, vectors)
    monkeypatch.setattr(kernel, "_ROWS", 7)
    for expected, value in zip(whole, predict(found, vectors), strict=True):
        np.testing.assert_array_equal(expected, value)
    assert [len(value) for value in predict(found, vectors[:0])] == [0, 0]


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=30))
@settings(max_examples=50, deadline=None)
def test_macro_f1_is_that_of_scikit_learn(pairs):
    truth, found = (np.array(column, np.int32) for column in zip(*pairs, strict=True))
    expected = f1_score(truth, found, labels=np.unique(truth), average="macro", zero_division=0)
    assert kernel._macro_f1(truth, found) == pytest.approx(expected)


@given(st.lists(st.integers(0, 4), max_size=40))
@settings(max_examples=50, deadline=None)
def test_rank_within_counts_equal_ones_before(labels):
    label = np.array(labels, np.intp)
    expected = [labels[:place].count(value) for place, value in enumerate(labels)]
    assert kernel._rank_within(label, 5).tolist() == expected


def test_classifiers_are_plain_arrays_and_numbers():
    assert Classifier._fields[:3] == ("domains", "weight", "bias")
