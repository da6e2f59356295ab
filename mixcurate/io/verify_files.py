"""The files of a corpus: all that its manifest names are there, and nothing else beside them."""

from __future__ import annotations

import posixpath
from typing import Any

from mixcurate.io import storage
from mixcurate.io.corpus import MANIFEST
from mixcurate.io.shard_content import sha256
from mixcurate.io.shard_formats.base import entries
from mixcurate.io.shard_formats.table import FORMATS

SPLITS = ("train", "holdout")


def paths(shard: dict[str, Any]) -> tuple[str, ...]:
    """The files of a shard, as the manifest has them."""
    return (shard["path"], *(file["path"] for file in shard["also"]))


def shard_files(manifest: dict[str, Any]) -> set[tuple[str, ...]]:
    """The only files that shards may have: nothing else that a manifest names is opened."""
    wanted: set[tuple[str, ...]] = set()
    for name, module in FORMATS.items():
        for split in SPLITS:
            n = len(entries(manifest, name, split))
            wanted |= {tuple(module.shard_paths(split, i, n)) for i in range(n)}
    return wanted


def check(corpus: str, manifest: dict[str, Any], wanted: set[tuple[str, ...]]) -> list[str]:
    """Names that are wrong, files that nobody knows, and indices that tell something else.

    Args:
        corpus: folder of the corpus.
        manifest: its manifest.
        wanted: ``shard_files`` of it.
    """
    listed = [paths(shard) for shard in manifest["shards"]]
    free = sorted({files[0] for files in wanted} - {files[0] for files in listed})
    problems = [
        f"{MANIFEST} lists {', '.join(map(repr, files))}, which is no name of a shard; expected "
        f"one of {', '.join(free) or 'none'}"
        for files in sorted(set(listed) - wanted)
    ]
    twice = sorted({files[0] for files in listed if listed.count(files) > 1})
    problems += [f"{MANIFEST} lists {path} more than once, expected once" for path in twice]
    beside = {
        path: data
        for module in FORMATS.values()
        for split in SPLITS
        for path, data in module.files_beside(split, manifest).items()
    }
    known = {path for files in listed for path in files} | set(beside)
    return problems + _check_beside(corpus, beside) + _strangers(corpus, known)


def _check_beside(corpus: str, beside: dict[str, bytes]) -> list[str]:
    """Index files follow from the manifest alone, to the byte."""
    problems = []
    for path, data in sorted(beside.items()):
        full = storage.join(corpus, path)
        if not storage.exists(full):
            problems.append(f"{path} is missing, expected the index of the shards of {MANIFEST}")
        elif storage.read_bytes(full) != data:
            problems.append(
                f"{path}: expected the index of the shards of {MANIFEST} in order, found something "
                f"else"
            )
    return problems


def _strangers(corpus: str, known: set[str]) -> list[str]:
    """What a killed writer left, and files in the folders of the formats that nobody knows."""
    problems = []
    folders = {
        posixpath.dirname(path)
        for module in FORMATS.values()
        for split in SPLITS
        for path in module.shard_paths(split, 0, 1)
    }
    inner = {path for folder in folders for path in _parents(folder)}
    for folder in ("", *sorted(folders | inner)):
        for file in storage.list_names(storage.join(corpus, folder)):
            path = posixpath.join(folder, file)
            if file.startswith(".tmp-"):
                problems.append(f"{path} was left by an interrupted writer, expected no such file")
            elif folder and path not in known and path not in folders | inner:
                problems.append(f"{path} is not in {MANIFEST}, expected no such file")
    return problems


def _parents(folder: str) -> list[str]:
    parts = folder.split("/")
    return ["/".join(parts[:n]) for n in range(1, len(parts))]


def check_bytes(corpus: str, shard: dict[str, Any]) -> list[str]:
    """Whether every file of a shard is there with its bytes."""
    problems = []
    for file in (shard, *shard["also"]):
        path = storage.join(corpus, file["path"])
        if not storage.exists(path):
            problems.append(f"{file['path']} is missing, expected {file['bytes']:,} bytes")
        elif (size := storage.size(path)) != file["bytes"]:
            problems.append(f"{file['path']}: expected {file['bytes']:,} bytes, found {size:,}")
        elif (found := sha256(path)) != file["sha256"]:
            problems.append(f"{file['path']}: expected sha256 {file['sha256']}, found {found}")
    return problems
