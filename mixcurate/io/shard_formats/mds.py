"""MosaicML shards for ``streaming.StreamingDataset``; a folder is one split.

The reader checks ``validate_hash="xxh64"`` and ``"sha256"``. ``url`` and ``licence`` are stored as
JSON, because the format's text has no null.
"""

# ruff: noqa: ARG001 - every format has the same functions

from __future__ import annotations

import json
import posixpath
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import IO, Any

import pyarrow as pa

from mixcurate.io.shard_formats.base import ShardWriter, TokenOptions, entries, json_file
from mixcurate.io.shard_formats.items import Kind, Layout, item_writer, read_items
from mixcurate.tables import CORPUS

NAME = "mds"

_HASHES = ("sha256", "xxh64")


def _kind(field: pa.Field) -> Kind:
    if pa.types.is_int32(field.type):
        return "int32"
    if pa.types.is_float32(field.type):
        return "float32"
    return "json" if field.nullable else "str"


_COLUMNS = tuple((name, _kind(CORPUS.field(name))) for name in sorted(CORPUS.names))

#: What each shard, and the index for each shard, says of all of them.
_CONFIG = {
    "column_encodings": [kind for _, kind in _COLUMNS],
    "column_names": [name for name, _ in _COLUMNS],
    "column_sizes": [4 if kind in ("int32", "float32") else None for _, kind in _COLUMNS],
    "compression": None,
    "format": "mds",
    "hashes": list(_HASHES),
    "size_limit": None,
    "version": 2,
}
_LAYOUT = Layout(NAME, _COLUMNS, False, json.dumps(_CONFIG, sort_keys=True).encode())


def shard_paths(split: str, shard: int, n_shards: int) -> list[str]:
    """One file a shard; the names that ``MDSWriter`` gives."""
    return [f"mds/{split}/shard.{shard:05d}.mds"]


def open_writer(
    streams: list[IO[bytes]], shard: int, tokens: TokenOptions | None
) -> AbstractContextManager[ShardWriter]:
    """The file is written at the end: its offsets come first."""
    return item_writer(streams[0], shard, _LAYOUT)


def read_rows(streams: list[IO[bytes]]) -> Iterator[pa.RecordBatch]:
    """Every column of the corpus.

    Raises:
        CorpusError: it is not built as the format wants it.
    """
    return read_items(streams[0], _LAYOUT)


def files_beside(split: str, manifest: dict[str, Any]) -> dict[str, bytes]:
    """``index.json`` of the split, with the hashes that the reader can check."""
    shards = entries(manifest, NAME, split)
    if not shards:
        return {}
    described = [
        _CONFIG
        | {
            "raw_data": {
                "basename": posixpath.basename(entry["path"]),
                "bytes": entry["bytes"],
                "hashes": {name: entry[name] for name in _HASHES},
            },
            "samples": entry["n_documents"],
            "zip_data": None,
        }
        for entry in shards
    ]
    return {f"mds/{split}/index.json": json_file({"version": 2, "shards": described})}
