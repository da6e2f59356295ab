"""What other settings of alpha and tau would draw, from a sketch and not from the documents.

The sketch counts documents and tokens by domain and by bins of normalised quality and diversity,
both cut into ``BINS`` equal bins. Documents of one bin are taken to lie at its centre, at most
1 / (2 BINS) away in each, so that p = alpha * d + (1 - alpha) * q (SampleMix, arXiv 2503.01506,
section 2.4) is off by as much at most. A weight exp(p / tau) is then off by a factor of at most
exp(1 / (2 BINS tau)), and as the scale that meets the target is too, a document's expected copies
by at most exp(1 / (BINS tau)): see ``resolution``. Sums over many documents are far nearer: the
mean of exp(p / tau) over an evenly filled bin is the centre's times a factor that all bins share.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable
from typing import Literal

import numpy as np
import numpy.typing as npt

from mixcurate.kernels.allocation import Amounts, CopyRule, find_scale
from mixcurate.kernels.score_sketch import BINS
from mixcurate.kernels.weights import LEAST_WEIGHT

Float64Array = npt.NDArray[np.float64]
Int64Array = npt.NDArray[np.int64]

#: Of repeated tokens, after how many epochs e-fold less is gained: R_D* of Muennighoff et al. 2023
#: (arXiv 2305.16264, section 5 and the fit that they published).
REPEATS = 15.387756


@dataclasses.dataclass(frozen=True)
class Plane:
    """Documents of the pool by domain and by bins of normalised quality and diversity.

    Attributes:
        domain: int ``[m]``.
        quality_bin: int ``[m]`` in [0, BINS).
        diversity_bin: int ``[m]`` in [0, BINS).
        documents: int64 ``[m]``, positive.
        tokens: int64 ``[m]``.
    """

    domain: npt.NDArray[np.integer]
    quality_bin: npt.NDArray[np.integer]
    diversity_bin: npt.NDArray[np.integer]
    documents: Int64Array
    tokens: Int64Array

    @property
    def quality(self) -> Float64Array:
        """Normalised quality at the bins' centres: float64 ``[m]``."""
        centre: Float64Array = (self.quality_bin + 0.5) / BINS
        return centre

    @property
    def diversity(self) -> Float64Array:
        """Normalised diversity at the bins' centres: float64 ``[m]``."""
        centre: Float64Array = (self.diversity_bin + 0.5) / BINS
        return centre


@dataclasses.dataclass(frozen=True)
class Draw:
    """What stays as it is while alpha and tau change.

    Attributes:
        rule: from weights to expected copies.
        target: what the expected copies add up to: documents, or tokens if ``exact`` says so.
        exact: documents or tokens.
        within: whether each domain keeps its share of the target.
    """

    rule: CopyRule
    target: float
    exact: Literal["documents", "tokens"] = "documents"
    within: Literal["pool", "domain"] = "pool"


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What one pair of alpha and tau would draw, in expectation.

    Attributes:
        alpha: share of diversity against quality.
        tau: temperature.
        copies: expected copies in all.
        tokens: expected tokens in all.
        shares: of these tokens by domain, float64 ``[n_domains]``.
        never: share of the pool's documents that are not drawn.
        repeated: share of the pool's documents that are drawn more than once.
        quality: mean normalised quality of the drawn tokens.
        diversity: mean normalised diversity of the drawn tokens.
        largest: most expected copies of a document.
        epochs: drawn tokens for each different one.
        sample_size: effective sample size (Kish: square of the sum by the sum of squares of the
            expected copies) as a share of the pool's documents; 1 where all are drawn alike.
        effective_tokens: fresh tokens that the drawn ones are worth (``effective``).
        resolution: a document's expected copies are off by at most this share of them.
    """

    alpha: float
    tau: float
    copies: float
    tokens: float
    shares: Float64Array
    never: float
    repeated: float
    quality: float
    diversity: float
    largest: float
    epochs: float
    sample_size: float
    effective_tokens: float
    resolution: float


def what_if(
    plane: Plane, draw: Draw, settings: Iterable[tuple[float, float]], n_domains: int
) -> list[Outcome]:
    """What each pair of (alpha, tau) would draw.

    Args:
        plane: the sketch of the pool; not empty.
        draw: what all pairs share.
        settings: alpha in [0, 1] and tau > 0 of each.
        n_domains: number of domains, above each of the sketch.

    Returns:
        As many as ``settings``, in their order.
    """
    return [
        _outcome(plane, expected_copies(plane, draw, alpha, tau), alpha, tau, n_domains)
        for alpha, tau in settings
    ]


def resolution(tau: float) -> float:
    """How far a document's expected copies may be off, as a share of them."""
    return math.expm1(1 / (BINS * tau))


def expected_copies(plane: Plane, draw: Draw, alpha: float, tau: float) -> Float64Array:
    """Expected copies of a document of each bin: float64 ``[m]``.

    Args:
        plane: the sketch of the pool.
        draw: rule and target.
        alpha: share of diversity against quality.
        tau: temperature.
    """
    size = (plane.documents if draw.exact == "documents" else plane.tokens).astype(np.float64)
    share = draw.target / max(float(size.sum()), 1)
    place = plane.quality_bin.astype(np.int64) * BINS + plane.diversity_bin
    copies = np.zeros(len(place))
    for rows in _groups(plane, draw):
        # bins of one place differ in nothing that counts here: solved once for all domains
        mine = place[rows]
        sizes = np.bincount(mine, size[rows], BINS * BINS)
        there = np.flatnonzero(np.bincount(mine, minlength=BINS * BINS))
        quality, diversity = (there // BINS + 0.5) / BINS, (there % BINS + 0.5) / BINS
        p = alpha * diversity + (1 - alpha) * quality
        weight = np.maximum(np.exp((p - p.max()) / tau), LEAST_WEIGHT)
        found = np.zeros(BINS * BINS)
        target = share * float(sizes.sum())
        found[there] = _copies(weight, sizes[there].astype(np.float64), target, draw.rule)
        copies[rows] = found[mine]
    return copies


def _groups(plane: Plane, draw: Draw) -> list[npt.NDArray[np.intp]]:
    """Rows of the sketch that are weighed against each other."""
    if draw.within == "pool":
        return [np.arange(len(plane.domain))]
    order = np.argsort(plane.domain, kind="stable")
    starts = np.flatnonzero(np.diff(plane.domain[order])) + 1
    return np.split(order, starts)


def _copies(
    weight: Float64Array, size: Float64Array, target: float, rule: CopyRule
) -> Float64Array:
    """Expected copies by weight, such that sum(size * copies) is the target.

    Where the bound on copies does not let it be reached, all are at the bound.
    """
    if target >= rule.cap * float(size.sum()):
        return np.full(len(weight), rule.cap)
    return rule.expected(weight, find_scale(rule, Amounts(weight, size), target, "copies"))


def effective(copies: Float64Array) -> Float64Array:
    """How many fresh documents the expected copies of one are worth: float64 ``[n]``.

    Muennighoff et al. 2023 (arXiv 2305.16264): D' = U + U R* (1 - exp(-R / R*)) for U different
    tokens, each repeated R times beside its first. Here of each document for itself, with its whole
    copies and the chance of one more: their fit had all data repeated alike, and D' is concave, so
    that an uneven draw is worth less than the same epochs spread evenly.
    """
    whole = np.floor(copies)
    rest = copies - whole
    worth: Float64Array = (1 - rest) * _worth(whole) + rest * _worth(whole + 1)
    return worth


def _worth(times: Float64Array) -> Float64Array:
    repeats = np.maximum(times - 1, 0)
    return np.minimum(times, 1) - REPEATS * np.expm1(-repeats / REPEATS)


def _outcome(
    plane: Plane, copies: Float64Array, alpha: float, tau: float, n_domains: int
) -> Outcome:
    """Sums over the sketch; a document is drawn floor(c) times and by chance once more."""
    documents, tokens = plane.documents.astype(np.float64), plane.tokens.astype(np.float64)
    drawn = tokens * copies
    total, pool = max(float(drawn.sum()), 1e-300), float(documents.sum())
    times = float(np.dot(documents, copies))
    square = float(np.dot(documents, copies * copies))
    once = np.minimum(copies, 1)
    return Outcome(
        alpha=alpha,
        tau=tau,
        copies=times,
        tokens=float(drawn.sum()),
        shares=np.bincount(plane.domain, drawn, n_domains) / total,
        never=1 - float(np.dot(documents, once)) / pool,
        repeated=float(np.dot(documents, np.clip(copies - 1, 0, 1))) / pool,
        quality=float(np.dot(drawn, plane.quality)) / total,
        diversity=float(np.dot(drawn, plane.diversity)) / total,
        largest=float(copies.max()),
        epochs=float(drawn.sum()) / max(float(np.dot(tokens, once)), 1e-300),
        sample_size=times * times / square / pool if square > 0 else 0.0,
        effective_tokens=float(np.dot(tokens, effective(copies))),
        resolution=resolution(tau),
    )
