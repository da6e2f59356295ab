"""Seconds of the strategies that go by vectors, by given texts, and by hosts, on one core.

Per strategy the CPU seconds of its shares for some thousand units; per document those of RDS+ and
of centrality, beside a limit in the same run: a bare matrix product of the same size, and reading
each URL with Python's ``urlsplit`` and looking its host up in a dictionary.

    OMP_NUM_THREADS=1 taskset -c 1 python -m benchmarks.strategies
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import faiss
import networkx
import numpy as np
import pyarrow as pa
from threadpoolctl import threadpool_limits

from mixcurate.kernels import host_graph, hosts, token_ranks
from mixcurate.kernels.hashing import uniform_keys
from mixcurate.kernels.mixture import MixtureParams
from mixcurate.kernels.strategies.facts import Facts
from mixcurate.kernels.strategies.table import STRATEGIES
from mixcurate.kernels.target_likeness import distinct, most_like
from mixcurate.kernels.token_ranks import TokenRanks

_RUNS: list[tuple[str, dict[str, Any]]] = [
    ("smart", {"smart": {"function": "graph_cut"}}),
    ("smart", {"smart": {"function": "facility_location"}}),
    ("smart", {"smart": {"function": "log_determinant"}}),
    ("mig", {"mig": {"threshold": 0.9}}),
    ("mig", {"mig": {"threshold": 0.0}}),
    ("target", {"target": {"path": "x", "method": "importance"}}),
    ("target", {"target": {"path": "x", "method": "transport"}}),
]


def main() -> None:
    """Print two tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--units", type=int, nargs="+", default=[1_000])
    parser.add_argument("--documents", type=int, default=100_000)
    parser.add_argument("--texts", type=int, nargs="+", default=[100, 1_000])
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    faiss.omp_set_num_threads(1)
    with threadpool_limits(1):
        _shares(args.units)
        _documents(args.documents, args.texts, args.rounds)
        _graph()


def _shares(units: list[int]) -> None:
    print("| strategy | units | CPU s |\n|---|---|---|")
    for n in units:
        facts = _facts(n)
        for name, more in _RUNS:
            params = MixtureParams.model_validate(
                {"strategy": name, "budget_tokens": facts.budget, **more}
            )
            seconds, _ = _timed(lambda f=facts, p=params, s=name: STRATEGIES[s](f, p))
            about = ", ".join(f"{k} {v}" for k, v in next(iter(more.values())).items() if v != "x")
            print(f"| {name} ({about}) | {n:,} | {seconds:.2f} |", flush=True)


def _facts(n: int) -> Facts:
    """Units in groups, as clusters of text are, and 1,000 texts near some of them."""
    random = np.random.default_rng(0)
    centres = np.repeat(random.normal(size=(n // 10, 384)), 10, axis=0)
    vectors = _unit(centres + 0.5 * random.normal(size=(n, 384)))
    texts = _unit(vectors[random.integers(0, n // 5, 1_000)] + 0.02 * random.normal(size=(1, 384)))
    tokens = random.integers(1_000, 1_000_000, n)
    return Facts(
        names=[str(i) for i in range(n)],
        documents=tokens // 500,
        tokens=tokens,
        budget=int(tokens.sum() // 3),
        max_epochs=4.0,
        quality=random.random(n),
        centroids=vectors,
        target_vectors=texts,
        target_documents=np.bincount((texts @ vectors.T).argmax(axis=1), minlength=n).astype(float),
    )


def _documents(n: int, sizes: list[int], rounds: int) -> None:
    random = np.random.default_rng(1)
    vectors = _unit(random.normal(size=(n, 384))).astype(np.float16)
    print("\n| per document | documents/s and core | limit in the same run | ratio |")
    print("|---|---|---|---|")
    for m in sizes:
        texts = distinct(random.normal(size=(m, 384)))
        ours, limit = _alternating(
            lambda t=texts: most_like(vectors, t), lambda t=texts: _product(vectors, t), rounds
        )
        what = f"float32 product and maximum, {n / limit:,.0f}/s"
        print(f"| rds, {m:,} texts | {n / ours:,.0f} | {what} | {limit / ours:.2f} |", flush=True)
    names = [f"site{i}.example.org" for i in range(50_000)]
    urls = pa.array([f"https://www.{names[i]}/p/{i}" for i in random.integers(0, 50_000, n)])
    ids = pa.array([f"{i:032x}" for i in range(n)])
    keys = hosts.host_keys(pa.array(names))
    order = np.argsort(keys)
    scores, tokens = random.random(50_000), random.integers(1, 2_000, n)
    table = dict(zip(names, scores.tolist(), strict=True))

    def ranked() -> object:
        found = hosts.hosts_of(urls)
        score = hosts.scores_of(found, keys[order], scores[order], with_parents=False)
        ranks = TokenRanks(token_ranks.count(score, tokens))
        return ranks.of(score, uniform_keys(ids, 0, "x"))

    def plain() -> object:
        return [
            table.get((urlsplit(url).hostname or "").removeprefix("www."), 0.0)
            for url in urls.to_pylist()
        ]

    ours, limit = _alternating(ranked, plain, rounds)
    what = f"urlsplit and a dict, no ranks, {n / limit:,.0f}/s"
    print(f"| centrality: host, score, rank | {n / ours:,.0f} | {what} | {limit / ours:.2f} |")


def _graph() -> None:
    """Centrality of hosts from links, beside networkx."""
    theirs = networkx.barabasi_albert_graph(2_000, 5, seed=0)
    ends = np.array(theirs.edges).T
    names = [pa.array([f"h{i:05d}.org" for i in end.tolist()]) for end in ends]
    graph = host_graph.HostGraph.of(*names)
    print(
        "\n| 2,000 hosts, 9,975 links | CPU s | networkx | largest difference |\n|---|---|---|---|"
    )
    peers: dict[host_graph.Measure, Callable[[Any], dict[int, float]]] = {
        "pagerank": lambda g: networkx.pagerank(g, tol=1e-12),
        "betweenness": networkx.betweenness_centrality,
        "degree": networkx.degree_centrality,
    }
    for measure, peer in peers.items():
        ours, found = _timed(lambda m=measure: host_graph.centrality(graph, m))
        seconds, expected = _timed(lambda p=peer: p(theirs))
        values = np.array([expected[int(name[1:6])] for name in graph.names.to_pylist()])
        worst = float(np.abs(found - values).max() / values.max())
        print(f"| {measure} | {ours:.2f} | {seconds:.2f} | {worst:.1e} of the greatest |")


def _product(vectors: np.ndarray, texts: np.ndarray) -> np.ndarray:
    found = np.empty(len(vectors), np.float32)
    for start in range(0, len(vectors), 1_024):
        block = vectors[start : start + 1_024].astype(np.float32)
        found[start : start + 1_024] = (block @ texts.T).max(axis=1)
    return found


def _alternating(
    ours: Callable[[], object], limit: Callable[[], object], rounds: int
) -> tuple[float, float]:
    """The least CPU seconds of each, in turn."""
    times = [(_timed(ours)[0], _timed(limit)[0]) for _ in range(rounds)]
    return min(a for a, _ in times), min(b for _, b in times)


def _timed(work: Callable[[], Any]) -> tuple[float, Any]:
    started = time.process_time()
    found = work()
    return time.process_time() - started, found


def _unit(rows: np.ndarray) -> np.ndarray:
    found: np.ndarray = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    return found


if __name__ == "__main__":
    main()
