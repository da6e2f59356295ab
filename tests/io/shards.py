"""Rows that are hard to store, and shards of them in any format with the files beside them."""

from __future__ import annotations

import contextlib
import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import xxhash

from mixcurate.io.shard_formats.table import FORMATS
from mixcurate.tables import CORPUS

#: Formats that keep every column of a row.
ROW_FORMATS = ("arrow", "parquet", "webdataset", "jsonl", "mds", "litdata")

_TEXTS = [
    "plain words",
    "",
    "naïve 東京 \U0001f600 ﷽ e\u0301\u202egnp.exe\u202c",
    "\x00\x01 control \x1b[31m\r\n\t\u2028 lines\n\n",
    '"quotes" \\ back\\slash {"json": [1]} </script>',
    "a document larger than a shard " * 5_000,
    " ",
]


def hard_rows(n: int, start: int = 0) -> pa.Table:
    """``n`` rows of schema ``CORPUS``: empty, huge and odd texts, nulls, long names."""
    rows = []
    for i in range(start, start + n):
        rows.append(
            {
                "id": hashlib.md5(str(i).encode()).hexdigest(),
                "text": _TEXTS[i % len(_TEXTS)],
                "source": "s" * 300 if i % 3 else "web",
                "url": None if i % 2 else "https://example.org/" + "ü/" * (i % 5 * 100),
                "language": "en",
                "licence": "CC-BY-4.0" if i % 4 == 1 else None,
                "domain": i % 3,
                "domain_name": 'a name | with, "much" in it\n' + "é" * 500,
                "quality": float(np.float32(0.1) * i),
                "diversity": float(np.float32(1e-30) * i),
                "copy": i % 2,
                "n_tokens": 2**31 - 1 - i,
            }
        )
    return pa.Table.from_pylist(rows, schema=CORPUS)


def write_shards(
    folder: Path, name: str, splits: dict[str, list[pa.Table]], *, batch_rows: int = 4
) -> dict[str, Any]:
    """Write shards of a format and its files beside them; what a manifest says of them."""
    module = FORMATS[name]
    manifest: dict[str, Any] = {"name": "made", "recipe_fingerprint": "0123abcd", "shards": []}
    for split, tables in splits.items():
        for shard, table in enumerate(tables):
            paths = module.shard_paths(split, shard, len(tables))
            with contextlib.ExitStack() as stack:
                streams = []
                for path in paths:
                    Path(folder, path).parent.mkdir(parents=True, exist_ok=True)
                    streams.append(stack.enter_context(Path(folder, path).open("wb")))
                with module.open_writer(streams, shard, None) as writer:  # type: ignore[arg-type]
                    for batch in table.to_batches(batch_rows):
                        writer.write(batch)
            first, *also = [describe(folder, path) for path in paths]
            place = {"format": name, "split": split, "phase": "main", "shard": shard}
            counts = {"n_documents": table.num_rows, "n_tokens": 1}
            manifest["shards"].append(place | first | {"also": also} | counts)
    for split in ("train", "holdout"):
        for path, data in module.files_beside(split, manifest).items():
            Path(folder, path).write_bytes(data)
    return manifest


def describe(folder: Path, path: str) -> dict[str, Any]:
    """What a manifest says of a file."""
    data = Path(folder, path).read_bytes()
    hashes = {"sha256": hashlib.sha256(data).hexdigest(), "xxh64": xxhash.xxh64_hexdigest(data)}
    return {"path": path, "bytes": len(data)} | hashes


def read_shard_rows(folder: Path, name: str, split: str, shard: int, n_shards: int) -> pa.Table:
    """The rows of a shard by our own reader."""
    module = FORMATS[name]
    with contextlib.ExitStack() as stack:
        streams = [
            stack.enter_context(Path(folder, path).open("rb"))
            for path in module.shard_paths(split, shard, n_shards)
        ]
        return pa.Table.from_batches(module.read_rows(streams), CORPUS)  # type: ignore[arg-type]
