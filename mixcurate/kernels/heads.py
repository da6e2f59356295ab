"""Quality heads: several quality dimensions of a document from its embedding and its signals.

Ordinal regression (Niu et al. 2016, "Ordinal regression with multiple output CNN for age
estimation", section 3.1; SampleMix, arXiv 2503.01506, section 2.2.2): a dimension of points
``least``..``most`` has one output per threshold, "is the value above least + j?", trained by the
sum of binary cross entropies. The expected value is ``least`` plus the sum of their probabilities.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

from mixcurate.errors import InputError
from mixcurate.kernels.head_logits import logits_of, whole_tiles
from mixcurate.kernels.head_signals import (
    Signals,
    check_signals,
    column_strengths,
    cut,
    standardise,
    strengths,
    transformed,
)
from mixcurate.kernels.heads_fit import MOST_HIDDEN, Layers, choose_rows, fit_layers
from mixcurate.kernels.nearest import usable

Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]

#: Thresholds that a dimension can have.
MOST_THRESHOLDS = 100

#: Fewest labelled documents with a vector that a dimension is fitted on.
FEWEST_LABELS = 20

#: Rows of a pass, which stay in the processor's cache.
_ROWS = 2_048


@dataclasses.dataclass(frozen=True)
class HeadDimension:
    """One quality dimension and its range.

    Attributes:
        name: what follows ``quality_`` in its column.
        least: least value.
        most: greatest value; a whole number of points above the least, at most 100.

    Raises:
        InputError: the range is no such one.
    """

    name: str
    least: float
    most: float

    def __post_init__(self) -> None:
        points = self.most - self.least
        if not (1 <= points <= MOST_THRESHOLDS and points == int(points)):
            raise InputError(
                f"quality dimension {self.name!r} goes from {self.least:g} to {self.most:g}; a "
                f"head needs a whole number of points between them, 1 to {MOST_THRESHOLDS}"
            )

    @property
    def thresholds(self) -> int:
        """How many outputs it has."""
        return int(self.most - self.least)


@dataclasses.dataclass(frozen=True)
class Head:
    """A fitted head: what it computes from ``u``, the unit vector of a document.

    Behind the numbers of the vector come those of the signals that it reads, as
    ``head_signals.transformed`` gives them; standardised, they are cut. With one layer,
    ``z = ((u - mean) / scale) @ weight + bias``; with two there is ``max(., 0)`` between them.
    ``sigmoid(z)`` are the probabilities, those of all dimensions one after another.

    Attributes:
        dimensions: of the outputs, in their order.
        layers: one or two (weight float32 ``[in, out]``, bias float32 ``[out]``).
        mean: float32 ``[d + s]``.
        scale: float32 ``[d + s]``, positive.
        signals: names of ``s`` signals, as in ``kernels.signals.SIGNALS``.
        strengths: of each dimension, how strong its signals were let count beside the vector;
            zero for the vector alone, infinite for signals alone.

    Raises:
        InputError: it reads a signal that this version does not compute.
    """

    dimensions: tuple[HeadDimension, ...]
    layers: Layers
    mean: Float32Array
    scale: Float32Array
    signals: tuple[str, ...] = ()
    strengths: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        check_signals(self.signals, "the head")


def fit(
    vectors: Float32Array,
    labels: Float64Array,
    dimensions: Sequence[HeadDimension],
    *,
    signals: Signals | None = None,
    hidden: int | None = None,
    penalty: float | None = None,
    seed: int = 0,
    groups: npt.NDArray[np.integer] | None = None,
) -> Head:
    """Fit a head on labelled documents.

    A label between two points is a soft target: 2.4 is above 2 with probability 0.4, so that the
    expected value stays what is fitted. The result depends neither on the order of the documents
    nor on the number of threads. Documents whose vector is zero or not finite are left out, and so
    are documents beyond what can be fitted in minutes (see ``heads_fit``).

    Args:
        vectors: float32 ``[n, d]``, of any length.
        labels: float64 ``[n, m]`` in the range of their dimension, NaN for "not labelled".
        dimensions: ``m`` dimensions.
        signals: of the documents; how strong they count beside the vector, if at all, or alone, is
            chosen by cross-validation, in a linear head for each dimension.
        hidden: units of a hidden layer; None for a linear head.
        penalty: weight of half the sum of squared weights against the summed cross entropy, with
            each entry of the unit vectors scaled to variance one; None chooses it by
            cross-validation, in a linear head for each dimension.
        seed: which documents are left out, and where a hidden layer starts.
        groups: int ``[n]``: documents of one group, such as the versions of a text, are in one
            fold of the cross-validation, or it would take learning by heart for learning.

    Raises:
        InputError: a dimension has too few labels, labels that are all the same or labels outside
            of its range; or ``hidden`` or ``penalty`` cannot be.
    """
    if hidden is not None and not 1 <= hidden <= MOST_HIDDEN:
        raise InputError(f"a hidden layer of {hidden} units; possible are 1 to {MOST_HIDDEN}")
    if penalty is not None and not 0 < penalty < np.inf:
        raise InputError(f"a penalty of {penalty:g}; it must be above 0")
    counts = [dimension.thresholds for dimension in dimensions]
    candidates = np.flatnonzero(usable(vectors))
    names = () if signals is None else signals.names
    d, s = vectors.shape[1], len(names)
    beside = labels if signals is None else np.hstack([labels, signals.values])
    work = (d + s) * sum(counts) if hidden is None else (d + s + sum(counts)) * hidden
    rows, folds = choose_rows(vectors, beside, groups, candidates, work, seed)
    _check_labels(labels[rows], dimensions)
    table = np.empty((len(rows), d + s))
    table[:, :d] = vectors[rows]
    table[:, :d] /= np.linalg.norm(table[:, :d], axis=1, keepdims=True)
    if signals is not None:
        table[:, d:] = transformed(signals.values[rows])
    mean, scale = standardise(table, d)
    ways = strengths(signals)
    layers, chosen = fit_layers(
        table,
        folds,
        _targets(labels[rows], dimensions),
        counts,
        relative=np.stack([column_strengths(strength, d, s) for strength in ways]),
        hidden=hidden,
        penalty=penalty,
        seed=seed,
    )
    found = tuple(ways[way] for way in chosen.tolist())
    return Head(tuple(dimensions), layers, mean, scale, names, found)


def predict(head: Head, vectors: Float32Array, signals: Float32Array | None = None) -> Float32Array:
    """The expected value of each dimension: ``least + sum over j of P(value > least + j)``.

    Each threshold has weights of its own, so that P may rise from one to the next; it counts as
    the least of those before (a value above 2 is above 1).

    Args:
        head: a fitted one.
        vectors: float32 ``[n, d]``, of any length.
        signals: float32 ``[n, s]``, those that the head reads, in its order; what is not finite
            counts as the mean. None for a head that reads none.

    Returns:
        float32 ``[n, m]`` from least to most, in Fortran order: a column is contiguous. NaN where a
        vector is zero or not finite.

    Raises:
        InputError: the vectors or the signals are not as wide as the head's.
    """
    return _points(head, vectors, signals, whole=False)


def decide(head: Head, vectors: Float32Array, signals: Float32Array | None = None) -> Float32Array:
    """The point of each dimension: ``least`` and one for each threshold that is passed (P > 0.5).

    Args and Raises: as of ``predict``.

    Returns:
        float32 ``[n, m]``, whole points above least; NaN as in ``predict``.
    """
    return _points(head, vectors, signals, whole=True)


def _points(
    head: Head, vectors: Float32Array, signals: Float32Array | None, *, whole: bool
) -> Float32Array:
    """What ``predict`` gives, or ``decide`` where ``whole`` is true."""
    d = len(head.mean) - len(head.signals)
    if vectors.ndim != 2 or vectors.shape[1] != d:
        raise InputError(
            f"vectors have {vectors.shape[-1]} numbers, but the head is for {d}; "
            "embed with the model that it was fitted on"
        )
    if signals is None:
        signals = np.zeros((len(vectors), 0), np.float32)
    if signals.shape != (len(vectors), len(head.signals)):
        raise InputError(
            f"signals are of shape {signals.shape}, but the head reads {len(head.signals)} of "
            f"{len(vectors)} documents: {', '.join(head.signals)}"
        )
    layers = _folded(head)
    points = np.empty((len(head.dimensions), len(vectors)), np.float32)
    # one thread: the multiplications are too small to be shared
    with _thread_pools().limit(limits=1):
        for start in range(0, len(vectors), _ROWS):
            block = slice(start, start + _ROWS)
            read = cut(whole_tiles(signals[block]), head.mean[d:], head.scale[d:])
            logits = logits_of(layers, vectors[block], read)
            _points_of(head.dimensions, logits, points[:, block], whole)
    return points.T


def _points_of(
    dimensions: Sequence[HeadDimension], logits: Float32Array, points: Float32Array, whole: bool
) -> None:
    """Fill ``points`` ``[m, n]`` from logits ``[outputs, n]``, which are overwritten."""
    ends = np.cumsum([dimension.thresholds for dimension in dimensions]).tolist()
    spans = [range(*pair) for pair in zip([0, *ends[:-1]], ends, strict=True)]
    for span in spans:
        for row in span[1:]:
            np.minimum(logits[row], logits[row - 1], out=logits[row])
    above = np.heaviside(logits, 0) if whole else _sigmoid(logits)
    for dimension, span, column in zip(dimensions, spans, points, strict=True):
        total = above[span[0]]
        for row in span[1:]:
            total += above[row]
        np.add(total, np.float32(dimension.least), out=column)


@functools.cache
def _thread_pools() -> ThreadpoolController:
    """Found once: to look for them takes as long as a thousand documents."""
    return ThreadpoolController()


def _sigmoid(logits: Float32Array) -> Float32Array:
    """1 / (1 + exp(-logits)), in place."""
    with np.errstate(over="ignore"):  # of exp: the probability is 0
        np.exp(np.negative(logits, out=logits), out=logits)
        logits += 1
        return np.reciprocal(logits, out=logits)


def _folded(head: Head) -> Layers:
    """The layers of a head for its inputs as they are: mean and scale are part of the first."""
    weight, bias = (part.astype(np.float64) for part in head.layers[0])
    weight /= head.scale[:, None]
    bias -= (head.mean[:, None] * weight).sum(axis=0)
    return (weight.astype(np.float32), bias.astype(np.float32)), *head.layers[1:]


def _check_labels(labels: Float64Array, dimensions: Sequence[HeadDimension]) -> None:
    """Refuse labels that nothing can be learned from."""
    for dimension, column in zip(dimensions, labels.T, strict=True):
        known = column[~np.isnan(column)]
        name = f"quality dimension {dimension.name!r}"
        if len(known) < FEWEST_LABELS:
            raise InputError(
                f"{name} has {len(known)} labelled documents with a vector; a head needs at least "
                f"{FEWEST_LABELS}: label more documents"
            )
        wrong = known[(known < dimension.least) | (known > dimension.most)]
        if len(wrong):
            raise InputError(
                f"{name} goes from {dimension.least:g} to {dimension.most:g}, but {len(wrong)} "
                f"labels are outside, such as {wrong[0]:g}; correct them or the range"
            )
        if known.min() == known.max():
            raise InputError(
                f"{name} has the label {known[0]:g} in all of its {len(known)} labelled documents, "
                "so that there is nothing to learn; label more documents, or leave it out"
            )


def _targets(labels: Float64Array, dimensions: Sequence[HeadDimension]) -> Float64Array:
    """float64 ``[n, outputs]``: how far each label is above each threshold, 0..1; NaN for none."""
    columns = [
        np.clip(labels[:, place] - dimension.least - above, 0, 1)
        for place, dimension in enumerate(dimensions)
        for above in range(dimension.thresholds)
    ]
    return np.stack(columns, axis=1)
