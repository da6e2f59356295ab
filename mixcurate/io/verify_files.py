"""The files of a corpus: all that its manifest names are there, and nothing else beside them."""

from __future__ import annotations

import hashlib
import posixpath
from collections.abc import Iterable
from typing import Any

import orjson

from mixcurate.errors import CorpusError
from mixcurate.io import corpus as corpus_io
from mixcurate.io import storage
from mixcurate.io.corpus import MANIFEST, OWNER, SPLITS
from mixcurate.io.shard_content import file_hashes
from mixcurate.io.shard_formats import webdataset
from mixcurate.io.shard_formats.base import entries, json_file
from mixcurate.io.shard_formats.table import FORMATS


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
    beside = _beside(manifest)
    problems += _check_manifest(corpus, manifest, sorted(beside))
    known = {path for files in listed for path in files} | set(beside)
    return problems + _check_beside(corpus, beside) + _strangers(corpus, known, beside)


def _check_manifest(corpus: str, manifest: dict[str, Any], others: list[str]) -> list[str]:
    """What nothing else can tell of the manifest, its hash does, which stands beside it."""
    path = storage.join(corpus, OWNER)
    if not storage.exists(path):
        return [f"{OWNER} is missing, expected the sha256 of {MANIFEST}"]
    data = storage.read_bytes(path)
    try:
        wanted = orjson.loads(data)["manifest_sha256"]
    except (ValueError, LookupError, TypeError):
        return [f"{OWNER}: expected the sha256 of {MANIFEST}, found something else"]
    found = hashlib.sha256(storage.read_bytes(storage.join(corpus, MANIFEST))).hexdigest()
    if found != wanted:
        return [f"{MANIFEST}: expected sha256 {wanted} as in {OWNER}, found {found}"]
    told = {"name": manifest["name"], "beside": sorted(others), "manifest_sha256": wanted}
    return [] if data == json_file(told) else [f"{OWNER}: expected what {MANIFEST} gives"]


def _beside(manifest: dict[str, Any]) -> dict[str, bytes]:
    """Index files, blends and the card as they should be.

    Raises:
        CorpusError: the manifest lacks what they tell.
    """
    try:
        return corpus_io.beside(manifest)
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise CorpusError(f"{MANIFEST} is not complete: {error!r} where it is told") from error


def _check_beside(corpus: str, beside: dict[str, bytes]) -> list[str]:
    """Index files and the card follow from the manifest alone, to the byte."""
    problems = []
    for path, data in sorted(beside.items()):
        full = storage.join(corpus, path)
        if not storage.exists(full):
            problems.append(f"{path} is missing, expected what {MANIFEST} gives")
        elif storage.read_bytes(full) != data:
            problems.append(f"{path}: expected what {MANIFEST} gives, found something else")
    return problems


def _strangers(corpus: str, known: set[str], beside: Iterable[str]) -> list[str]:
    """What a killed writer left, and files in the folders of the formats that nobody knows."""
    problems = []
    shards = (
        path
        for module in FORMATS.values()
        for split in SPLITS
        for path in module.shard_paths(split, 0, 1)
    )
    # not those of paths that the manifest lists: they may lead anywhere
    folders = {posixpath.dirname(path) for path in (*shards, *beside)} - {""}
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
    found = (check_file(corpus, file) for file in (shard, *shard["also"]))
    return [problem for problem in found if problem]


def check_keys(corpus: str, shard: dict[str, Any]) -> list[str]:
    """Keys of a tar are alike in what they begin with; that it is the tar's own makes them unique.

    The first bytes of a tar are its first key.
    """
    if shard["format"] != webdataset.NAME:
        return []
    wanted = webdataset.key_prefix(shard["shard"])
    with storage.open_read(storage.join(corpus, shard["path"])) as stream:
        key = stream.read(len(wanted)).decode("latin-1")
    if key == wanted:
        return []
    problem = f"expected keys of its own, which begin with {wanted}, found {key!r}"
    return [f"{shard['path']}: {problem}"]


def check_file(corpus: str, file: dict[str, Any]) -> str:
    """What is wrong with a file of the manifest, or nothing.

    Args:
        corpus: its folder.
        file: ``path``, ``bytes`` and ``sha256``; ``xxh64`` is checked where it is told.
    """
    path = storage.join(corpus, file["path"])
    if not storage.exists(path):
        return f"{file['path']} is missing, expected {file['bytes']:,} bytes"
    if (size := storage.size(path)) != file["bytes"]:
        return f"{file['path']}: expected {file['bytes']:,} bytes, found {size:,}"
    for name, value in file_hashes(path).items():
        if file.get(name, value) != value:
            return f"{file['path']}: expected {name} {file[name]}, found {value}"
    return ""
