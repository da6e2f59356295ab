"""Our k-means against scikit-learn's MiniBatchKMeans, its assignment against a bare ``sgemm``.

    python -m benchmarks.clustering [FILE.jsonl[.zst] ...] [--vectors 262144] [--rounds 1]

Vectors are drawn from a few thousand anisotropic Gaussians of power-law sizes, whose centres are
themselves clustered. With files of documents (a field ``text``), passages of 35 words are a second
set: TF-IDF, projected on the singular vectors of a part of them. Fits alternate, all run on one
thread, and times are CPU seconds. The inertia is of all vectors, whatever a fit was trained on:
ours on 64 vectors a cluster (what `cluster` does), and on all.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import combinations
from pathlib import Path

import faiss
import numpy as np
import orjson
import zstandard
from sklearn.cluster import MiniBatchKMeans
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.metrics import adjusted_rand_score
from threadpoolctl import threadpool_limits

from mixcurate.kernels import kmeans
from mixcurate.kernels.clustering import ResampleParams
from mixcurate.kernels.fit_memory import memory_of_fit

PER_CLUSTER = 64
WORDS = 35


def synthetic(n: int, d: int, seed: int = 0, groups: int = 3_000) -> np.ndarray:
    """Unit rows of groups whose sizes fall as 1 / rank^0.9, each spread along 12 directions."""
    random = np.random.default_rng(seed)
    topics = random.normal(size=(60, d)).astype(np.float32)
    centres = 0.8 * topics[random.integers(0, 60, groups)]
    centres += 0.7 * random.normal(size=(groups, d)).astype(np.float32)
    spread = (0.6 / np.arange(1, 13) ** 0.7).astype(np.float32)[None, :, None]
    axes = random.normal(size=(groups, 12, d)).astype(np.float32) * spread
    share = 1 / np.arange(1, groups + 1) ** 0.9
    group = random.choice(groups, n, p=share / share.sum())
    rows = np.empty((n, d), np.float32)
    for start in range(0, n, 4_096):
        of = group[start : start + 4_096]
        along = random.normal(size=(len(of), 12)).astype(np.float32)
        noise = 0.5 * random.normal(size=(len(of), d)).astype(np.float32)
        rows[start : start + 4_096] = centres[of] + np.einsum("nr,nrd->nd", along, axes[of]) + noise
    return kmeans.normalise(rows)


def passages(paths: list[Path], n: int, d: int) -> np.ndarray:
    """Unit rows of passages of documents, in random order."""
    found: list[str] = []
    for path in paths:
        data = path.read_bytes()
        if path.suffix == ".zst":
            data = zstandard.ZstdDecompressor().stream_reader(data).readall()
        for line in data.split(b"\n"):
            try:
                words = orjson.loads(line).get("text", "").split()
            except orjson.JSONDecodeError:
                continue
            found += [" ".join(words[i : i + WORDS]) for i in range(0, len(words) - 8, WORDS)]
    np.random.default_rng(0).shuffle(found)
    vectorizer = TfidfVectorizer(
        max_features=30_000, sublinear_tf=True, stop_words="english", dtype=np.float32
    )
    counts = vectorizer.fit_transform(found[:n])
    svd = TruncatedSVD(d, n_iter=2, random_state=0).fit(counts[:20_000])
    rows = kmeans.normalise(svd.transform(counts) / np.sqrt(svd.singular_values_))
    kept: np.ndarray = rows[rows.any(axis=1)]
    return kept


def contenders(vectors: np.ndarray, k: int) -> dict[str, Callable[[int], np.ndarray]]:
    """Fits by name; each takes a seed and returns unit centroids."""
    sample = vectors[: k * PER_CLUSTER]

    def peer(seed: int, **options: int) -> np.ndarray:
        model = MiniBatchKMeans(k, random_state=seed, **options).fit(vectors)
        return kmeans.normalise(model.cluster_centers_)

    return {
        "MiniBatchKMeans": peer,
        "MiniBatchKMeans, batch 4096": lambda seed: peer(seed, batch_size=4_096),
        "ours, 64 a cluster": lambda seed: kmeans.fit(sample, k=k, seed=seed).centroids,
        "ours, 64, one level": lambda seed: kmeans.fit(sample, k=k, seed=seed, levels=1).centroids,
        "ours, all": lambda seed: kmeans.fit(vectors, k=k, seed=seed).centroids,
        "ours, balance 3": lambda seed: kmeans.fit(sample, k=k, seed=seed, balance=3).centroids,
        "ours, resampled": lambda seed: (
            kmeans.fit(sample, k=k, seed=seed, resample=ResampleParams()).centroids
        ),
    }


def compare_fits(name: str, vectors: np.ndarray, k: int, rounds: int) -> None:
    """CPU seconds, inertia and sizes of each fit, alternating."""
    fits = contenders(vectors, k)
    seconds: dict[str, list[float]] = {fit: [] for fit in fits}
    inertia: dict[str, list[float]] = {fit: [] for fit in fits}
    shape: dict[str, tuple[float, int]] = {}
    for seed in range(rounds):
        for fit, run in fits.items():
            if seed and fit in ("ours, balance 3", "ours, resampled", "ours, 64, one level"):
                continue
            started = time.process_time()
            centroids = run(seed)
            seconds[fit].append(time.process_time() - started)
            cluster, distance = kmeans.assign(vectors, centroids)
            inertia[fit].append(float((distance.astype(np.float64) ** 2).sum()))
            sizes = np.bincount(cluster, minlength=k)
            shape[fit] = (sizes.max() / sizes.mean(), int((sizes == 0).sum()))
    peer = "MiniBatchKMeans"
    print(f"\n{name}: {len(vectors):,} vectors of {vectors.shape[1]}, k = {k:,}\n")
    print(
        "| fit | CPU s | times as fast | inertia | of MiniBatchKMeans' | largest / mean | empty |"
    )
    print("|---|---|---|---|---|---|---|")
    for fit in fits:
        faster = np.median(seconds[peer]) / np.median(seconds[fit])
        ratio = np.mean(inertia[fit]) / np.mean(inertia[peer])
        print(
            f"| {fit} | {np.median(seconds[fit]):.1f} | {faster:.1f} | {np.mean(inertia[fit]):,.0f}"
            f" | {ratio:.4f} | {shape[fit][0]:.1f} | {shape[fit][1]} |",
            flush=True,
        )


def compare_assignment(vectors: np.ndarray, shapes: list[tuple[int, int]]) -> None:
    """Documents a second of assignment beside numpy's product of the same matrices."""
    print("\n| d | k | assign, 1,000 documents/s | float16 in | sgemm alone | assign / sgemm |")
    print("|---|---|---|---|---|---|")
    for d, k in shapes:
        rows = kmeans.normalise(np.resize(vectors[:16_384], (16_384, d)))
        half, centroids = rows.astype(np.float16), np.ascontiguousarray(rows[:k])
        runs: dict[str, Callable[[], object]] = {
            "sgemm": lambda rows=rows, centroids=centroids: rows @ centroids.T,
            "assign": lambda rows=rows, centroids=centroids: kmeans.assign(rows, centroids),
            "half": lambda half=half, centroids=centroids: kmeans.assign(half, centroids),
        }
        best = dict.fromkeys(runs, np.inf)
        for _ in range(7):
            for run, call in runs.items():
                started = time.process_time()
                call()
                best[run] = min(best[run], time.process_time() - started)
        rate = {run: len(rows) / seconds / 1e3 for run, seconds in best.items()}
        print(
            f"| {d} | {k:,} | {rate['assign']:.0f} | {rate['half']:.0f} | {rate['sgemm']:.0f} | "
            f"{rate['assign'] / rate['sgemm']:.0%} |",
            flush=True,
        )


def stability(vectors: np.ndarray, k: int, runs: int = 3) -> tuple[float, float]:
    """Mean pairwise adjusted Rand index of clusters between seeds, and between samples.

    Args:
        vectors: float32 ``[n, d]``, unit rows; samples are disjoint parts of it.
        k: number of clusters.
        runs: fits to compare.
    """
    size = min(k * PER_CLUSTER, len(vectors) // runs)
    seen = vectors[:50_000]

    def mean_of(fits: Iterator[kmeans.Fit]) -> float:
        found = [kmeans.assign(seen, fit.centroids).cluster for fit in fits]
        return float(np.mean([adjusted_rand_score(a, b) for a, b in combinations(found, 2)]))

    sample = vectors[:size]
    seeds = mean_of(kmeans.fit(sample, k=k, seed=seed) for seed in range(runs))
    parts = (vectors[run * size : (run + 1) * size] for run in range(runs))
    return seeds, mean_of(kmeans.fit(part, k=k, seed=0) for part in parts)


#: Run in a process of its own: peak of a fit beyond what the interpreter and libraries hold.
_PEAK = """
import sys
import numpy as np
from mixcurate.kernels import kmeans
n, d, k, levels = (int(value) for value in sys.argv[1:5])
metric = sys.argv[5]
kmeans.fit(np.eye(8, dtype=np.float32), k=2, seed=1)
def peak():  # ru_maxrss would count the process that started this one
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024
before = peak()
rows = np.random.default_rng(0).random((n, d), np.float32)
rows -= 0.5
for start in range(0, n, 4096):
    rows[start : start + 4096] = kmeans.normalise(rows[start : start + 4096])
kmeans.fit(rows, k=k, seed=1, levels=levels, metric=metric, iterations=2)
print(peak() - before)
"""


def compare_memory() -> None:
    """The estimate beside the measured peak."""
    print("\n| rows | d | k | levels | metric | estimate MB | measured MB | measured / estimate |")
    print("|---|---|---|---|---|---|---|---|")
    for n, d, k, levels, metric in (
        (64_000, 384, 1_000, 2, "cosine"),
        (64_000, 384, 1_000, 2, "euclidean"),
        (64_000, 384, 1_000, 1, "cosine"),
        (200_000, 384, 200, 2, "euclidean"),
        (200_000, 64, 1_000, 2, "cosine"),
        (20_000, 1_024, 1_000, 2, "cosine"),
    ):
        arguments = [str(value) for value in (n, d, k, levels, metric)]
        done = subprocess.run(
            [sys.executable, "-c", _PEAK, *arguments], capture_output=True, text=True, check=True
        )
        measured, estimate = int(done.stdout), memory_of_fit(n, d, k, 1 if levels == 1 else 2)
        print(
            f"| {n:,} | {d} | {k:,} | {levels} | {metric} | {estimate / 1e6:.0f} | "
            f"{measured / 1e6:.0f} | {measured / estimate:.2f} |",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--vectors", type=int, default=262_144)
    parser.add_argument("--dimension", type=int, default=384)
    parser.add_argument("--k", type=int, default=1_000)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--only", choices=["fit", "assign", "stability", "memory"])
    args = parser.parse_args()
    faiss.omp_set_num_threads(1)
    with threadpool_limits(1):
        sets = {}
        if args.only != "memory":
            sets["Gaussians"] = synthetic(args.vectors, args.dimension)
        if args.files and args.only in (None, "fit", "stability"):
            sets["passages"] = passages(args.files, args.vectors, args.dimension)
        if args.only in (None, "assign"):
            shapes = [(384, 1_000), (64, 1_000), (256, 1_000), (768, 1_000), (384, 10_000)]
            compare_assignment(sets["Gaussians"], shapes)
        if args.only in (None, "fit"):
            for name, vectors in sets.items():
                compare_fits(name, vectors, args.k, args.rounds)
        if args.only in (None, "stability"):
            print("\n| vectors | ARI between seeds | ARI between samples |\n|---|---|---|")
            for name, vectors in sets.items():
                seeds, samples = stability(vectors, args.k)
                print(f"| {name} | {seeds:.3f} | {samples:.3f} |", flush=True)
        if args.only in (None, "memory"):
            compare_memory()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"\npeak of the benchmark itself: {peak:.0f} MiB")


if __name__ == "__main__":
    main()
