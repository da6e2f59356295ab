"""Parameters of the output corpus."""

from __future__ import annotations

from typing import Literal

from pydantic import ByteSize, Field, PositiveInt

from mixcurate.params import Params


class OutputParams(Params):
    """Where the corpus goes, in which formats, and how it is cut."""

    path: str | None = None
    """Folder of the corpus, relative to the recipe's folder; null is `corpus` in the workdir."""
    formats: list[Literal["arrow", "webdataset"]] = Field(default=["arrow"], min_length=1)
    """Formats to write, all from one pass."""
    shard_bytes: ByteSize = ByteSize(256_000_000)
    """Text in a shard, at most."""
    shards_multiple_of: PositiveInt = 64
    """The number of shards is a multiple of this when the corpus is large enough."""
