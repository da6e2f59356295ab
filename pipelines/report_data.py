"""What the report shows, gathered from a workdir in bounded memory.

Of each part only narrow columns are read, one part at a time.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
import yaml

from mixcurate.io import corpus as corpus_io
from mixcurate.io import partfiles, storage
from mixcurate.io.workdir import DATA_FOLDERS, Success, Workdir
from pipelines.report_domains import clusters, domain_map, domain_table, drift, read_domains
from pipelines.report_examples import rejected, typical
from pipelines.report_quality import quality_section

_BINS = 40
_MOST_GROUPS = 12

#: Cells of the mixture that are shown.
_MOST_CELLS = 300
_TITLES = {"ingest": "ingest", "cluster": "pruning", "plan": "the draw"}


@dataclasses.dataclass(frozen=True)
class Histogram:
    """Counts over equal bins between ``low`` and ``high``."""

    name: str
    low: float
    high: float
    counts: list[int]
    mean: float


def gather(workdir: Workdir, corpus: str) -> dict[str, Any]:
    """Everything the template needs; what a stage has not made yet is empty or None."""
    done = _of_one_run(workdir)
    manifest = _json(storage.join(corpus, corpus_io.MANIFEST)) if "materialize" in done else None
    plan = _json(workdir.path("plan.json")) if "plan" in done else None
    clustered = done.get("cluster")
    domains = read_domains(workdir) if clustered else []
    parts = [part.name for part in done["ingest"].parts] if "ingest" in done else []
    recipe = _recipe(workdir)
    return {
        "name": recipe.get("name", "corpus"),
        "seed": recipe.get("seed"),
        "fingerprint": (manifest or {}).get("recipe_fingerprint")
        or list(done.values())[-1].fingerprint,
        "funnel": _funnel(done),
        "totals": _totals(done, manifest or plan, manifest is not None),
        "mixture": mixture(manifest, plan, domains),
        "clusters": clusters(workdir) if clustered else None,
        "table": domain_table(workdir, domains, clustered.documents_in) if clustered else [],
        "drift": drift(workdir) if clustered else None,
        "domain_map": domain_map(workdir) if clustered else [],
        "histograms": histograms(workdir, parts) if "score" in done else [],
        "quality": quality_section(workdir, domains) if "score" in done and domains else None,
        "groups": _groups(workdir, parts),
        "domains": typical(workdir, parts, domains) if clustered else [],
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


def histograms(workdir: Workdir, parts: list[str]) -> list[Histogram]:
    """Histograms of quality and its dimensions, diversity and weight.

    Two passes over narrow columns: the range, then the counts. Quality has the fixed range 0 to 1;
    documents of pruned clusters have no weight and are left out of that one.
    """
    if not parts:
        return []
    with storage.open_read(workdir.part("score", parts[0])) as stream:
        present = pq.read_schema(stream).names
    names = [name for name in present if name.startswith("quality_")]
    names = ["quality", "diversity", "weight", *names]
    limits = {name: [np.inf, -np.inf] for name in names}
    for part in parts:
        for name, values in _columns(workdir, part, names).items():
            if len(values):
                low, high = limits[name]
                limits[name] = [min(low, float(values.min())), max(high, float(values.max()))]
    edges = {name: _range(name, *limits[name]) for name in names}
    counts = {name: np.zeros(_BINS, np.int64) for name in names}
    sums = dict.fromkeys(names, 0.0)
    for part in parts:
        for name, values in _columns(workdir, part, names).items():
            counts[name] += np.histogram(values, _BINS, edges[name])[0]
            sums[name] += float(values.sum())
    return [
        Histogram(n, *edges[n], counts[n].tolist(), sums[n] / max(int(counts[n].sum()), 1))
        for n in names
    ]


def _columns(workdir: Workdir, part: str, names: list[str]) -> dict[str, npt.NDArray[np.float64]]:
    table = partfiles.read_table(workdir.part("score", part), names)
    arrays = {name: table.column(name).to_numpy().astype(np.float64) for name in names}
    arrays["weight"] = arrays["weight"][arrays["weight"] > 0]
    return arrays


def _range(name: str, low: float, high: float) -> tuple[float, float]:
    if name.startswith("quality") or low > high:
        return 0.0, 1.0
    low = 0.0 if name == "weight" else low
    return (low, high) if high > low else (low - 0.5, low + 0.5)


def _groups(workdir: Workdir, parts: list[str]) -> list[dict[str, Any]]:
    """Documents and tokens by language, source and licence, the largest first."""
    names = ("language", "source", "licence")
    sums: dict[str, dict[str, list[int]]] = {name: {} for name in names}
    for part in parts:
        table = partfiles.read_table(workdir.part("ingest", part), [*names, "n_tokens"])
        for by in names:
            grouped = table.group_by(by).aggregate([("n_tokens", "count"), ("n_tokens", "sum")])
            for row in grouped.to_pylist():
                key = "unknown" if row[by] is None else row[by]
                old = sums[by].get(key, [0, 0])
                sums[by][key] = [old[0] + row["n_tokens_count"], old[1] + row["n_tokens_sum"]]
    return [_group(by, found) for by, found in sums.items() if found]


def _group(by: str, found: dict[str, list[int]]) -> dict[str, Any]:
    order = sorted(found.items(), key=lambda item: (-item[1][1], item[0]))
    rows: list[dict[str, Any]] = [
        {"name": key, "documents": n, "tokens": t} for key, (n, t) in order[:_MOST_GROUPS]
    ]
    rest = order[_MOST_GROUPS:]
    if rest:
        documents, tokens = (sum(numbers[i] for _, numbers in rest) for i in (0, 1))
        rows.append({"name": f"{len(rest):,} others", "documents": documents, "tokens": tokens})
    total = max(sum(row["tokens"] for row in rows), 1)
    return {"by": by, "rows": [row | {"share": row["tokens"] / total} for row in rows]}


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
