"""Chunks for ``litdata.StreamingDataset``; a folder is one split.

Of its two layouts, binary chunks need nothing but litdata; Parquet would need polars there too. The
types of a sample are fixed, so a ``url`` or ``licence`` that is null is the empty text.
"""

# ruff: noqa: ARG001 - every format has the same functions

from __future__ import annotations

import json
import posixpath
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import IO, Any

import pyarrow as pa
import xxhash

from mixcurate.io.shard_formats.base import ShardWriter, TokenOptions, entries, json_file
from mixcurate.io.shard_formats.items import Kind, Layout, item_writer, read_items
from mixcurate.tables import CORPUS

NAME = "litdata"


def _kind(field: pa.Field) -> Kind:
    """litdata knows numbers of 64 bits only."""
    if pa.types.is_int32(field.type):
        return "int64"
    return "float64" if pa.types.is_float32(field.type) else "str"


_COLUMNS = tuple((field.name, _kind(field)) for field in CORPUS)
_LAYOUT = Layout(NAME, _COLUMNS, True)
_FORMATS = {"int64": "int", "float64": "float", "str": "str"}

#: A dict of leaves, as litdata's copy of torch's pytree writes it.
_SPEC = [
    1,
    {
        "type": "builtins.dict",
        "context": json.dumps(CORPUS.names),
        "children_spec": [{"type": None, "context": None, "children_spec": []}] * len(CORPUS),
    },
]


def shard_paths(split: str, shard: int, n_shards: int) -> list[str]:
    """One chunk a shard; the names that litdata's writer gives, of one worker."""
    return [f"litdata/{split}/chunk-0-{shard}.bin"]


def open_writer(
    streams: list[IO[bytes]], shard: int, tokens: TokenOptions | None
) -> AbstractContextManager[ShardWriter]:
    """The file is written at the end: its offsets come first."""
    return item_writer(streams[0], shard, _LAYOUT)


def read_rows(streams: list[IO[bytes]]) -> Iterator[pa.RecordBatch]:
    """Every column of the corpus; an empty ``url`` or ``licence`` is null.

    Raises:
        CorpusError: it is not built as the format wants it.
    """
    return read_items(streams[0], _LAYOUT)


def files_beside(split: str, manifest: dict[str, Any]) -> dict[str, bytes]:
    """``index.json`` of the split; its ``updated_at`` names the content, so caches notice."""
    shards = entries(manifest, NAME, split)
    if not shards:
        return {}
    index = {
        "chunks": [
            {
                "chunk_bytes": entry["bytes"],
                "chunk_size": entry["n_documents"],
                "dim": None,
                "filename": posixpath.basename(entry["path"]),
            }
            for entry in shards
        ],
        "config": {
            "chunk_bytes": max(entry["bytes"] for entry in shards),
            "chunk_size": None,
            "compression": None,
            "data_format": [_FORMATS[kind] for _, kind in _COLUMNS],
            "data_spec": json.dumps(_SPEC),
            "encryption": None,
            "item_loader": "PyTreeLoader",
        },
        "updated_at": xxhash.xxh64_hexdigest("".join(entry["sha256"] for entry in shards).encode()),
    }
    return {f"litdata/{split}/index.json": json_file(index)}
