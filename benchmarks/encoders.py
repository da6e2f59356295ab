"""Documents per second of each backend against ``SentenceTransformer.encode``, and how faithful.

    python -m benchmarks.encoders [FILE.jsonl[.zst] ...] [--documents 128] [--rounds 6]

All run on the same documents in turn, in one process: the library as users call it (one call,
default arguments, both cores), then each backend and precision. Ratios are taken round by round.
The share of peak is of the best matrix multiplication that torch reaches here in that arithmetic.
``--domains N`` also clusters N documents and compares the clusters (adjusted Rand index) with those
of fp32, beside what two seeds differ by.
"""

from __future__ import annotations

import argparse
import os
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import zstandard

from mixcurate.models.encoder import Encoder
from mixcurate.models.encoders import EmbedParams, EncodeStats
from mixcurate.models.model_folder import find_model
from mixcurate.models.resolve import load, resolve

SETTINGS = ("torch fp32", "openvino fp32", "openvino bf16", "openvino int8")
DEFAULT = "runs/quickstart-input/NewsArticles.jsonl"


def read_texts(paths: list[Path], count: int) -> list[str]:
    """Documents of all files in equal parts, picked by a fixed seed."""
    picked: list[str] = []
    for path in paths:
        data = path.read_bytes()
        if path.suffix == ".zst":
            data = zstandard.ZstdDecompressor().stream_reader(data).read()
        texts = [orjson.loads(line)["text"] for line in data.splitlines() if line.strip()]
        picked += random.Random(1).sample(texts, min(len(texts), -(-count // len(paths))))
    random.Random(2).shuffle(picked)
    return picked[:count]


def peak(precision: str, threads: int) -> float:
    """Best GFLOP/s of a matrix multiplication in some arithmetic."""
    import torch

    torch.set_num_threads(threads)
    n, best = 1536, 0.0
    if precision == "int8":
        left = torch.randint(-99, 99, (n, n), dtype=torch.int8)
        right = left.t().contiguous().t()
        multiply: Callable[[], Any] = lambda: torch._int_mm(left, right)  # noqa: E731
    else:
        matrix = torch.randn(n, n).to(torch.bfloat16 if precision == "bf16" else torch.float32)
        multiply = lambda: matrix @ matrix  # noqa: E731
    for _ in range(12):
        started = time.perf_counter()
        multiply()
        best = max(best, 2 * n**3 / (time.perf_counter() - started) / 1e9)
    return best


def gflop(encoder: Encoder, texts: list[str]) -> float:
    """Arithmetic of the embedded model on these texts: 21.2 MFLOP a token and attention."""
    lengths = encoder.tokenize(texts).lengths.astype(float)
    return float((21.2e6 * lengths + 9.2e3 * lengths**2).sum() / 1e9)


def embed(encoder: Encoder, texts: list[str]) -> np.ndarray:
    batches = [texts[i : i + encoder.window] for i in range(0, len(texts), encoder.window)]
    return np.concatenate(list(encoder.encode(batches, EncodeStats())))


def contenders(args: argparse.Namespace) -> dict[str, Callable[[list[str]], np.ndarray]]:
    from sentence_transformers import SentenceTransformer

    library = SentenceTransformer(find_model(args.model, None)[0], device="cpu")
    library.max_seq_length = min(args.max_tokens, library.max_seq_length)
    found: dict[str, Callable[[list[str]], np.ndarray]] = {"library": library.encode}
    for setting in args.settings or SETTINGS:
        backend, precision = setting.split()
        if precision == "bf16" and backend == "openvino":
            from mixcurate.models.openvino_backend import has_bf16

            if not has_bf16():
                print("openvino bf16: this processor has no bf16, left out")
                continue
        params = EmbedParams.model_validate(
            {"model": args.model, "backend": backend, "precision": precision, "device": "cpu"}
            | {"max_tokens": args.max_tokens}
        )
        encoder = load(resolve(params), args.threads)
        print(f"{setting}: loaded in {encoder.load_seconds:.2f} s")
        found[setting] = lambda texts, encoder=encoder: embed(encoder, texts)
        args.encoder = encoder
    return found


def compare_domains(runs: dict[str, Any], texts: list[str], k: int = 20) -> None:
    """Clusters from each setting's vectors against those of fp32."""
    from sklearn.metrics import adjusted_rand_score

    from mixcurate.kernels import kmeans

    runs = {name: run for name, run in runs.items() if name != "library"}
    vectors = {name: kmeans.normalise(run(texts)) for name, run in runs.items()}

    def clusters(name: str, seed: int) -> np.ndarray:
        centroids = kmeans.fit(vectors[name], k=k, iterations=20, seed=seed).centroids
        return kmeans.assign(vectors[name], centroids)[0]

    reference = next(name for name in vectors if name.endswith("fp32"))
    seeds = range(5)
    between = [
        adjusted_rand_score(clusters(reference, a), clusters(reference, b))
        for a in seeds
        for b in seeds
        if a < b
    ]
    print(f"domains of {len(texts)} documents, k = {k}: adjusted Rand index")
    print(f"  two seeds of {reference}: {np.mean(between):.3f} ± {np.std(between):.3f}")
    for name in vectors:
        same = [adjusted_rand_score(clusters(reference, s), clusters(name, s)) for s in seeds]
        print(f"  {name} against {reference}, same seed: {np.mean(same):.3f} ± {np.std(same):.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="*", type=Path, default=[Path(DEFAULT)])
    parser.add_argument("--documents", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--max-tokens", type=int, default=256)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--settings", nargs="*", metavar="'BACKEND PRECISION'")
    parser.add_argument("--domains", type=int, default=0)
    args = parser.parse_args()
    texts = read_texts(args.files, args.documents)
    runs = contenders(args)
    work = gflop(args.encoder, texts)
    reference = runs["library"](texts)
    for name, run in runs.items():
        vectors = run(texts)
        cosine = (vectors * reference).sum(1) / np.linalg.norm(vectors, axis=1)
        print(f"{name}: cosine with the library min {cosine.min():.5f} mean {cosine.mean():.5f}")
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    tops: dict[str, float] = {}
    for _ in range(args.rounds):
        for precision in {name.split()[-1] for name in runs}:
            tops[precision] = max(tops.get(precision, 0), peak(precision, args.threads))
        for name, run in runs.items():
            import torch

            torch.set_num_threads(args.threads if name == "library" else 1)
            started = time.perf_counter()
            run(texts)
            seconds[name].append(time.perf_counter() - started)
    print(f"{len(texts)} documents of at most {args.max_tokens} tokens, {work:.0f} GFLOP")
    for name, taken in seconds.items():
        ratios = np.array(seconds["library"]) / np.array(taken)
        rate = work / np.median(taken)
        top = tops[name.split()[-1]]
        print(
            f"{name:<14} {len(texts) / np.median(taken):6.1f} documents/s (best "
            f"{len(texts) / min(taken):.1f}), {np.median(ratios):.2f} times the library "
            f"({ratios.min():.2f} to {ratios.max():.2f}); {rate:.0f} GFLOP/s"
            + (f" = {rate / top:.0%} of peak {top:.0f}" if args.model == "embedded" else "")
        )
    if args.domains:
        compare_domains(runs, read_texts(args.files, args.domains))


if __name__ == "__main__":
    main()
