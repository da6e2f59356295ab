"""Shares of a corpus: what its cells, domains, sources, licences and languages really hold."""

from __future__ import annotations

from typing import Any

from mixcurate.io.corpus import MANIFEST
from mixcurate.io.shard_content import GROUPS, Content, Sums, add
from mixcurate.io.shard_formats.base import entries
from mixcurate.io.shard_formats.table import FORMATS
from mixcurate.io.verify_compare import compare
from mixcurate.io.verify_numbers import Contents
from mixcurate.tables import CORPUS

#: Where the manifest tells the numbers by a column.
_KEYS = {"source": "sources", "licence": "licences", "language": "languages"}


def levels(manifest: dict[str, Any]) -> tuple[str, ...]:
    """The columns whose values tell the cell of a row; none where rows do not tell it."""
    cells = manifest["cells"]
    names = tuple(cells[0]["path"]) if cells else ()
    return names if set(names) <= set(CORPUS.names) else ()


def check(manifest: dict[str, Any], contents: Contents) -> list[str]:
    """Targets that are missed, and what only the documents tell.

    The latter is taken from the first format whose shards can all be read and keep it.
    """
    problems = _cells(manifest) + _domains(manifest)
    for name in FORMATS:
        shards = entries(manifest, name, "train")
        mine = [contents[shard["path"]] for shard in shards if shard["path"] in contents]
        if shards and len(mine) == len(shards) and all("domain" in c.groups for c in mine):
            return problems + _details(manifest, mine)
    return problems


def _cell(cell: dict[str, Any]) -> str:
    return f"{MANIFEST}: cell {cell['name']!r}"


def _cells(manifest: dict[str, Any]) -> list[str]:
    """The cells share all tokens, and each has what it should have."""
    total = manifest["n_tokens"]
    in_cells = sum(cell["achieved_tokens"] for cell in manifest["cells"])
    problems = []
    if in_cells != total:
        problems.append(f"{MANIFEST}: expected {total:,} tokens in its cells, found {in_cells:,}")
    for cell in manifest["cells"]:
        achieved = cell["achieved_tokens"]
        found = {
            "achieved_share": achieved / max(total, 1),
            "epochs": achieved / max(cell["available_tokens"], 1),
            "target_share": cell["target_tokens"] / max(manifest["budget_tokens"], 1),
        }
        problems += compare(_cell(cell), cell, found)
        # a cut may miss its last tokens, because no text has just that many
        if achieved + cell["missed_tokens"] < cell["target_tokens"]:
            problems.append(
                f"{_cell(cell)}: expected at least target_tokens {cell['target_tokens']:,}, found "
                f"{achieved:,}"
            )
    return problems


def _domains(manifest: dict[str, Any]) -> list[str]:
    """A domain's target is that of its cells, where each cell lies in one domain."""
    if not all("domain" in cell["path"] for cell in manifest["cells"]):
        return []
    problems = []
    for domain in manifest["domains"]:
        targets = [
            cell["target_tokens"]
            for cell in manifest["cells"]
            if cell["path"]["domain"] == domain["domain"]
        ]
        share = sum(targets) / max(manifest["budget_tokens"], 1)
        found = {"target_tokens": sum(targets), "target_share": share}
        problems += compare(_domain(domain), domain, found)
    return problems


def _domain(domain: dict[str, Any]) -> str:
    return f"{MANIFEST}: domain {domain['domain']} ({domain['name']!r})"


def _details(manifest: dict[str, Any], contents: list[Content]) -> list[str]:
    sums: dict[str, dict[str, Sums]] = {by: {} for by in GROUPS}
    for content in contents:
        for by, groups in content.groups.items():
            for key, numbers in groups.items():
                add(sums[by], key, numbers)
    problems = []
    for domain in manifest["domains"]:
        documents, _, unique = sums["domain"].get(str(domain["domain"]), [0, 0, 0])
        found = {"n_documents": documents, "unique_tokens": unique}
        problems += compare(_domain(domain), domain, found)
    problems += _cells_in_rows(manifest, contents)
    for by, key in _KEYS.items():
        problems += _group(key, manifest[key], sums[by])
    return problems


def _cells_in_rows(manifest: dict[str, Any], contents: list[Content]) -> list[str]:
    """Tokens of each cell, and that each draw ended within a document above its target."""
    if not levels(manifest):
        return []
    sums: dict[tuple[str | int, ...], Sums] = {}
    for content in contents:
        for path, numbers in content.cells.items():
            add(sums, path, numbers)
    problems = []
    draws = sum(one["split"] == "train" for one in manifest["ranges"])
    for cell in manifest["cells"]:
        path = tuple(cell["path"].values())
        documents, tokens, unique = sums.pop(path, [0, 0, 0])
        found = {"n_documents": documents, "achieved_tokens": tokens, "unique_tokens": unique}
        problems += compare(_cell(cell), cell, found)
        largest = max((content.largest.get(path, 0) for content in contents), default=0)
        over = tokens - cell["target_tokens"]
        if over > 0 and over >= largest * draws:
            problems.append(
                f"{_cell(cell)}: expected less than its largest document ({largest:,} tokens) "
                f"above target_tokens {cell['target_tokens']:,}, found {tokens:,}"
            )
    for path in sorted(sums, key=str):
        problems.append(f"{MANIFEST}: expected a cell for the documents of {path}, found none")
    return problems


def _group(key: str, claimed: list[dict[str, Any]], sums: dict[str, Sums]) -> list[str]:
    """The manifest's numbers by source, licence or language."""
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
        problems += compare(f"{MANIFEST}: {key} {name!r}", by_name[name], found)
    return problems
