"""Parameters of an input."""

from __future__ import annotations

from typing import Literal

from mixcurate.io.records import FieldParams

Format = Literal["auto", "warc", "wet", "jsonl", "parquet", "huggingface"]


class InputParams(FieldParams):
    """One input: files that share a source, a format and field names."""

    path: str
    """File, folder or pattern (`crawl/*.warc.gz`); relative to the recipe's folder."""
    source: str = "web"
    """Name of the source; a column of every document."""
    format: Format = "auto"
    """`auto` tells by the file's name."""
    licence: str | None = None
    """Licence of documents that do not bring their own."""
