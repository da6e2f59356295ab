"""Assignment of many vectors: linear in time, flat in memory.

    python -m benchmarks.assign_scale [--vectors 10_000_000] [--dimension 64] [--k 1000]

Shards of vectors are generated one after another, the same ones in each run, and assigned in
batches as an embeddings file gives them (float16, 16,384 rows). The time to generate is told apart.
Prints a row for each tenth: a cost that grows, or memory that does, shows in the last ones. The
digest at the end is that of all clusters, whatever the number of threads.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import resource
import time

import faiss
import numpy as np

from mixcurate.kernels import kmeans

ROWS = 16_384


def shard_batch(centres: np.ndarray, number: int, rows: int) -> np.ndarray:
    """Float16 unit rows around some centres: batch ``number`` is the same in each run."""
    random = np.random.default_rng([7, number])
    group = random.integers(0, len(centres), rows)
    noise = random.standard_normal((rows, centres.shape[1]), np.float32)
    found: np.ndarray = kmeans.normalise(centres[group] + 0.7 * noise).astype(np.float16)
    return found


def resident() -> float:
    """MiB held now."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--vectors", type=int, default=10_000_000)
    parser.add_argument("--dimension", type=int, default=64)
    parser.add_argument("--k", type=int, default=1_000)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    args = parser.parse_args()
    faiss.omp_set_num_threads(args.threads)
    centres = np.random.default_rng(3).standard_normal((3_000, args.dimension), np.float32)
    sample = np.concatenate([shard_batch(centres, 10**9 + number, ROWS) for number in range(4)])
    started = time.perf_counter()
    fit = kmeans.fit(kmeans.normalise(sample), k=args.k, seed=1)
    print(f"fit of k = {args.k:,} on {len(sample):,}: {time.perf_counter() - started:.1f} s")
    print(f"{args.vectors:,} vectors of {args.dimension}, {args.threads} threads\n")
    print("| million | generate s | assign s | assign s / million | RSS MiB | peak MiB |")
    print("|---|---|---|---|---|---|")
    digest, counts = hashlib.sha256(), np.zeros(args.k, np.int64)
    steps = np.unique(np.linspace(0, args.vectors, 11).astype(int))[1:]
    done = batch = 0
    rates = []
    for step in steps.tolist():
        generating = assigning = 0.0
        before = done
        while done < step:
            rows = min(ROWS, args.vectors - done)
            t0 = time.perf_counter()
            vectors = shard_batch(centres, batch, rows)
            t1 = time.perf_counter()
            cluster, _ = kmeans.assign(vectors, fit.centroids)
            assigning += time.perf_counter() - t1
            generating += t1 - t0
            digest.update(cluster.tobytes())
            counts += np.bincount(cluster, minlength=args.k)
            done, batch = done + rows, batch + 1
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        rates.append(assigning / (done - before) * 1e6)
        print(
            f"| {done / 1e6:.1f} | {generating:.1f} | {assigning:.1f} | {rates[-1]:.2f} | "
            f"{resident():.0f} | {peak:.0f} |",
            flush=True,
        )
    assert counts.sum() == args.vectors
    print(f"\nlast tenth / first tenth: {rates[-1] / rates[0]:.2f} in time a vector")
    largest, empty = counts.max() / counts.mean(), int((counts == 0).sum())
    print(f"largest cluster {largest:.1f} times the mean, {empty} empty")
    print(f"sha256 of all clusters: {digest.hexdigest()[:16]}")


if __name__ == "__main__":
    main()
