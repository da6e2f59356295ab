"""What work will cost: totals from a sample, a rate from a probe or a table, and how sure both are.

Every estimate is an ``Interval`` that holds the truth in 95 of 100 cases, but for the rates of a
table, whose ends are somebody's judgement. Only their quotient becomes hours.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Literal, NamedTuple, Self

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator
from scipy.special import stdtrit

from mixcurate.params import Params

Int64Array = npt.NDArray[np.int64]
Float64Array = npt.NDArray[np.float64]

_CONFIDENCE = 0.95

_Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Interval(NamedTuple):
    """An estimate between bounds, all in one unit."""

    value: float
    low: float
    high: float

    @property
    def relative(self) -> float:
        """Distance to the farther bound as a share of the value; 0 when the value is 0."""
        if self.value == 0:
            return 0.0
        return max(self.high - self.value, self.value - self.low) / self.value

    def times(self, factor: float) -> Interval:
        """The same in another unit; ``factor`` is exact and not negative."""
        return Interval(*(bound * factor for bound in self))

    def over(self, rate: Interval) -> Interval:
        """This amount at that rate, both independent and positive.

        Relative errors add up in squares, on a log scale: the bounds stay positive, and a bound
        that is far from its value on one side alone stays so (delta method for a quotient).
        """
        if self.value == 0:
            return Interval(0.0, 0.0, 0.0)
        up = math.hypot(math.log(self.high / self.value), math.log(rate.value / rate.low))
        down = math.hypot(math.log(self.value / self.low), math.log(rate.high / rate.value))
        value = self.value / rate.value
        return Interval(value, value * math.exp(-down), value * math.exp(up))


class PartSample(NamedTuple):
    """What was looked at of one part."""

    documents: int
    """Documents of the whole part."""
    tokens: Int64Array
    """Tokens of those that were sampled at random, ``[m]`` with m >= 2 unless the part has one."""


def total_tokens(samples: Sequence[PartSample], *, parts: int, documents: int) -> Interval:
    """Tokens of all documents from a sample of documents in a sample of parts.

    The ratio-to-size estimate of two-stage sampling, parts drawn with equal chances (Cochran,
    Sampling Techniques, 3rd ed. 1977, section 11.8): its variance has a term for parts that differ
    from one another, which vanishes when all parts are sampled, and one for documents that differ
    within parts, which vanishes when all documents are.

    Args:
        samples: at least one, and at least two where there are two parts.
        parts: parts that there are.
        documents: documents that there are.

    Returns:
        Tokens; never fewer than those that were counted.
    """
    sizes = np.array([sample.documents for sample in samples], np.float64)
    counts = np.array([len(sample.tokens) for sample in samples], np.float64)
    means = np.array([sample.tokens.mean() for sample in samples])
    within = np.array([s.tokens.var(ddof=1) if len(s.tokens) > 1 else 0.0 for s in samples])
    n = len(samples)
    mean = float((sizes * means).sum() / sizes.sum())
    scale = documents / sizes.sum()
    unseen_parts, unseen_documents = 1 - n / parts, 1 - counts / sizes
    variance = scale * float((sizes**2 * unseen_documents * within / counts).sum())
    if n > 1:
        spread = float(((sizes * (means - mean)) ** 2).sum())
        variance += scale**2 * n / (n - 1) * unseen_parts * spread
    freedom = n - 1 if n < parts else int(counts.sum()) - n
    error = _t(freedom) * math.sqrt(variance) if variance else 0.0
    seen = float(sum(int(sample.tokens.sum()) for sample in samples))
    total = documents * mean
    return Interval(total, max(total - error, min(seen, total)), total + error)


def probed_rate(tokens: Sequence[int], seconds: Sequence[float]) -> Interval:
    """Tokens a second from chunks of work that were timed.

    All tokens over all seconds, so that long chunks count for more; its error is that of a ratio
    (Cochran, section 6.4) with Student's t, on a log scale, so that it stays positive.

    Args:
        tokens: of each chunk, at least two chunks.
        seconds: of each chunk, positive.
    """
    amounts, times = np.array(tokens, np.float64), np.array(seconds, np.float64)
    n = len(amounts)
    rate = float(amounts.sum() / times.sum())
    residuals = amounts - rate * times
    error = math.sqrt(float((residuals**2).sum()) / (n * (n - 1))) / float(amounts.mean())
    factor = math.exp(_t(n - 1) * error)
    return Interval(rate, rate / factor, rate * factor)


def _t(freedom: int) -> float:
    """Half width of a two-sided interval in standard errors."""
    return float(stdtrit(max(freedom, 1), (1 + _CONFIDENCE) / 2))


def allocate(sizes: Sequence[int], sample: int) -> list[int]:
    """How many documents to look at in each part: in proportion, but at least two where there are.

    With one document a part would say nothing of how documents differ within it.
    """
    total = sum(sizes)
    return [min(size, max(2, math.ceil(sample * size / total))) for size in sizes]


class ModelFlops(NamedTuple):
    """Floating point operations of a transformer's forward pass."""

    per_token: float
    """In the matrices of its layers: each weight is multiplied and added once."""
    per_token_and_length: float
    """In attention: to be multiplied with the length of the token's sequence."""

    def mean_per_token(self, lengths: Int64Array) -> float:
        """FLOP per token of sequences of these lengths ``[m]``."""
        squares = float((lengths.astype(np.float64) ** 2).sum())
        return self.per_token + self.per_token_and_length * squares / max(int(lengths.sum()), 1)


def transformer_flops(*, layer_weights: int, layers: int, width: int) -> ModelFlops:
    """FLOP of a forward pass; lookups, norms and activations are left out, as usual.

    Source: Kaplan et al., Scaling Laws for Neural Language Models (2020), section 2.1. Attention
    there counts two products (queries with keys, weights with values) of 2 x width x length each.

    Args:
        layer_weights: parameters in the matrices of all layers.
        layers: number of layers.
        width: of the hidden state, all heads together.
    """
    return ModelFlops(2.0 * layer_weights, 4.0 * layers * width)


class SpeedParams(Params):
    """TFLOP/s that a device reaches on transformer encoders, as 10^12 operations a second."""

    low: _Positive
    typical: _Positive
    high: _Positive
    measured: bool
    """Whether somebody has measured it, rather than taken a share of a spec sheet's peak."""
    date: str
    source: str

    @model_validator(mode="after")
    def _is_ordered(self) -> Self:
        if not self.low <= self.typical <= self.high:
            raise ValueError(
                f"low {self.low}, typical {self.typical}, high {self.high} must ascend"
            )
        return self


class PriceParams(Params):
    """What a machine with one such device costs."""

    per_hour: _Positive
    currency: str
    date: str
    source: str


class DeviceParams(Params):
    """A device, how fast it is by precision, and what it costs."""

    kind: Literal["cpu", "cuda"]
    tflops: dict[Literal["fp32", "bf16", "fp16", "int8"], SpeedParams] = Field(min_length=1)
    price: PriceParams | None = None


class RatesParams(Params):
    """A table of devices."""

    devices: dict[str, DeviceParams] = Field(min_length=1)
