"""Centrality of hosts from the links between them, taken as undirected and without loops.

For graphs that fit into memory: some million hosts for all measures but betweenness, which takes a
search of the whole graph from each source. Above ``EXACT`` hosts it is estimated from ``SOURCES``
of them (Brandes and Pich 2007, doi:10.1142/S0218127407018403), chosen by the hash of their names:
WebGraphMix (arXiv 2606.11499) takes one in ten.

Sums run in one order, so that results do not depend on threads.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from mixcurate.kernels.hosts import host_keys

Float64Array = npt.NDArray[np.float64]
Int64Array = npt.NDArray[np.int64]

Measure = Literal["pagerank", "betweenness", "katz", "eigenvector", "degree"]

#: Hosts up to which betweenness is exact, and sources of the estimate above.
EXACT, SOURCES = 4_096, 1_024

#: Numbers that a search from several sources at once may hold for each of its five tables.
_CELLS = 1 << 23

_DAMPING = 0.85
_TOLERANCE = 1e-12
_ROUNDS = 1_000


@dataclasses.dataclass(frozen=True)
class HostGraph:
    """Hosts and who is linked with whom.

    Attributes:
        names: string ``[n]``, each once, rising.
        links: scipy.sparse CSR ``[n, n]`` of ones, symmetric, with an empty diagonal.
    """

    names: pa.Array
    links: Any

    @staticmethod
    def of(sources: pa.Array, targets: pa.Array) -> HostGraph:
        """The graph of links from one host to another; more of the same do not count.

        Args:
            sources: string ``[m]`` in normal form; a link from or to null is none.
            targets: string ``[m]``.
        """
        from scipy import sparse  # here: its import takes longer than most stages' start

        names = pa.chunked_array([sources, targets]).drop_null().unique()
        names = names.take(pc.sort_indices(names))
        left, right = (
            pc.index_in(ends, value_set=names).fill_null(-1).to_numpy(zero_copy_only=False)
            for ends in (sources, targets)
        )
        real = (left >= 0) & (right >= 0) & (left != right)
        left, right = left[real], right[real]
        n = len(names)
        ones = np.ones(2 * len(left))
        rows, columns = np.concatenate([left, right]), np.concatenate([right, left])
        links = sparse.csr_matrix((ones, (rows, columns)), shape=(n, n))
        links.sum_duplicates()
        links.data[:] = 1.0
        return HostGraph(names, links)


def centrality(graph: HostGraph, measure: Measure) -> Float64Array:
    """A measure of each host, never negative.

    pagerank with damping 0.85; betweenness as a part of all pairs of other hosts; katz with alpha
    1 / (1 + greatest degree), for which it always exists; eigenvector of unit length; degree as a
    part of all other hosts.

    Args:
        graph: of hosts.
        measure: which.

    Returns:
        float64 ``[n]``, without the last bits, in which processors may differ.
    """
    if len(graph.names) == 0:
        return np.zeros(0)
    found: Float64Array
    match measure:
        case "pagerank":
            found = _pagerank(graph.links)
        case "betweenness":
            found = _betweenness(graph.links, _sources(graph.names))
        case "katz":
            found = _katz(graph.links)
        case "eigenvector":
            found = _eigenvector(graph.links)
        case "degree":
            found = _degrees(graph.links) / max(len(graph.names) - 1, 1)
    return found.astype(np.float32).astype(np.float64)


def _degrees(links: Any) -> Float64Array:
    degrees: Float64Array = np.diff(links.indptr).astype(np.float64)
    return degrees


def _pagerank(links: Any) -> Float64Array:
    """Power iteration; what hosts without links hold is spread over all."""
    n, degree = links.shape[0], _degrees(links)
    rank = np.full(n, 1 / n)
    for _ in range(_ROUNDS):
        given = np.divide(rank, degree, out=np.zeros(n), where=degree > 0)
        lost = float(rank[degree == 0].sum())
        new = _DAMPING * (links @ given + lost / n) + (1 - _DAMPING) / n
        done = np.abs(new - rank).sum() <= _TOLERANCE
        rank = new
        if done:
            break
    return rank


def _katz(links: Any) -> Float64Array:
    """x = alpha A x + 1, of unit length."""
    alpha = 1 / (1 + float(_degrees(links).max()))
    value = np.ones(links.shape[0])
    for _ in range(_ROUNDS):
        new = alpha * (links @ value) + 1
        done = np.abs(new - value).sum() <= _TOLERANCE * new.sum()
        value = new
        if done:
            break
    scaled: Float64Array = value / np.linalg.norm(value)
    return scaled


def _eigenvector(links: Any) -> Float64Array:
    """Power iteration on A + 1, which turns no sign: also in a graph with two sides it ends."""
    n = links.shape[0]
    value = np.full(n, 1 / np.sqrt(n))
    for _ in range(_ROUNDS):
        new = links @ value + value
        new /= np.linalg.norm(new)
        done = np.abs(new - value).sum() <= _TOLERANCE * n
        value = new
        if done:
            break
    return np.maximum(value, 0.0)


def _sources(names: pa.Array) -> Int64Array:
    """Hosts whose shortest ways are followed: all, or those with the least hashes."""
    if len(names) <= EXACT:
        return np.arange(len(names))
    return np.sort(np.argsort(host_keys(names), kind="stable")[:SOURCES])


def _betweenness(links: Any, sources: Int64Array) -> Float64Array:
    """Brandes' algorithm (2001, doi:10.1080/0022250X.2001.9990249), many sources at once."""
    n = links.shape[0]
    total = np.zeros(n)
    if n < 3:
        return total
    width = int(np.clip(_CELLS // n, 1, 64))
    for start in range(0, len(sources), width):
        total += _dependencies(links, sources[start : start + width])
    scaled: Float64Array = total / ((n - 1) * (n - 2)) * (n / len(sources))
    return scaled


def _dependencies(links: Any, sources: Int64Array) -> Float64Array:
    """How much the shortest ways from these sources depend on each host."""
    shape = (links.shape[0], len(sources))
    here = np.arange(len(sources))
    depth, ways = np.full(shape, -1, np.int32), np.zeros(shape)
    depth[sources, here], ways[sources, here] = 0, 1.0
    level = 0
    while True:
        arrived = links @ np.where(depth == level, ways, 0.0)
        new = (arrived > 0) & (depth < 0)
        if not new.any():
            break
        level += 1
        depth[new], ways[new] = level, arrived[new]
    depends = np.zeros(shape)
    for further in range(level, 0, -1):
        passed = np.zeros(shape)
        np.divide(1 + depends, ways, out=passed, where=depth == further)
        depends += np.where(depth == further - 1, ways * (links @ passed), 0.0)
    depends[sources, here] = 0.0
    added: Float64Array = depends.sum(axis=1)
    return added
