"""Whether new documents still fit the clusters of old ones: distances and shares, then and now.

Distances are counted in bins, so that what is compared is small, exact and merges in any order.
What follows from a difference is for ``refit`` to say.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt
from scipy import special

Float64Array = npt.NDArray[np.float64]
Int64Array = npt.NDArray[np.int64]

#: Bits of a float32 that are not part of its bin: 6 of 23 mantissa bits are, 64 bins an octave.
_SHIFT = 17

#: Documents farther than this share of the fitted ones of their group count as far.
_FAR = 0.99

#: Cells, of as many fitted documents each, that two distributions of distances are compared in.
_CELLS = 10


def distance_bins(distance: npt.NDArray[np.float32]) -> npt.NDArray[np.int16]:
    """The bin of each distance: 64 in each octave, of one width inside it.

    A bin is the exponent and the six leading mantissa bits, hence exact on every machine, and at
    most 1/64 wide relative to its lower edge (as in HdrHistogram, hdrhistogram.org).

    Args:
        distance: float32 ``[n]``, not negative.

    Returns:
        int16 ``[n]``, rising with the distance; -1 where it is not finite or negative.
    """
    usable = np.isfinite(distance) & (distance >= 0)
    bits = np.where(usable, distance, 0).astype(np.float32) + np.float32(0)  # -0 becomes 0
    bins = (bits.view(np.uint32) >> np.uint32(_SHIFT)).astype(np.int16)
    return np.where(usable, bins, np.int16(-1))


def bin_edges(bins: npt.NDArray[np.integer]) -> npt.NDArray[np.float32]:
    """The smallest distance of each bin: float32 ``[n]``; of ``bins + 1``, the upper edge."""
    return (bins.astype(np.uint32) << np.uint32(_SHIFT)).view(np.float32)


@dataclasses.dataclass(frozen=True)
class Distances:
    """How many documents of each group (cluster or domain) lie at which distance.

    Attributes:
        group: int32 ``[m]``.
        bins: int16 ``[m]`` of ``distance_bins``; at most one entry for each group and bin.
        documents: int64 ``[m]``.
    """

    group: npt.NDArray[np.int32]
    bins: npt.NDArray[np.int16]
    documents: Int64Array


def count_distances(
    group: npt.NDArray[np.int32], bins: npt.NDArray[np.int16], documents: Int64Array
) -> Distances:
    """Counts of any pieces as one, sorted; negative groups and bins are left out.

    Use it for documents (each counts 1), to merge the counts of parts, and to turn counts of
    clusters into counts of domains: ``count_distances(domain_of[c.group], c.bins, c.documents)``.

    Args:
        group: int32 ``[n]``.
        bins: int16 ``[n]``.
        documents: int64 ``[n]``.
    """
    known = (group >= 0) & (bins >= 0) & (documents > 0)
    place = group[known].astype(np.int64) << 16 | bins[known]
    places, which = np.unique(place, return_inverse=True)
    totals = np.zeros(len(places), np.int64)
    np.add.at(totals, which, documents[known])
    return Distances((places >> 16).astype(np.int32), (places & 0xFFFF).astype(np.int16), totals)


def quantiles(
    group: npt.NDArray[np.int32],
    bins: npt.NDArray[np.int16],
    documents: Int64Array,
    *,
    groups: int,
    q: float,
) -> Float64Array:
    """A quantile of each group's distances, as the upper edge of the bin it lies in.

    So it is too large by at most 1/64 of itself, and whole bins lie on either side of it.

    Args:
        group: int32 ``[n]`` in [0, groups).
        bins: int16 ``[n]`` of ``distance_bins``.
        documents: int64 ``[n]``; counts of one group and bin are added.
        groups: number of groups.
        q: 0 to 1.

    Returns:
        float64 ``[groups]``; NaN where a group has no documents.
    """
    found = _quantile_bins(count_distances(group, bins, documents), q, groups)
    edges = bin_edges(np.maximum(found, 0) + 1).astype(np.float64)
    return np.where(found >= 0, edges, np.nan)


def _quantile_bins(counts: Distances, q: float, groups: int) -> Int64Array:
    """The bin of each group's quantile: int64 ``[groups]``; -1 without documents."""
    totals = _totals(counts, groups)
    before = np.cumsum(totals) - totals
    up_to = np.cumsum(counts.documents) - before[counts.group]
    reached = np.flatnonzero(up_to >= q * totals[counts.group])
    found = np.full(groups, -1, np.int64)
    # bins rise within a group, so the first to reach it is written last
    found[counts.group[reached][::-1]] = counts.bins[reached][::-1]
    return found


@dataclasses.dataclass(frozen=True)
class Drift:
    """New documents beside those that the clusters were fitted to.

    Attributes:
        fitted: fitted documents of each group, int64 ``[g]``.
        new: new documents of each group, int64 ``[g]``.
        far: new documents of each group beyond its fitted 99th percentile, int64 ``[g]``.
        expected: share of them that is expected in each group, float64 ``[g]``.
        distances: divergence of all distances.
        shares: divergence of the groups' shares: the mixture has changed, not the fit.
    """

    fitted: Int64Array
    new: Int64Array
    far: Int64Array
    expected: Float64Array
    distances: Divergence
    shares: Divergence

    @property
    def expected_share(self) -> float:
        """Share of all new documents that is expected to be far."""
        return float(self.expected @ self.new / max(1, self.new.sum()))

    @property
    def share_change(self) -> Float64Array:
        """New share of each group less its fitted one: float64 ``[g]``."""
        now = self.new / max(1, self.new.sum())
        change: Float64Array = now - self.fitted / max(1, self.fitted.sum())
        return change


@dataclasses.dataclass(frozen=True)
class Divergence:
    """How far two samples over the same cells are apart.

    Attributes:
        bits: Jensen-Shannon divergence (Lin 1991, doi:10.1109/18.61115), 0 to 1. A population
            stability index of 0.25, by its rule of thumb a major shift, is some 0.045 bits.
        statistic: of the likelihood ratio test that both come of one distribution.
        freedom: its degrees of freedom.
    """

    bits: float
    statistic: float
    freedom: int

    def is_chance(self, confidence: float) -> bool:
        """Whether samples of one distribution differ so much or more often than that allows.

        The statistic is 2 n times the divergence in nats, the samples weighted by their sizes, and
        follows the chi-squared distribution (Grosse et al. 2002, doi:10.1103/PhysRevE.65.041905).
        """
        return self.freedom == 0 or self.statistic <= special.chdtri(self.freedom, 1 - confidence)


def diverge(before: Int64Array, after: Int64Array) -> Divergence:
    """Divergence of two samples.

    Args:
        before: documents in each cell, int64 ``[c]``.
        after: the same of the other sample.
    """
    used = (before + after) > 0
    one, two = before[used].astype(np.float64), after[used].astype(np.float64)
    if not one.sum() or not two.sum():
        return Divergence(0.0, 0.0, 0)
    p, q = one / one.sum(), two / two.sum()
    bits = _entropy((p + q) / 2) - (_entropy(p) + _entropy(q)) / 2
    n = one.sum() + two.sum()
    mixed = n * _entropy((one + two) / n) - one.sum() * _entropy(p) - two.sum() * _entropy(q)
    statistic = 2 * np.log(2) * max(0.0, mixed)
    return Divergence(float(np.clip(bits, 0, 1)), float(statistic), int(used.sum()) - 1)


def _entropy(p: Float64Array) -> float:
    """Entropy in bits."""
    return float(special.entr(p).sum() / np.log(2))


def compare(fitted: Distances, new: Distances, groups: int) -> Drift:
    """Put new documents beside those that the clusters were fitted to.

    Of n fitted documents with b beyond a point, a new one of the same kind lies beyond it with
    chance (b + 1) / (n + 1): that is expected, rather than b / n, which is 0 for small groups.

    Args:
        fitted: distances of the fitted documents, by domain.
        new: distances of the new ones, to the same centroids.
        groups: number of domains.
    """
    limit = _quantile_bins(fitted, _FAR, groups)
    n_fitted, n_new = _totals(fitted, groups), _totals(new, groups)
    beyond = _totals(_beyond(fitted, limit), groups)
    expected = np.where(n_fitted > 0, (beyond + 1) / (n_fitted + 1), 1.0)
    cells = _cells(fitted)
    return Drift(
        fitted=n_fitted,
        new=n_new,
        far=_totals(_beyond(new, limit), groups),
        expected=expected,
        distances=diverge(_by_cell(fitted, cells), _by_cell(new, cells)),
        shares=diverge(n_fitted, n_new),
    )


def _totals(counts: Distances, groups: int) -> Int64Array:
    totals = np.zeros(groups, np.int64)
    np.add.at(totals, counts.group, counts.documents)
    return totals


def _beyond(counts: Distances, limit: Int64Array) -> Distances:
    """The counts in bins above their group's limit."""
    far = counts.bins > limit[counts.group]
    return Distances(counts.group[far], counts.bins[far], counts.documents[far])


def _cells(fitted: Distances) -> npt.NDArray[np.intp]:
    """The cell of each bin: intp ``[2 ** 15]``, by the share of fitted documents up to its middle.

    In cells of as many documents each, no difference hides among bins that are nearly empty.
    """
    per_bin = np.zeros(1 << 15, np.int64)
    np.add.at(per_bin, fitted.bins, fitted.documents)
    middle = 2 * np.cumsum(per_bin) - per_bin
    cells = _CELLS * middle // max(1, 2 * int(per_bin.sum()))
    inside: npt.NDArray[np.intp] = np.minimum(cells, _CELLS - 1).astype(np.intp)
    return inside


def _by_cell(counts: Distances, cells: npt.NDArray[np.intp]) -> Int64Array:
    found = np.zeros(_CELLS, np.int64)
    np.add.at(found, cells[counts.bins], counts.documents)
    return found
