"""Rows of a corpus made of real or synthetic texts, for benchmarks of writers and readers."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import orjson
import pyarrow as pa
import zstandard

from benchmarks.synthetic import documents
from mixcurate.tables import CORPUS

#: Documents in a record batch.
BATCH = 1_024


def texts_of(paths: list[Path]) -> list[str]:
    """The texts of JSON Lines files (may be .zst)."""
    texts: list[str] = []
    for path in paths:
        data = path.read_bytes()
        if path.suffix == ".zst":
            data = zstandard.ZstdDecompressor().stream_reader(data).read()
        texts += [orjson.loads(line)["text"] for line in data.splitlines() if line.strip()]
    return texts


def sentences(paths: list[Path]) -> list[str]:
    """Lines of the texts of JSON Lines files; without files, of synthetic ones."""
    texts = texts_of(paths) or list(documents(400, 400))
    return [line for text in texts for line in text.splitlines() if line.strip()]


def texts(lines: list[str], n_bytes: int, mean: int, seed: int) -> Iterator[str]:
    """Different texts of some ``mean`` bytes, ``n_bytes`` in all, of runs of these lines."""
    pick, written, number = random.Random(seed), 0, 0
    while written < n_bytes:
        wanted = mean * pick.uniform(0.4, 1.6)
        parts, size = [f"{seed}.{number}"], 0
        while size < wanted:
            start = pick.randrange(len(lines))
            for line in lines[start : start + 5]:
                parts.append(line[:1_000])
                size += len(parts[-1]) + 1
                if size >= wanted:
                    break
        text = "\n".join(parts)[: int(wanted) + 20]
        written += len(text.encode())
        number += 1
        yield text


def batches(lines: list[str], n_bytes: int, mean: int, seed: int = 1) -> list[pa.RecordBatch]:
    """Batches of schema ``CORPUS`` with ``n_bytes`` of text."""
    rows, found = [], []
    for number, text in enumerate(texts(lines, n_bytes, mean, seed)):
        rows.append(
            {
                "id": f"{number:032x}",
                "text": text,
                "source": ("web", "books")[number % 2],
                "url": f"https://example.org/{number}",
                "language": "en",
                "licence": None,
                "domain": number % 5,
                "domain_name": f"domain {number % 5}",
                "quality": 0.5,
                "diversity": 0.25,
                "copy": 0,
                "n_tokens": max(1, len(text) // 4),
            }
        )
        if len(rows) == BATCH:
            found.append(pa.RecordBatch.from_pylist(rows, schema=CORPUS))
            rows = []
    if rows:
        found.append(pa.RecordBatch.from_pylist(rows, schema=CORPUS))
    return found
