"""What quality heads are worth on documents that they were not fitted on."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mixcurate.kernels.hashing import uniform_keys, unit_interval
from mixcurate.kernels.heads import HeadDimension

Floats = npt.NDArray[np.floating]
Float64Array = npt.NDArray[np.float64]

#: Groups of the reliability table.
BINS = 10


@dataclasses.dataclass(frozen=True)
class Bin:
    """Documents whose predictions are near each other: one row of the reliability table.

    Attributes:
        n: how many.
        predicted: mean of their predicted values.
        labelled: mean of their labels.
    """

    n: int
    predicted: float
    labelled: float


@dataclasses.dataclass(frozen=True)
class Measured:
    """One dimension on documents that the head has not seen, in its points.

    The ``constant_`` figures are those of a reader who knows only the labels' distribution: a head
    that is not better than these has learned nothing. A figure that these documents do not define
    is None.

    Attributes:
        name: of the dimension.
        n: documents with a label and a prediction.
        n_unpredicted: documents with a label whose vector is zero or not finite.
        mae: mean absolute error of the expected value.
        mse: mean squared error of the expected value.
        accuracy: share of documents whose decided point is the one nearest to their label.
        within_one: share of documents whose decided point is at most one from the label (CACC of
            SampleMix, arXiv 2503.01506, table 2).
        spearman: rank correlation of expected value and label, ties averaged.
        calibration_error: mean over the documents of how far a bin's predictions are from its
            labels (expected calibration error, Naeini et al. 2015, of values in place of chances).
        constant_mae: of the mean label.
        constant_mse: of the mean label: the labels' variance.
        constant_accuracy: of the most frequent point.
        reliability: documents by tenths of the expected value; equal ones are together.
    """

    name: str
    n: int
    n_unpredicted: int
    mae: float | None = None
    mse: float | None = None
    accuracy: float | None = None
    within_one: float | None = None
    spearman: float | None = None
    calibration_error: float | None = None
    constant_mae: float | None = None
    constant_mse: float | None = None
    constant_accuracy: float | None = None
    reliability: tuple[Bin, ...] = ()


def held_out(keys: pa.Array, seed: int, share: float) -> npt.NDArray[np.bool_]:
    """Which documents to measure on: by hash, so that equal keys are never on both sides.

    Args:
        keys: string or large_string ``[n]``: ids, or groups of documents that must stay together
            such as the versions of a text. Nulls are one group.
        seed: of the hash.
        share: expected share of the keys, 0 to 1.

    Returns:
        bool ``[n]``.
    """
    return unit_interval(uniform_keys(keys, seed, "held-out")) < share


def measure(
    predicted: Floats, decided: Floats, labels: Float64Array, dimensions: Sequence[HeadDimension]
) -> list[Measured]:
    """Compare a head's predictions with labels, dimension by dimension.

    Args:
        predicted: float ``[n, m]``, expected values as ``heads.predict`` gives them.
        decided: float ``[n, m]``, points as ``heads.decide`` gives them.
        labels: float64 ``[n, m]``, NaN for "not labelled".
        dimensions: ``m`` dimensions.
    """
    return [
        _measure_one(
            predicted[:, place].astype(np.float64),
            decided[:, place].astype(np.float64),
            labels[:, place],
            dimension,
        )
        for place, dimension in enumerate(dimensions)
    ]


def _measure_one(
    predicted: Float64Array, decided: Float64Array, labels: Float64Array, dimension: HeadDimension
) -> Measured:
    labelled = ~np.isnan(labels)
    known = labelled & ~np.isnan(predicted)
    n, n_unpredicted = int(known.sum()), int((labelled & ~known).sum())
    if n == 0:
        return Measured(dimension.name, 0, n_unpredicted)
    predicted, decided, labels = predicted[known], decided[known], labels[known]
    error, constant = predicted - labels, labels - labels.mean()
    points = dimension.least + np.floor(labels - dimension.least + 0.5)
    reliability = _reliability(predicted, labels)
    return Measured(
        name=dimension.name,
        n=n,
        n_unpredicted=n_unpredicted,
        mae=float(np.abs(error).mean()),
        mse=float((error**2).mean()),
        accuracy=float((decided == points).mean()),
        within_one=float((np.abs(decided - labels) <= 1).mean()),
        spearman=_spearman(predicted, labels),
        calibration_error=sum(b.n * abs(b.predicted - b.labelled) for b in reliability) / n,
        constant_mae=float(np.abs(constant).mean()),
        constant_mse=float((constant**2).mean()),
        constant_accuracy=float(np.unique(points, return_counts=True)[1].max() / n),
        reliability=reliability,
    )


def _reliability(predicted: Float64Array, labels: Float64Array) -> tuple[Bin, ...]:
    ordered = np.sort(predicted)
    edges = ordered[len(ordered) * np.arange(1, BINS) // BINS]
    place = np.searchsorted(edges, predicted, side="right")
    return tuple(
        Bin(int(here.sum()), float(predicted[here].mean()), float(labels[here].mean()))
        for here in (place == number for number in range(BINS))
        if here.any()
    )


def _spearman(left: Float64Array, right: Float64Array) -> float | None:
    """Spearman's rank correlation, or None where one side is constant."""
    from scipy.stats import rankdata  # here: every command would wait for it

    ranks = [rankdata(side) - (len(side) + 1) / 2 for side in (left, right)]
    lengths = [float(np.sqrt((rank**2).sum())) for rank in ranks]
    if 0.0 in lengths:
        return None
    # sums of halves are exact, so that only the last division rounds
    return float((ranks[0] * ranks[1]).sum() / (lengths[0] * lengths[1]))
