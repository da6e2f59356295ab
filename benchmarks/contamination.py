"""Microseconds to search a document for items of evaluation sets, by the size of the index.

    python -m benchmarks.contamination FILE.jsonl[.zst] [--documents 2000] [--ngrams 100000 ...]

The search is compared with what it cannot do without, the n-grams of the documents themselves, and
with a search of Python sets of word tuples (the smallest index only: larger ones do not fit). All
search the same documents in turn; ratios are taken round by round.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa

from benchmarks.encoders import read_texts
from mixcurate.kernels.contamination import find
from mixcurate.kernels.contamination_index import ContaminationIndex, Items, build_index
from mixcurate.kernels.words import ngrams, normalise, split_words

NGRAM = 13
ITEM_WORDS = 60


def made_index(texts: list[str], n_ngrams: int) -> ContaminationIndex:
    """Items of shuffled words of the documents, so that few n-grams occur in them by chance."""
    words = np.array(" ".join(normalise(pa.array(texts, pa.large_string())).to_pylist()).split())
    count = n_ngrams // (ITEM_WORDS - NGRAM + 1)
    picked = np.random.default_rng(1).choice(words, (count, ITEM_WORDS))
    text = pa.array([" ".join(row) for row in picked.tolist()], pa.large_string())
    zeros = np.zeros(count, np.int32)
    items = Items(text, zeros, zeros, np.arange(count))
    return build_index(
        items,
        ["made"],
        ["made"],
        ngram=NGRAM,
        min_words=8,
        template_items=10,
        template_share=0.01,
    )


def brute_force(texts: list[str], items: set[tuple[str, ...]]) -> int:
    """Documents that share a tuple of words with a set of them."""
    found = 0
    for plain in normalise(pa.array(texts, pa.large_string())).to_pylist():
        words = plain.split()
        found += any(
            gram in items for gram in zip(*(words[i:] for i in range(NGRAM)), strict=False)
        )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--documents", type=int, default=2_000)
    parser.add_argument("--ngrams", type=int, nargs="*", default=[100_000, 10_000_000])
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    texts = read_texts(args.files, args.documents)
    batches = [pa.array(texts[i : i + 500], pa.large_string()) for i in range(0, len(texts), 500)]
    n_words = sum(len(split_words(normalise(batch)).hashes) for batch in batches)
    print(f"{len(texts):,} documents of {n_words / len(texts):.0f} words, n = {NGRAM}")
    tuples = {("no", "such", "words") * 5}
    runs: dict[str, Callable[[], object]] = {
        "n-grams alone": lambda: [ngrams(split_words(normalise(b)), NGRAM) for b in batches],
        "Python set of tuples": lambda: brute_force(texts, tuples),
    }
    for size in args.ngrams:
        started = time.perf_counter()
        index = made_index(texts, size)
        hits = sum(int(find(batch, index).rows(len(batch)).sum()) for batch in batches)
        megabytes = sum(array.nbytes for array in index.parts()[1].values()) / 1e6
        name = f"index of {len(index.hashes):,}"
        print(
            f"{name}: made in {time.perf_counter() - started:.1f} s, {megabytes:.0f} MB,"
            f" {hits} documents hit"
        )
        runs[name] = lambda index=index: [find(batch, index) for batch in batches]
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(args.rounds):
        for name, run in runs.items():
            started = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - started)
    floor = np.array(seconds["n-grams alone"])
    for name, taken in seconds.items():
        ratios = np.array(taken) / floor
        print(
            f"{name:<24} {np.median(taken) / len(texts) * 1e6:7.1f} µs a document,"
            f" {np.median(ratios):.2f} times the n-grams alone"
            f" ({ratios.min():.2f} to {ratios.max():.2f})"
        )


if __name__ == "__main__":
    main()
