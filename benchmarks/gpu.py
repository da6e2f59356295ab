"""Embedding on a GPU against ``SentenceTransformer.encode`` with the batch size that suits it best.

    python -m benchmarks.gpu [FILE.jsonl[.zst] ...] [--model NAME] [--documents 20000] [--rounds 3]

Both run in the same precision on the same documents, in turn: the library with each batch size of
``--batch-sizes`` once, then with the best of them; this project streaming windows, tokenising and
fetching included. Prints documents and tokens a second, the share of the device's peak (dense bf16
by data sheet, or ``--peak-tflops``), the share of time that no batch is under way, and the device's
own utilisation (nvidia-smi, five times a second). The goals are 1.5 times the library and a device
that is busy 90 % of the time. Documents are repeated, each time from a later word, until there are
enough.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.encoders import DEFAULT, read_texts
from mixcurate.models.encoders import EmbedParams, EncodeStats
from mixcurate.models.model_folder import find_model
from mixcurate.models.resolve import load, resolve

#: Dense bf16 TFLOP/s by data sheet.
PEAKS = {"L4": 121, "A100": 312, "H100": 989, "H200": 989}


def enough(texts: list[str], count: int) -> list[str]:
    """``count`` documents; each further round of them starts some words later."""
    found: list[str] = []
    skip = 0
    while len(found) < count:
        found += [" ".join(text.split(" ")[skip:]) if skip else text for text in texts]
        skip += 7
    return found[:count]


def tuned_library(args: argparse.Namespace, texts: list[str]) -> tuple[Any, int]:
    """The library's model in half precision and its best batch size on a tenth of the texts."""
    import torch
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(find_model(args.model, None)[0], device=args.device)
    model.max_seq_length = min(args.max_tokens, model.max_seq_length or args.max_tokens)
    if args.device == "cuda":
        model.to(torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16)
    sample = texts[: max(256, len(texts) // 10)]
    model.encode(sample[:64], batch_size=32)
    rates = {}
    for size in args.batch_sizes:
        started = time.perf_counter()
        model.encode(sample, batch_size=size)
        rates[size] = len(sample) / (time.perf_counter() - started)
        print(f"library, batch size {size}: {rates[size]:,.0f} documents/s")
    return model, max(rates, key=lambda size: rates[size])


@contextlib.contextmanager
def utilisation(device: str) -> Iterator[list[int]]:
    """Percent of time that a kernel ran, as the driver samples it; filled when the block ends."""
    found: list[int] = []
    if device == "cpu":
        yield found
        return
    query = [
        "nvidia-smi",
        "-i",
        "0",
        "--query-gpu=utilization.gpu",
        "--format=csv,noheader,nounits",
    ]
    sampler = subprocess.Popen([*query, "-lms", "200"], stdout=subprocess.PIPE, text=True)
    try:
        yield found
    finally:
        sampler.terminate()
        found += [int(line) for line in sampler.communicate()[0].split()]


def parameters(model: Any) -> int:
    """Weights that each token is multiplied with: all but the embedding tables."""
    import torch

    tables = [m.weight for m in model.modules() if isinstance(m, torch.nn.Embedding)]
    return sum(p.numel() for p in model.parameters()) - sum(table.numel() for table in tables)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="*", type=Path, default=[Path(DEFAULT)])
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--documents", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--max-tokens", type=int, default=256)
    parser.add_argument("--batch-tokens", type=int)
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[32, 128, 512, 2048])
    parser.add_argument("--peak-tflops", type=float)
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    args = parser.parse_args()
    import torch

    if args.device == "cuda" and not torch.cuda.is_available():
        raise SystemExit("torch sees no GPU here; see mixcurate doctor")
    name = torch.cuda.get_device_name(0) if args.device == "cuda" else "cpu"
    peak = args.peak_tflops or next((top for word, top in PEAKS.items() if word in name), None)
    texts = enough(read_texts(args.files, args.documents), args.documents)
    library, best = tuned_library(args, texts)
    params = EmbedParams.model_validate(
        {"model": args.model, "backend": "torch", "device": args.device}
        | {"max_tokens": args.max_tokens, "batch_tokens": args.batch_tokens}
    )
    encoder = load(resolve(params), threads=torch.get_num_threads())
    print(f"{name}: {encoder.spec.description}; loaded in {encoder.load_seconds:.1f} s")
    batches = [texts[i : i + encoder.window] for i in range(0, len(texts), encoder.window)]
    flop = 2 * parameters(library)
    ratios = []
    for number in range(args.rounds):
        started = time.perf_counter()
        library.encode(texts, batch_size=best)
        theirs = time.perf_counter() - started
        stats = EncodeStats()
        started = time.perf_counter()
        with utilisation(args.device) as busy:
            for _ in encoder.encode(batches, stats):
                pass
        ours = time.perf_counter() - started
        ratios.append(theirs / ours)
        done = flop * stats.tokens / ours / 1e12
        print(
            f"round {number + 1}: {len(texts) / ours:,.0f} documents/s, {stats.tokens / ours:,.0f} "
            f"tokens/s, {done:.1f} TFLOP/s"
            + (f" = {done / peak:.0%} of peak" if peak else "")
            + f", padding {stats.padded_tokens / stats.tokens - 1:.1%}, device waits "
            f"{stats.wait_seconds / ours:.0%}"
            + (f", utilisation {statistics.mean(busy):.0f} %" if busy else "")
            + f"; library {len(texts) / theirs:,.0f} documents/s; "
            f"ratio {theirs / ours:.2f}"
        )
    print(f"{statistics.median(ratios):.2f} times the library at batch size {best} (median)")


if __name__ == "__main__":
    main()
