"""Quality of documents: dimensions of any origin, and the one number that they come to.

Our own dimensions are honest heuristics on the signals, no model: each is a mean of ramps between a
bad and a good value of a signal. What the ramps reward is what the published filters (Gopher,
FineWeb) cut at a threshold.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

Float32Array = npt.NDArray[np.float32]

#: Dimensions, in the order of their ``quality_*`` columns.
DIMENSIONS = ("fluency", "form", "originality", "substance")

#: The signals that the dimensions read.
INPUTS = (
    "n_words",
    "mean_word_length",
    "alpha_words",
    "punctuated_lines",
    "symbol_word_ratio",
    "bullet_lines",
    "ellipsis_lines",
    "newline_ratio",
    "duplicate_line_chars",
)


def heuristic_quality(signals: dict[str, Float32Array]) -> dict[str, Float32Array]:
    """The quality dimensions of a batch.

    Args:
        signals: float32 ``[n]`` for each name in ``INPUTS``.

    Returns:
        float32 ``[n]`` in [0, 1] for each name in ``DIMENSIONS``.
    """
    length = signals["mean_word_length"]
    fluency = _mean(
        _ramp(signals["alpha_words"], 0.6, 0.9),
        np.minimum(_ramp(length, 2.5, 4.0), _ramp(length, 10.0, 6.5)),
    )
    form = _mean(
        _ramp(signals["punctuated_lines"], 0.0, 0.6),
        _ramp(signals["symbol_word_ratio"], 0.1, 0.0),
        _ramp(signals["bullet_lines"], 0.9, 0.1),
        _ramp(signals["ellipsis_lines"], 0.3, 0.0),
        _ramp(signals["newline_ratio"], 0.3, 0.05),
    )
    originality = _ramp(signals["duplicate_line_chars"], 0.3, 0.0)
    words = np.log(np.maximum(signals["n_words"], 1))
    substance = _ramp(words, float(np.log(50)), float(np.log(1000)))
    dimensions = (fluency, form, originality, substance)
    return {
        name: value.astype(np.float32) for name, value in zip(DIMENSIONS, dimensions, strict=True)
    }


@dataclasses.dataclass(frozen=True)
class Dimension:
    """One quality dimension: a column, and how it counts.

    Attributes:
        name: what follows ``quality_`` in its column.
        least: value that counts 0.
        most: value that counts 1.
        weight: how much it counts among the others.
        origin: what computes it.
        source: which head, model or field; empty for our own.
    """

    name: str
    least: float
    most: float
    weight: float
    origin: Literal["heuristic", "head", "classifier", "carried"]
    source: str = ""


#: Our own dimensions as they count by default.
HEURISTICS = tuple(Dimension(name, 0.0, 1.0, 1.0, "heuristic") for name in DIMENSIONS)


def combine(
    dimensions: Sequence[Dimension], values: Mapping[str, Float32Array], *, skip: bool = False
) -> Float32Array:
    """Quality: the weighted mean of where each dimension lies between its least and its most.

    Args:
        dimensions: those that count; at least one has a weight.
        values: float32 ``[n]`` of each; NaN where a document has none.
        skip: whether a missing value is left out of the mean, rather than taken as the least.

    Returns:
        float32 ``[n]`` in [0, 1]; 0 where nothing counts.
    """
    n = len(values[dimensions[0].name])
    total, weights = np.zeros(n), np.zeros(n)
    for dimension in dimensions:
        value = values[dimension.name].astype(np.float64)
        there = np.isfinite(value)
        unit = np.clip((value - dimension.least) / (dimension.most - dimension.least), 0.0, 1.0)
        total += dimension.weight * np.where(there, unit, 0.0)
        weights += dimension.weight * (there if skip else np.ones(n))
    mean = np.divide(total, weights, out=np.zeros(n), where=weights > 0)
    return mean.astype(np.float32)


def overall(dimensions: dict[str, Float32Array]) -> Float32Array:
    """Mean of our own dimensions: float32 ``[n]`` in [0, 1]."""
    mean: npt.NDArray[np.float64] = np.mean(
        np.stack(list(dimensions.values())), axis=0, dtype=np.float64
    )
    return mean.astype(np.float32)


def _ramp(value: npt.NDArray[np.floating], bad: float, good: float) -> npt.NDArray[np.float64]:
    """0 at ``bad`` or beyond, 1 at ``good`` or beyond, linear between; either may be larger."""
    return np.clip((value.astype(np.float64) - bad) / (good - bad), 0.0, 1.0)


def _mean(*values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    result: npt.NDArray[np.float64] = np.mean(values, axis=0)
    return result
