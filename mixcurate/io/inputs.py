"""What a recipe says of an input, and the tasks that reading it consists of."""

from __future__ import annotations

import dataclasses
import posixpath
import re
from collections.abc import Collection
from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, PositiveInt, model_validator

from mixcurate.errors import InputError
from mixcurate.io.records import FieldParams

Format = Literal[
    "auto",
    "warc",
    "wet",
    "jsonl",
    "parquet",
    "arrow",
    "csv",
    "text",
    "tar",
    "paths",
    "huggingface",
]

#: Where the lines of Common Crawl's lists of paths lead.
COMMON_CRAWL = "https://data.commoncrawl.org/"

#: The formats that an option is for.
_OPTIONS = {"delimiter": ("csv", "text", "paths"), "root": ("paths",), "first": ("paths",)}


class InputParams(FieldParams):
    """One input: files that share a source, a format and field names."""

    path: str
    """File, folder, pattern (`crawl/*.warc.gz`) or URL; relative to the recipe's folder."""
    source: str = "web"
    """Name of the source; a column of every document."""
    format: Format = "auto"
    """`auto` tells by the file's name."""
    licence: str | None = None
    """Licence of documents that do not bring their own."""
    delimiter: str | None = Field(None, min_length=1)
    """CSV: the character between cells; null: a tab in `.tsv`, else a comma. Text: what stands
    between documents, such as `"\\n"`; null: a file is one document."""
    root: str | None = None
    """Lists of paths: what is put before each line, a folder or URL; null: Common Crawl's."""
    first: PositiveInt | None = None
    """Lists of paths: only so many lines of each list are read; null: all."""
    languages: list[str] | None = None
    """Languages that this input keeps; null: as `ingest.languages` says."""
    filters: Literal["gopher", "c4", "fineweb", "none"] | None = None
    """Preset of quality rules for this input; null: as `ingest.filters` says."""
    extractor: str | None = None
    """What takes the text out of this input's HTML; null: as `ingest.extractor` says."""

    @model_validator(mode="after")
    def _options_fit(self) -> InputParams:
        if self.format not in ("auto", "huggingface"):
            problem = option_problem(self, {self.format})
            if problem:
                raise ValueError(problem)
        return self


@dataclasses.dataclass(frozen=True)
class ReadTask:
    """What one worker reads at once: a file, a byte range of it, or some of its row groups."""

    input: int
    """Which input of the recipe."""
    path: str
    """What is opened."""
    shown_path: str
    """What tables record: as the recipe writes it, so that ids do not depend on the machine."""
    format: str
    """`warc`, `wet`, `jsonl`, `parquet`, `arrow`, `csv`, `text` or `tar`."""
    start: int
    """First byte as stored (JSON Lines, text, WARC), row group (Parquet) or batch (Arrow)."""
    stop: int | None
    """End of the range, exclusive; None reads to the end."""
    size: int
    """Stored bytes of the range; 0 where a list of paths does not tell."""
    version: str
    """What changes when the file does."""
    row: int = 0
    """Row number at which an Arrow range begins."""


_COMPRESSED = re.compile(r"\.(gz|gzip|zst|zstd|bz2|xz)$")
_ENDINGS = {
    "wet": (".wet", ".wet.warc"),  # before `warc`, whose ending it shares
    "warc": (".warc",),
    "jsonl": (".jsonl", ".ndjson", ".jsonlines", ".json"),
    "parquet": (".parquet", ".pq"),
    "arrow": (".arrow", ".feather"),
    "csv": (".csv", ".tsv"),
    "text": (".txt", ".md"),
    "tar": (".tar", ".tgz"),
    "paths": (".paths",),
}


def option_problem(params: InputParams, formats: Collection[str]) -> str | None:
    """Why an option does not fit to an input that has files of ``formats``; None if all do."""
    for name, known in _OPTIONS.items():
        if getattr(params, name) is not None and not set(known) & set(formats):
            found = ", ".join(sorted(formats))
            return f"{name}: is for {' and '.join(known)} files, and these are {found}; remove it"
    text = params.delimiter
    if text is not None and "csv" in formats and (len(text) != 1 or text in '"\r\n'):
        return f"delimiter: of CSV must be one character, no quote and no newline, got {text!r}"
    if params.root is not None and "::" in params.root:
        return "root: must be a folder or one URL, without '::'"
    return None


def plain_name(path: str) -> str:
    """The last part of a path or URL in lower case, without the ending of a compression."""
    if path.startswith(("http://", "https://")):
        path = urlsplit(path).path  # a query may follow
    return _COMPRESSED.sub("", posixpath.basename(path).lower())


def format_by_name(path: str) -> str | None:
    """The format that a file's name tells, or None."""
    name = plain_name(path)
    for kind, endings in _ENDINGS.items():
        packed = not path.lower().split("?")[0].endswith(endings)
        if name.endswith(endings) and not (packed and kind in ("parquet", "arrow")):
            return kind
    return None


def format_of(path: str, params: InputParams) -> str:
    """The format of a file of an input.

    Raises:
        InputError: neither the recipe nor its name tells it.
    """
    if params.format not in ("auto", "huggingface"):
        return params.format
    if kind := format_by_name(path):
        return kind
    known = ", ".join(ending for endings in _ENDINGS.values() for ending in endings)
    raise InputError(
        f"cannot tell the format of {path} by its name. Set `format:` ({', '.join(_ENDINGS)}) for"
        f" this input, or narrow its path to the data. Known endings: {known}"
        " (all but Parquet and Arrow also with .gz, .zst, .bz2, .xz)"
    )
