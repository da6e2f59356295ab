"""What the report shows, gathered from a workdir in bounded memory and time.

Sums come from what the stages have left; documents are read of some parts (``report_sample``).
"""

from __future__ import annotations

from typing import Any

import yaml

from mixcurate.io import corpus as corpus_io
from mixcurate.io import storage
from mixcurate.io.workdir import DATA_FOLDERS, Success, Workdir
from pipelines.report_domains import clusters, domain_map, domain_table, drift, read_domains
from pipelines.report_examples import rejected, typical
from pipelines.report_groups import groups
from pipelines.report_histograms import histograms
from pipelines.report_quality import quality_section
from pipelines.report_sample import sample_parts

#: Cells of the mixture that are shown.
_MOST_CELLS = 300
_TITLES = {"ingest": "ingest", "cluster": "pruning", "plan": "the draw"}


def gather(workdir: Workdir, corpus: str) -> dict[str, Any]:
    """Everything the template needs; what a stage has not made yet is empty or None."""
    done = _of_one_run(workdir)
    manifest = _json(storage.join(corpus, corpus_io.MANIFEST)) if "materialize" in done else None
    plan = _json(workdir.path("plan.json")) if "plan" in done else None
    clustered = done.get("cluster")
    domains = read_domains(workdir) if clustered else []
    recipe = _recipe(workdir)
    ingested, seed = done.get("ingest"), recipe.get("seed")
    sample = sample_parts(ingested.parts if ingested else [], seed if isinstance(seed, int) else 0)
    return {
        "name": recipe.get("name", "corpus"),
        "seed": seed,
        "sample": sample,
        "fingerprint": (manifest or {}).get("recipe_fingerprint")
        or list(done.values())[-1].fingerprint,
        "funnel": _funnel(done),
        "totals": _totals(done, manifest or plan, manifest is not None),
        "mixture": mixture(manifest, plan, domains),
        "clusters": clusters(workdir) if clustered else None,
        "table": domain_table(workdir, domains, clustered.documents_in) if clustered else [],
        "drift": drift(workdir) if clustered else None,
        "domain_map": domain_map(workdir) if clustered else [],
        "histograms": histograms(workdir, sample.parts) if "score" in done else [],
        "quality": quality_section(workdir, domains) if "score" in done and domains else None,
        "groups": groups(workdir, sample, ingested, clustered=clustered is not None)
        if ingested
        else [],
        "domains": typical(workdir, sample.parts, domains) if clustered else [],
        "rejected": rejected(workdir, done),
        "timings": [_timing(stage, success) for stage, success in done.items()],
        "waiting": [stage for stage in DATA_FOLDERS if stage not in done],
    }


def _of_one_run(workdir: Workdir) -> dict[str, Success]:
    """The finished stages; those that stand on other documents than there are now are left out.

    Ingest alone was run again, say: what the later stages wrote no longer belongs to its rows.
    """
    done: dict[str, Success] = {}
    for stage in DATA_FOLDERS:
        success = workdir.success(stage)
        if success is None:
            continue
        if stage == "embed" and "ingest" in done and success.rows != done["ingest"].rows:
            break
        done[stage] = success
    return done


def _json(path: str) -> Any:
    return storage.read_json(path) if storage.exists(path) else None


def _recipe(workdir: Workdir) -> dict[str, Any]:
    path = workdir.path("recipe.yaml")
    value = yaml.safe_load(storage.read_bytes(path)) if storage.exists(path) else None
    return value if isinstance(value, dict) else {}


def _funnel(done: dict[str, Success]) -> list[dict[str, Any]]:
    """The steps that lose documents: in, out, and every reason with its count."""
    return [
        {
            "title": title,
            "documents_in": done[stage].documents_in,
            "documents_out": done[stage].documents_out,
            "tokens": done[stage].tokens,
            "bytes": done[stage].details.get("document_bytes"),
            "reasons": _reasons(done[stage]),
        }
        for stage, title in _TITLES.items()
        if stage in done
    ]


def _reasons(success: Success) -> list[dict[str, Any]]:
    """What a step rejected, the most frequent reason first."""
    order = sorted(success.rejected.items(), key=lambda item: (-item[1], item[0]))
    sizes = success.rejected_sizes
    return [
        {"name": reason, "documents": count}
        | dict(zip(("bytes", "tokens"), sizes.get(reason, (0, 0)), strict=True))
        for reason, count in order
    ]


def _totals(
    done: dict[str, Success], mixed: dict[str, Any] | None, written: bool
) -> list[dict[str, Any]]:
    """The numbers at the top."""
    facts: list[dict[str, Any]] = []
    if "ingest" in done:
        facts.append({"label": "records in", "value": done["ingest"].documents_in})
        facts.append({"label": "documents kept", "value": done["ingest"].documents_out})
        facts.append({"label": "tokens kept", "value": done["ingest"].tokens})
    if mixed is not None:
        label, prefix = ("corpus", "n_") if written else ("planned", "")
        facts.append({"label": f"{label} documents", "value": mixed[f"{prefix}documents"]})
        facts.append({"label": f"{label} tokens", "value": mixed[f"{prefix}tokens"]})
        facts.append({"label": "token budget", "value": mixed["budget_tokens"]})
    return facts


def mixture(
    manifest: dict[str, Any] | None, plan: dict[str, Any] | None, domains: list[dict[str, Any]]
) -> dict[str, Any] | None:
    """Target and achieved shares per domain: from the corpus, or from the plan for one."""
    source = manifest or plan
    if source is None:
        return None
    total = max(manifest["n_tokens"] if manifest else source["tokens"], 1)
    rows = _mixed(source["domains"], total, written=manifest is not None)
    by = (manifest.get("mixture", {}) if manifest else source).get("by", ["domain"])
    cells = [] if by == ["domain"] else _mixed(source["cells"], total, written=manifest is not None)
    size = ("n_documents", "n_tokens") if manifest else ("documents", "tokens")
    ranges = [
        {"phase": one["phase"], "documents": one[size[0]], "tokens": one[size[1]]}
        for one in source.get("ranges", [])
    ]
    return {
        "strategy": source["strategy"],
        "written": manifest is not None,
        "rows": rows,
        "by": ":".join(by),
        "cells": cells[:_MOST_CELLS],
        "n_cells": len(cells),
        "ranges": ranges if len(ranges) > 1 else [],
        "held_out": sum(one["documents"] for one in ranges if one["phase"] == "holdout"),
        "most": max([max(r["target_share"], r["achieved_share"]) for r in rows], default=1.0),
        "target_tokens": sum(row["target_tokens"] for row in rows),
        "tokens": sum(row["tokens"] for row in rows),
        "available_tokens": sum(row["available_tokens"] for row in rows),
        "documents": sum(row["documents"] for row in rows),
        "known": len(domains),
    }


def _mixed(entries: list[dict[str, Any]], total: int, *, written: bool) -> list[dict[str, Any]]:
    """Domains or cells of a manifest or a plan, the largest targets first."""
    names = ("achieved_tokens", "target_share", "n_documents")
    tokens, share, documents = names if written else ("tokens", "share", "documents")
    kept = ("name", "target_tokens", "available_tokens", "epochs", "effective_tokens")
    rows = [
        {key: entry.get(key) for key in kept}
        | {
            "target_share": entry[share],
            "achieved_share": entry[tokens] / total,
            "tokens": entry[tokens],
            "documents": entry[documents],
        }
        for entry in entries
    ]
    return sorted(rows, key=lambda row: -row["target_share"])


def _timing(stage: str, success: Success) -> dict[str, Any]:
    return {
        "stage": stage,
        "wall": success.details.get("wall_seconds"),
        "work": success.seconds,
        "documents": success.documents_in,
        "tokens": success.tokens,
        "parts": len(success.parts),
        "fingerprint": success.fingerprint,
    }
