"""A small corpus of rows that are given, written through the functions that materialize uses."""

from __future__ import annotations

import contextlib
import hashlib
from typing import Any

import numpy as np
import pyarrow as pa
import xxhash

from mixcurate.io import corpus as corpus_io
from mixcurate.io import storage
from mixcurate.io.lineage import LINEAGE, write_lineage
from mixcurate.io.manifest import build_manifest
from mixcurate.io.shard_formats.base import TokenOptions
from mixcurate.io.shard_formats.table import FORMATS
from mixcurate.io.shard_formats.token_rows import facts as token_facts
from mixcurate.tables import CORPUS

TOKEN_FORMATS = ("megatron", "nanotron", "litdata_tokens")

#: A token for each byte of a text, and one for its end.
BYTES = TokenOptions(
    encode=lambda texts: [np.frombuffer(t.encode(), np.uint8).astype(np.uint32) for t in texts],
    vocabulary=257,
    bos=None,
    eos=256,
    sequence_length=None,
    name="bytes",
)


def build_corpus(
    corpus: str,
    *,
    plan: dict[str, Any],
    splits: dict[str, list[list[dict[str, Any]]]],
    kinds: tuple[str, ...],
) -> None:
    """Write the rows of each shard of each split, in order, as a finished corpus."""
    corpus_io.claim(corpus, "made")
    shards: list[dict[str, Any]] = []
    for split, cut in splits.items():
        for number, mine in enumerate(cut):
            wanted = [{name: row[name] for name in CORPUS.names} for row in mine]
            batch = pa.RecordBatch.from_pylist(wanted, schema=CORPUS)
            place = {
                "split": split,
                "phase": "main" if split == "train" else split,
                "shard": number,
            }
            files = [_shard(corpus, kind, place, len(cut), batch) for kind in kinds]
            origin = pa.Table.from_pylist(
                [{name: row.get(name) for name in LINEAGE.names} for row in mine]
            )
            written = write_lineage(corpus, len(shards), origin, split, number)
            sums = {by: _sums(mine, by) for by in _GROUPS}
            shards.append({"files": files, "lineage": written} | sums)
    manifest = build_manifest(
        name="made",
        recipe_fingerprint="0123456789abcdef",
        tokenizer="embedded",
        encoder={"model": "embedded", "weights": "sha256:0"},
        inputs=[{"path": "in/0.jsonl", "bytes": 1, "etag": "xxh3:0"}],
        plan=plan,
        shards=shards,
    )
    if any(shard["format"] in TOKEN_FORMATS for shard in manifest["shards"]):
        manifest["token_files"] = token_facts(BYTES)
    corpus_io.finish_corpus(corpus, manifest)


_GROUPS = ("domain", "source", "licence", "language")


def _sums(rows: list[dict[str, Any]], by: str) -> dict[str, list[int]]:
    sums: dict[str, list[int]] = {}
    for row in rows:
        old = sums.setdefault("unknown" if row[by] is None else str(row[by]), [0, 0, 0])
        old[0] += 1
        old[1] += row["n_tokens"]
        old[2] += row["n_tokens"] if row["copy"] == 0 else 0
    return sums


def _shard(
    corpus: str, kind: str, place: dict[str, Any], n_shards: int, batch: pa.RecordBatch
) -> dict[str, Any]:
    shard = place["shard"]
    paths = FORMATS[kind].shard_paths(place["split"], shard, n_shards)
    full = [storage.join(corpus, path) for path in paths]
    with contextlib.ExitStack() as stack:
        streams = [stack.enter_context(storage.open_atomic(path)) for path in full]
        with FORMATS[kind].open_writer(streams, shard, BYTES) as writer:
            for start in range(0, batch.num_rows, 10):
                writer.write(batch.slice(start, 10))
    first, *also = [{"path": p} | describe(f) for p, f in zip(paths, full, strict=True)]
    return {"format": kind} | place | first | {"also": also}


def describe(path: str) -> dict[str, Any]:
    """What the manifest says of a shard's bytes."""
    data = storage.read_bytes(path)
    hashes = {"sha256": hashlib.sha256(data).hexdigest(), "xxh64": xxhash.xxh64_hexdigest(data)}
    return {"bytes": len(data)} | hashes
