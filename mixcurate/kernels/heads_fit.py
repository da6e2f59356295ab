"""The fit of quality heads: L-BFGS on arrays.

Cross-validation chooses the penalty, and how strong signals count beside the vector; before a
hidden layer as strong as a linear head finds them.

Bounds on the work: a pass over 384 numbers a row takes the 100,000 rows with the smallest hash of
seed and content (fewer with a large hidden layer), the cross-validation the first 10,000 of them;
iterations beyond a fixed number of multiplications are left out. So a fit ends within minutes on
one core, whatever the number of labels, with less than 1 GB of memory beside the vectors.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import xxhash
from scipy.special import expit
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from mixcurate.kernels.hashing import subseed, unit_interval
from mixcurate.kernels.splitmix import mix

Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]
Layers = tuple[tuple[Float32Array, Float32Array], ...]
_Wide = tuple[tuple[Float64Array, Float64Array], ...]

MOST_HIDDEN = 1_024

#: Penalties that cross-validation tries (every other one with a hidden layer), from the strongest
#: on: in a linear head each solution starts the next.
_PENALTIES = (30_000.0, 10_000.0, 3_000.0, 1_000.0, 300.0, 100.0, 30.0, 10.0, 3.0)
_FOLDS = 5
_ROWS_OF_CHOICE = 10_000

#: Numbers that are held of the vectors, and multiplications of one pass and of a whole fit.
_MOST_NUMBERS = 40_000_000
_MOST_WORK = 2_000_000_000
_MOST_WORK_IN_ALL = 200_000_000_000

#: Iterations of the last fit and of one of the cross-validation; the fewest whatever the work.
_ITERATIONS, _ITERATIONS_OF_CHOICE, _FEWEST_ITERATIONS = 500, 100, 20

#: A fit ends when no derivative of the loss per row is larger, or a step gains less than the square
#: of this: the last fit, and one of the cross-validation.
_TOLERANCE, _TOLERANCE_OF_CHOICE = 1e-6, 1e-4


class _Sample(NamedTuple):
    """Standardised rows, soft targets, and which of these count."""

    rows: Float64Array
    targets: Float64Array
    counted: Float64Array


def choose_rows(
    vectors: Float32Array,
    beside: Float64Array,
    groups: npt.NDArray[np.integer] | None,
    candidates: npt.NDArray[np.intp],
    work: int,
    seed: int,
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """The rows to fit on, in an order that is a function of their content, and their folds.

    Args:
        vectors: float32 ``[n, d]``.
        beside: float64 ``[n, x]``, what else is known of them: labels and signals.
        groups: int ``[n]``; equal ones are in one fold. None: only equal vectors are.
        candidates: the rows that can be used.
        work: multiplications that a row costs in one pass.
        seed: of the order.

    Returns:
        rows and fold of each, int ``[k]``; the first rows are of all folds too.
    """
    start = subseed(seed, "heads")
    key, tie = (
        np.array([xxhash.xxh3_64_intdigest(row.tobytes(), start) for row in table], np.uint64)
        for table in (vectors[candidates], beside[candidates])
    )
    width = vectors.shape[1] + beside.shape[1]
    most = max(min(_MOST_NUMBERS // width, _MOST_WORK // work), 1)
    order = np.lexsort((tie, key))[:most]
    together = key if groups is None else groups[candidates].astype(np.uint64)
    group_of = np.unique(together[order], return_inverse=True)[1]
    # a group stands where its first row does: its number need not be a function of content
    first = np.full(group_of.max(initial=-1) + 1, len(order))
    np.minimum.at(first, group_of, np.arange(len(order)))
    rank = np.argsort(np.argsort(first))
    return candidates[order], (rank % _FOLDS)[group_of]


def fit_layers(
    table: Float64Array,
    folds: npt.NDArray[np.intp],
    targets: Float64Array,
    counts: Sequence[int],
    *,
    relative: Float64Array,
    hidden: int | None,
    penalty: float | None,
    seed: int,
) -> tuple[Layers, npt.NDArray[np.intp]]:
    """Fit the layers of a head.

    Args:
        table: float64 ``[n, in]``, standardised.
        folds: of each row, as ``choose_rows`` gives them.
        targets: float64 ``[n, outputs]`` in 0..1, NaN where a row is not labelled.
        counts: outputs of each dimension.
        relative: float64 ``[k, in]``: ways to weigh the columns against each other.
        hidden: units of the hidden layer, or None.
        penalty: of the weights; None to choose it.
        seed: of the start of a hidden layer.

    Returns:
        layers as ``Head`` has them, and for each dimension which way of ``relative`` was chosen.
    """
    if penalty is not None:
        grid: tuple[float, ...] = (penalty,)
    else:
        grid = _PENALTIES if hidden is None else _PENALTIES[::2]
    # one thread: sums that are split over threads differ in their last bits
    with threadpool_limits(1):
        labelled = ~np.isnan(targets)
        sample = _Sample(table, np.where(labelled, targets, 0), labelled.astype(np.float64))
        first = 0
        if hidden is not None and len(relative) > 1:
            # by a linear head, which takes a fraction of the time
            loss = _held_out_loss(sample, folds, counts, _PENALTIES, relative, None, seed)
            first = int(loss.sum(axis=2).min(axis=1).argmin())
            relative = relative[first : first + 1]
        best = np.zeros(len(counts), np.intp)
        if len(grid) * len(relative) > 1:
            loss = _held_out_loss(sample, folds, counts, grid, relative, hidden, seed)
            best = loss.reshape(-1, len(counts)).argmin(axis=0)
        way, place = np.divmod(best, len(grid))
        penalties = np.repeat(np.array(grid)[place], counts)
        layers = _fit_chosen(sample, np.repeat(way, counts), penalties, relative, hidden, seed)
    narrow = tuple((weight.astype(np.float32), bias.astype(np.float32)) for weight, bias in layers)
    return narrow, way + first


def _fit_chosen(
    sample: _Sample,
    way: npt.NDArray[np.intp],
    penalties: Float64Array,
    relative: Float64Array,
    hidden: int | None,
    seed: int,
) -> _Wide:
    """The layers for all columns; outputs that weigh them in one way are fitted together."""
    n_units = hidden or len(way)
    first, bias = np.zeros((sample.rows.shape[1], n_units)), np.zeros(n_units)
    rest: list[tuple[Float64Array, Float64Array]] = []
    for one in np.unique(way):  # one only with a hidden layer
        mine = np.flatnonzero(way == one)
        part = _Sample(sample.rows, sample.targets[:, mine], sample.counted[:, mine])
        part = _weighed(part, relative[one])
        start = _start(part, hidden, seed)
        (weight, its_bias), *rest = _descend(part, start, penalties[mine], _ITERATIONS, _TOLERANCE)
        units = mine if hidden is None else np.arange(hidden)
        read = np.flatnonzero(relative[one])
        first[np.ix_(read, units)] = weight * relative[one, read, None]
        bias[units] = its_bias
    return (first, bias), *rest


def _weighed(sample: _Sample, columns: Float64Array) -> _Sample:
    """Columns that are read, times what they are weighed by."""
    if (columns == 1).all():
        return sample
    read = columns > 0
    return sample._replace(rows=sample.rows[:, read] * columns[read])


def _held_out_loss(
    sample: _Sample,
    folds: npt.NDArray[np.intp],
    counts: Sequence[int],
    grid: Sequence[float],
    relative: Float64Array,
    hidden: int | None,
    seed: int,
) -> Float64Array:
    """Held-out cross entropy of each dimension, at each penalty of each way: ``[k, penalties, m]``.

    The outputs of a linear head share nothing but the rows, so one fit tries a penalty for all.
    With a hidden layer they share it, and all dimensions have the sum.
    """
    few = _Sample(*(part[:_ROWS_OF_CHOICE] for part in sample))
    folds = folds[:_ROWS_OF_CHOICE]
    loss = np.zeros((len(relative), len(grid), len(counts)))
    for way, fold in itertools.product(range(len(relative)), range(_FOLDS)):
        train, test = (
            _weighed(_Sample(*(part[chosen] for part in few)), relative[way])
            for chosen in (folds != fold, folds == fold)
        )
        if not len(train.rows) or not len(test.rows):
            continue
        layers = start = _start(train, hidden, seed)
        for place, penalty in enumerate(grid):
            begin = layers if hidden is None else start
            penalties = np.full(sum(counts), penalty)
            layers = _descend(train, begin, penalties, _ITERATIONS_OF_CHOICE, _TOLERANCE_OF_CHOICE)
            of_outputs = _cross_entropy(_forward(layers, test.rows)[-1], test).sum(axis=0)
            loss[way, place] += np.add.reduceat(of_outputs, np.cumsum([0, *counts[:-1]]))
    if hidden is not None:
        loss[:] = loss.sum(axis=2, keepdims=True)
    return loss


def _start(sample: _Sample, hidden: int | None, seed: int) -> _Wide:
    """Zero weights, and the smoothed log odds of the targets as biases; a hidden layer at random.

    The hidden layer is uniform with the variance of He et al. 2015 (arXiv 1502.01852), by hash.
    """
    above = (sample.targets * sample.counted).sum(axis=0) + 0.5
    below = ((1 - sample.targets) * sample.counted).sum(axis=0) + 0.5
    d, outputs = sample.rows.shape[1], sample.targets.shape[1]
    bias = np.log(above / below)
    if hidden is None:
        return ((np.zeros((d, outputs)), bias),)
    first, second = (
        (2 * _uniform(shape, seed, purpose) - 1) * np.sqrt(6 / shape[0])
        for shape, purpose in (((d, hidden), "hidden"), ((hidden, outputs), "outputs"))
    )
    return (first, np.zeros(hidden)), (second, bias)


def _uniform(shape: tuple[int, int], seed: int, purpose: str) -> Float64Array:
    keys = np.arange(shape[0] * shape[1], dtype=np.uint64) + np.uint64(subseed(seed, purpose))
    mix(keys)
    return unit_interval(keys).reshape(shape)


def _forward(layers: _Wide, rows: Float64Array) -> list[Float64Array]:
    """The rows, what the hidden layer gives, and the logits ``[n, outputs]``."""
    values = [rows]
    for weight, bias in layers:
        before = values[-1] if len(values) == 1 else np.maximum(values[-1], 0, out=values[-1])
        values.append(before @ weight + bias)
    return values


def _cross_entropy(logits: Float64Array, sample: _Sample) -> Float64Array:
    """Of each row and output, zero where it does not count."""
    entropy = np.logaddexp(0, logits)
    entropy -= logits * sample.targets
    entropy *= sample.counted
    return entropy


def _descend(
    sample: _Sample, start: _Wide, penalties: Float64Array, iterations: int, tolerance: float
) -> _Wide:
    """Minimise cross entropy + penalty / 2 * squared weights by L-BFGS, from ``start`` on."""
    from scipy.optimize import minimize  # here: every command would wait for it

    low, high = (
        extreme(np.where(sample.counted > 0, sample.targets, other), axis=0, initial=other)
        for extreme, other in ((np.min, 1.0), (np.max, 0.0))
    )
    # an output whose targets are all the same keeps its start: its best bias is infinite
    sample = sample._replace(counted=sample.counted * (low < high))
    work = sample.rows.size * start[0][0].shape[1]
    most = max(_FEWEST_ITERATIONS, min(iterations, _MOST_WORK_IN_ALL // max(work, 1)))
    found = minimize(
        _loss_and_gradient,
        np.concatenate([part.ravel() for layer in start for part in layer]),
        args=(start, sample, penalties),
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": most, "gtol": tolerance, "ftol": tolerance**2, "maxcor": 20},
    )
    return _unflatten(found.x, start)


def _loss_and_gradient(
    flat: Float64Array, like: _Wide, sample: _Sample, penalties: Float64Array
) -> tuple[float, Float64Array]:
    """Both per row, of layers as ``_unflatten`` reads them; a hidden layer has the mean penalty."""
    n, layers = max(len(sample.rows), 1), _unflatten(flat, like)
    values = _forward(layers, sample.rows)
    loss = float(_cross_entropy(values[-1], sample).sum())
    error = (expit(values[-1]) - sample.targets) * sample.counted
    gradient: list[Float64Array] = []
    for place in reversed(range(len(layers))):
        weight, before = layers[place][0], values[place]
        strength = penalties if place == len(layers) - 1 else penalties.mean()
        loss += float((strength * weight**2).sum()) / 2
        gradient[:0] = [(before.T @ error + strength * weight).ravel(), error.sum(axis=0)]
        if place:
            error = error @ weight.T
            error *= before > 0
    return loss / n, np.concatenate(gradient) / n


def _unflatten(flat: Float64Array, like: _Wide) -> _Wide:
    """The layers whose numbers stand one after another."""
    layers, place = [], 0
    for weight, bias in like:
        middle, end = place + weight.size, place + weight.size + bias.size
        layers.append((flat[place:middle].reshape(weight.shape), flat[middle:end]))
        place = end
    return tuple(layers)
