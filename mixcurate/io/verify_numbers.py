"""The numbers of a corpus: counts, tokens and shares follow from its shards, in every format."""

from __future__ import annotations

import math
from typing import Any

from mixcurate.io.corpus import MANIFEST
from mixcurate.io.shard_content import Content, Sums, add
from mixcurate.io.shard_formats.base import entries
from mixcurate.io.shard_formats.table import FORMATS
from mixcurate.tables import CORPUS

#: What each shard holds, by the path that names it.
Contents = dict[str, Content]

_SPLITS = ("train", "holdout")


def levels(manifest: dict[str, Any]) -> tuple[str, ...]:
    """The columns whose values tell the cell of a row; without them the domain stands for it."""
    cells = manifest.get("cells", [])
    names = tuple(cells[0]["path"]) if cells else ()
    return names if names and set(names) <= set(CORPUS.names) else ("domain",)


def check_shard(shard: dict[str, Any], content: Content) -> list[str]:
    """What the manifest says of one shard, as far as its format keeps it."""
    found: dict[str, Any] = {"n_documents": content.documents, "n_tokens": content.tokens}
    if "domain" in content.groups:
        by_domain = content.groups["domain"]
        found["tokens_by_domain"] = {domain: sums[1] for domain, sums in by_domain.items()}
    known = {name: value for name, value in found.items() if value is not None}
    problems = _compare(shard["path"], shard, known)
    if content.strangers:
        ids = ", ".join(map(repr, content.strangers))
        problems.append(f"{shard['path']}: expected no document of the holdout, found {ids}")
    return problems


def check(manifest: dict[str, Any], contents: Contents) -> list[str]:
    """Everything that the manifest says of more than one shard."""
    problems = []
    for split in _SPLITS:
        for name in FORMATS:
            problems += _balance(name, entries(manifest, name, split))
        problems += _formats_differ(manifest, split, contents)
    return problems + _totals(manifest) + _details(manifest, contents)


def _balance(name: str, shards: list[dict[str, Any]]) -> list[str]:
    """Shards of a phase are of equal length, give or take a document."""
    problems = []
    for phase in dict.fromkeys(shard["phase"] for shard in shards):
        mine = [shard for shard in shards if shard["phase"] == phase]
        counts = {shard["path"]: shard["n_documents"] for shard in mine}
        problems += [f"{p}: expected documents, found none" for p, n in counts.items() if n == 0]
        least, most = min(counts, key=counts.__getitem__), max(counts, key=counts.__getitem__)
        if counts[most] - counts[least] > 1:
            problems.append(
                f"{name} shards: expected counts that differ by at most one document, found "
                f"{counts[least]:,} in {least} and {counts[most]:,} in {most}"
            )
    return problems


def _formats_differ(manifest: dict[str, Any], split: str, contents: Contents) -> list[str]:
    """Shard i of one format holds the rows of shard i of every other, in the same order."""
    by_format = [shards for name in FORMATS if (shards := entries(manifest, name, split))]
    problems = []
    for others in by_format[1:]:
        if len(others) != len(by_format[0]):
            problems.append(
                f"{MANIFEST}: expected as many {others[0]['format']} shards as "
                f"{by_format[0][0]['format']} shards ({len(by_format[0])}), found {len(others)}"
            )
            continue
        for first, other in zip(by_format[0], others, strict=True):
            a, b = contents.get(first["path"]), contents.get(other["path"])
            if a and b and (difference := _difference(a, b)):
                problems.append(
                    f"{other['path']}: expected the rows of {first['path']}, found {difference}"
                )
    return problems


def _difference(a: Content, b: Content) -> str:
    """How two formats of a shard differ in what both keep, or nothing."""
    if None not in (a.documents, b.documents) and a.documents != b.documents:
        return f"{b.documents:,} documents instead of {a.documents:,}"
    both = [name for name in a.columns if name in b.columns]
    columns = [name for name in both if a.columns[name] != b.columns[name]]
    return f"other values in {', '.join(columns)}" if columns else ""


def _totals(manifest: dict[str, Any]) -> list[str]:
    """The manifest's totals follow from what it says of its shards, and shares from its totals."""
    listed = manifest["shards"]
    shards = entries(manifest, listed[0]["format"], "train") if listed else []
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
        }
        problems += _compare(_domain(domain), domain, found)
    in_cells = sum(cell["achieved_tokens"] for cell in manifest.get("cells", []))
    if "cells" in manifest and in_cells != tokens:
        problems.append(f"{MANIFEST}: expected {tokens:,} tokens in its cells, found {in_cells:,}")
    for cell in manifest.get("cells", []):
        epochs = cell["achieved_tokens"] / max(cell["available_tokens"], 1)
        problems += _compare(_cell(cell), cell, {"epochs": epochs})
        if cell["achieved_tokens"] < cell["target_tokens"]:
            problems.append(
                f"{_cell(cell)}: expected at least target_tokens {cell['target_tokens']:,}, found "
                f"{cell['achieved_tokens']:,}"
            )
    return problems + _held_out(manifest)


def _held_out(manifest: dict[str, Any]) -> list[str]:
    """The holdout is counted apart."""
    shards = entries(manifest, manifest["shards"][0]["format"], "holdout")
    found = {name: sum(s[name] for s in shards) for name in ("n_documents", "n_tokens")}
    claimed = manifest.get("holdout") or {}
    return _compare(f"{MANIFEST}: holdout", claimed, found) if shards or claimed else []


def _domain(domain: dict[str, Any]) -> str:
    return f"{MANIFEST}: domain {domain['domain']} ({domain['name']!r})"


def _cell(cell: dict[str, Any]) -> str:
    return f"{MANIFEST}: cell {cell['name']!r}"


def _details(manifest: dict[str, Any], contents: Contents) -> list[str]:
    """What only the documents tell: repeats, the largest document, sources and licences.

    Taken from the first format whose shards can all be read and keep it.
    """
    for name in FORMATS:
        shards = entries(manifest, name, "train")
        mine = [contents[shard["path"]] for shard in shards if shard["path"] in contents]
        if shards and len(mine) == len(shards) and all("domain" in c.groups for c in mine):
            break
    else:
        return []
    sums: dict[str, dict[str, Sums]] = {"domain": {}, "source": {}, "licence": {}}
    for content in mine:
        for by, groups in content.groups.items():
            for key, numbers in groups.items():
                add(sums[by], key, numbers)
    problems = []
    for domain in manifest["domains"]:
        documents, _, unique = sums["domain"].get(str(domain["domain"]), [0, 0, 0])
        found = {"n_documents": documents, "unique_tokens": unique}
        problems += _compare(_domain(domain), domain, found)
    problems += _check_cells(manifest, mine)
    for by, key in (("source", "sources"), ("licence", "licences")):
        problems += _group(key, manifest.get(key, []), sums[by])
    return problems


def _check_cells(manifest: dict[str, Any], contents: list[Content]) -> list[str]:
    """Tokens of each cell, and that its draw ended within a document above its target."""
    by = levels(manifest)
    if not manifest.get("cells", []) or tuple(manifest.get("cells", [])[0]["path"]) != by:
        return []
    sums: dict[tuple[str | int | None, ...], Sums] = {}
    for content in contents:
        for key, numbers in content.cells.items():
            add(sums, key, numbers)
    problems = []
    for cell in manifest.get("cells", []):
        key = tuple(cell["path"].values())
        tokens = sums.get(key, [0, 0, 0])[1]
        problems += _compare(_cell(cell), cell, {"achieved_tokens": tokens})
        largest = max((content.largest.get(key, 0) for content in contents), default=0)
        over = tokens - cell["target_tokens"]
        if over > 0 and over >= largest:
            problems.append(
                f"{_cell(cell)}: expected less than its largest document ({largest:,} tokens) "
                f"above target_tokens {cell['target_tokens']:,}, found {tokens:,}"
            )
    return problems


def _group(key: str, claimed: list[dict[str, Any]], sums: dict[str, Sums]) -> list[str]:
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
