"""What a finished run prints: where things are, target and achieved share, how to load it."""

from __future__ import annotations

import io
import os
from typing import Any

from rich.console import Console
from rich.table import Table

from mixcurate.io import storage
from mixcurate.io.corpus import MANIFEST
from mixcurate.io.workdir import Success
from pipelines.job import Job


def plan_table(plan: dict[str, Any]) -> str:
    """Tokens, epochs and documents of each domain, and the number of shards."""
    table = Table(title=f"plan: {plan['strategy']}, {plan['budget_tokens']:,} tokens")
    table.add_column("domain", justify="right")
    table.add_column("name")
    for title in ("available", "target", "drawn", "share", "epochs", "documents"):
        table.add_column(title, justify="right")
    for d in plan["domains"]:
        table.add_row(
            str(d["domain"]),
            d["name"],
            f"{d['available_tokens']:,}",
            f"{d['target_tokens']:,}",
            f"{d['tokens']:,}",
            f"{d['share']:.3%}",
            f"{d['epochs']:.3f}",
            f"{d['documents']:,}",
        )
    total = f"{plan['documents']:,} documents, {plan['tokens']:,} tokens in {plan['shards']} shards"
    return f"{_render(table)}{total}"


def run_summary(job: Job, report: str) -> str:
    """The last words of ``mixcurate run``."""
    manifest = storage.read_json(storage.join(job.corpus, MANIFEST))
    table = Table(title=f"{manifest['name']}: {manifest['n_tokens']:,} tokens")
    table.add_column("domain", justify="right")
    table.add_column("name")
    for title in ("target share", "achieved share", "tokens", "epochs"):
        table.add_column(title, justify="right")
    for d in manifest["domains"]:
        table.add_row(
            str(d["domain"]),
            d["name"],
            f"{d['target_share']:.4%}",
            f"{d['achieved_share']:.4%}",
            f"{d['achieved_tokens']:,}",
            f"{d['epochs']:.3f}",
        )
    shards = len({shard["path"] for shard in manifest["shards"]})
    corpus = shown(job.corpus)
    return "\n".join(
        [
            f"{_render(table)}{manifest['n_documents']:,} documents in {shards} shards; largest "
            f"deviation of a shard from the mix {manifest['largest_shard_deviation']:.2%}",
            f"corpus: {corpus}",
            f"report: {shown(report)}",
            "",
            "To load it:",
            "",
            *loading_lines(corpus, manifest),
        ]
    )


def loading_lines(corpus: str, manifest: dict[str, Any]) -> list[str]:
    """Five lines of Python that read the corpus in the first format it has."""
    if any(shard["format"] == "arrow" for shard in manifest["shards"]):
        return [
            "from datasets import load_from_disk",
            f'corpus = load_from_disk("{corpus}")["train"]',
            "print(corpus)",
            "for row in corpus.select(range(min(3, len(corpus)))):",
            '    print(row["domain_name"], row["n_tokens"], row["text"][:60])',
        ]
    tars = [shard["path"] for shard in manifest["shards"] if shard["format"] == "webdataset"]
    return [
        "import json, webdataset",
        f'corpus = webdataset.WebDataset("{corpus}/{tars[0]}", shardshuffle=False)',
        "for row in corpus:",
        '    about = json.loads(row["json"])',
        '    print(about["domain_name"], about["n_tokens"], row["txt"][:60])',
    ]


def shown(path: str) -> str:
    """A path as a person at this place would write it."""
    if not storage.is_local(path):
        return path
    relative = os.path.relpath(path)
    return os.path.abspath(path) if relative.startswith("..") else relative


def stage_summary(success: Success) -> dict[str, Any]:
    """A finished stage for ``--json``."""
    return {
        "documents_in": success.documents_in,
        "documents_out": success.documents_out,
        "rejected": success.rejected,
        "rejected_sizes": success.rejected_sizes,
        "tokens": success.tokens,
        "parts": len(success.parts),
        "details": success.details,
    }


def _render(table: Table) -> str:
    out = io.StringIO()
    Console(file=out, width=120).print(table)
    return out.getvalue()
