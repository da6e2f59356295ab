"""A small synthetic workdir and corpus, written through the functions that the stages use.

No Beam and no model: what a stage would compute is made up, but it is consistent, so that counts,
shares and alignment can be checked.
"""

from __future__ import annotations

import dataclasses
import hashlib
import random
from typing import Any

import numpy as np
import pyarrow as pa

from mixcurate.io import partfiles, storage
from mixcurate.io.embeddings import EmbeddingsWriter
from mixcurate.io.workdir import Part, Success, Workdir
from mixcurate.kernels import quality
from mixcurate.tables import ASSIGNMENTS, DOMAINS, REJECTED, documents_schema, scores_schema
from tests.made_corpus import build_corpus

STAGES = ("ingest", "embed", "cluster", "score", "plan", "materialize")
PARTS = ("a-00000", "a-00001")
DOCUMENTS = 45  # in each part
#: Cluster 3 is pruned.
DOMAIN_OF = [0, 0, 1, -1, 2]
NAMES = ["law", "sports & <i>games</i>", "cooking"]

HOSTILE = (
    "</td></table><script>alert('text')</script><img src=x onerror=alert(1)> {{ 7*7 }} "
    "\x00\x07\x1b[31m \u202egnp.exe\u202c "
)


@dataclasses.dataclass(frozen=True)
class Made:
    """A workdir and its corpus."""

    workdir: Workdir
    corpus: str


def build(
    folder: str,
    *,
    until: str = "materialize",
    kinds: tuple[str, ...] = ("arrow", "webdataset"),
    n_shards: int = 3,
    holdout: bool = False,
) -> Made:
    """Write everything that the stages up to ``until`` leave behind.

    With ``holdout`` the corpus has a shard of documents that were not drawn.
    """
    workdir = Workdir(f"{folder}/work")
    parts = [_documents(part, number) for number, part in enumerate(PARTS)]
    made = Made(workdir, workdir.path("corpus"))
    wanted = STAGES[: STAGES.index(until) + 1]
    storage.write_bytes(workdir.path("recipe.yaml"), b"name: made\nworkdir: work\nseed: 23\n")
    tokens = sum(sum(row["n_tokens"] for row in rows) for rows in parts)
    n = len(PARTS) * DOCUMENTS
    for stage in wanted:
        if stage == "ingest":
            _ingest(workdir, parts)
            _end(workdir, stage, n + 5, n, tokens, {"empty": 2, "filter_n_words": 3})
        elif stage == "embed":
            for part in PARTS:
                with EmbeddingsWriter(workdir.part("embed", part), 4) as writer:
                    writer.write(np.zeros((DOCUMENTS, 4), np.float32))
            _end(workdir, stage, n, n, tokens, {})
        elif stage == "cluster":
            pruned = _cluster(workdir, parts)
            _end(workdir, stage, n, n - pruned, tokens, {"low_quality_cluster": pruned})
        elif stage == "score":
            _score(workdir)
            _end(workdir, stage, n - pruned, n - pruned, tokens, {})
        elif stage == "plan":
            plan, drawn = _plan(parts)
            storage.write_json(workdir.path("plan.json"), plan)
            left = n - pruned - len({row["id"] for row in drawn})
            _end(workdir, stage, n - pruned, n - pruned - left, tokens, {"not_drawn": left})
        else:
            cut = _cut(drawn, n_shards)
            ids = {row["id"] for row in drawn}
            rest = [drawn[0] | row | {"copy": 0} for row in parts[0]]
            apart = [row for row in rest if row["id"] not in ids]
            splits = {"train": cut} | ({"holdout": [apart]} if holdout else {})
            build_corpus(made.corpus, plan=plan, splits=splits, kinds=kinds)
            _end(workdir, stage, len(drawn), len(drawn), plan["tokens"], {})
    return made


def _end(
    workdir: Workdir, stage: str, came: int, left: int, tokens: int, rejected: dict[str, int]
) -> None:
    parts = [Part(name, DOCUMENTS, 0, "xxh3:0") for name in PARTS]
    details: dict[str, Any] = {"wall_seconds": 1.25}
    if stage == "materialize":
        details["corpus"] = workdir.path("corpus")
    success = Success(f"f{stage:0>31}", parts, came, left, tokens, rejected, 2.5, details)
    workdir.write_success(stage, success)


def cluster_of(row: int) -> int:
    """Cluster of row ``row`` of any part."""
    return row % len(DOMAIN_OF)


def _documents(part: str, number: int) -> list[dict[str, Any]]:
    pick = random.Random(part)
    rows = []
    for row in range(DOCUMENTS):
        words = [
            pick.choice(["court", "goal", "soup", "naïve", "東京"]) for _ in range(4 + row % 17)
        ]
        start = HOSTILE if row % 9 == 0 else ""
        text = start + " ".join(words) + f" #{part}.{row}"
        rows.append(
            {
                "id": hashlib.md5(f"{part}{row}".encode()).hexdigest(),
                "text": text,
                "url": f"https://example.org/{part}/{row}?<script>alert('url')</script>",
                "source": ["crawl", "books"][number],
                "path": f"in/{number}.jsonl",
                "position": row,
                "language": ["en", "de"][row % 2],
                "language_score": 0.9,
                "n_tokens": len(words) + 3,
                "n_bytes": len(text.encode()),
                "licence": [None, "CC-BY-4.0"][number],
                "content_hash": hashlib.md5(text.encode()).digest(),
                "metadata": None,
            }
        )
    return rows


def _ingest(workdir: Workdir, parts: list[list[dict[str, Any]]]) -> None:
    for name, rows in zip(PARTS, parts, strict=True):
        table = pa.Table.from_pylist(rows, schema=documents_schema([]))
        partfiles.write_table(workdir.part("ingest", name), table)
    bad = [_rejected("ingest", "empty", None, "", position) for position in range(100, 102)] + [
        _rejected("ingest", "filter_n_words", "x", HOSTILE, p) for p in range(102, 105)
    ]
    partfiles.write_rejected(workdir.rejected("extract", "a"), bad)


def _rejected(
    stage: str, reason: str, name: str | None, excerpt: str, position: int
) -> dict[str, object]:
    values = [name, "crawl", "in/0.jsonl", position, stage, reason, "1 <b>word</b>", excerpt, 9, 2]
    return dict(zip(REJECTED.names, values, strict=True))


def _cluster(workdir: Workdir, parts: list[list[dict[str, Any]]]) -> int:
    cluster = np.array([cluster_of(row) for row in range(DOCUMENTS)], np.int32)
    distance = (np.arange(DOCUMENTS) / DOCUMENTS).astype(np.float32)
    counts = np.bincount(cluster, minlength=len(DOMAIN_OF)) * len(PARTS)
    pruned = 0
    for name, rows in zip(PARTS, parts, strict=True):
        arrays = [
            pa.array(cluster),
            pa.array(distance),
            pa.array(DOMAIN_OF, pa.int32()).take(pa.array(cluster)),
        ]
        table = pa.Table.from_arrays(arrays, schema=ASSIGNMENTS)
        partfiles.write_table(workdir.part("cluster", name), table)
        bad = [rows[row] for row in range(DOCUMENTS) if DOMAIN_OF[cluster_of(row)] < 0]
        gone = [
            _rejected("cluster", "low_quality_cluster", r["id"], "", r["position"]) for r in bad
        ]
        partfiles.write_rejected(workdir.rejected("cluster", name), gone)
        pruned += len(bad)
    kept = [domain >= 0 for domain in DOMAIN_OF]
    clusters = {
        "cluster": pa.array(range(len(DOMAIN_OF)), pa.int32()),
        "n_documents": pa.array(counts),
        "n_tokens": pa.array(counts * 10),
        "mean_distance": [0.5] * len(DOMAIN_OF),
        "std_distance": [0.1] * len(DOMAIN_OF),
        "distance_p99": [0.9] * len(DOMAIN_OF),
        "separation": [1.0] * len(DOMAIN_OF),
        "mean_quality": [0.9 if good else 0.2 for good in kept],
        "languages": pa.array([[("en", int(n))] for n in counts], pa.map_(pa.string(), pa.int64())),
        "sources": pa.array(
            [[("<b>web", int(n))] for n in counts], pa.map_(pa.string(), pa.int64())
        ),
        "kept": kept,
        "drop_reason": [None if good else "low_quality" for good in kept],
        "drop_detail": [None if good else "mean quality 0.2 < 0.5" for good in kept],
        "domain": pa.array(DOMAIN_OF, pa.int32()),
    }
    partfiles.write_table(workdir.path("clusters.parquet"), pa.table(clusters))
    domains = [
        {
            "domain": i,
            "domain_id": f"{i:032x}",
            "name": name,
            "keywords": ["<script>alert('keyword')</script>", "b"],
            "n_clusters": DOMAIN_OF.count(i),
            "n_documents": 20,
            "n_tokens": 200,
            "mean_quality": 0.9,
            "mean_distance": 0.5,
            "std_distance": 0.1,
            "distance_p99": 0.9,
            "coherence": 0.87,
            "nearest": [other for other in range(len(NAMES)) if other != i],
        }
        for i, name in enumerate(NAMES)
    ]
    partfiles.write_table(workdir.path("domains.parquet"), pa.Table.from_pylist(domains, DOMAINS))
    return pruned


def _score(workdir: Workdir) -> None:
    schema = scores_schema(list(quality.DIMENSIONS))
    values = np.linspace(0, 1, DOCUMENTS).astype(np.float32)
    pool = np.array([DOMAIN_OF[cluster_of(row)] >= 0 for row in range(DOCUMENTS)])
    for part in PARTS:
        columns = [values] * (len(schema) - 2) + [values * 3 * pool, pool.astype(np.int32)]
        arrays = [pa.array(c, f.type) for c, f in zip(columns, schema, strict=True)]
        partfiles.write_table(
            workdir.part("score", part), pa.Table.from_arrays(arrays, schema=schema)
        )


def _plan(parts: list[list[dict[str, Any]]]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Draw most documents of each domain, the first two of each part twice."""
    drawn: list[dict[str, Any]] = []
    domains = []
    for domain, name in enumerate(NAMES):
        pool = [
            document | {"domain": domain, "domain_name": name, "quality": 0.5, "diversity": 0.25}
            for rows in parts
            for row, document in enumerate(rows)
            if DOMAIN_OF[cluster_of(row)] == domain
        ]
        mine = [row | {"copy": 0} for row in pool[:-2]] + [row | {"copy": 1} for row in pool[:2]]
        tokens = sum(row["n_tokens"] for row in mine)
        unique = sum(row["n_tokens"] for row in mine if row["copy"] == 0)
        drawn += mine
        domains.append(
            {
                "domain": domain,
                "domain_id": f"{domain:032x}",
                "name": name,
                "available_documents": len(pool),
                "available_tokens": sum(row["n_tokens"] for row in pool),
                "target_tokens": tokens - 2,
                "tokens": tokens,
                "documents": len(mine),
                "unique_documents": len(pool) - 2,
                "unique_tokens": unique,
            }
        )
    budget = sum(domain["target_tokens"] for domain in domains)
    for entry in domains:
        entry["share"] = entry["target_tokens"] / budget
        entry["epochs"] = entry["tokens"] / entry["available_tokens"]
        entry["effective_tokens"] = entry["unique_tokens"] + 1
    random.Random(5).shuffle(drawn)
    sizes = {
        "tokens": sum(row["n_tokens"] for row in drawn),
        "documents": len(drawn),
        "bytes": sum(row["n_bytes"] for row in drawn),
        "shards": 1,
    }
    plan = {
        "strategy": "uniform",
        "by": ["domain"],
        "tier_cuts": [],
        "draw": {"method": "alike", "max_copies": 2},
        "seed": 23,
        "budget_tokens": budget,
        "notes": [],
        "ranges": [{"range": 0, "split": "train", "phase": "main"} | sizes],
        "cells": _cells_of(domains),
        "domains": domains,
    }
    return plan | sizes, drawn


def _cells_of(domains: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The cells of a plan by domain, in one phase."""
    cells = []
    for entry in domains:
        same = {name: value for name, value in entry.items() if not name.startswith("domain")}
        phase = {"phase": "main"} | {key: entry[key] for key in ("target_tokens", "tokens")}
        about = {"cell": entry["domain"], "path": {"domain": entry["domain"]}}
        about |= {"thresholds": [{"key": 1.5, "tie": 0}], "phases": [phase]}
        cells.append(about | same | {"largest_document": 30})
    return cells


def _cut(rows: list[dict[str, Any]], n: int) -> list[list[dict[str, Any]]]:
    return [rows[len(rows) * i // n : len(rows) * (i + 1) // n] for i in range(n)]
