"""Semantic deduplication: documents per second and memory, and who is found.

    python -m benchmarks.semantic [--data FOLDER] [--cache FOLDER] [--peer PYTHON] [--rounds 3]

Rate: one cluster of unit vectors with planted near-duplicates, CPU time in one thread, in turn with
the paper's own lines in numpy (the whole matrix of cosines), a loop over documents that multiplies
each with those kept, and ``semhash`` (an index of nearest neighbours). PYTHON is the interpreter of
an environment with ``semhash``; it runs in a process of its own. The share of peak is of a float32
matrix product with as many pairs. Memory is the peak of what numpy allocates.

Quality: labelled articles (``dups/minhash_articles_2500``, 20 pairs) and articles in three versions
(``quality/onestopenglish``), embedded with the embedded model; and what cutting a large cluster
costs. Their vectors stay in FOLDER, so that a second run is short.
"""

from __future__ import annotations

import argparse
import csv
import os
import subprocess
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from benchmarks.minhash import read
from mixcurate.kernels import kmeans, semantic, semantic_groups
from mixcurate.kernels.semantic import find_repeats, squared_distances, unit_grid

#: Peers are left out of larger clusters: the matrix takes 4 n^2 bytes, the others minutes.
_MOST_OF_PEERS = 10_000

PEER = """
import sys, time
import numpy as np
from semhash import SemHash
vectors = np.load(sys.argv[1])
records = [str(number) for number in range(len(vectors))]
started = time.process_time()
index = SemHash.from_embeddings(vectors, records, model=None)
found = index.self_deduplicate(threshold=float(sys.argv[2]))
seconds = time.process_time() - started
print(seconds, *(record for record in found.selected))
"""


def planted(n: int, dimension: int, seed: int = 1) -> np.ndarray:
    """One cluster: documents around a centre, and a tenth of them nearly twice (cosine 0.97)."""
    rng = np.random.default_rng(seed)
    centre = rng.standard_normal(dimension)
    base = centre + 1.2 * rng.standard_normal((n - n // 11, dimension))
    base /= np.linalg.norm(base, axis=1, keepdims=True)
    noise = rng.standard_normal((n // 11, dimension)) / np.sqrt(dimension)
    twins = base[: n // 11] + 0.25 * noise
    return unit_grid(np.vstack([base, twins]).astype(np.float16))


def whole_matrix(vectors: np.ndarray, epsilon: float) -> np.ndarray:
    """The paper's lines: rows that repeat an earlier one."""
    cosine = vectors @ vectors.T
    return np.flatnonzero(np.triu(cosine, 1).max(axis=0) > 1 - epsilon)


def one_by_one(vectors: np.ndarray, epsilon: float) -> np.ndarray:
    """A loop over documents."""
    kept = np.empty_like(vectors)
    held, lost = 0, []
    for row, vector in enumerate(vectors):
        if held and (kept[:held] @ vector).max() > 1 - epsilon:
            lost.append(row)
        else:
            kept[held] = vector
            held += 1
    return np.array(lost)


def product(vectors: np.ndarray, block: int = 1024) -> None:
    """As many products as there are pairs, in float32."""
    for start in range(0, len(vectors), block):
        vectors[start : start + block] @ vectors[: start + block].T


def semhash(python: str, vectors: np.ndarray, epsilon: float) -> tuple[float, np.ndarray]:
    """CPU seconds, and the rows that it drops."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "vectors.npy"
        np.save(path, vectors)
        output = subprocess.run(
            [python, "-c", PEER, str(path), str(1 - epsilon)],
            capture_output=True, text=True, check=True,
        ).stdout.split()  # fmt: skip
    kept = np.array(output[1:], np.int64)
    return float(output[0]), np.setdiff1d(np.arange(len(vectors)), kept)


def peak(work: Callable[[], object]) -> float:
    """MB of numpy's allocations at their peak."""
    tracemalloc.start()
    work()
    size = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return size / 1e6


def rate(n: int, dimension: int, rounds: int, peer: str | None, epsilon: float = 0.05) -> None:
    """A table of contenders on one cluster."""
    vectors = planted(n, dimension)
    priority, key = -np.arange(float(n)), np.arange(n, dtype=np.uint64)

    def own(rule: semantic.Rule) -> np.ndarray:
        return find_repeats(vectors, priority, key, epsilon=epsilon, rule=rule).row

    runs: dict[str, Callable[[], np.ndarray | None]] = {
        "mixcurate, kept": lambda: own("kept"),
        "mixcurate, earlier": lambda: own("earlier"),
        "float32 product alone": lambda: product(vectors),
    }
    if n <= _MOST_OF_PEERS:
        runs["numpy, whole matrix"] = lambda: whole_matrix(vectors, epsilon)
        runs["numpy, one by one"] = lambda: one_by_one(vectors, epsilon)
    memory = {name: peak(run) for name, run in runs.items()}
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    lost: dict[str, np.ndarray | None] = {}
    for _ in range(rounds):
        for name, run in runs.items():
            started = time.process_time()
            lost[name] = run()
            seconds[name].append(time.process_time() - started)
        if peer and n <= _MOST_OF_PEERS:
            taken, lost["semhash"] = semhash(peer, vectors, epsilon)
            seconds.setdefault("semhash", []).append(taken)
    twins = set(range(n - n // 11, n))
    print(f"\nOne cluster of {n:,} documents, dimension {dimension}, epsilon {epsilon}\n")
    print("| | documents/s | million pairs/s | CPU time of the product | twins | others | MB |")
    print("|---|---|---|---|---|---|---|")
    for name, taken in seconds.items():
        ratio = np.median(np.array(taken) / np.array(seconds["float32 product alone"]))
        rows = lost[name]
        found = "" if rows is None else f"{len(twins & set(rows.tolist())) / len(twins):.3f}"
        others = "" if rows is None else f"{len(set(rows.tolist()) - twins):,}"
        size = f"{memory[name]:,.0f}" if name in memory else ""
        each = np.median(taken)
        print(
            f"| {name} | {n / each:,.0f} | {n * (n - 1) / 2e6 / each:,.0f} | {ratio:.2f} | {found} "
            f"| {others} | {size} |"
        )


def cutting(n: int, dimension: int, epsilon: float = 0.05) -> None:
    """What a limit on the size of a group costs: twins found, and time."""
    vectors = planted(n, dimension)
    priority, key = -np.arange(float(n)), np.arange(n, dtype=np.uint64)
    centre = unit_grid(vectors.mean(axis=0, keepdims=True))
    print(f"\nThe same {n:,} documents in groups of at most max_group\n")
    print("| max_group | groups | largest | twins found | CPU seconds |\n|---|---|---|---|---|")
    for most in (n, n // 2, n // 4, n // 8):
        started = time.process_time()
        plan = semantic_groups.plan_groups(
            np.array([n]), np.array([True]), max_group=most, bucket_documents=n
        )
        group = semantic_groups.groups_of(vectors, np.zeros(n, np.int32), centre, plan, 1)
        rows = [np.flatnonzero(group == number) for number in np.unique(group)]
        pieces = [
            mine[piece]
            for mine in rows
            for piece in semantic_groups.divide(vectors[mine], key[mine], 2 * most, 1)
        ]
        found = [
            piece[find_repeats(
                vectors[piece], priority[piece], key[piece], epsilon=epsilon, rule="kept"
            ).row]
            for piece in pieces
        ]  # fmt: skip
        lost = sum((rows >= n - n // 11).sum() for rows in found) / (n // 11)
        print(
            f"| {most:,} | {len(pieces)} | {max(map(len, pieces)):,} | {lost:.3f} "
            f"| {time.process_time() - started:.2f} |"
        )


def embedded(cache: Path, name: str, texts: list[str]) -> np.ndarray:
    """Vectors of texts, from the cache or the embedded model: float16 as a workdir has them."""
    path = cache / f"{name}.npy"
    if not path.exists():
        from benchmarks.encoders import embed
        from mixcurate.models.encoders import EmbedParams
        from mixcurate.models.resolve import load, resolve

        cache.mkdir(parents=True, exist_ok=True)
        vectors = embed(load(resolve(EmbedParams()), os.cpu_count() or 1), texts)
        np.save(path, vectors.astype(np.float16))
    return np.load(path)


def clustered(vectors: np.ndarray, epsilon: float, rule: semantic.Rule) -> dict[int, int]:
    """What is kept for each dropped row, in some sqrt(n) clusters."""
    units = unit_grid(vectors)
    k = max(1, int(len(units) ** 0.5))
    fitted = kmeans.fit(units, k=k, iterations=20, seed=1)
    centroids = fitted.centroids
    cluster, _ = kmeans.assign(units, centroids)
    far = squared_distances(vectors, centroids, cluster, "cosine")
    key = np.arange(len(units), dtype=np.uint64)
    kept: dict[int, int] = {}
    for number in np.unique(cluster).tolist():
        mine = np.flatnonzero(cluster == number)
        found = find_repeats(units[mine], far[mine], key[mine], epsilon=epsilon, rule=rule)
        kept |= dict(zip(mine[found.row].tolist(), mine[found.kept].tolist(), strict=True))
    return kept


def quality(
    name: str, vectors: np.ndarray, same: np.ndarray, peer: str | None, epsilons: list[float]
) -> None:
    """Documents of a known group that are dropped, of those that could be."""
    _, sizes = np.unique(same, return_counts=True)
    could = int((sizes - 1).sum())
    print(f"\n{name}: {len(same):,} documents, {could} repeat another one by their label\n")
    print("| epsilon | rule | dropped | of the same label | recall | no kept one within epsilon |")
    print("|---|---|---|---|---|---|")
    cosine = unit_grid(vectors).astype(np.float64)
    cosine = cosine @ cosine.T
    for epsilon in epsilons:
        for rule in ("kept", "earlier"):
            kept = clustered(vectors, epsilon, rule)
            lost = np.array(list(kept), np.int64)
            right = sum(same[a] == same[b] for a, b in kept.items())
            stays = np.setdiff1d(np.arange(len(same)), lost)
            bare = int((cosine[np.ix_(lost, stays)].max(axis=1, initial=-1) <= 1 - epsilon).sum())
            print(
                f"| {epsilon} | {rule} | {len(lost)} | {right / max(1, len(lost)):.3f} "
                f"| {right / could:.3f} | {bare} |"
            )
        if peer:
            _, lost = semhash(peer, vectors.astype(np.float32), epsilon)
            print(f"| {epsilon} | semhash | {len(lost)} | | | |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--cache", type=Path, default=Path("runs/benchmark-semantic"))
    parser.add_argument("--peer", metavar="PYTHON")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sizes", type=int, nargs="*", default=[2_000, 10_000, 50_000])
    parser.add_argument("--dimension", type=int, default=384)
    args = parser.parse_args()
    if not args.peer:
        print("semhash not given (--peer), left out")
    for n in args.sizes:
        rate(n, args.dimension, args.rounds, args.peer)
    cutting(10_000, args.dimension)
    if not args.data.exists():
        print(f"{args.data} is not there: no labelled documents")
        return
    versions = read(args.data / "quality/onestopenglish.jsonl.zst")
    _, same = np.unique([row["article"] for row in versions], return_inverse=True)
    vectors = embedded(args.cache, "onestopenglish", [row["text"] for row in versions])
    quality("Articles in three versions", vectors, same, args.peer, [0.02, 0.05, 0.1, 0.2])
    articles = read(args.data / "dups/minhash_articles_2500.jsonl.zst")
    number = {row["id"]: place for place, row in enumerate(articles)}
    same = np.arange(len(articles))
    with (args.data / "dups/minhash_articles_2500_pairs.csv").open() as stream:
        for row in csv.DictReader(stream):
            same[number[row["b"]]] = same[number[row["a"]]]
    vectors = embedded(args.cache, "articles", [row["text"] for row in articles])
    quality("Articles with planted pairs", vectors, same, args.peer, [0.01, 0.05, 0.1])


if __name__ == "__main__":
    main()
