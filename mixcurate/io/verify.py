"""Does a corpus hold what its manifest says? Every byte is read, nothing is trusted.

Memory is bounded: what the format's reader holds per thread, a few numbers per shard, and 8 bytes
for each document of the holdout, whose ids must not stand in the split that is trained on.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson

from mixcurate.errors import CorpusError
from mixcurate.io import storage, verify_files, verify_lineage, verify_numbers, verify_shares
from mixcurate.io.corpus import MANIFEST
from mixcurate.io.manifest import VERSION
from mixcurate.io.shard_content import Content, read_shard
from mixcurate.io.verify_numbers import Contents

_KEYS = {
    *("shards", "domains", "cells", "ranges", "holdout", "lineage", "sources", "licences"),
    *("languages", "n_documents", "n_tokens", "budget_tokens"),
}
_ENTRY_KEYS = {
    "shards": {
        *("split", "phase", "shard", "path", "format", "bytes", "sha256", "also"),
        *("n_documents", "n_tokens", "tokens_by_domain"),
    },
    "domains": {"domain", "name", "target_tokens", "available_tokens"},
    "cells": {
        *("name", "path", "target_tokens", "achieved_tokens", "available_tokens"),
        "missed_tokens",
    },
    "ranges": {"split", "phase", "n_shards"},
    "lineage": {"path", "bytes", "sha256", "split", "shard"},
}


def verify_corpus(corpus: str) -> list[str]:
    """Check a corpus against its manifest.

    Returns:
        One sentence per problem: the file, what was expected, what was found. Empty when good.

    Raises:
        CorpusError: there is no manifest, or it is not one of ours.
    """
    manifest = _read_manifest(corpus)
    wanted = verify_files.shard_files(manifest)
    problems = verify_files.check(corpus, manifest, wanted)
    known = [shard for shard in manifest["shards"] if verify_files.paths(shard) in wanted]
    contents: Contents = {}
    held_out = [shard for shard in known if shard["split"] == "holdout"]
    leading = _leading_format(manifest)
    levels = verify_shares.levels(manifest)

    def read_holdout(paths: list[str], shard: dict[str, Any]) -> Content:
        wants = shard["format"] == leading
        return read_shard(paths, shard["format"], levels=levels, keep_ids=wants)

    problems += _read(corpus, held_out, read_holdout, contents)
    forbidden = _sorted_ids(contents)

    def read_train(paths: list[str], shard: dict[str, Any]) -> Content:
        mine = forbidden if shard["format"] == leading else None
        return read_shard(paths, shard["format"], levels=levels, forbidden=mine)

    problems += _read(corpus, [s for s in known if s["split"] != "holdout"], read_train, contents)
    problems += verify_lineage.check(corpus, manifest, contents)
    problems += verify_numbers.check(manifest, contents)
    return problems + verify_shares.check(manifest, contents)


def _read_manifest(corpus: str) -> dict[str, Any]:
    path = storage.join(corpus, MANIFEST)
    if not storage.exists(path):
        why = "the corpus is unfinished (run mixcurate again) or was not made by mixcurate"
        raise CorpusError(f"{corpus} has no {MANIFEST}: {why}")
    try:
        manifest = storage.read_json(path)
    except orjson.JSONDecodeError as error:
        raise CorpusError(f"{path} is not JSON: {error}") from error
    problem = _not_ours(manifest)
    if problem:
        raise CorpusError(f"{path} {problem}: it is not a manifest that this version can check")
    return dict(manifest)


def _not_ours(manifest: Any) -> str:
    """What keeps a JSON value from being a manifest, or nothing."""
    if not isinstance(manifest, dict):
        return "holds no JSON object"
    if manifest.get("manifest_version") != VERSION:
        return f"has manifest_version {manifest.get('manifest_version')!r}, expected {VERSION}"
    missing = {f"{key!r}" for key in _KEYS - set(manifest)}
    for name, wanted in _ENTRY_KEYS.items():
        for number, entry in enumerate(manifest.get(name, [])):
            missing |= {f"{name}.{number}.{key}" for key in wanted - set(entry)}
    return f"lacks {', '.join(sorted(missing)[:5])}" if missing else ""


def _leading_format(manifest: dict[str, Any]) -> str | None:
    """The first format that keeps ids: others must hold the same rows, or keep none."""
    listed = {shard["format"] for shard in manifest["shards"]}
    keeps = ("arrow", "parquet", "webdataset", "jsonl", "mds", "litdata")
    return next((name for name in keeps if name in listed), None)


def _read(
    corpus: str,
    shards: list[dict[str, Any]],
    read: Callable[[list[str], dict[str, Any]], Content],
    contents: Contents,
) -> list[str]:
    """Read shards in threads; bytes that changed are not parsed at all."""

    def one(shard: dict[str, Any]) -> tuple[Content | None, list[str]]:
        if problems := verify_files.check_bytes(corpus, shard):
            return None, problems
        try:
            paths = [storage.join(corpus, path) for path in verify_files.paths(shard)]
            content = read(paths, shard)
        except CorpusError as error:
            return None, [f"{shard['path']}: {error}"]
        found = verify_numbers.check_shard(shard, content)
        return content, found + verify_files.check_keys(corpus, shard)

    problems: list[str] = []
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        for shard, (content, mine) in zip(shards, pool.map(one, shards), strict=True):
            problems += mine
            if content is not None:
                contents[shard["path"]] = content
    return problems


def _sorted_ids(contents: Contents) -> npt.NDArray[np.uint64] | None:
    found = [c.id_hashes for c in contents.values() if c.id_hashes is not None]
    return np.sort(np.concatenate(found)) if found else None
