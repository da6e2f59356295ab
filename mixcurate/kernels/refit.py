"""When new documents ask for new clusters: the verdict on what ``drift`` measures.

Two questions are kept apart, for with many documents every difference is significant and with few
every difference is large: how large is it, and could it be chance.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt
from scipy import special

from mixcurate.kernels.clustering import DriftParams
from mixcurate.kernels.drift import Drift


@dataclasses.dataclass(frozen=True)
class Verdict:
    """Whether clusters should be fitted again.

    Attributes:
        refit: whether they should.
        reasons: why, in numbers; empty without a refit.
        notes: what has changed, but is no reason: few documents, or other shares of domains.
    """

    refit: bool
    reasons: list[str]
    notes: list[str]


def judge(drift: Drift, params: DriftParams, names: list[str]) -> Verdict:
    """Say whether a refit is due.

    A document far from its centroid is one that no cluster is about. The share of such documents
    must exceed its limit by the lower end of its confidence interval (Clopper and Pearson 1934,
    doi:10.1093/biomet/26.4.404), for domains with the chance of error shared among them. Other
    shares of domains need no new clusters, only a new mixture: they are a note.

    Args:
        drift: of ``compare``.
        params: the limits.
        names: of the domains, one for each group.
    """
    n = int(drift.new.sum())
    reasons = _far_reasons(drift, params, names)
    found = drift.distances
    if found.bits > params.max_divergence and not found.is_chance(params.confidence):
        reasons.append(
            f"distances to the centroids diverge by {found.bits:.3f} bits from the fitted ones; "
            f"the limit is {params.max_divergence:g}"
        )
    notes = []
    if drift.shares.bits > params.max_divergence and not drift.shares.is_chance(params.confidence):
        most = int(np.argmax(np.abs(drift.share_change)))
        notes.append(
            f"shares of domains diverge by {drift.shares.bits:.3f} bits; {names[most]} by "
            f"{drift.share_change[most]:+.1%} of documents: plan the mixture again"
        )
    if n < params.least_documents and reasons:
        notes += [f"{reason} (of too few documents: {n:,})" for reason in reasons]
        reasons = []
    return Verdict(bool(reasons), reasons, notes)


def _far_reasons(drift: Drift, params: DriftParams, names: list[str]) -> list[str]:
    """What too many far documents say, of all and of domains."""
    n, chance = int(drift.new.sum()), 1 - params.confidence
    least = float(_least_share(drift.far.sum(keepdims=True), np.array([n]), chance)[0])
    expected = drift.expected_share
    reasons = []
    if n and least > params.max_far * expected:
        reasons.append(
            f"{drift.far.sum() / n:.1%} of {n:,} new documents (at least {least:.1%}) are farther "
            f"from their centroid than 99 % of the fitted ones of their domain; {expected:.1%} "
            f"are expected, and {params.max_far:g} times that is the limit"
        )
    each = _least_share(drift.far, drift.new, chance / max(1, len(drift.new)))
    drifted = np.flatnonzero(each > params.max_far * drift.expected)
    held = int(drift.new[drifted].sum())
    if len(drifted) and held >= params.least_share * n:
        worst = drifted[np.argsort(-drift.far[drifted], kind="stable")][:5].tolist()
        shown = ", ".join(f"{names[g]} ({drift.far[g] / drift.new[g]:.0%} far)" for g in worst)
        reasons.append(
            f"{len(drifted)} of {len(names)} domains, with {held / n:.1%} of the new documents, "
            f"have more than {params.max_far:g} times the far documents that are expected: {shown}"
        )
    return reasons


def _least_share(
    found: npt.NDArray[np.int64], of: npt.NDArray[np.int64], chance: float
) -> npt.NDArray[np.float64]:
    """Lower confidence bound of a share; 0 where nothing was found."""
    some = np.maximum(found, 1)
    bound = special.betaincinv(some, np.maximum(of - found + 1, 1), chance)
    return np.where(found > 0, bound, 0.0)
