"""Groups of documents by spectral clustering of their neighbourhood graph.

k-means at the number of domains looks for round groups; topics are not round. A graph follows their
shape: its nodes are sampled documents, its edges join each to its nearest ones with the weights of
UMAP (McInnes et al., arXiv 1802.03426, section 3.1). The leading eigenvectors of the normalised
graph, their rows scaled to unit length, are clustered by k-means (Ng, Jordan and Weiss, NIPS 2001);
each eigenvector is first weighted by a power of its eigenvalue, as after so many steps of a random
walk (diffusion maps, Coifman and Lafon, doi 10.1016/j.acha.2006.04.006), so that a weak one counts
for less.

Spectral clustering takes any handful of nodes without edges to others for a group, and pages of one
template are such a handful. So documents that repeat another are one node, and groups far below the
mean are taken out of the graph, which is then grouped again. Weak edges between all nodes
(Zhang and Rohe, arXiv 1806.01468, section 1) keep the rest in one piece.
"""

from __future__ import annotations

from typing import NamedTuple

import faiss
import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array, csr_array
from scipy.sparse.linalg import LinearOperator, eigsh
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from mixcurate.kernels import kmeans

Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]
Int64Array = npt.NDArray[np.int64]


class Neighbours(NamedTuple):
    """The nearest other rows of each row."""

    distance: Float64Array
    """float64 ``[m, neighbours]``."""
    others: Int64Array
    """int64 ``[m, neighbours]``: numbers of rows."""


#: Documents in the graph: the search for their neighbours costs the square of it, here a second.
MOST_NODES = 10_000

#: Neighbours of a document, and weight of the edges between all nodes in mean degrees.
_NEIGHBOURS = 15
_WEAK = 0.01

#: Documents are one node below this share of the median distance to the nearest one.
_REPEATS = 0.25

#: Groups below this share of the mean are taken out, so often.
_SMALL = 0.25
_ROUNDS = 4

#: Steps of the random walk.
_STEPS = 8

_RESTARTS = 3
_DENSE = 300


def spectral_groups(vectors: Float32Array, groups: int, seed: int) -> Int64Array:
    """Group documents by the shape of their neighbourhoods.

    Args:
        vectors: float32 ``[n, d]``, finite; the first ``MOST_NODES`` should be a fair sample.
        groups: how many are looked for.
        seed: seed of the eigenvectors' start and of k-means.

    Returns:
        int64 ``[min(n, MOST_NODES)]``, from 0 to ``groups`` - 1; some may be empty.
    """
    nodes = np.ascontiguousarray(vectors[:MOST_NODES])
    with threadpool_limits(1):  # sums of floats in one order
        distance, others = neighbours(nodes, np.arange(len(nodes)), _NEIGHBOURS)
        different = _different(distance, others)
        if len(different) <= groups:
            label = np.arange(len(different))
        else:
            graph = fuzzy_graph(*_among(nodes, different, distance, others))
            left, label = _large_groups(graph, groups, seed)
            different = different[left]
        found = np.full(len(nodes), -1)
        found[different] = label
        rest = np.flatnonzero(found < 0)
        near = kmeans.assign(nodes[rest], nodes[different], metric="euclidean").cluster
        found[rest] = label[near]
    return found


def neighbours(vectors: Float32Array, rows: Int64Array, most: int) -> Neighbours:
    """The nearest other vectors of some rows, fewer where there are fewer.

    Args:
        vectors: float32 ``[n, d]``.
        rows: int64 ``[m]``, which ones.
        most: how many neighbours.
    """
    n, m = len(vectors), len(rows)
    most = min(most, n - 1)
    index = faiss.IndexFlatL2(vectors.shape[1])
    index.add(vectors)
    squared, found = index.search(vectors[rows], most + 1)
    own = found == rows[:, None]
    own[~own.any(axis=1), -1] = True  # among equal rows, the search may not name the row itself
    distance = np.sqrt(np.maximum(squared[~own].astype(np.float64), 0))
    return Neighbours(distance.reshape(m, most), found[~own].reshape(m, most))


def _different(distance: Float64Array, others: Int64Array) -> Int64Array:
    """Rows that repeat no earlier one among their neighbours."""
    nearest = distance.min(axis=1, initial=np.inf)
    apart = nearest[(nearest > 0) & np.isfinite(nearest)]
    bound = _REPEATS * float(np.median(apart)) if len(apart) else 0.0
    repeats = (distance <= bound) & (others < np.arange(len(others))[:, None])
    return np.flatnonzero(~repeats.any(axis=1))


def _among(
    nodes: Float32Array, different: Int64Array, distance: Float64Array, others: Int64Array
) -> Neighbours:
    """Neighbours of the rows that are left, found anew for those who lost one."""
    place = np.full(len(nodes), -1)
    place[different] = np.arange(len(different))
    most = min(others.shape[1], len(different) - 1)
    distance, others = distance[different, :most], place[others[different, :most]]
    lost = np.flatnonzero((others < 0).any(axis=1))
    distance[lost], others[lost] = neighbours(nodes[different], lost, most)
    return Neighbours(distance, others)


def _large_groups(graph: csr_array, groups: int, seed: int) -> tuple[Int64Array, Int64Array]:
    """Nodes that are in groups of some size, and their groups."""
    left = np.arange(graph.shape[0])
    label = _grouped(graph, groups, seed)
    for _ in range(_ROUNDS):
        large = np.bincount(label)[label] >= _SMALL * len(left) / groups
        if large.all() or large.sum() <= groups:
            break
        left = left[large]
        label = _grouped(graph[left][:, left], groups, seed)
    return left, label


def _grouped(graph: csr_array, groups: int, seed: int) -> Int64Array:
    """k-means of the graph's eigenvectors, the best of several."""
    rows = _embed(graph, groups, seed)
    best = min(
        (kmeans.fit(rows, k=groups, seed=seed + n, levels=1) for n in range(_RESTARTS)),
        key=lambda fit: fit.inertia,
    )
    return kmeans.assign(rows, best.centroids).cluster.astype(np.int64)


def fuzzy_graph(distance: Float64Array, others: Int64Array) -> csr_array:
    """Symmetric graph of the nearest rows, weighted as by UMAP.

    An edge from i to j weighs ``exp(-(d_ij - rho_i) / sigma_i)``: rho is the distance to the
    nearest row, and sigma makes the weights of a row add up to log2 of their number. Both
    directions a and b are joined to ``a + b - a b``.

    Args:
        distance: float64 ``[n, neighbours]``.
        others: int64 ``[n, neighbours]``, no row its own.

    Returns:
        float64 ``[n, n]``.
    """
    n, most = others.shape
    weight = np.exp(-_scaled(distance))
    rows = np.repeat(np.arange(n), most)
    directed = csr_array(coo_array((weight.ravel(), (rows, others.ravel())), shape=(n, n)))
    both = directed.multiply(directed.T)
    return csr_array(directed + directed.T - both)


def _scaled(distance: Float64Array) -> Float64Array:
    """``(d - rho) / sigma`` of each row, sigma by bisection."""
    beyond = distance - distance.min(axis=1, keepdims=True, initial=np.inf)
    wanted = np.log2(max(distance.shape[1], 2))
    low = np.zeros((len(distance), 1))
    high = np.full_like(low, max(float(beyond.max(initial=0)), 1e-12) * 10)
    for _ in range(50):
        sigma = (low + high) / 2
        above = np.exp(-beyond / sigma).sum(axis=1, keepdims=True) > wanted
        high = np.where(above, sigma, high)
        low = np.where(above, low, sigma)
    scaled: Float64Array = beyond / high
    return scaled


def _embed(graph: csr_array, groups: int, seed: int) -> Float32Array:
    """Leading eigenvectors of the normalised graph: float32 ``[n, groups]``, unit rows."""
    n = graph.shape[0]
    degree = graph.sum(axis=1)
    weak = _WEAK * degree.mean() / n
    scale = 1 / np.sqrt(np.maximum(degree + weak * n, 1e-12))

    def multiply(vector: Float64Array) -> Float64Array:
        scaled = scale * vector.ravel()
        product: Float64Array = scale * (graph @ scaled + weak * scaled.sum())
        return product

    if n <= max(_DENSE, 4 * groups):
        dense = scale[:, None] * (graph.toarray() + weak) * scale
        values, vectors = np.linalg.eigh(dense)
        values, vectors = values[-groups:], vectors[:, -groups:]
    else:
        start = np.random.default_rng(seed).normal(size=n)
        operator = LinearOperator((n, n), matvec=multiply, dtype=np.float64)
        values, vectors = eigsh(operator, k=groups, which="LA", v0=start, tol=1e-4)
    return kmeans.normalise(vectors * np.maximum(values, 0) ** _STEPS)
