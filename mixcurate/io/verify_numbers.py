"""Counts of a corpus follow from its shards, in every format and over all of them."""

from __future__ import annotations

from typing import Any

from mixcurate.io.corpus import MANIFEST, SPLITS
from mixcurate.io.shard_content import Content
from mixcurate.io.shard_formats.base import entries
from mixcurate.io.shard_formats.table import FORMATS
from mixcurate.io.verify_compare import compare

#: What each shard holds, by the path that names it.
Contents = dict[str, Content]


def check_shard(shard: dict[str, Any], content: Content) -> list[str]:
    """What the manifest says of one shard, as far as its format keeps it."""
    found: dict[str, Any] = {"n_documents": content.documents, "n_tokens": content.tokens}
    if "domain" in content.groups:
        by_domain = content.groups["domain"]
        found["tokens_by_domain"] = {domain: sums[1] for domain, sums in by_domain.items()}
    known = {name: value for name, value in found.items() if value is not None}
    problems = compare(shard["path"], shard, known)
    if content.strangers:
        ids = ", ".join(map(repr, content.strangers))
        problems.append(f"{shard['path']}: expected no document of the holdout, found {ids}")
    return problems


def check(manifest: dict[str, Any], contents: Contents) -> list[str]:
    """Everything that the manifest says of counts of more than one shard."""
    problems = []
    for split in SPLITS:
        for name in FORMATS:
            problems += _balance(name, entries(manifest, name, split))
        problems += _formats_differ(manifest, split, contents)
    return problems + _totals(manifest) + _ranges(manifest)


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
        firsts = by_format[0]
        if len(others) != len(firsts):
            problems.append(
                f"{MANIFEST}: expected as many {others[0]['format']} shards as "
                f"{firsts[0]['format']} shards ({len(firsts)}), found {len(others)}"
            )
            continue
        for first, other in zip(firsts, others, strict=True):
            a, b = contents.get(first["path"]), contents.get(other["path"])
            difference = _difference(a, b) if a and b else ""
            if difference:
                problems.append(
                    f"{other['path']}: expected the rows of {first['path']}, found {difference}"
                )
    return problems


def _difference(a: Content, b: Content) -> str:
    """How two formats of a shard differ in what both keep, or nothing."""
    if a.documents is not None and b.documents is not None and a.documents != b.documents:
        return f"{b.documents:,} documents instead of {a.documents:,}"
    both = [name for name in a.columns if name in b.columns]
    columns = [name for name in both if a.columns[name] != b.columns[name]]
    return f"other values in {', '.join(columns)}" if columns else ""


def leading(manifest: dict[str, Any], split: str) -> list[dict[str, Any]]:
    """The shards of a split in one format, whichever the manifest lists first."""
    listed = manifest["shards"]
    return entries(manifest, listed[0]["format"], split) if listed else []


def _sums(shards: list[dict[str, Any]]) -> dict[str, Any]:
    tokens: dict[str, int] = {}
    for shard in shards:
        for domain, n in shard["tokens_by_domain"].items():
            tokens[domain] = tokens.get(domain, 0) + n
    numbers: dict[str, Any] = {k: sum(s[k] for s in shards) for k in ("n_documents", "n_tokens")}
    return numbers | {"tokens_by_domain": tokens}


def _totals(manifest: dict[str, Any]) -> list[str]:
    """The manifest's totals follow from what it says of its shards."""
    shards = leading(manifest, "train")
    if not shards:
        return [f"{MANIFEST}: expected at least one shard, found none"]
    sums = _sums(shards)
    held = sums.pop("tokens_by_domain")
    problems = compare(MANIFEST, manifest, sums)
    for stranger in sorted(set(held) - {str(domain["domain"]) for domain in manifest["domains"]}):
        problems.append(f"{MANIFEST}: shards hold domain {stranger}, expected one of its domains")
    for domain in manifest["domains"]:
        achieved = held.get(str(domain["domain"]), 0)
        found = {
            "achieved_tokens": achieved,
            "achieved_share": achieved / max(sums["n_tokens"], 1),
            "epochs": achieved / max(domain["available_tokens"], 1),
        }
        where = f"{MANIFEST}: domain {domain['domain']} ({domain['name']!r})"
        problems += compare(where, domain, found)
    return problems


def _ranges(manifest: dict[str, Any]) -> list[str]:
    """Each run of shards and the holdout, which is counted apart."""
    problems = []
    for one in manifest["ranges"]:
        shards = [s for s in leading(manifest, one["split"]) if s["phase"] == one["phase"]]
        found = {"n_shards": len(shards)} | _sums(shards)
        if shards:
            found["first_shard"] = shards[0]["shard"]
        problems += compare(f"{MANIFEST}: range {one['phase']!r}", one, found)
    shards = leading(manifest, "holdout")
    if shards or manifest["holdout"]:
        problems += compare(f"{MANIFEST}: holdout", manifest["holdout"] or {}, _sums(shards))
    return problems
