"""SampleMix: from quality and diversity to a sampling weight (arXiv 2503.01506, section 2.4).

Both are brought to [0, 1] over the pool, p = alpha * d + (1 - alpha) * q, and the weight of a
document is exp(p / tau) over the mean of these: one on average. A pool is seen in parts, so that
what is known of all of it (ranges, ranks, the mean) comes from partial results that merge to the
same bits in any order. The same holds within each group, if documents are compared within domains.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from mixcurate.kernels.scoring import WeightParams

Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]
Int64Array = npt.NDArray[np.int64]

#: Sums of exponentials by (group, binary exponent): integers, exact in any order.
Exponentials = Mapping[tuple[int, int], int]

#: Bins of the range of a score that ranks are told apart by; documents of one bin tie.
RANK_BINS = 65_536

#: Mantissas are multiples of 2 ** -30: the rounding is no more than a float's of 10 digits.
_MANTISSA_BITS = 30

#: No weight is less, so that none is zero as a float32.
LEAST_WEIGHT = 2.0**-126


@dataclasses.dataclass(frozen=True)
class Documents:
    """The pool's documents in one part, one element each.

    Attributes:
        quality: float64 ``[n]``.
        diversity: float64 ``[n]``.
        tokens: int64 ``[n]``.
        group: int64 ``[n]``, what they are compared within; all 0 for the pool as a whole.
    """

    quality: Float64Array
    diversity: Float64Array
    tokens: Int64Array
    group: Int64Array

    @property
    def scores(self) -> tuple[Float64Array, Float64Array]:
        """Quality and diversity."""
        return self.quality, self.diversity


@dataclasses.dataclass(frozen=True)
class Extent:
    """How far the scores of each group reach, and how much there is of it; merges in any order.

    Attributes:
        least: float64 ``[2, groups]``, of quality and of diversity; infinite for an empty group.
        most: float64 ``[2, groups]``.
        documents: int64 ``[groups]``.
        tokens: int64 ``[groups]``.
    """

    least: Float64Array
    most: Float64Array
    documents: Int64Array
    tokens: Int64Array

    @staticmethod
    def of(part: Documents, groups: int) -> Extent:
        """The extent of a part."""
        least = np.full((2, groups), np.inf)
        most = np.full((2, groups), -np.inf)
        for row, values in enumerate(part.scores):
            np.minimum.at(least[row], part.group, values)
            np.maximum.at(most[row], part.group, values)
        documents = np.bincount(part.group, minlength=groups).astype(np.int64)
        tokens = np.zeros(groups, np.int64)
        np.add.at(tokens, part.group, part.tokens)
        return Extent(least, most, documents, tokens)

    def merge(self, other: Extent) -> Extent:
        """The extent of both."""
        return Extent(
            np.minimum(self.least, other.least),
            np.maximum(self.most, other.most),
            self.documents + other.documents,
            self.tokens + other.tokens,
        )

    def unit(self, part: Documents) -> Float64Array:
        """Min-max normalised scores, float64 ``[2, n]``; 0.5 where a group has one value only."""
        span = self.most - self.least
        with np.errstate(invalid="ignore", divide="ignore"):
            units = [
                np.where(
                    span[row][part.group] > 0,
                    (values - self.least[row][part.group]) / span[row][part.group],
                    0.5,
                )
                for row, values in enumerate(part.scores)
            ]
        return np.stack(units)


@dataclasses.dataclass(frozen=True)
class Ranks:
    """How many documents have which normalised score: for the rank of each.

    Attributes:
        bins: int64, sorted: ``(score, group, bin)`` as one number, score 0 for quality.
        documents: int64, in each.
    """

    bins: Int64Array
    documents: Int64Array

    @staticmethod
    def of(units: Float64Array, group: Int64Array, groups: int) -> Ranks:
        """The counts of a part."""
        places = _places(units, group, groups)
        return Ranks(*np.unique(places.ravel(), return_counts=True))

    @staticmethod
    def merged(pieces: Iterable[Ranks]) -> Ranks:
        """One of many, in any order."""
        held = [Ranks(np.zeros(0, np.int64), np.zeros(0, np.int64)), *pieces]
        bins, where = np.unique(np.concatenate([piece.bins for piece in held]), return_inverse=True)
        documents = np.zeros(len(bins), np.int64)
        np.add.at(documents, where, np.concatenate([piece.documents for piece in held]))
        return Ranks(bins, documents)

    def unit(self, units: Float64Array, group: Int64Array, groups: int) -> Float64Array:
        """The share of its group that a document's score is above, ties counting half."""
        series = self.bins // RANK_BINS
        of_series = np.zeros(2 * groups, np.int64)
        np.add.at(of_series, series, self.documents)
        up_to = np.cumsum(self.documents)
        before = np.concatenate([[0], np.cumsum(of_series)])[series]
        middle = (up_to - before - self.documents / 2) / of_series[series]
        found: Float64Array = middle[np.searchsorted(self.bins, _places(units, group, groups))]
        return found


def _places(units: Float64Array, group: Int64Array, groups: int) -> Int64Array:
    bins = np.minimum((units * RANK_BINS).astype(np.int64), RANK_BINS - 1)
    first = np.array([[0], [groups]])
    places: Int64Array = (first + group) * RANK_BINS + bins
    return places


def units_of(part: Documents, extent: Extent, ranks: Ranks | None) -> Float64Array:
    """Quality and diversity in [0, 1]: float64 ``[2, n]``; by rank if there are ranks."""
    units = extent.unit(part)
    if ranks is None:
        return units
    return ranks.unit(units, part.group, len(extent.documents))


@dataclasses.dataclass(frozen=True)
class Powers:
    """exp((p - 1) / tau) as mantissa * 2 ** exponent, so that no temperature overflows.

    Attributes:
        mantissa: int64 ``[n]``, in [1, 2] times 2 ** 30.
        exponent: int64 ``[n]``.
    """

    mantissa: Int64Array
    exponent: Int64Array


def powers(units: Float64Array, params: WeightParams) -> Powers:
    """The exponentials of a part; the shift by one is a factor that cancels."""
    p = params.alpha * units[1] + (1 - params.alpha) * units[0]
    binary = (p - 1) * (math.log2(math.e) / params.tau)
    exponent = np.floor(binary)
    mantissa = np.rint(np.exp2(binary - exponent) * 2.0**_MANTISSA_BITS)
    return Powers(mantissa.astype(np.int64), exponent.astype(np.int64))


def sum_powers(values: Powers, group: Int64Array) -> dict[tuple[int, int], int]:
    """Sums of a part by group and exponent."""
    if len(group) == 0:
        return {}
    lowest = int(values.exponent.min())
    width = int(values.exponent.max()) - lowest + 1
    keys, where = np.unique(group * width + (values.exponent - lowest), return_inverse=True)
    sums = np.zeros(len(keys), np.int64)
    np.add.at(sums, where, values.mantissa)
    return {
        (key // width, key % width + lowest): total
        for key, total in zip(keys.tolist(), sums.tolist(), strict=True)
    }


def merge_exponentials(pieces: Iterable[Exponentials]) -> dict[tuple[int, int], int]:
    """One of many, in any order."""
    merged: dict[tuple[int, int], int] = {}
    for piece in pieces:
        for key, total in piece.items():
            merged[key] = merged.get(key, 0) + total
    return dict(sorted(merged.items()))


@dataclasses.dataclass(frozen=True)
class Mean:
    """Mean of the exponentials of each group, as mantissa * 2 ** exponent.

    Attributes:
        mantissa: float64 ``[groups]``, near one; 1 for an empty group.
        exponent: int64 ``[groups]``.
    """

    mantissa: Float64Array
    exponent: Int64Array

    @staticmethod
    def of(sums: Exponentials, documents: Int64Array) -> Mean:
        """From the sums of the whole pool, exactly, and rounded once."""
        totals: dict[int, Fraction] = {}
        for (group, exponent), total in sums.items():
            power = Fraction(2) ** (exponent - _MANTISSA_BITS)
            totals[group] = totals.get(group, Fraction(0)) + total * power
        mantissa = np.ones(len(documents))
        shift = np.zeros(len(documents), np.int64)
        for group, value in totals.items():
            mean = value / int(documents[group])
            shift[group] = mean.numerator.bit_length() - mean.denominator.bit_length()
            mantissa[group] = float(mean / Fraction(2) ** int(shift[group]))
        return Mean(mantissa, shift)


def weights(values: Powers, mean: Mean, group: Int64Array) -> Float32Array:
    """Sampling weights, one on average over a group: float32 ``[n]``, positive."""
    fraction = values.mantissa / (2.0**_MANTISSA_BITS * mean.mantissa[group])
    exact = np.ldexp(fraction, (values.exponent - mean.exponent[group]).astype(np.int32))
    return np.maximum(exact, LEAST_WEIGHT).astype(np.float32)
