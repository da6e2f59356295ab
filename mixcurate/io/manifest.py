"""The manifest of a corpus: what was asked for, what came out, and every file with its hash.

Version 2. All totals are of the split that is trained on; the holdout is told apart. Nothing in it
depends on when, where or by how many workers the corpus was made.
"""

from __future__ import annotations

from typing import Any

import mixcurate

#: What documents and tokens are added up by: [copies, tokens, tokens of first copies].
Sums = dict[str, list[int]]

VERSION = 2

#: Every share that is told has been realised in the documents: no reader has to weigh anything.
APPLIED = "materialised"


def build_manifest(
    *,
    name: str,
    recipe_fingerprint: str,
    tokenizer: str,
    encoder: dict[str, Any],
    inputs: list[dict[str, Any]],
    plan: dict[str, Any],
    shards: list[dict[str, Any]],
    asked: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """The manifest of a corpus whose shards are all written.

    Args:
        name: name of the corpus.
        recipe_fingerprint: names what was asked for.
        tokenizer: what a token is.
        encoder: the model behind the domains, with the hash of its weights.
        inputs: path, size and etag of each input file.
        plan: content of ``plan.json``.
        shards: per shard, in the order of their numbers, ``files``, ``lineage`` and, by domain,
            source, licence, language and cell, [copies, tokens, tokens of first copies]; by cell
            under ``cut`` also [copies that were cut, tokens that the cut missed].
        asked: ``mixture``, its parameters; ``token_files``, what formats of tokens are made with.
    """
    asked = asked or {}
    mixture = asked.get("mixture", {})
    train = [shard for shard in shards if _split(shard) == "train"]
    held_out = [shard for shard in shards if _split(shard) != "train"]
    totals = {by: _sum(train, by) for by in ("domain", "source", "licence", "language")}
    n_tokens = sum(sums[1] for sums in totals["domain"].values())
    ranges = _ranges(shards)
    return {
        "manifest_version": VERSION,
        "name": name,
        "mixcurate_version": mixcurate.__version__,
        "recipe_fingerprint": recipe_fingerprint,
        "seed": plan["seed"],
        "strategy": plan["strategy"],
        "mixture": {"applied": APPLIED, "by": plan["by"]} | mixture,
        "tokenizer": tokenizer,
        "token_files": asked.get("token_files"),
        "encoder": encoder,
        "inputs": inputs,
        "budget_tokens": plan["budget_tokens"],
        "n_documents": sum(sums[0] for sums in totals["domain"].values()),
        "n_tokens": n_tokens,
        "domains": _domains(plan, totals["domain"], n_tokens),
        "cells": _cells(plan, train, n_tokens),
        "sources": _shares(totals["source"], n_tokens),
        "licences": _shares(totals["licence"], n_tokens),
        "languages": _shares(totals["language"], n_tokens),
        "ranges": ranges,
        "largest_shard_deviation": max(
            (one["largest_shard_deviation"] for one in ranges if one["split"] == "train"),
            default=0.0,
        ),
        "holdout": _holdout(mixture, held_out),
        "notes": [*plan["notes"], *_notes(train)],
        "shards": [file | _of_shard(shard) for shard in shards for file in shard["files"]],
        "lineage": [
            {"split": _split(shard), "shard": shard["files"][0]["shard"]} | shard["lineage"]
            for shard in shards
            if "lineage" in shard
        ],
    }


def share_errors(manifest: dict[str, Any]) -> list[str]:
    """Cells that are off their target; the draw ends within one document above it.

    What a cut has missed, because no text has just that many tokens, is no error.
    """
    problems = []
    for cell in manifest["cells"]:
        over = cell["achieved_tokens"] - cell["target_tokens"]
        numbers = f"{cell['achieved_tokens']:,} tokens, its target is {cell['target_tokens']:,}"
        if over + cell["missed_tokens"] < 0:
            problems.append(f"{cell['name']!r} has {numbers}")
        largest = cell["largest_document"]
        if over > 0 and over >= largest:
            problems.append(
                f"{cell['name']!r} has {numbers}, and its largest document has {largest:,}"
            )
    return problems


def _split(shard: dict[str, Any]) -> str:
    split: str = shard["files"][0]["split"]
    return split


def _of_shard(shard: dict[str, Any]) -> dict[str, Any]:
    return {
        "n_documents": sum(sums[0] for sums in shard["domain"].values()),
        "n_tokens": sum(sums[1] for sums in shard["domain"].values()),
        "tokens_by_domain": {name: sums[1] for name, sums in sorted(shard["domain"].items())},
    }


def _sum(shards: list[dict[str, Any]], by: str) -> Sums:
    totals: Sums = {}
    for shard in shards:
        for key, numbers in shard.get(by, {}).items():
            old = totals.get(key, [0] * len(numbers))
            totals[key] = [a + b for a, b in zip(old, numbers, strict=True)]
    return dict(sorted(totals.items()))


def _domains(plan: dict[str, Any], totals: Sums, n_tokens: int) -> list[dict[str, Any]]:
    domains = []
    for planned in plan["domains"]:
        domains.append(
            {key: planned[key] for key in ("domain", "domain_id", "name", "target_tokens")}
            | _achieved(planned, totals.get(str(planned["domain"]), [0, 0, 0]), n_tokens)
        )
    return domains


def _achieved(planned: dict[str, Any], numbers: list[int], n_tokens: int) -> dict[str, Any]:
    """What became of a target; ``numbers`` are copies, tokens, tokens of first copies."""
    copies, tokens, unique = numbers
    return {
        "applied": APPLIED,
        "available_tokens": planned["available_tokens"],
        "target_share": planned["share"],
        "n_documents": copies,
        "achieved_tokens": tokens,
        "achieved_share": tokens / max(n_tokens, 1),
        "unique_tokens": unique,
        "epochs": tokens / max(planned["available_tokens"], 1),
        "effective_tokens": planned["effective_tokens"],
    }


def _cells(
    plan: dict[str, Any], shards: list[dict[str, Any]], n_tokens: int
) -> list[dict[str, Any]]:
    told = any("cell" in shard for shard in shards)
    totals, cuts = _sum(shards, "cell" if told else "domain"), _sum(shards, "cut")
    cells = []
    for planned in plan["cells"]:
        key = str(planned["cell"] if told else planned["path"]["domain"])
        cells.append(
            {name: planned[name] for name in ("cell", "name", "path", "target_tokens")}
            | {name: planned[name] for name in ("available_documents", "largest_document")}
            | _achieved(planned, totals.get(key, [0, 0, 0]), n_tokens)
            | {"missed_tokens": cuts.get(key, [0, 0])[1]}
        )
    return cells


def _shares(totals: Sums, n_tokens: int) -> list[dict[str, Any]]:
    return [
        {
            "name": key,
            "n_documents": copies,
            "achieved_tokens": tokens,
            "achieved_share": tokens / max(n_tokens, 1),
            "unique_tokens": unique,
            "epochs": tokens / max(unique, 1),
        }
        for key, (copies, tokens, unique) in totals.items()
    ]


def _ranges(shards: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each run of shards: where it is, how much it holds, how even its shards are."""
    by_place: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for shard in shards:
        file = shard["files"][0]
        by_place.setdefault((file["split"], file["phase"]), []).append(shard)
    ranges = []
    for (split, phase), mine in by_place.items():
        totals = _sum(mine, "domain")
        ranges.append(
            {
                "split": split,
                "phase": phase,
                "first_shard": mine[0]["files"][0]["shard"],
                "n_shards": len(mine),
                "n_documents": sum(sums[0] for sums in totals.values()),
                "n_tokens": sum(sums[1] for sums in totals.values()),
                "tokens_by_domain": {name: sums[1] for name, sums in totals.items()},
                "tokens_by_cell": {name: sums[1] for name, sums in _sum(mine, "cell").items()},
                "largest_shard_deviation": _largest_deviation(mine, totals),
            }
        )
    return ranges


def _largest_deviation(shards: list[dict[str, Any]], totals: Sums) -> float:
    """Largest |share of a domain in a shard - its share in all of them|."""
    largest, n_tokens = 0.0, sum(sums[1] for sums in totals.values())
    for shard in shards:
        tokens = sum(numbers[1] for numbers in shard["domain"].values())
        for domain, (_, total, _) in totals.items():
            mine = shard["domain"].get(domain, [0, 0, 0])[1]
            largest = max(largest, abs(mine / max(tokens, 1) - total / max(n_tokens, 1)))
    return largest


def _holdout(mixture: dict[str, Any], shards: list[dict[str, Any]]) -> dict[str, Any] | None:
    """What was kept out, or None."""
    if not shards:
        return None
    totals = _sum(shards, "domain")
    return {
        "share": mixture.get("holdout"),
        "n_documents": sum(sums[0] for sums in totals.values()),
        "n_tokens": sum(sums[1] for sums in totals.values()),
        "tokens_by_domain": {name: sums[1] for name, sums in totals.items()},
    }


def _notes(shards: list[dict[str, Any]]) -> list[str]:
    cuts = _sum(shards, "cut").values()
    documents, missed = (sum(numbers[place] for numbers in cuts) for place in (0, 1))
    if not documents:
        return []
    exact = f"their cells miss {missed:,} tokens" if missed else "every target is met to the token"
    return [f"{documents:,} documents were cut to meet targets; {exact}"]
