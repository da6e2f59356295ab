"""Near-duplicate keys: documents per second against datatrove, and who is found.

    python -m benchmarks.minhash [--data FOLDER] [--peer PYTHON] [--documents 1000] [--rounds 5]

Rate: from texts to the keys under which near-duplicates meet (5-grams, 14 bands of 8), CPU time in
one thread, alternating with datatrove's ``MinhashDedupSignature`` on the same documents with the
same parameters. PYTHON is the interpreter of an environment with ``datatrove[processing]``; it
stays in a process of its own. Without one only the own rate is printed.

Quality: pairs that share a key against brute-force Jaccard similarity of 5-gram sets, on documents
with planted edits, on the labelled pairs of ``dups/minhash_articles_2500`` and on the articles that
``quality/onestopenglish`` has in three versions.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import json
import subprocess
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import orjson
import pyarrow as pa
import zstandard

from mixcurate.kernels import minhash
from mixcurate.kernels.cleaning import NearParams
from mixcurate.kernels.words import normalise, split_words

PEER = """
import json, sys, tempfile, time
from datatrove.data import Document
from datatrove.pipeline.dedup.minhash import MinhashConfig, MinhashDedupSignature
from datatrove.utils.hashing import HashConfig
texts = json.load(open(sys.argv[1]))
config = MinhashConfig(n_grams=5, num_buckets=14, hashes_per_bucket=8, hash_config=HashConfig())
def run(texts):
    documents = [Document(text=text, id=str(i)) for i, text in enumerate(texts)]
    with tempfile.TemporaryDirectory() as folder:
        step = MinhashDedupSignature(output_folder=folder, config=config)
        started = time.process_time()
        step.run(iter(documents), 0, 1)
        return time.process_time() - started
run(texts[:20])
for _ in sys.stdin:
    print(run(texts), file=open(sys.argv[2], "a"))
"""


def read(path: Path) -> list[dict]:
    """The rows of a .jsonl.zst file; a last line that is cut is left out."""
    data = zstandard.ZstdDecompressor().stream_reader(path.read_bytes()).read()
    rows = []
    for line in data.splitlines():
        try:
            rows.append(orjson.loads(line))
        except orjson.JSONDecodeError:
            print(f"{path.name}: a line of {len(line)} bytes is no JSON and is left out")
    return rows


def own_keys(texts: list[str], params: NearParams, batch: int = 200) -> np.ndarray:
    """Keys of texts, uint64 ``[n, bands]``."""
    array = pa.array(texts, pa.large_string())
    cut = [array[start : start + batch] for start in range(0, len(texts), batch)]
    return np.concatenate(
        [minhash.band_keys(split_words(normalise(piece)), params) for piece in cut]
    )


def start_peer(python: str, texts: list[str], folder: str) -> Callable[[], float]:
    """datatrove in its own process; each call runs it once and gives its CPU seconds."""
    path, times, log = (Path(folder) / name for name in ("texts.json", "times", "log"))
    path.write_text(json.dumps(texts))
    times.touch()
    process = subprocess.Popen(
        [python, "-c", PEER, str(path), str(times)],
        stdin=subprocess.PIPE,
        stdout=log.open("w"),
        stderr=subprocess.STDOUT,
        text=True,
    )

    def run() -> float:
        before = len(times.read_text().splitlines())
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
        while process.poll() is None:
            taken = times.read_text().splitlines()
            if len(taken) > before:
                return float(taken[-1])
            time.sleep(0.05)
        raise RuntimeError(log.read_text()[-2000:])

    return run


def show(name: str, documents: int, seconds: list[float]) -> None:
    print(
        f"{name:<10} {documents / np.median(seconds):8.0f} documents/s "
        f"(best {documents / min(seconds):.0f})"
    )


def rate(texts: list[str], peer: str | None, rounds: int) -> None:
    """Documents per second and, where there is a peer, ratios round by round."""
    own_keys(texts[:50], NearParams())
    own: list[float] = []
    other: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        run = start_peer(peer, texts, folder) if peer else None
        for _ in range(rounds):
            started = time.process_time()
            own_keys(texts, NearParams())
            own.append(time.process_time() - started)
            if run:
                other.append(run())
    words = sum(len(text.split()) for text in texts) / len(texts)
    print(f"{len(texts)} documents of {words:.0f} words, CPU time, one thread")
    show("mixcurate", len(texts), own)
    if not other:
        print("datatrove  not given (--peer), left out")
        return
    ratios = np.array(other) / np.array(own)
    show("datatrove", len(texts), other)
    print(f"ratio {np.median(ratios):.1f} ({ratios.min():.1f} to {ratios.max():.1f})")


def shingle_sets(texts: list[str], n: int = 5) -> list[frozenset[int]]:
    words = split_words(normalise(pa.array(texts, pa.large_string())))
    hashes, offsets = minhash.shingles(words, n)
    return [frozenset(hashes[a:b].tolist()) for a, b in itertools.pairwise(offsets.tolist())]


def jaccard(first: frozenset[int], second: frozenset[int]) -> float:
    union = len(first | second)
    return len(first & second) / union if union else 0.0


def true_pairs(sets: list[frozenset[int]], least: float) -> dict[tuple[int, int], float]:
    """All pairs of some similarity, by an inverted index: exact, whatever the keys say."""
    index = defaultdict(list)
    for number, shingles in enumerate(sets):
        for shingle in shingles:
            index[shingle].append(number)
    shared: dict[tuple[int, int], int] = defaultdict(int)
    for numbers in index.values():
        for pair in itertools.combinations(numbers, 2):
            shared[pair] += 1
    found = {}
    for (a, b), common in shared.items():
        similarity = common / (len(sets[a]) + len(sets[b]) - common)
        if similarity >= least:
            found[a, b] = similarity
    return found


def found_pairs(keys: np.ndarray) -> set[tuple[int, int]]:
    """Pairs of documents that share a key."""
    pairs = set()
    for band in range(keys.shape[1]):
        order = np.argsort(keys[:, band], kind="stable")
        cuts = np.flatnonzero(np.diff(keys[order, band])) + 1
        for group in np.split(order, cuts):
            if len(group) > 1 and keys[group[0], band]:
                pairs |= set(itertools.combinations(sorted(group.tolist()), 2))
    return pairs


def score(name: str, texts: list[str], params: NearParams) -> None:
    """Recall and precision of shared keys at the similarity where half are found."""
    bands, rows = minhash.curve(params)
    half = (1 - 0.5 ** (1 / bands)) ** (1 / rows)
    similar = true_pairs(shingle_sets(texts), 0.05)
    found = found_pairs(own_keys(texts, params))
    wanted = {pair for pair, similarity in similar.items() if similarity >= half}
    expected = sum(
        float(minhash.match_probability(np.array(s), bands, rows)) for s in similar.values()
    )
    hits = len(found & wanted)
    print(
        f"{name}: {len(texts):,} documents, {bands} bands of {rows}, half point {half:.3f}: "
        f"{len(wanted):,} pairs above it, {len(found):,} found ({expected:.0f} expected), "
        f"recall {hits / max(1, len(wanted)):.3f}, precision {hits / max(1, len(found)):.3f}"
    )
    for least in (0.75, 0.8, 0.9):
        above = {pair for pair, similarity in similar.items() if similarity >= least}
        share = len(found & above) / max(1, len(above))
        print(f"  of {len(above):,} pairs at least {least} similar {share:.3f} are found")


def edited(words: list[str], share: float, rng: np.random.Generator) -> str:
    """A document of which a share of the words, in runs, is deleted or replaced."""
    words = list(words)
    left = max(1, round(share * len(words)))
    while left > 0:
        run = int(min(left, rng.integers(1, 6)))
        place = int(rng.integers(0, max(1, len(words) - run)))
        words[place : place + run] = ["edited"] * run if rng.random() < 0.5 else []
        left -= run
    return " ".join(words)


def curve(texts: list[str], params: NearParams, seed: int = 5) -> None:
    """The measured S-curve of planted edits beside the formula."""
    rng = np.random.default_rng(seed)
    long = [words for words in (text.split() for text in texts) if len(words) >= 50]
    pairs = [
        (" ".join(words), edited(words, share, rng))
        for words in long
        for share in rng.choice([0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.08, 0.12], 2)
    ]
    before, after = ([pair[side] for pair in pairs] for side in (0, 1))
    similar = np.array(
        [jaccard(*both) for both in zip(shingle_sets(before), shingle_sets(after), strict=True)]
    )
    same = (own_keys(before, params) == own_keys(after, params)).any(axis=1)
    bands, rows = minhash.curve(params)
    formula = minhash.match_probability(similar, bands, rows)
    print(f"S-curve of {len(pairs):,} edited documents, {bands} bands of {rows}")
    print("  similarity   pairs  found  1-(1-s^r)^b")
    for low in np.arange(0.3, 1.0, 0.05):
        mine = (similar >= low) & (similar < low + 0.05)
        if mine.any():
            print(
                f"  {low:.2f}-{low + 0.05:.2f} {mine.sum():9,} {same[mine].mean():6.3f} "
                f"{formula[mine].mean():8.3f}"
            )


def labelled(folder: Path) -> None:
    """The 20 planted pairs of the articles."""
    rows = read(folder / "dups/minhash_articles_2500.jsonl.zst")
    with (folder / "dups/minhash_articles_2500_pairs.csv").open() as stream:
        truth = [(row["a"], row["b"]) for row in csv.DictReader(stream)]
    texts = [row["text"] for row in rows]
    number = {row["id"]: i for i, row in enumerate(rows)}
    found = found_pairs(own_keys(texts, NearParams()))
    wanted = {tuple(sorted((number[a], number[b]))) for a, b in truth}
    print(
        f"labelled articles: {len(found & wanted)} of {len(wanted)} pairs found, "
        f"{len(found - wanted)} others"
    )
    score("labelled articles", texts, NearParams())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--peer", metavar="PYTHON")
    parser.add_argument("--documents", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    web = [row["text"] for row in read(args.data / "web/weborganizer.jsonl.zst")]
    rate(web[: args.documents], args.peer, args.rounds)
    news = [row["text"] for row in read(args.data / "topics/20newsgroups.jsonl.zst")][:2000]
    for params in (NearParams(), NearParams(threshold=0.8)):
        curve(news, params)
    labelled(args.data)
    versions = [row["text"] for row in read(args.data / "quality/onestopenglish.jsonl.zst")]
    for threshold in (None, 0.5, 0.3):
        score("onestopenglish", versions, NearParams(threshold=threshold))


if __name__ == "__main__":
    main()
