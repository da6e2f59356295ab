"""How well domains agree with the topics that people gave to documents, and what they cost.

    python -m benchmarks.agreement [--data FOLDER] [--peers-python PY] [--documents 3000]
        [--sets NAME ...] [--seeds 3] [--cache FOLDER]

On each set: normalised mutual information (NMI), adjusted Rand index (ARI), purity, and the CPU
seconds of our fit, merge and assignment; of scikit-learn's k-means; and of BERTopic in an
interpreter of its own (``pip install bertopic wordllama`` there), all on one thread. All get the
same vectors (those of the embedded encoder) and the true number of topics, and start at the seeds
0, 1, ... Then our domains again, from vectors of other kinds. Vectors are kept in ``--cache``.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import xxhash
import zstandard
from sklearn.cluster import KMeans
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from mixcurate.kernels import domains, grouping, kmeans
from mixcurate.kernels.clustering import MergeParams

SETS = {
    "pile_sample": "topics/pile_sample.jsonl.zst",
    "stackoverflow_titles": "topics/stackoverflow_titles.jsonl.zst",
    "weborganizer": "web/weborganizer.jsonl.zst",
    "20newsgroups": "topics/20newsgroups.jsonl.zst",
}

#: Characters of a document that static and lexical vectors read, as the encoder does.
CHARACTERS = 3_072

Grouping = Callable[[np.ndarray, int, int], np.ndarray]


def read_set(path: Path, count: int) -> tuple[list[str], np.ndarray]:
    """Texts and labels of some documents, picked by the hash of their text; broken lines left."""
    data = b""
    with path.open("rb") as packed, zstandard.ZstdDecompressor().stream_reader(packed) as reader:
        while block := reader.read(1 << 20):
            data += block
    rows = []
    for line in data.split(b"\n"):
        try:
            row = orjson.loads(line)
        except orjson.JSONDecodeError:
            continue
        rows.append(
            (xxhash.xxh3_64_intdigest(row["text"].encode()), row["text"], str(row["label"]))
        )
    rows = sorted(rows)[:count]
    return [text for _, text, _ in rows], np.array([label for _, _, label in rows])


def encoded(texts: list[str]) -> np.ndarray:
    """Vectors of the embedded encoder."""
    from mixcurate.models.encoders import EmbedParams, EncodeStats
    from mixcurate.models.resolve import load, resolve

    encoder = load(resolve(EmbedParams(backend="openvino", device="cpu")), 2)
    batches = [texts[i : i + encoder.window] for i in range(0, len(texts), encoder.window)]
    return np.concatenate(list(encoder.encode(batches, EncodeStats())))


def lexical(texts: list[str]) -> np.ndarray:
    """TF-IDF, its 128 leading components."""
    counted = TfidfVectorizer(sublinear_tf=True, min_df=2, max_df=0.5, max_features=50_000)
    weights = counted.fit_transform([text[:CHARACTERS] for text in texts])
    return np.asarray(TruncatedSVD(128, random_state=0).fit_transform(weights))


def ours(vectors: np.ndarray, k: int, seed: int, linkage: str = "spectral") -> np.ndarray:
    """Domains as the cluster stage makes them of vectors that all fit into its sample."""
    centroids = kmeans.fit(vectors, k=kmeans.effective_k(1_000, len(vectors)), seed=seed).centroids
    sizes = np.bincount(kmeans.assign(vectors, centroids).cluster, minlength=len(centroids))
    if linkage == "spectral":
        return grouping.groups_of(grouping.find_groups(vectors, k, seed), vectors)
    params = MergeParams(domains=k, linkage=linkage)
    domain = domains.merge(centroids, sizes > 0, sizes, params, seed=seed)
    return domain[kmeans.assign(vectors, centroids).cluster]


GROUPINGS: dict[str, Grouping] = {
    "ours, spectral": ours,
    "ours, ward": lambda vectors, k, seed: ours(vectors, k, seed, "ward"),
    "scikit-learn KMeans, n_init 1": lambda v, k, seed: _sklearn(v, k, seed, 1),
    "scikit-learn KMeans, n_init 10": lambda v, k, seed: _sklearn(v, k, seed, 10),
}


def _sklearn(vectors: np.ndarray, k: int, seed: int, starts: int) -> np.ndarray:
    return np.asarray(KMeans(k, n_init=starts, random_state=seed).fit_predict(vectors))


def scores(truth: np.ndarray, labels: np.ndarray) -> list[float]:
    """NMI, ARI and purity."""
    together = np.zeros((len(np.unique(labels)), len(np.unique(truth))))
    pair = [np.unique(column, return_inverse=True)[1] for column in (labels, truth)]
    np.add.at(together, tuple(pair), 1)
    purity = together.max(axis=1).sum() / len(truth)
    return [
        float(normalized_mutual_info_score(truth, labels)),
        float(adjusted_rand_score(truth, labels)),
        float(purity),
    ]


def ask_peers(python: str, what: str, folder: Path, *arguments: object) -> list[dict[str, Any]]:
    """Run a peer on one thread in its own interpreter; nothing, and why, if it fails."""
    script = Path(__file__).with_name("agreement_peers.py")
    threads = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "NUMBA")}
    command = [python, str(script), what, str(folder), *map(str, arguments)]
    ran = subprocess.run(
        command, capture_output=True, text=True, env=os.environ | threads, check=False
    )
    if ran.returncode:
        print(f"{what}: left out, {python} says: {ran.stderr.strip().splitlines()[-1]}")
        return []
    found: list[dict[str, Any]] = json.loads(ran.stdout.strip().splitlines()[-1])
    return found


def compare(
    name: str, vectors: np.ndarray, truth: np.ndarray, folder: Path, args: argparse.Namespace
) -> None:
    """Print the rows of one set."""
    k = len(set(truth.tolist()))
    rows: dict[str, list[list[float]]] = {}
    for seed in range(args.seeds):
        for method, group in GROUPINGS.items():
            with threadpool_limits(1):
                started = time.process_time()
                labels = group(vectors, k, seed)
                taken = time.process_time() - started
            rows.setdefault(method, []).append([*scores(truth, labels), taken])
    if args.peers_python:
        for run in ask_peers(args.peers_python, "bertopic", folder, k, *range(args.seeds)):
            labels = np.load(folder / f"{run['name']}.{run['seed']}.npy")
            method = f"BERTopic, UMAP and {run['name']}"
            rows.setdefault(method, []).append([*scores(truth, labels), run["seconds"]])
    for method, runs in rows.items():
        mean, spread = np.mean(runs, axis=0), np.std(runs, axis=0)
        cells = [f"{m:.3f} ± {s:.3f}" for m, s in zip(mean[:3], spread[:3], strict=True)]
        print(f"| {name} | {method} | {' | '.join(cells)} | {mean[3]:.1f} |", flush=True)


def kinds(
    texts: list[str], vectors: np.ndarray, folder: Path, python: str | None
) -> dict[str, np.ndarray]:
    """Vectors of each kind and of combinations, unit rows."""
    found = {"encoder": vectors, "lexical": kmeans.normalise(lexical(texts))}
    if python and ask_peers(python, "static", folder):
        found["static"] = kmeans.normalise(np.load(folder / "static.npy"))
    for left, right in (("encoder", "lexical"), ("encoder", "static"), ("static", "lexical")):
        if left not in found or right not in found:
            continue
        parts = [found[left], found[right]]  # of one length each: they count as much
        found[f"{left} + {right}"] = kmeans.normalise(np.concatenate(parts, axis=1))
    return found


def prepare(path: Path, folder: Path, count: int) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Texts, labels and unit vectors of a set, which are kept in ``folder``."""
    texts, truth = read_set(path, count)
    folder.mkdir(parents=True, exist_ok=True)
    kept = folder / "vectors.npy"
    if not kept.exists():
        np.save(kept, kmeans.normalise(encoded(texts)))
    (folder / "texts.json").write_text(json.dumps([text[:CHARACTERS] for text in texts]))
    return texts, truth, np.load(kept)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--sets", nargs="*", default=list(SETS), choices=list(SETS))
    parser.add_argument("--documents", type=int, default=3_000)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--peers-python", metavar="PY")
    parser.add_argument(
        "--cache", type=Path, default=Path(tempfile.gettempdir()) / "mixcurate-agreement"
    )
    args = parser.parse_args()
    if not args.peers_python:
        print("BERTopic and static vectors are left out: give --peers-python")
    ready = {}
    for name in args.sets:
        path = args.data / SETS[name]
        if not path.exists():
            print(f"{name}: left out, there is no {path}", file=sys.stderr)
            continue
        folder = args.cache / f"{name}.{args.documents}"
        ready[name] = (folder, *prepare(path, folder, args.documents))
        print(f"{name}: {len(ready[name][1])} documents, {len(set(ready[name][2]))} topics")
    print("\n| set | method | NMI | ARI | purity | CPU s |\n|---|---|---|---|---|---|")
    for name, (folder, _, truth, vectors) in ready.items():
        compare(name, vectors, truth, folder, args)
    print("\nNMI of our domains by kind of vector\n")
    table: dict[str, list[str]] = {}
    for folder, texts, truth, vectors in ready.values():
        for kind, rows in kinds(texts, vectors, folder, args.peers_python).items():
            k = len(set(truth.tolist()))
            with threadpool_limits(1):
                found = [scores(truth, ours(rows, k, seed))[0] for seed in range(args.seeds)]
            table.setdefault(kind, []).append(f"{np.mean(found):.3f} ± {np.std(found):.3f}")
    print(f"| vectors | {' | '.join(ready)} |\n|{'---|' * (len(ready) + 1)}")
    for kind, cells in table.items():
        print(f"| {kind} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
