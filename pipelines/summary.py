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

#: Rows of the plan's table; a plan can have many thousand cells.
_MOST_ROWS = 60


def plan_table(plan: dict[str, Any]) -> str:
    """What the cells give: tokens, epochs and what repeats are worth; then phases and shards.

    Cells are the domains, or those of other levels with their name. Of many, the largest are shown.
    """
    by_domain = plan["by"] == ["domain"]
    table = Table(title=f"plan: {plan['strategy']}, {plan['budget_tokens']:,} tokens")
    table.add_column("domain" if by_domain else "cell", justify="right")
    table.add_column("name" if by_domain else ":".join(plan["by"]))
    for title in ("available", "target", "drawn", "share", "epochs", "worth", "documents"):
        table.add_column(title, justify="right")
    shown = sorted(plan["cells"], key=lambda cell: (-cell["target_tokens"], cell["cell"]))
    for c in sorted(shown[:_MOST_ROWS], key=lambda cell: cell["cell"]):
        table.add_row(
            str(c["cell"]),
            c["name"],
            f"{c['available_tokens']:,}",
            f"{c['target_tokens']:,}",
            f"{c['tokens']:,}",
            f"{c['share']:.3%}",
            f"{c['epochs']:.3f}",
            f"{c['effective_tokens']:,}",
            f"{c['documents']:,}",
        )
    total = f"{plan['documents']:,} documents, {plan['tokens']:,} tokens in {plan['shards']} shards"
    rest = len(shown) - _MOST_ROWS
    more = f"and {rest:,} smaller cells\n" if rest > 0 else ""
    worth = sum(cell["effective_tokens"] for cell in plan["cells"])
    lines = [f"{total}; with repeats worth {worth:,} tokens that are seen once"]
    if len(plan["ranges"]) > 1:
        lines += [
            f"{one['phase']}: {one['documents']:,} documents, {one['tokens']:,} tokens in "
            f"{one['shards']} shards"
            for one in plan["ranges"]
        ]
    return _render(table) + more + "\n".join(lines)


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
    shards = len({(shard["split"], shard["shard"]) for shard in manifest["shards"]})
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
    """Lines of Python that read the corpus in the first of the formats that need no more."""
    if any(shard["format"] == "arrow" for shard in manifest["shards"]):
        return [
            "from datasets import load_from_disk",
            f'corpus = load_from_disk("{corpus}")["train"]',
            "print(corpus)",
            "for row in corpus.select(range(min(3, len(corpus)))):",
            '    print(row["domain_name"], row["n_tokens"], row["text"][:60])',
        ]
    tars = [shard["path"] for shard in manifest["shards"] if shard["format"] == "webdataset"]
    if not tars and {"parquet", "jsonl"} & {shard["format"] for shard in manifest["shards"]}:
        return [
            "from datasets import load_dataset",
            f'corpus = load_dataset("{corpus}", split="train")',
            "print(corpus)",
            "for row in corpus.select(range(min(3, len(corpus)))):",
            '    print(row["domain_name"], row["n_tokens"], row["text"][:60])',
        ]
    if not tars:
        return [f"# {corpus}/README.md tells how each of its formats is read"]
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
