"""The corpus folder: who owns it, and the files that readers expect beside shards."""

from __future__ import annotations

import hashlib
import posixpath
import re
from typing import Any, Literal

from pydantic import ByteSize, Field, PositiveInt

from mixcurate.io import card, lineage, storage
from mixcurate.io.blend_files import blend_files
from mixcurate.io.shard_formats.base import json_file
from mixcurate.io.shard_formats.table import FORMATS
from mixcurate.params import Params

MANIFEST = "manifest.json"
OWNER = "_mixcurate/owner.json"

#: What earlier versions wrote beside shards without telling.
_BEFORE = (
    "README.md",
    "dataset_dict.json",
    "train/state.json",
    "train/dataset_info.json",
    "wds/sizes.json",
    "wds/index.json",
)

SPLITS = ("train", "holdout")


FormatName = Literal[
    "arrow",
    "parquet",
    "webdataset",
    "jsonl",
    "mds",
    "litdata",
    "megatron",
    "nanotron",
    "litdata_tokens",
]


class TokenParams(Params):
    """How documents become tokens, for the formats that hold tokens."""

    tokenizer: str | None = None
    """`embedded`, or a Hugging Face tokenizer.json relative to the recipe; null takes
    `ingest.tokenizer`."""
    bos: bool = False
    """Put the beginning-of-sequence token before each document."""
    eos: bool = True
    """Put the end-of-sequence token after each document."""
    sequence_length: PositiveInt | None = None
    """Pack the documents of a domain into sequences of this many tokens; null keeps a sequence for
    each document."""


class OutputParams(Params):
    """Where the corpus goes, in which formats, and how it is cut."""

    path: str | None = None
    """Folder of the corpus, relative to the recipe's folder; null is `corpus` in the workdir."""
    formats: list[FormatName] = Field(default=["arrow"], min_length=1)
    """Formats to write, all from one pass."""
    shard_bytes: ByteSize = ByteSize(256_000_000)
    """Text in a shard, at most."""
    shards_multiple_of: PositiveInt = 64
    """The number of shards is a multiple of this when the corpus is large enough."""
    tokens: TokenParams = TokenParams()
    """For `megatron`, `nanotron` and `litdata_tokens`."""


def owner(corpus: str) -> str | None:
    """Name of the recipe whose corpus the folder holds, or None."""
    found = _owner_file(corpus)
    return None if found is None else str(found["name"])


def claim(corpus: str, name: str) -> None:
    """Mark the folder as ours, and take back what an older run said about it.

    The manifest goes first: a folder without it is an unfinished corpus.
    """
    storage.remove(storage.join(corpus, MANIFEST))
    before = _owner_file(corpus) or {}
    for stale in [*before.get("beside", []), *_BEFORE]:
        storage.remove(storage.join(corpus, stale))
    storage.write_json(storage.join(corpus, OWNER), {"name": name})
    for folder in ("", lineage.FOLDER, *_folders()):
        storage.remove_temporaries(storage.join(corpus, folder))


def finish_corpus(corpus: str, manifest: dict[str, Any]) -> None:
    """Write everything that readers expect beside the shards; the manifest comes last."""
    _remove_strangers(corpus, manifest)
    files, data = beside(manifest), json_file(manifest)
    told = {
        "name": manifest["name"],
        "manifest_sha256": hashlib.sha256(data).hexdigest(),
        "beside": sorted(files),
    }
    # told first: who claims the folder after a crash must know what there may be
    storage.write_json(storage.join(corpus, OWNER), told)
    for path, content in files.items():
        storage.write_bytes(storage.join(corpus, path), content)
    storage.write_bytes(storage.join(corpus, MANIFEST), data)


def _owner_file(corpus: str) -> dict[str, Any] | None:
    path = storage.join(corpus, OWNER)
    return dict(storage.read_json(path)) if storage.exists(path) else None


def beside(manifest: dict[str, Any]) -> dict[str, bytes]:
    """What stands beside the shards and follows from the manifest: indices, blends and the card."""
    files = {
        path: data
        for module in FORMATS.values()
        for split in SPLITS
        for path, data in module.files_beside(split, manifest).items()
    }
    files |= blend_files(manifest)
    return files | {"README.md": card.dataset_card(manifest).encode()}


def _samples() -> list[str]:
    """A path of each kind of file that shards of any format have."""
    return [
        path
        for module in FORMATS.values()
        for split in SPLITS
        for path in module.shard_paths(split, 0, 1)
    ]


def _folders() -> list[str]:
    return sorted({posixpath.dirname(path) for path in _samples()})


def _remove_strangers(corpus: str, manifest: dict[str, Any]) -> None:
    """Remove shards of an older run, cut otherwise: readers that go by pattern would find them."""
    wanted = {file["path"] for shard in manifest["shards"] for file in (shard, *shard["also"])}
    wanted |= {file["path"] for file in manifest["lineage"]}
    shard = re.compile("|".join(re.sub(r"\d+", r"\\d+", re.escape(path)) for path in _samples()))
    for folder in (lineage.FOLDER, *_folders()):
        for name in storage.list_names(storage.join(corpus, folder)):
            path = f"{folder}/{name}"
            ours = shard.fullmatch(path) or (folder == lineage.FOLDER and lineage.is_lineage(name))
            if ours and path not in wanted:
                storage.remove(storage.join(corpus, path))
