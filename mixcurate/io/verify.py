"""Does a corpus hold what its manifest says? Every byte is read, nothing is trusted.

Memory is bounded: what ``read_shard`` holds per thread, and a few numbers per shard. That keys of
tar members are unique over all shards needs no set of all keys: they ascend within a shard, and
the ranges of two shards do not overlap.
"""

from __future__ import annotations

import math
import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import orjson

from mixcurate.errors import CorpusError
from mixcurate.io import storage
from mixcurate.io.corpus import MANIFEST
from mixcurate.io.formats import shard_path
from mixcurate.io.shard_content import Content, read_shard, sha256, sum_groups

_FOLDERS = {"arrow": ("train", ".arrow"), "webdataset": ("wds", ".tar")}

_KEYS = {"shards", "domains", "n_documents", "n_tokens", "budget_tokens"}
_ENTRY_KEYS = {
    "shards": {"path", "format", "bytes", "sha256", "n_documents", "n_tokens", "tokens_by_domain"},
    "domains": {"domain", "name", "target_tokens", "available_tokens"},
}


def verify_corpus(corpus: str) -> list[str]:
    """Check a corpus against its manifest.

    Returns:
        One sentence per problem: the file, what was expected, what was found. Empty when good.

    Raises:
        CorpusError: there is no manifest, or it is not one of ours.
    """
    manifest = _read_manifest(corpus)
    problems = _expected_files(manifest) + _other_files(corpus, manifest)
    known = [s for s in manifest["shards"] if s["path"] in _paths(manifest)]
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        found = list(pool.map(lambda shard: _check_shard(corpus, shard), known))
    contents: dict[str, Content] = {}
    for shard, (content, mine) in zip(known, found, strict=True):
        problems += mine
        if content is not None:
            contents[shard["path"]] = content
    for name in _FOLDERS:
        problems += _balance(name, _of_format(manifest, name))
    problems += _keys_overlap(manifest, contents) + _formats_differ(manifest, contents)
    return problems + _totals(manifest) + _details(manifest, contents)


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
    if manifest.get("manifest_version") != 1:
        return f"has manifest_version {manifest.get('manifest_version')!r}, expected 1"
    missing = {f"{key!r}" for key in _KEYS - set(manifest)}
    for name, wanted in _ENTRY_KEYS.items():
        for number, entry in enumerate(manifest.get(name, [])):
            missing |= {f"{name}.{number}.{key}" for key in wanted - set(entry)}
    return f"lacks {', '.join(sorted(missing)[:5])}" if missing else ""


def _of_format(manifest: dict[str, Any], name: str) -> list[dict[str, Any]]:
    return [shard for shard in manifest["shards"] if shard["format"] == name]


def _paths(manifest: dict[str, Any]) -> set[str]:
    """The only paths that shards may have: nothing else that a manifest names is opened."""
    counts = {name: len(_of_format(manifest, name)) for name in _FOLDERS}
    return {shard_path(name, i, n) for name, n in counts.items() for i in range(n)}


def _expected_files(manifest: dict[str, Any]) -> list[str]:
    listed = [shard["path"] for shard in manifest["shards"]]
    wanted = _paths(manifest)
    unknown = [
        f"{MANIFEST} lists {path!r}, which is no name of a shard; expected one of "
        f"{', '.join(sorted(wanted - set(listed))) or 'none'}"
        for path in sorted(set(listed) - wanted)
    ]
    twice = sorted({path for path in listed if listed.count(path) > 1})
    return unknown + [f"{MANIFEST} lists {path} more than once, expected once" for path in twice]


def _other_files(corpus: str, manifest: dict[str, Any]) -> list[str]:
    """Shards that nobody knows, what a killed writer left, and a stale ``state.json``."""
    problems = []
    wanted = {shard["path"] for shard in manifest["shards"]}
    for folder, suffix in (*_FOLDERS.values(), ("", "")):
        for file in storage.list_names(storage.join(corpus, folder)):
            path = f"{folder}/{file}" if folder else file
            if file.startswith(".tmp-"):
                problems.append(f"{path} was left by an interrupted writer, expected no such file")
            elif suffix and file.endswith(suffix) and path not in wanted:
                problems.append(f"{path} is not in {MANIFEST}, expected no such shard")
    arrow = [shard["path"].removeprefix("train/") for shard in _of_format(manifest, "arrow")]
    if arrow:
        state = storage.join(corpus, "train/state.json")
        listed = storage.read_json(state)["_data_files"] if storage.exists(state) else []
        names = [entry["filename"] for entry in listed]
        if names != arrow:
            problems.append(
                f"train/state.json: expected the {len(arrow)} Arrow shards of {MANIFEST} in "
                f"order, found {len(names)} files: {_difference(arrow, names)}"
            )
    return problems


def _difference(wanted: list[str], found: list[str]) -> str:
    missing, extra = sorted(set(wanted) - set(found)), sorted(set(found) - set(wanted))
    return f"missing {missing[:3]}, unexpected {extra[:3]}" if missing or extra else "other order"


def _check_shard(corpus: str, shard: dict[str, Any]) -> tuple[Content | None, list[str]]:
    """What a shard holds, and how that differs; bytes that changed are not parsed at all."""
    path = storage.join(corpus, shard["path"])
    if not storage.exists(path):
        return None, [f"{shard['path']} is missing, expected {shard['bytes']:,} bytes"]
    size = storage.size(path)
    if size != shard["bytes"]:
        return None, [f"{shard['path']}: expected {shard['bytes']:,} bytes, found {size:,}"]
    found = sha256(path)
    if found != shard["sha256"]:
        return None, [f"{shard['path']}: expected sha256 {shard['sha256']}, found {found}"]
    try:
        content = read_shard(path, shard["format"])
    except CorpusError as error:
        return None, [f"{shard['path']}: {error}"]
    by_domain = {domain: numbers[1] for domain, numbers in content.groups["domain"].items()}
    claims = {
        "n_documents": content.documents,
        "n_tokens": content.tokens,
        "tokens_by_domain": by_domain,
    }
    return content, _compare(shard["path"], shard, claims)


def _compare(where: str, claimed: dict[str, Any], found: dict[str, Any]) -> list[str]:
    """One sentence for each number that is not as claimed."""
    return [
        f"{where}: expected {name} {_show(claimed.get(name))}, found {_show(value)}"
        for name, value in found.items()
        if not _same(claimed.get(name), value)
    ]


def _same(claimed: Any, found: Any) -> bool:
    if isinstance(found, float) and isinstance(claimed, int | float):
        return math.isclose(claimed, found, rel_tol=1e-9, abs_tol=1e-12)
    return bool(claimed == found)


def _show(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)


def _balance(name: str, shards: list[dict[str, Any]]) -> list[str]:
    counts = {shard["path"]: shard["n_documents"] for shard in shards}
    problems = [f"{path}: expected documents, found none" for path, n in counts.items() if n == 0]
    if counts and max(counts.values()) - min(counts.values()) > 1:
        least, most = min(counts, key=counts.__getitem__), max(counts, key=counts.__getitem__)
        problems.append(
            f"{name} shards: expected counts that differ by at most one document, found "
            f"{counts[least]:,} in {least} and {counts[most]:,} in {most}"
        )
    return problems


def _keys_overlap(manifest: dict[str, Any], contents: dict[str, Content]) -> list[str]:
    tars = [s["path"] for s in _of_format(manifest, "webdataset") if s["path"] in contents]
    tars = sorted((p for p in tars if contents[p].documents), key=lambda p: contents[p].first_key)
    return [
        f"{after}: expected keys of its own, found {contents[after].first_key!r}, which is not "
        f"after {contents[before].last_key!r}, the last of {before}"
        for before, after in zip(tars, tars[1:], strict=False)
        if contents[after].first_key <= contents[before].last_key
    ]


def _formats_differ(manifest: dict[str, Any], contents: dict[str, Content]) -> list[str]:
    """Shard i of one format holds the documents of shard i of every other, in the same order."""
    arrow, tars = (_of_format(manifest, name) for name in _FOLDERS)
    problems = []
    if arrow and tars and len(arrow) != len(tars):
        problems.append(
            f"{MANIFEST}: expected as many tars as Arrow shards ({len(arrow)}), found {len(tars)}"
        )
    for one, other in zip(arrow, tars, strict=False):
        a, b = contents.get(one["path"]), contents.get(other["path"])
        if a and b and (a.documents, a.tokens, a.rows) != (b.documents, b.tokens, b.rows):
            problems.append(
                f"{other['path']}: expected the {a.documents:,} documents and {a.tokens:,} tokens "
                f"of {one['path']}, found {b.documents:,} documents and {b.tokens:,} tokens"
                + (", some of them others" if a.documents == b.documents else "")
            )
    return problems


def _totals(manifest: dict[str, Any]) -> list[str]:
    """The manifest's totals follow from what it says of its shards, and shares from its totals."""
    shards = _of_format(manifest, manifest["shards"][0]["format"]) if manifest["shards"] else []
    if not shards:
        return [f"{MANIFEST}: expected at least one shard, found none"]
    documents, tokens = (sum(s[name] for s in shards) for name in ("n_documents", "n_tokens"))
    problems = _compare(MANIFEST, manifest, {"n_documents": documents, "n_tokens": tokens})
    held = {domain for shard in shards for domain in shard["tokens_by_domain"]}
    for stranger in sorted(held - {str(domain["domain"]) for domain in manifest["domains"]}):
        problems.append(f"{MANIFEST}: shards hold domain {stranger}, expected one of its domains")
    for domain in manifest["domains"]:
        achieved = sum(s["tokens_by_domain"].get(str(domain["domain"]), 0) for s in shards)
        found = {
            "achieved_tokens": achieved,
            "achieved_share": achieved / max(tokens, 1),
            "epochs": achieved / max(domain["available_tokens"], 1),
            "target_share": domain["target_tokens"] / max(manifest["budget_tokens"], 1),
        }
        problems += _compare(_domain(domain), domain, found)
        if achieved < domain["target_tokens"]:
            problems.append(
                f"{_domain(domain)}: expected at least target_tokens "
                f"{domain['target_tokens']:,}, found {achieved:,}"
            )
    return problems


def _domain(domain: dict[str, Any]) -> str:
    return f"{MANIFEST}: domain {domain['domain']} ({domain['name']!r})"


def _details(manifest: dict[str, Any], contents: dict[str, Content]) -> list[str]:
    """What only the documents tell: repeats, the largest document, sources and licences.

    Taken from the first format whose shards can all be read.
    """
    wholly = [
        shards
        for shards in (_of_format(manifest, name) for name in _FOLDERS)
        if shards and all(shard["path"] in contents for shard in shards)
    ]
    if not wholly:
        return []
    mine = [contents[shard["path"]] for shard in wholly[0]]
    sums = sum_groups(mine)
    problems = []
    for domain in manifest["domains"]:
        name = str(domain["domain"])
        documents, tokens, unique = sums["domain"].get(name, [0, 0, 0])
        found = {"n_documents": documents, "unique_tokens": unique}
        problems += _compare(_domain(domain), domain, found)
        largest = max(content.largest.get(name, 0) for content in mine)
        over = tokens - domain["target_tokens"]
        if over > 0 and over >= largest:
            problems.append(
                f"{_domain(domain)}: expected less than its largest document ({largest:,} tokens) "
                f"above target_tokens {domain['target_tokens']:,}, found {tokens:,}"
            )
    for by, key in (("source", "sources"), ("licence", "licences")):
        problems += _group(key, manifest.get(key, []), sums[by])
    return problems


def _group(key: str, claimed: list[dict[str, Any]], sums: dict[str, list[int]]) -> list[str]:
    """The manifest's numbers by source or licence."""
    total = max(sum(numbers[1] for numbers in sums.values()), 1)
    by_name = {entry["name"]: entry for entry in claimed}
    if set(by_name) != set(sums):
        return [f"{MANIFEST}: expected {key} {sorted(by_name)}, found {sorted(sums)}"]
    problems = []
    for name, (documents, tokens, unique) in sums.items():
        found = {
            "n_documents": documents,
            "achieved_tokens": tokens,
            "achieved_share": tokens / total,
            "unique_tokens": unique,
            "epochs": tokens / max(unique, 1),
        }
        problems += _compare(f"{MANIFEST}: {key} {name!r}", by_name[name], found)
    return problems
