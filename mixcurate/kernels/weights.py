"""SampleMix: from quality and diversity to how often a document is drawn (arXiv 2503.01506).

Section 2.3: d = compactness * separation of the document's cluster. Section 2.4: min-max
normalised over the pool, p = alpha * d + (1 - alpha) * q, and a document's expected count is
|D| * exp(p / tau) / sum exp(p / tau); here divided by |D|'s share, so that the mean weight is one
and the budget stays a matter of the plan.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from mixcurate.kernels.fixedpoint import from_fixed, to_fixed
from mixcurate.kernels.hashing import UInt64Array, unit_interval
from mixcurate.kernels.scoring import WeightParams

Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class Range:
    """Least and greatest value of a score over the pool; merges in any order."""

    least: float = float("inf")
    most: float = float("-inf")

    @staticmethod
    def of(values: Float32Array) -> Range:
        """The range of a batch."""
        return Range(float(values.min()), float(values.max())) if len(values) else Range()

    def merge(self, other: Range) -> Range:
        """The range of both."""
        return Range(min(self.least, other.least), max(self.most, other.most))

    def unit(self, values: Float32Array) -> Float64Array:
        """Min-max normalised values; all 0.5 when the pool has one value only."""
        if not self.most > self.least:
            return np.full(len(values), 0.5)
        return (values.astype(np.float64) - self.least) / (self.most - self.least)


def diversity(mean_distance: Float64Array, separation: Float64Array) -> Float32Array:
    """d = compactness * separation per cluster: float32 ``[k]`` (SampleMix, section 2.3)."""
    return (mean_distance * separation).astype(np.float32)


def unnormalised(
    quality: Float32Array,
    diversity: Float32Array,
    ranges: tuple[Range, Range],
    params: WeightParams,
) -> Float64Array:
    """exp((p - 1) / tau) for a batch: float64 ``[n]`` in (0, 1].

    The shift by one is a constant factor that cancels, and keeps the exponential from overflowing.
    It is rounded to the fixed-point grid so that sums over the pool are exact.
    """
    p = params.alpha * ranges[1].unit(diversity) + (1 - params.alpha) * ranges[0].unit(quality)
    return np.maximum(from_fixed(to_fixed(np.exp((p - 1) / params.tau))), 2.0**-30)


def copies(weight: Float32Array, keys: UInt64Array) -> npt.NDArray[np.int32]:
    """Draws at a budget as large as the pool: floor(w), and one more with chance w - floor(w).

    The chance is a hash (section 2.4.3 rounds by a coin): int32 ``[n]``.
    """
    wide = weight.astype(np.float64)
    whole = np.floor(wide)
    one_more = unit_interval(keys) >= 1.0 - (wide - whole)
    result: npt.NDArray[np.int32] = whole.astype(np.int32) + one_more
    return result
