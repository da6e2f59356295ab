"""A linear classifier of domains, so that new text finds its domain without the clusters.

Multinomial logistic regression on unit embeddings, fitted on the sample that k-means was fitted on:
the step of DataWeave (arXiv 2502.16802) that hands topics from a sample to a corpus.
"""

from __future__ import annotations

import warnings
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from mixcurate.kernels.hashing import subseed
from mixcurate.kernels.nearest import usable
from mixcurate.kernels.splitmix import mix

Float32Array = npt.NDArray[np.float32]
Int32Array = npt.NDArray[np.int32]

#: Inverse strength of the L2 penalty. Unit vectors have small entries, so that the weights that
#: tell domains apart are large: scikit-learn's 1 holds them down. Of 1 to 300, values from 10 gave
#: the best macro F1 on domains of 20 newsgroups, and 3 to 30 on the newsgroups themselves.
_INVERSE_PENALTY = 30.0
_ITERATIONS = (20, 200)

#: The fit ends when no derivative is larger than this divided by the number of domains: each domain
#: has about that share of the mean loss, so that a fixed bound ends the fit of many at once.
_TOLERANCE = 2e-4

#: Every so many documents of a domain, one is held out.
_HELD_OUT_EVERY = 10

#: Multiplications of one pass over the sample, and numbers of the vectors that are held for it;
#: more documents than these allow are left out.
_MOST_WORK = 2_000_000_000
_MOST_NUMBERS = 40_000_000

#: Multiplications of the whole fit; more iterations than this allows are left out, down to the
#: fewest. One core does so many in about a minute.
_MOST_WORK_IN_ALL = 200_000_000_000
_LEAST_ROWS_PER_DOMAIN = 20

_ROWS = 16_384


class Classifier(NamedTuple):
    """A fitted classifier and what it was worth on documents that it has not seen."""

    domains: Int32Array
    """int32 ``[n]``: the domain of each column."""
    weight: Float32Array
    """float32 ``[d, n]``."""
    bias: Float32Array
    """float32 ``[n]``."""
    accuracy: float
    """Share of held-out documents that are given their domain; NaN if none were held out."""
    macro_f1: float
    """Mean F1 of the domains on held-out documents; NaN if none were held out."""
    n_train: int
    """Documents that it was fitted on."""
    n_held_out: int
    """Documents that it was measured on."""


def fit_classifier(
    vectors: Float32Array,
    labels: Int32Array,
    seed: int,
    *,
    inverse_penalty: float = _INVERSE_PENALTY,
) -> Classifier:
    """Fit on nine in ten documents of each domain and measure on the tenth.

    The result does not depend on the number of threads. Documents without a domain, and those
    whose vector is zero or not finite, are left out; so are documents beyond what can be fitted in
    minutes.

    Args:
        vectors: float32 ``[m, d]``, of any length.
        labels: int32 ``[m]``: the domain of each document, -1 for none.
        seed: which documents are held out or left out.
        inverse_penalty: weight of the documents against the penalty on large weights.

    Raises:
        ValueError: no document has a domain and a vector.
    """
    rows = np.flatnonzero((labels >= 0) & usable(vectors))
    if len(rows) == 0:
        raise ValueError("no document has a domain and a vector")
    order = _shuffled(len(rows), seed)
    domains, label = np.unique(labels[rows[order]], return_inverse=True)
    rank = _rank_within(label, len(domains))
    most = _rows_per_domain(len(domains), vectors.shape[1], np.bincount(label))
    chosen, label, rank = order[rank < most], label[rank < most], rank[rank < most]
    held_out = rank % _HELD_OUT_EVERY == _HELD_OUT_EVERY // 2
    train = ~held_out
    unit = _unit(vectors[rows[chosen]])
    weight, bias = _fit(unit[train], label[train], len(domains), inverse_penalty)
    classifier = Classifier(
        domains.astype(np.int32), weight, bias, np.nan, np.nan, int(train.sum()), 0
    )
    if not held_out.any():
        return classifier
    truth = domains[label[held_out]]
    found, _ = predict(classifier, unit[held_out])
    return classifier._replace(
        accuracy=float((found == truth).mean()),
        macro_f1=_macro_f1(truth, found),
        n_held_out=int(held_out.sum()),
    )


def predict(classifier: Classifier, vectors: Float32Array) -> tuple[Int32Array, Float32Array]:
    """The most likely domain of each document, and its probability.

    Args:
        classifier: a fitted one.
        vectors: float32 ``[m, d]``, of any length.

    Returns:
        int32 ``[m]``, -1 where a vector is zero or not finite, and float32 ``[m]``, 0 there.
    """
    found = np.full(len(vectors), -1, np.int32)
    probability = np.zeros(len(vectors), np.float32)
    weight = classifier.weight.astype(np.float64)
    for start in range(0, len(vectors), _ROWS):
        rows = start + np.flatnonzero(usable(vectors[start : start + _ROWS]))
        score = _unit(vectors[rows]) @ weight + classifier.bias
        score -= score.max(axis=1, keepdims=True, initial=-np.inf)
        score = np.exp(score, out=score)
        best = score.argmax(axis=1)
        found[rows] = classifier.domains[best]
        probability[rows] = 1 / score.sum(axis=1)  # the best one's score is exp(0)
    return found, probability


def _fit(
    unit: npt.NDArray[np.float64], label: npt.NDArray[np.intp], n: int, inverse_penalty: float
) -> tuple[Float32Array, Float32Array]:
    """Weight float32 ``[d, n]`` and bias float32 ``[n]``."""
    if n == 1:
        return np.zeros((unit.shape[1], 1), np.float32), np.zeros(1, np.float32)
    from sklearn.exceptions import ConvergenceWarning  # here: every command would wait for it
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    fewest, most = _ITERATIONS
    iterations = max(fewest, min(most, _MOST_WORK_IN_ALL // (unit.size * n)))
    model = LogisticRegression(C=inverse_penalty, max_iter=iterations, tol=_TOLERANCE / n)
    # one thread: sums that are split over threads differ in their last bits
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # near the best is good enough
        model.fit(unit, label)
    weight, bias = model.coef_.T, model.intercept_
    if n == 2:  # scikit-learn keeps the difference of the two
        weight, bias = weight * [-0.5, 0.5], bias * [-0.5, 0.5]
    return weight.astype(np.float32), bias.astype(np.float32)


def _macro_f1(truth: Int32Array, found: Int32Array) -> float:
    """Mean over the domains that are among ``truth`` of 2 hits / (documents + predictions)."""
    scores = [
        2 * np.sum((truth == domain) & (found == domain))
        / (np.sum(truth == domain) + np.sum(found == domain))
        for domain in np.unique(truth)
    ]  # fmt: skip
    return float(np.mean(scores))


def _rows_per_domain(n: int, dimension: int, counts: npt.NDArray[np.intp]) -> int:
    """How many documents of a domain can be used, so that time and memory stay bounded.

    The large domains give way first: the cap is the largest for which the capped counts fit.
    """
    budget = min(_MOST_WORK // (dimension * n), _MOST_NUMBERS // dimension)
    budget = max(budget, _LEAST_ROWS_PER_DOMAIN * n)
    low, high = 1, int(counts.max())
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (
            (middle, high) if np.minimum(counts, middle).sum() <= budget else (low, middle - 1)
        )
    return low


def _shuffled(n: int, seed: int) -> npt.NDArray[np.intp]:
    """The numbers below ``n`` in an order that ``seed`` decides, the same on any machine."""
    keys = np.arange(n, dtype=np.uint64) + np.uint64(subseed(seed, "classifier"))
    mix(keys)
    return np.argsort(keys, kind="stable")


def _rank_within(label: npt.NDArray[np.intp], n: int) -> npt.NDArray[np.intp]:
    """For each element, how many before it have the same label."""
    order = np.argsort(label, kind="stable")
    starts = np.cumsum(np.bincount(label, minlength=n)) - np.bincount(label, minlength=n)
    rank = np.empty(len(label), np.intp)
    rank[order] = np.arange(len(label)) - np.repeat(starts, np.bincount(label, minlength=n))
    return rank


def _unit(vectors: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    wide = vectors.astype(np.float64)
    wide /= np.linalg.norm(wide, axis=1, keepdims=True)
    return wide
