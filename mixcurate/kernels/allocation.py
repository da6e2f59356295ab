"""How many copies a weight stands for: expected, rounded by a hash, and in which order they come.

Methods, each with one scale that is found so that the expected copies add up to a target:

- samplemix: scale * w, floor plus a coin (SampleMix, arXiv 2503.01506, section 2.4.3);
- soft_cap: log(1 + penalty * scale * w) / penalty. Soft Cap Sampling (FLYT) draws batches from a
  softmax of the scores and takes ``penalty`` from the score of what it drew. A document that was
  drawn n times is drawn at rate exp(s - penalty * n) / Z, so that n grows as this logarithm: the
  closed form of the procedure for batches that are small against the pool;
- gumbel: whole epochs, and of the rest each document with chance 1 - exp(-scale * w): the documents
  with the largest log w + Gumbel noise (Gumbel top-k of QuRating, arXiv 2402.09739), since an
  exponential variable over w falls as that sum rises;
- top: no chance at all: whole epochs, and of the next one the documents with the largest weights,
  those of one weight in the order of their hashes. Weights are in (0, 1].

``max_epochs`` caps the expected copies of a document; since the scale is found with the cap in
place, what the cap takes away goes to the others (water-filling).
"""

from __future__ import annotations

import dataclasses
import math
from typing import Literal

import numpy as np
import numpy.typing as npt

from mixcurate.errors import PlanError
from mixcurate.kernels import fixedpoint
from mixcurate.kernels.hashing import UInt64Array, unit_interval

Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]
Int64Array = npt.NDArray[np.int64]

Method = Literal["samplemix", "soft_cap", "gumbel", "top"]

#: Trailing bits of a float32 weight that one bin covers. Bins are 2 ** -12 wide where copies follow
#: from them, and 2 ** -7 where there are many groups or only a bound is needed: then a table stays
#: small with a thousand domains.
FINE, COARSE = 11, 16

#: Bits of a float64 key that may differ between processors' logarithms and exponentials.
_UNSURE_BITS = np.uint64(12)

#: Expected copies are rounded to this part of one before they decide: a budget as large as the
#: pool shall give a document of weight one exactly one copy.
_STEP = 2.0**-40

#: Weights of top are rounded down to parts of one that a key below 32 can tell.
_TOP_STEP = 2.0**-48


@dataclasses.dataclass(frozen=True)
class CopyRule:
    """How weights become copies."""

    method: Method = "samplemix"
    penalty: float = 0.15
    """Of soft_cap."""
    cap: float = math.inf
    """Most expected copies of one document."""

    def expected(self, weight: npt.NDArray[np.floating], scale: Scale) -> Float64Array:
        """Expected copies at a scale: float64 ``[n]``."""
        scaled = scale.value * weight.astype(np.float64)
        match self.method:
            case "samplemix":
                copies = scaled
            case "soft_cap":
                copies = np.log1p(self.penalty * scaled) / self.penalty
            case "gumbel":
                copies = scale.whole - np.expm1(-scaled)
            case "top":  # a document is in or out, so totals have steps
                copies = scale.whole + (1.0 - _below_one(weight) <= scale.value).astype(np.float64)
        return np.minimum(copies, self.cap)

    def copies(self, expected: Float64Array, keys: UInt64Array) -> npt.NDArray[np.int32]:
        """Whole copies, and one more where the key is in the upper part of its range.

        Args:
            expected: float64 ``[n]``.
            keys: uniform hashes, those that ``keys_of_copies`` orders the copies by.

        Returns:
            int32 ``[n]``; on average the expected copies.
        """
        steady = np.rint(expected / _STEP) * _STEP
        whole = np.floor(steady)
        # the chance of one more, for a uniform v in [0, 1): v >= 1 - rest, or the other way round
        # for gumbel, where small keys come first
        v = unit_interval(keys)
        rest = steady - whole
        more = v < rest if self.method == "gumbel" else v >= 1.0 - rest
        return whole.astype(np.int32) + more.astype(np.int32)

    def keys_of_copies(
        self, weight: Float64Array, keys: UInt64Array, copy: int
    ) -> tuple[Float64Array, npt.NDArray[np.bool_]]:
        """The scale from which on a document has its copy number ``copy`` (1, 2, ...).

        Returns:
            float64 ``[n]``, positive, rising with ``copy``; of gumbel it is scale / (1 + scale)
            after ``copy`` - 1 whole epochs, and of top it is in (copy - 1, copy]: equal for equal
            weights, so that ``keys`` must settle it. And which documents can have the copy at all.
        """
        if self.method == "top":
            return copy - _below_one(weight), np.full(len(weight), copy <= self.cap)
        v = unit_interval(keys)
        needed = copy - v
        possible = needed <= self.cap
        match self.method:
            case "samplemix":
                return needed / weight, possible
            case "soft_cap":
                return _steady(np.expm1(self.penalty * needed) / (self.penalty * weight)), possible
            case "gumbel":
                waiting = np.maximum(-np.log1p(-v), 1e-300) / weight
                inside = _steady(waiting / (1 + waiting))
                return copy - 1 + inside, copy - 1 + v <= self.cap


def _below_one(weight: npt.NDArray[np.floating]) -> Float64Array:
    """Weights of top as multiples of ``_TOP_STEP`` in [0, 1)."""
    steps = np.floor(weight.astype(np.float64) / _TOP_STEP) * _TOP_STEP
    return np.minimum(steps, 1.0 - _TOP_STEP)


def _steady(keys: Float64Array) -> Float64Array:
    """Keys without the bits in which processors may differ."""
    bits = keys.view(np.uint64) >> _UNSURE_BITS << _UNSURE_BITS
    return np.maximum(bits.view(np.float64), np.finfo(np.float64).tiny)


@dataclasses.dataclass(frozen=True)
class Scale:
    """What expected copies follow from, beside the weight."""

    value: float
    whole: int = 0
    """Whole epochs, of gumbel."""


#: One bin of weights: of a domain, how many documents and tokens, and sums of the weights' low bits
#: over both.
WEIGHTS = np.dtype(
    [
        ("domain", "<i4"),
        ("bin", "<i4"),
        ("documents", "<i8"),
        ("tokens", "<i8"),
        ("low", "<i8"),
        ("low_tokens", "<i8"),
    ]
)

_SUMS = ("documents", "tokens", "low", "low_tokens")

Bins = npt.NDArray[np.void]


def bin_weights(
    weight: Float32Array, tokens: Int64Array, domain: npt.NDArray[np.int32], low_bits: int = FINE
) -> Bins:
    """Weights by leading bits: ``WEIGHTS`` records, sorted.

    A positive float sorts like its bits. In a bin, all weights share their exponent and the first
    bits of the mantissa; their mean follows exactly from sums of the low bits, which are integers.

    Args:
        weight: float32 ``[n]``, positive.
        tokens: int64 ``[n]``.
        domain: int32 ``[n]``, or what else scales are found for.
        low_bits: ``FINE`` or ``COARSE``.
    """
    bits = weight.view(np.int32)
    low = (bits & ((1 << low_bits) - 1)).astype(np.int64)
    ones = np.ones(len(weight), np.int64)
    return _binned(domain, bits >> low_bits, [ones, tokens, low, low * tokens])


def merge_bins(pieces: list[Bins]) -> Bins:
    """One table of many, the same in any order."""
    records = np.concatenate([np.zeros(0, WEIGHTS), *pieces])
    sums = [np.ascontiguousarray(records[name]) for name in _SUMS]
    return _binned(records["domain"], records["bin"], sums)


def _binned(
    domain: npt.NDArray[np.int32], place: npt.NDArray[np.int32], sums: list[Int64Array]
) -> Bins:
    """Sums by domain and bin."""
    keys, totals = fixedpoint.sums_by_key(domain.astype(np.int64) << 32 | place, *sums)
    merged = np.empty(len(keys), WEIGHTS)
    merged["domain"], merged["bin"] = keys >> 32, keys & 0xFFFFFFFF
    for name, total in zip(_SUMS, totals, strict=True):
        merged[name] = total
    return merged


@dataclasses.dataclass(frozen=True)
class Amounts:
    """Weights, and how much there is of each: what copies are multiplied with.

    Attributes:
        weight: float64 ``[b]``, mean of a bin.
        amount: float64 ``[b]``, documents or tokens.
    """

    weight: Float64Array
    amount: Float64Array

    @staticmethod
    def of(bins: Bins, what: Literal["documents", "tokens"], low_bits: int = FINE) -> Amounts:
        """Of some bins; the mean weight is that of its documents, or of its tokens."""
        start = (bins["bin"] << low_bits).view(np.int32).view(np.float32).astype(np.float64)
        step = np.ldexp(1.0, np.frexp(start)[1] - 24)
        amount = bins[what].astype(np.float64)
        low = bins["low" if what == "documents" else "low_tokens"]
        with np.errstate(invalid="ignore"):
            mean = start + step * np.where(amount > 0, low / amount, 0.0)
        return Amounts(mean, amount)

    def total(self, rule: CopyRule, scale: Scale) -> float:
        """Expected documents or tokens at a scale."""
        return float(np.dot(rule.expected(self.weight, scale), self.amount))


def find_scale(rule: CopyRule, amounts: Amounts, target: float, what: str) -> Scale:
    """The scale at which the expected copies add up to a target.

    Without cap, samplemix is exact. Else a bin counts with its mean weight: with fine bins, the
    error of the total is below 2 ** -12 of what the one bin holds in which the cap begins, and for
    the curved methods below 2 ** -24 of all.

    Args:
        rule: of copies, not top: what is drawn then has no expectation to meet a target with.
        amounts: of all documents that share the scale.
        target: documents or tokens.
        what: these, for the message.

    Raises:
        PlanError: the cap does not allow so much.
    """
    from scipy.optimize import brentq  # here: its import takes longer than most stages' start

    all_of_it = float(amounts.amount.sum())
    if target <= 0 or all_of_it == 0:
        return Scale(0.0)
    if target > rule.cap * all_of_it * (1 + 1e-12):
        raise PlanError(
            f"score.weight.max_epochs {rule.cap:g} allows {rule.cap * all_of_it:,.0f} {what}, "
            f"fewer than the target of {target:,.0f}; raise it or lower mixture.budget_tokens"
        )
    if rule.method == "samplemix" and math.isinf(rule.cap):
        return Scale(target / float(np.dot(amounts.weight, amounts.amount)))
    whole = 0
    if rule.method == "gumbel":
        whole = int(target / all_of_it)
        if target - whole * all_of_it <= 0:
            return Scale(0.0, whole)
    high = 1.0
    while amounts.total(rule, Scale(high, whole)) < target * (1 - 1e-15):
        high *= 2
        if high > 2.0**1000:  # the target is all that there can be
            return Scale(high, whole)

    def excess(scale: float) -> float:
        return amounts.total(rule, Scale(scale, whole)) - target

    if excess(high) <= 0:
        return Scale(high, whole)
    return Scale(float(brentq(excess, 0.0, high, xtol=1e-300, rtol=8.9e-16, maxiter=2_000)), whole)


def largest_key(rule: CopyRule, amounts: Amounts, target: float) -> float:
    """A key that the last copy of a draw to ``target`` cannot exceed; coarse bins are enough.

    A document has at least its expected copies less one, so that the scale at which the expected
    ones add up to the target and everything once more is enough.
    """
    all_of_it = float(amounts.amount.sum())
    if all_of_it == 0:
        return 0.0
    if rule.method in ("gumbel", "top"):  # after whole epochs that are enough
        return math.floor(target / all_of_it) + 1.0
    wanted = (target + all_of_it) * (1 + 2.0**-6)
    if wanted >= rule.cap * all_of_it:
        return math.inf
    return find_scale(rule, amounts, wanted, "tokens").value
