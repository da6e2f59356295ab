from __future__ import annotations

import networkx as nx
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mixcurate.kernels import host_graph
from mixcurate.kernels.host_graph import HostGraph, centrality

EDGES = st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), min_size=1, max_size=40)


def name(number: int) -> str:
    return f"host-{number:04d}.org"


def graph_of(edges: list[tuple[int, int]]) -> tuple[HostGraph, nx.Graph]:
    sources, targets = zip(*edges, strict=True)
    ours = HostGraph.of(pa.array([name(i) for i in sources]), pa.array([name(i) for i in targets]))
    theirs = nx.Graph([(name(a), name(b)) for a, b in edges])
    theirs.remove_edges_from(list(nx.selfloop_edges(theirs)))
    return ours, theirs


def values(found: dict[str, float], ours: HostGraph) -> list[float]:
    return [found[one] for one in ours.names.to_pylist()]


@given(EDGES)
@settings(max_examples=60, deadline=None)
def test_measures_are_those_of_networkx(edges: list[tuple[int, int]]) -> None:
    ours, theirs = graph_of([*edges, (1, 13)])
    assert len(ours.names) == len(theirs)
    greatest = max(degree for _, degree in theirs.degree())
    expected = {
        "degree": nx.degree_centrality(theirs),
        "betweenness": nx.betweenness_centrality(theirs),
        "pagerank": nx.pagerank(theirs, tol=1e-13, max_iter=2_000),
        "katz": nx.katz_centrality_numpy(theirs, alpha=1 / (1 + greatest)),
    }
    for measure, found in expected.items():
        mine = centrality(ours, measure)
        np.testing.assert_allclose(mine, values(found, ours), rtol=1e-5, atol=1e-7, err_msg=measure)


def test_eigenvectors_are_those_of_networkx() -> None:
    theirs = nx.barabasi_albert_graph(60, 2, seed=1)
    ours, named = graph_of(list(theirs.edges))
    expected = nx.eigenvector_centrality(named, max_iter=10_000, tol=1e-12)
    np.testing.assert_allclose(
        centrality(ours, "eigenvector"), values(expected, ours), rtol=1e-4, atol=1e-7
    )
    star, named = graph_of([(0, i) for i in range(1, 6)])
    found = dict(zip(star.names.to_pylist(), centrality(star, "eigenvector"), strict=True))
    assert found[name(0)] == pytest.approx(np.sqrt(0.5))


def test_a_sample_of_sources_estimates_betweenness(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, _ = graph_of(list(nx.barabasi_albert_graph(300, 3, seed=2).edges))
    exact = centrality(ours, "betweenness")
    monkeypatch.setattr(host_graph, "EXACT", 100)
    monkeypatch.setattr(host_graph, "SOURCES", 150)
    found = centrality(ours, "betweenness")
    assert np.corrcoef(found, exact)[0, 1] > 0.98
    assert found.sum() == pytest.approx(exact.sum(), rel=0.05)
    monkeypatch.setattr(host_graph, "SOURCES", 300)
    monkeypatch.setattr(host_graph, "_CELLS", 300 * 7)
    np.testing.assert_allclose(centrality(ours, "betweenness"), exact, rtol=1e-6)


def test_links_count_once_in_any_order_and_none_to_nowhere() -> None:
    ours = HostGraph.of(pa.array(["b", "a", "a", "c", None]), pa.array(["a", "b", "a", None, "b"]))
    again = HostGraph.of(pa.array(["a"]), pa.array(["b"]))
    assert ours.names.to_pylist() == ["a", "b", "c"]
    assert ours.links.toarray().tolist() == [[0, 1, 0], [1, 0, 0], [0, 0, 0]]
    assert again.links.toarray().tolist() == [[0, 1], [1, 0]]
    for measure in ("pagerank", "betweenness", "katz", "eigenvector", "degree"):
        assert np.isfinite(centrality(ours, measure)).all()
        assert (
            len(centrality(HostGraph.of(pa.array([], "string"), pa.array([], "string")), measure))
            == 0
        )
