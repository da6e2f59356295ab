"""The formats of shards by name."""

from __future__ import annotations

from mixcurate.io.shard_formats import (
    arrow,
    jsonl,
    litdata,
    litdata_tokens,
    mds,
    megatron,
    nanotron,
    parquet,
    webdataset,
)
from mixcurate.io.shard_formats.base import ShardFormat

FORMATS: dict[str, ShardFormat] = {
    "arrow": arrow,
    "parquet": parquet,
    "webdataset": webdataset,
    "jsonl": jsonl,
    "mds": mds,
    "litdata": litdata,
    "megatron": megatron,
    "nanotron": nanotron,
    "litdata_tokens": litdata_tokens,
}
