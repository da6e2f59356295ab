from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from threadpoolctl import threadpool_limits

from mixcurate.errors import InputError
from mixcurate.kernels import heads as kernel
from mixcurate.kernels.heads import Head, HeadDimension, decide, fit, predict

BINARY, TERNARY = HeadDimension("clarity", 0, 1), HeadDimension("knowledge", 0, 2)
SHIFTED = HeadDimension("depth", 1, 5)


def planted(
    n: int, dimension: HeadDimension, *, d: int = 12, noise: float = 0.5, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Vectors of any length, and points that grow along one direction."""
    random = np.random.default_rng(seed)
    unit = random.normal(size=(n, d)) * np.linspace(0.3, 3, d) + 1
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    hidden = unit @ np.linspace(-1, 1, d)
    hidden = (hidden - hidden.mean()) / hidden.std() + random.normal(size=n) * noise
    cuts = np.linspace(-1, 1, dimension.thresholds + 2)[1:-1]
    points = dimension.least + (hidden[:, None] > cuts).sum(axis=1)
    return (unit * random.uniform(0.1, 9, (n, 1))).astype(np.float32), points[:, None].astype(float)


def some_head(
    seed: int, d: int, ranges: list[tuple[float, float]], hidden: int | None, size: float = 1.0
) -> Head:
    random = np.random.default_rng(seed)
    dimensions = tuple(HeadDimension(f"d{n}", *pair) for n, pair in enumerate(ranges))
    widths = [d, *([hidden] if hidden else []), sum(one.thresholds for one in dimensions)]
    layers = tuple(
        (
            (random.normal(size=(into, out)) * size).astype(np.float32),
            random.normal(size=out).astype(np.float32),
        )
        for into, out in zip(widths[:-1], widths[1:], strict=True)
    )
    mean, scale = random.normal(size=d) * 0.1, random.uniform(0.5, 2, d)
    return Head(dimensions, layers, mean.astype(np.float32), scale.astype(np.float32))


def plain(head: Head, vector: list[float]) -> tuple[list[float], list[float]]:
    """Expected values and decided points of one document, in plain Python."""
    length = math.sqrt(sum(x * x for x in vector))
    if not (length > 0 and math.isfinite(length)):
        nothing = [math.nan] * len(head.dimensions)
        return nothing, nothing
    values = [
        (x / length - float(mean)) / float(scale)
        for x, mean, scale in zip(vector, head.mean, head.scale, strict=True)
    ]
    for number, (weight, bias) in enumerate(head.layers):
        values = [max(value, 0) for value in values] if number else values
        values = [
            sum(value * float(w) for value, w in zip(values, column, strict=True)) + float(b)
            for column, b in zip(weight.T, bias, strict=True)
        ]
    expected, decided = [], []
    for dimension in head.dimensions:
        above, values = values[: dimension.thresholds], values[dimension.thresholds :]
        above = [min(above[: place + 1]) for place in range(len(above))]
        chances = [1 / (1 + math.exp(-min(max(z, -500), 500))) for z in above]
        expected.append(dimension.least + sum(chances))
        decided.append(dimension.least + sum(chance > 0.5 for chance in chances))
    return expected, decided


@pytest.mark.parametrize("hidden", [None, 5])
@pytest.mark.parametrize("d", [1, 7])
def test_predictions_are_those_of_plain_python(d, hidden):
    head = some_head(3, d, [(0, 1), (1, 5), (-2, 0)], hidden)
    vectors = np.random.default_rng(1).normal(size=(70, d)).astype(np.float32) * 4
    vectors[3], vectors[5, 0], vectors[7, 0] = 0, np.nan, -np.inf
    vectors[9] *= np.float32(1e-30)  # squares are zero in float32
    vectors[11] *= np.float32(1e30)
    oracle = [plain(head, row) for row in vectors.astype(float).tolist()]
    found, points = predict(head, vectors), decide(head, vectors)
    assert found.dtype == points.dtype == np.float32
    assert found.shape == points.shape == (70, 3)
    np.testing.assert_allclose(found, [expected for expected, _ in oracle], atol=2e-5)
    np.testing.assert_array_equal(points, [decided for _, decided in oracle])
    assert np.isnan(found).any(axis=1).sum() == 3


@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(0, 150),
    cut=st.integers(0, 150),
    hidden=st.sampled_from([None, 3]),
    size=st.sampled_from([0.0, 1.0, 1e4]),
    thresholds=st.lists(st.integers(1, 6), min_size=1, max_size=4),
)
@settings(max_examples=60, deadline=None)
def test_values_are_in_range_and_depend_on_their_row_alone(seed, n, cut, hidden, size, thresholds):
    head = some_head(seed, 9, [(2, 2 + t) for t in thresholds], hidden, size)
    vectors = np.random.default_rng(seed).normal(size=(n, 9)).astype(np.float32)
    whole = predict(head, vectors)
    assert ((whole >= 2) & (whole <= 2 + np.array(thresholds))).all()
    parts = [predict(head, vectors[:cut]), predict(head, vectors[cut:])]
    np.testing.assert_array_equal(whole, np.concatenate(parts))
    backwards = predict(head, vectors[::-1])[::-1]
    np.testing.assert_array_equal(whole, backwards)
    points = decide(head, vectors)
    assert set(np.unique(points)) <= set(range(2, 9))
    # at most half a point for each threshold that is passed or not
    assert (np.abs(points - whole) <= np.array(thresholds) / 2 + 1e-5).all()


def test_a_threshold_is_passed_with_those_before():
    """Logits 1, 3, -1, 0: the second counts as 1, the last as -1."""
    head = Head(
        (HeadDimension("x", 0, 4),),
        ((np.zeros((2, 4), np.float32), np.array([1, 3, -1, 0], np.float32)),),
        np.zeros(2, np.float32),
        np.ones(2, np.float32),
    )
    chance = [1 / (1 + math.exp(-z)) for z in (1, 1, -1, -1)]
    assert predict(head, np.ones((1, 2), np.float32))[0, 0] == pytest.approx(sum(chance))
    assert decide(head, np.ones((1, 2), np.float32)).tolist() == [[2.0]]


def test_predictions_of_large_batches_do_not_depend_on_threads_or_blocks(monkeypatch):
    head = some_head(0, 384, [(0, 1)] * 5 + [(0, 2)] * 2, 96, 0.1)
    vectors = np.random.default_rng(1).normal(size=(3_000, 384)).astype(np.float32)
    with threadpool_limits(1):
        one = predict(head, vectors)
    with threadpool_limits(2):
        two = predict(head, vectors)
    monkeypatch.setattr(kernel, "_ROWS", 128)
    np.testing.assert_array_equal(one, two)
    np.testing.assert_array_equal(one, predict(head, vectors))


@pytest.mark.parametrize("dimension", [BINARY, TERNARY, SHIFTED])
@pytest.mark.parametrize("hidden", [None, 4])
def test_planted_points_are_learned(dimension, hidden):
    vectors, labels = planted(1_200, dimension)
    head = fit(vectors[:800], labels[:800], [dimension], hidden=hidden, penalty=10)
    assert len(head.layers) == (1 if hidden is None else 2)
    fresh, truth = vectors[800:], labels[800:]
    assert np.mean((predict(head, fresh) - truth) ** 2) < 0.45 * truth.var()
    assert np.mean(decide(head, fresh) == truth) > 0.5


def test_a_hidden_layer_learns_what_a_line_cannot():
    random = np.random.default_rng(0)
    vectors = random.normal(size=(900, 3)).astype(np.float32)
    labels = (vectors[:, :1] * vectors[:, 1:2] > 0).astype(float)
    error = [
        np.mean((predict(head, vectors[600:]) - labels[600:]) ** 2)
        for head in (
            fit(vectors[:600], labels[:600], [BINARY], hidden=hidden, penalty=0.1)
            for hidden in (None, 12)
        )
    ]
    assert error[0] > 0.2
    assert error[1] < 0.08


@pytest.mark.parametrize("hidden", [None, 3])
def test_the_result_is_a_function_of_documents_and_seed(hidden):
    vectors, labels = planted(60, TERNARY, d=4)
    labels = np.hstack([labels, (labels > 0) * 1.0])
    labels[::5, 0] = np.nan
    order = np.random.default_rng(3).permutation(len(vectors))
    groups = np.arange(60) // 3

    def fitted(rows, seed):
        return fit(
            vectors[rows], labels[rows], [TERNARY, BINARY],
            hidden=hidden, seed=seed, groups=groups[rows],
        )  # fmt: skip

    with threadpool_limits(2):
        first = fitted(slice(None), 1)
    with threadpool_limits(1):
        again = fitted(order, 1)
    for one, two in zip(first.layers, again.layers, strict=True):
        np.testing.assert_array_equal(one[0], two[0])
        np.testing.assert_array_equal(one[1], two[1])
    np.testing.assert_array_equal(first.mean, again.mean)
    if hidden:
        assert not np.array_equal(first.layers[0][0], fitted(order, 2).layers[0][0])


def test_a_point_that_is_never_given_is_not_predicted():
    vectors, labels = planted(200, TERNARY)
    head = fit(vectors, labels, [HeadDimension("x", -1, 6)])
    found = predict(head, vectors)
    assert found.min() > -0.1
    assert found.max() < 2.1
    ((weight, bias),) = head.layers  # nothing is learned of these, so that nothing is made up
    assert not weight[:, [0, 3, 4, 5, 6]].any()
    np.testing.assert_allclose(np.abs(bias[[0, 3, 6]]), math.log(200.5 / 0.5), rtol=1e-6)


def test_documents_without_a_vector_or_a_label_are_left_out():
    vectors, labels = planted(100, BINARY)
    expected = fit(vectors, labels, [BINARY], penalty=10)
    bad = np.array([[np.nan], [np.inf], [0.0]], np.float32).repeat(12, axis=1)
    found = fit(
        np.concatenate([bad, vectors]), np.vstack([[[0]] * 3, labels]), [BINARY], penalty=10
    )
    np.testing.assert_array_equal(found.layers[0][0], expected.layers[0][0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda labels: labels * 0 + 1, "'knowledge' has the label 1 in all of its 60"),
        (lambda labels: labels + 1, "goes from 0 to 2, but .* outside, such as 3"),
        (lambda labels: labels - 0.5, "goes from 0 to 2, but .* outside, such as -0.5"),
        (lambda labels: np.where(np.arange(60)[:, None] < 19, labels, np.nan), "has 19 labelled"),
        (lambda labels: labels * np.inf, "outside|has 0 labelled"),
    ],
)
def test_labels_that_nothing_can_be_learned_from_are_refused(change, message):
    vectors, labels = planted(60, TERNARY)
    with np.errstate(invalid="ignore"), pytest.raises(InputError, match=message):
        fit(vectors, change(labels), [TERNARY])


@pytest.mark.parametrize(
    ("options", "message"),
    [({"hidden": 0}, "1 to 1024"), ({"hidden": 5_000}, "1 to 1024"), ({"penalty": 0}, "above 0")],
)
def test_parameters_that_cannot_be_are_refused(options, message):
    vectors, labels = planted(60, TERNARY)
    with pytest.raises(InputError, match=message):
        fit(vectors, labels, [TERNARY], **options)


@pytest.mark.parametrize(
    ("least", "most"), [(0, 0), (1, 0), (0, 1.5), (0, 101), (0, math.nan), (-math.inf, 0)]
)
def test_a_range_without_whole_points_is_refused(least, most):
    with pytest.raises(InputError, match=r"'x' goes from .* whole number of points"):
        HeadDimension("x", least, most)


@pytest.mark.parametrize("shape", [(3, 5), (3, 7), (6,)])
def test_vectors_of_another_width_are_refused(shape):
    with pytest.raises(InputError, match="but the head is for 6"):
        predict(some_head(0, 6, [(0, 1)], None), np.ones(shape, np.float32))
