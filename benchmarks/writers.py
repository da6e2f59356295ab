"""Text written in each format of shards, per second of one core, against what the bytes cost alone.

    python -m benchmarks.writers [FILE.jsonl.zst ...] [--megabytes 64] [--rounds 5]

The limit is measured in turn with the writer, round by round, on the same rows: for formats that
store text as it is, a streaming copy of the file that was written; for those that compress, zstd of
the same level over the same bytes; for those of tokens, the tokenizer alone. Ratios are medians.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import zstandard

from benchmarks import rows
from mixcurate.io.shard_formats.base import TokenOptions
from mixcurate.io.shard_formats.table import FORMATS

TOKENS = ("megatron", "nanotron", "litdata_tokens")
COMPRESSED = ("jsonl", "parquet")
LEVEL = 3


def tokens() -> TokenOptions:
    """The embedded tokenizer, one sequence for each document."""
    from mixcurate.models.tokenizer import token_counter

    found = token_counter("embedded", 1)
    special = found.special
    return TokenOptions(found.encode, found.vocabulary, None, special.eos, None, found.name)


def write(
    name: str, folder: Path, batches: list[pa.RecordBatch], options: TokenOptions | None
) -> float:
    """Write one shard: CPU seconds."""
    paths = [folder / path for path in FORMATS[name].shard_paths("train", 0, 1)]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
    started = time.process_time()
    with contextlib.ExitStack() as stack:
        streams = [stack.enter_context(path.open("wb")) for path in paths]
        with FORMATS[name].open_writer(streams, 0, options) as writer:
            for batch in batches:
                writer.write(batch)
    return time.process_time() - started


def copy(name: str, folder: Path) -> float:
    """Copy its files as a stream: CPU seconds."""
    started = time.process_time()
    for path in FORMATS[name].shard_paths("train", 0, 1):
        with (folder / path).open("rb") as source, (folder / "copy").open("wb") as target:
            while chunk := source.read(1 << 20):
                target.write(chunk)
    return time.process_time() - started


def compress(folder: Path, batches: list[pa.RecordBatch]) -> float:
    """zstd of all columns' bytes: CPU seconds."""
    started = time.process_time()
    buffers = [b for batch in batches for column in batch.columns for b in column.buffers() if b]
    compressor = zstandard.ZstdCompressor(level=LEVEL)
    with (folder / "zst").open("wb") as target, compressor.stream_writer(target) as stream:
        for buffer in buffers:
            stream.write(buffer)
    return time.process_time() - started


def tokenise(options: TokenOptions, batches: list[pa.RecordBatch]) -> float:
    """The tokenizer alone: CPU seconds."""
    started = time.process_time()
    for batch in batches:
        options.encode(batch.column("text").to_pylist())
    return time.process_time() - started


def exchange(folder: Path, batches: list[pa.RecordBatch]) -> tuple[float, float]:
    """Write and read Arrow as the exchange does, rows contiguous: CPU seconds of each."""
    path = str(folder / "exchange.arrow")
    started = time.process_time()
    with pa.OSFile(path, "wb") as sink, pa.ipc.new_stream(sink, batches[0].schema) as writer:
        for batch in batches:
            writer.write_batch(batch)
    written = time.process_time()
    for batch in pa.ipc.open_stream(pa.memory_map(path)):
        batch.take(pa.array(np.arange(batch.num_rows)[::-1]))
    return written - started, time.process_time() - written


def measure(
    name: str, folder: Path, batches: list[pa.RecordBatch], rounds: int, megabytes: float
) -> str:
    """A row of the table: alternating, medians of the rounds."""
    options = tokens() if name in TOKENS else None
    limit: Callable[[], float] = lambda: copy(name, folder)  # noqa: E731
    against = "copy"
    if options is not None:
        limit, against = (lambda: tokenise(options, batches)), "tokenizer"
    elif name in COMPRESSED:
        limit, against = (lambda: compress(folder, batches)), f"zstd -{LEVEL}"
    mine, theirs = [], []
    for _ in range(rounds):
        mine.append(write(name, folder, batches, options))
        theirs.append(limit())
    ratio = statistics.median(b / a for a, b in zip(mine, theirs, strict=True))
    speed, bound = (megabytes / statistics.median(x) for x in (mine, theirs))
    return f"| {name} | {speed:,.0f} | {against} | {bound:,.0f} | {ratio:.2f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--megabytes", type=float, default=64)
    parser.add_argument("--mean", type=int, default=3_600, help="bytes of text in a document")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--formats", nargs="*", default=sorted(FORMATS))
    args = parser.parse_args()
    batches = rows.batches(rows.sentences(args.files), int(args.megabytes * 1e6), args.mean)
    print("| format | MB of text/s | limit | its MB/s | ratio |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for form in args.formats:
            # the tokenizer is slow: a tenth of the text tells as much
            some = batches[: max(1, len(batches) // 10)] if form in TOKENS else batches
            text = sum(batch.column("text").nbytes for batch in some) / 1e6
            try:
                print(measure(form, folder, some, args.rounds, text), flush=True)
            except ImportError as error:
                print(f"| {form} | not measured: {error} | | | |")
        text = sum(batch.column("text").nbytes for batch in batches) / 1e6
        times = [exchange(folder, batches) for _ in range(args.rounds)]
        for label, column in zip(
            ("exchange write", "exchange read"), zip(*times, strict=True), strict=True
        ):
            print(f"| {label} | {text / statistics.median(column):,.0f} | | | |")


if __name__ == "__main__":
    main()
