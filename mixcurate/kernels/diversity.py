"""Diversity: how spread a document's cluster is, times how far it lies from other clusters.

SampleMix (arXiv 2503.01506, section 2.3): d(x) = compactness(c) * separation(c) for a document x of
cluster c. Compactness is the mean distance of a cluster's documents to its centroid: small where
they repeat each other. Separation is the distance of the centroid to other centroids: small where
others say nearly the same. Vectors and centroids have unit length.

The paper's product gives a document that is alone in its cluster diversity zero, the lowest there
is: it lies on its centroid.

Products of vectors are taken on multiples of 2 ** -24 (``semantic.unit_grid``), where float64 is
exact in any order, and distances are summed on a grid as well: results are the same bytes on any
number of threads and any processor. Rounding to the grid moves a distance by less than 1e-6.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from typing import Literal

import numpy as np
import numpy.typing as npt

from mixcurate.kernels import fixedpoint
from mixcurate.kernels.nearest import normalise
from mixcurate.kernels.scoring import DiversityParams
from mixcurate.kernels.semantic import unit_grid

Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]
Int32Array = npt.NDArray[np.int32]
Int64Array = npt.NDArray[np.int64]

Distance = Literal["euclidean", "cosine"]

#: Rows and columns of products at once: 32 MB of float64.
_TILE = 2_048

#: Rows that are compared with their centroids at once, so that they stay in the cache.
_ROWS = 256

#: Distances between centroids are added as multiples of its inverse: float64 sums of 2 ** 18 of
#: them, 2 at most, are exact in any order.
_GRID = 2.0**34

#: Bits of a sum of vectors that are multiplied on their own, so that no product overflows int64.
_LOW_BITS = 20


@dataclasses.dataclass(frozen=True)
class Clusters:
    """What is known of each cluster; all zero for one without documents.

    Attributes:
        n_documents: int64 ``[k]``.
        compactness: mean distance of the documents, float64 ``[k]``.
        separation: of the centroid from others, float64 ``[k]``.
    """

    n_documents: Int64Array
    compactness: Float64Array
    separation: Float64Array

    @property
    def diversity(self) -> Float64Array:
        """Mean diversity of a cluster's documents; in the paper that of each: float64 ``[k]``."""
        return self.compactness * self.separation


@dataclasses.dataclass(frozen=True)
class Sample:
    """Documents among which neighbours are looked for, those of a cluster one after another.

    Attributes:
        vectors: float32 ``[m, d]``, unit rows of ``semantic.unit_grid``; may be a memory map.
        start: int64 ``[k + 1]``: rows ``start[c]`` to ``start[c + 1]`` are of cluster c.
    """

    vectors: Float32Array
    start: Int64Array


def number_of_clusters(k: int | Literal["sqrt"], documents: int) -> int:
    """How many clusters are fitted: floor(sqrt(n)) as in the paper, or a number; n at most.

    Args:
        k: what is asked for.
        documents: n, of the pool.
    """
    asked = math.isqrt(documents) if k == "sqrt" else k
    return max(1, min(asked, documents))


def as_distance(euclidean: npt.NDArray[np.floating], distance: Distance) -> Float32Array:
    """Euclidean distances between unit vectors as distances of the asked kind.

    Args:
        euclidean: ``[n]``, 0 to 2.
        distance: ``cosine`` for 1 - cosine, which is half of the square.

    Returns:
        float32 ``[n]``.
    """
    wide = euclidean.astype(np.float64)
    return (wide * wide / 2 if distance == "cosine" else wide).astype(np.float32)


def centroid_distances(
    vectors: npt.NDArray[np.floating], centroids: Float32Array, cluster: Int32Array
) -> Float32Array:
    """Euclidean distance of each document's unit vector to the centroid of its cluster.

    Args:
        vectors: any float ``[n, d]``, of any length.
        centroids: float32 ``[k, d]``, unit rows.
        cluster: int32 ``[n]``; -1 where there is none.

    Returns:
        float32 ``[n]``; NaN where there is no cluster.
    """
    result = np.full(len(vectors), np.nan, np.float32)
    known = np.flatnonzero(cluster >= 0)
    for start in range(0, len(known), _ROWS):
        rows = known[start : start + _ROWS]
        away = normalise(vectors[rows]) - centroids[cluster[rows]]
        result[rows] = np.sqrt(np.einsum("ij,ij->i", away, away))
    return result


def sums(cluster: Int32Array, values: Float32Array, k: int) -> Int64Array:
    """What a batch of documents adds to the compactness of clusters; such sums simply add up.

    Args:
        cluster: int32 ``[n]``; -1 where a document has none: it is not counted.
        values: distance of each document that compactness is the mean of, float32 ``[n]``.
        k: number of clusters.

    Returns:
        int64 ``[2, k]``: documents, and their values in fixed point.
    """
    known = cluster >= 0
    mine = cluster[known]
    ones = np.ones(len(mine), np.int64)
    fixed = fixedpoint.to_fixed(values[known])
    return np.stack([fixedpoint.sums_by_group(column, mine, k) for column in (ones, fixed)])


def measure(total: Int64Array, centroids: Float32Array, params: DiversityParams) -> Clusters:
    """Compactness and separation of each cluster.

    A cluster without documents has neither, and no other is measured by its distance to it.

    Args:
        total: sums over all documents, int64 ``[2, k]``.
        centroids: float32 ``[k, d]``, unit rows.
        params: which distance, and to which centroids.
    """
    n_documents, fixed = total
    compactness = fixedpoint.from_fixed(fixed) / np.maximum(n_documents, 1)
    there = n_documents > 0
    apart = np.zeros(len(n_documents))
    apart[there] = separation(centroids[there], params.distance, params.separation)
    return Clusters(n_documents, compactness, apart)


def of_documents(
    cluster: Int32Array, own: Float32Array, clusters: Clusters, *, each: bool
) -> Float64Array:
    """Diversity of each document: float64 ``[n]``, 0 where it has no cluster.

    Args:
        cluster: int32 ``[n]``, -1 where there is none.
        own: distance of each document that compactness is the mean of, float32 ``[n]``.
        clusters: what is known of each.
        each: the document's own distance counts, rather than the mean of its cluster.
    """
    if len(clusters.n_documents) == 0:
        return np.zeros(len(cluster))
    known = cluster >= 0
    place = np.maximum(cluster, 0)
    if each:
        found = np.nan_to_num(own.astype(np.float64)) * clusters.separation[place]
    else:
        found = clusters.diversity[place]
    return np.where(known, found, 0.0)


def separation(
    centroids: Float32Array,
    distance: Distance = "euclidean",
    to: Literal["mean", "nearest"] = "mean",
) -> Float64Array:
    """Distance of each centroid to all others on average, or to the nearest other one.

    A centroid that is alone has separation 1, so that diversity is compactness. Memory is that of
    the centroids and some tiles of 32 MB. Time is O(k^2 d), of the mean by cosine O(k d).

    Args:
        centroids: float32 ``[k, d]``; their directions count.
        distance: Euclidean between unit vectors, or 1 - cosine.
        to: all others, or the nearest.

    Returns:
        float64 ``[k]``.
    """
    k = len(centroids)
    if k < 2:
        return np.ones(k)
    grid = unit_grid(centroids)
    if to == "nearest":
        return _nearest(grid, distance)
    return _mean_cosine(grid) if distance == "cosine" else _mean_euclidean(grid)


def _mean_cosine(grid: Float32Array) -> Float64Array:
    """Mean of 1 - cosine to all others: the products with them are that with their sum."""
    whole = (grid.astype(np.float64) * 2.0**24).astype(np.int64)
    total = whole.sum(axis=0)
    high, low = total >> _LOW_BITS, total & ((1 << _LOW_BITS) - 1)
    products = (whole @ high).astype(np.float64) * 2.0**_LOW_BITS
    products += whole @ low
    products -= np.einsum("ij,ij->i", whole, whole)
    mean: Float64Array = 1 - products * 2.0**-48 / (len(grid) - 1)
    return mean


def _mean_euclidean(grid: Float32Array) -> Float64Array:
    """Mean Euclidean distance to all others."""
    total = np.zeros(len(grid))
    for rows, columns, squared in _tiles(grid):
        np.sqrt(squared, out=squared)
        np.multiply(squared, _GRID, out=squared)
        np.rint(squared, out=squared)
        total[rows] += squared.sum(axis=1)
        if rows != columns:
            total[columns] += squared.sum(axis=0)
    return total / _GRID / (len(grid) - 1)


def _nearest(grid: Float32Array, distance: Distance) -> Float64Array:
    """Distance to the nearest other."""
    least = np.full(len(grid), np.inf)
    for rows, columns, squared in _tiles(grid):
        if rows == columns:
            np.fill_diagonal(squared, np.inf)
        np.minimum(least[rows], squared.min(axis=1), out=least[rows])
        np.minimum(least[columns], squared.min(axis=0), out=least[columns])
    return least / 2 if distance == "cosine" else np.sqrt(least)


def _tiles(grid: Float32Array) -> Iterator[tuple[slice, slice, Float64Array]]:
    """Squared distances of all pairs of rows, exact, each pair of tiles once."""
    for start in range(0, len(grid), _TILE):
        rows = slice(start, start + _TILE)
        for other in range(start, len(grid), _TILE):
            columns = slice(other, other + _TILE)
            yield rows, columns, _squared(grid[rows], grid[columns])


def _squared(left: Float32Array, right: Float32Array) -> Float64Array:
    """Squared distance of each pair of rows on the grid, exact: float64 ``[n, m]``."""
    wide, other = left.astype(np.float64), right.astype(np.float64)
    found: Float64Array = wide @ other.T
    found *= -2
    found += np.einsum("ij,ij->i", wide, wide)[:, None]
    found += np.einsum("ij,ij->i", other, other)
    return found


def neighbour_distances(
    vectors: npt.NDArray[np.floating],
    cluster: Int32Array,
    itself: Int64Array,
    sample: Sample,
    params: DiversityParams,
) -> Float32Array:
    """Mean distance of each document to its nearest neighbours in the sample of its cluster.

    Args:
        vectors: any float ``[n, d]``, of any length.
        cluster: int32 ``[n]``; -1 where there is none.
        itself: row of the sample that is the document, int64 ``[n]``; -1 where it is not in it. A
            document is no neighbour of its own, but another of the same vector is.
        sample: where to look.
        params: which distance, and how many neighbours.

    Returns:
        float32 ``[n]``; NaN where there is no cluster, or where it has too few neighbours.
    """
    result = np.full(len(vectors), np.nan, np.float32)
    order = np.argsort(cluster, kind="stable")
    bounds = np.searchsorted(cluster[order], np.arange(len(sample.start)))
    for number in np.unique(cluster[cluster >= 0]).tolist():
        mine = order[bounds[number] : bounds[number + 1]]
        first, end = (int(edge) for edge in sample.start[number : number + 2])
        for start in range(0, len(mine), _TILE):
            rows = mine[start : start + _TILE]
            grid, own = unit_grid(vectors[rows]), itself[rows] - first
            least = np.full((len(rows), params.neighbours), np.inf)
            for other in range(first, end, _TILE):
                block = sample.vectors[other : min(other + _TILE, end)]
                squared = _squared(grid, block)
                seen = np.flatnonzero((own >= other - first) & (own < other - first + len(block)))
                squared[seen, own[seen] - (other - first)] = np.inf
                both = np.concatenate([least, squared], axis=1)
                least = np.partition(both, params.neighbours - 1, axis=1)[:, : params.neighbours]
            result[rows] = _mean(least, params.distance)
    return result


def _mean(squared: Float64Array, distance: Distance) -> Float32Array:
    """Mean distance of each row, NaN where one is missing; added from the smallest on."""
    found = np.sort(squared, axis=1)
    found = found / 2 if distance == "cosine" else np.sqrt(found)
    total = np.zeros(len(found))
    for column in found.T:
        total += column
    total[~np.isfinite(total)] = np.nan
    mean: Float32Array = (total / found.shape[1]).astype(np.float32)
    return mean
