"""The formats of shards by name."""

from __future__ import annotations

from mixcurate.io.shard_formats import arrow, webdataset
from mixcurate.io.shard_formats.base import ShardFormat

FORMATS: dict[str, ShardFormat] = {
    "arrow": arrow,
    "webdataset": webdataset,
}
