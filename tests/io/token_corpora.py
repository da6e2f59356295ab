"""Small corpora of tokens, written by the real writers from real text."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa

from mixcurate.io.shard_formats.base import TokenOptions
from mixcurate.io.shard_formats.table import FORMATS
from mixcurate.io.shard_formats.token_rows import facts
from mixcurate.kernels.packing import pack
from mixcurate.tables import CORPUS
from tests.documents import real_documents
from tests.kernels.packed import laid_out

KINDS = ("megatron", "nanotron", "litdata_tokens")

#: Documents of each shard, and where their domains come from.
DOCUMENTS, DOMAINS = 24, 3


def rows(count: int, texts: list[str] | None = None) -> pa.RecordBatch:
    """Rows of a corpus with real text, or with ``texts``."""
    texts = texts or [document["text"] for document in real_documents(count)]
    values = {
        "source": "s",
        "language": "en",
        "domain_name": "x",
        "quality": 0.5,
        "diversity": 0.5,
        "copy": 0,
        "n_tokens": 9,
    }
    listed = [
        values | {"id": f"{i:032x}", "text": texts[i % len(texts)], "domain": i * i % DOMAINS}
        for i in range(count)
    ]
    return pa.RecordBatch.from_pylist(listed, schema=CORPUS)


def by_bytes(
    *,
    vocabulary: int = 300,
    bos: int | None = 256,
    eos: int | None = 257,
    length: int | None = None,
) -> TokenOptions:
    """A tokenizer whose ids are the bytes of a text."""

    def encode(texts: list[str]) -> list[Any]:
        return [np.frombuffer(text.encode(), np.uint8).astype(np.uint32) for text in texts]

    return TokenOptions(encode, vocabulary, bos, eos, length, "bytes", pack)


def wanted(batch: pa.RecordBatch, options: TokenOptions) -> list[list[int]]:
    """The tokens of each document, as they must be in the files."""
    before = [] if options.bos is None else [options.bos]
    after = [] if options.eos is None else [options.eos]
    ids = options.encode(batch.column("text").to_pylist())
    return [[*before, *one.tolist(), *after] for one in ids]


def packed(batch: pa.RecordBatch, options: TokenOptions, shard: int) -> list[list[int]]:
    """The sequences of a shard, as they must be in the files."""
    documents = wanted(batch, options)
    if options.sequence_length is None:
        return documents
    lengths = np.array([len(one) for one in documents], np.int64)
    domains = batch.column("domain").to_numpy()
    found = pack(lengths, domains, options.sequence_length, shard)
    return laid_out(found, lambda number, start, n: documents[number][start : start + n])


def write_shard(
    folder: str, kind: str, place: tuple[str, int, int], batch: pa.RecordBatch, options: Any
) -> dict[str, Any]:
    """Write a shard, seven rows at a time; its entry in the manifest."""
    split, shard, n_shards = place
    paths = FORMATS[kind].shard_paths(split, shard, n_shards)
    files = [Path(folder, path) for path in paths]
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
    streams = [file.open("wb") for file in files]
    with FORMATS[kind].open_writer(streams, shard, options) as writer:
        for start in range(0, batch.num_rows, 7):
            writer.write(batch.slice(start, 7))
    for stream in streams:
        stream.close()
    told = [
        {"path": path, "bytes": os.path.getsize(file), "sha256": _sha256(file)}
        for path, file in zip(paths, files, strict=True)
    ]
    entry = {"format": kind, "split": split, "phase": "main", "shard": shard}
    return (
        entry
        | {"n_documents": batch.num_rows, "n_tokens": 9 * batch.num_rows}
        | told[0]
        | {"also": told[1:]}
    )


def write_corpus(
    folder: str, options: TokenOptions, kinds: tuple[str, ...] = KINDS, n_shards: int = 2
) -> dict[str, Any]:
    """A corpus with a split to train on and a holdout of one shard; its manifest."""
    batch = rows(DOCUMENTS * (n_shards + 1))
    places = [("train", shard, n_shards) for shard in range(n_shards)] + [("holdout", 0, 1)]
    manifest: dict[str, Any] = {"manifest_version": 2, "token_files": facts(options), "shards": []}
    for kind in kinds:
        for number, place in enumerate(places):
            mine = batch.slice(DOCUMENTS * number, DOCUMENTS)
            manifest["shards"].append(write_shard(folder, kind, place, mine, options))
    for kind in kinds:
        for split in ("train", "holdout"):
            for path, data in FORMATS[kind].files_beside(split, manifest).items():
                Path(folder, path).write_bytes(data)
    Path(folder, "manifest.json").write_bytes(orjson.dumps(manifest))
    return manifest


def shard_rows(shard: int) -> pa.RecordBatch:
    """The rows of a shard of ``write_corpus``."""
    return rows(DOCUMENTS * (shard + 1)).slice(DOCUMENTS * shard)


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
