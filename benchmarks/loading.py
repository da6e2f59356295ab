"""Documents of a corpus per second of one core, read as a trainer does.

    python -m benchmarks.loading [FILE.jsonl.zst ...] [--megabytes 200] [--rounds 5]

One corpus in Arrow and WebDataset; in turn, round by round: our reader as dicts, as Arrow batches,
with weights, shuffled, and as one of eight ranks, against ``datasets.load_from_disk`` row by row
and in batches, and webdataset. The page cache is warm for all. Ratios are medians.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from benchmarks import rows
from mixcurate.io import storage
from mixcurate.io.shard_formats.table import FORMATS
from mixcurate.loaders import CorpusReader

SHARDS = 8


def make(folder: Path, files: list[Path], n_bytes: int, mean: int) -> None:
    """A corpus of eight shards with a manifest of what a reader needs."""
    lines, shards, tokens = rows.sentences(files), [], dict.fromkeys(range(5), 0)
    for number in range(SHARDS):
        batches = rows.batches(lines, n_bytes // SHARDS, mean, seed=number)
        held = {str(domain): 0 for domain in tokens}
        for batch in batches:
            for domain, n in zip(
                batch["domain"].to_pylist(), batch["n_tokens"].to_pylist(), strict=True
            ):
                held[str(domain)] += n
                tokens[domain] += n
        for name in ("arrow", "webdataset"):
            paths = FORMATS[name].shard_paths("train", number, SHARDS)
            with contextlib.ExitStack() as stack:
                streams = [stack.enter_context(storage.open_atomic(f"{folder}/{p}")) for p in paths]
                with FORMATS[name].open_writer(streams, number, None) as writer:
                    for batch in batches:
                        writer.write(batch)
            data = (folder / paths[0]).read_bytes()
            entry = {"split": "train", "phase": "main", "shard": number, "format": name}
            entry |= {"path": paths[0], "bytes": len(data), "tokens_by_domain": held}
            entry |= {"sha256": hashlib.sha256(data).hexdigest(), "xxh64": ""}
            entry |= {"n_documents": sum(b.num_rows for b in batches), "n_tokens": 0, "also": []}
            shards.append(entry)
    domains = [{"domain": d, "name": f"domain {d}"} for d in tokens]
    manifest = {"shards": shards, "domains": domains, "sources": [], "name": "loading"}
    manifest["recipe_fingerprint"] = "0"
    for path, content in FORMATS["arrow"].files_beside("train", manifest).items():
        storage.write_bytes(f"{folder}/{path}", content)
    storage.write_json(f"{folder}/manifest.json", manifest)


def contenders(folder: Path) -> dict[str, Callable[[], Iterable[Any]]]:
    """Each makes an iterable whose items are documents, or batches of them."""
    import datasets
    import webdataset

    path, tars = str(folder), sorted(str(p) for p in folder.glob("wds/*.tar"))
    table = lambda: datasets.load_from_disk(f"{path}/train")  # noqa: E731
    return {
        "datasets, rows": table,
        "datasets, batches of 1,000": lambda: table().iter(1_000),
        "webdataset": lambda: webdataset.WebDataset(tars, shardshuffle=False).decode(),
        "ours, rows": lambda: CorpusReader(path),
        "ours, Arrow batches": lambda: CorpusReader(path).iter_batches(1_000),
        "ours, rows, weights": lambda: CorpusReader(path, weights={0: 2.0}),
        "ours, rows, shuffled in 10,000": lambda: CorpusReader(path, shuffle_buffer=10_000),
        "ours, rows, rank 0 of 8": lambda: CorpusReader(path, world_size=8),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--megabytes", type=float, default=200)
    parser.add_argument("--mean", type=int, default=3_600, help="bytes of text in a document")
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make(folder, args.files, int(args.megabytes * 1e6), args.mean)
        documents = CorpusReader(name).n_documents
        seconds: dict[str, list[float]] = {}
        for _ in range(args.rounds):
            for label, open_it in contenders(folder).items():
                started = time.process_time()
                for _item in open_it():
                    pass
                seconds.setdefault(label, []).append(time.process_time() - started)
    print(f"{documents:,} documents, {args.megabytes:,.0f} MB of text, CPU seconds of one process")
    print("| reader | documents/s | MB/s | x datasets, rows |\n|---|---|---|---|")
    peer = seconds["datasets, rows"]
    for label, mine in seconds.items():
        part = 8 if "of 8" in label else 1
        ratio = statistics.median(p / m / part for p, m in zip(peer, mine, strict=True))
        rate = 1 / statistics.median(mine) / part
        print(f"| {label} | {documents * rate:,.0f} | {args.megabytes * rate:,.0f} | {ratio:.2f} |")


if __name__ == "__main__":
    main()
