"""What the report says of domains and clusters beside their documents."""

from __future__ import annotations

from typing import Any

from mixcurate.io import partfiles, storage
from mixcurate.io.workdir import Workdir
from mixcurate.transforms.cluster_files import fit_note_path

#: Languages and sources that are named per domain.
_NAMED = 3

#: Clusters that are drawn as bars.
_MOST_CLUSTERS = 1_500


def read_domains(workdir: Workdir) -> list[dict[str, Any]]:
    """Rows of ``domains.parquet``."""
    rows: list[dict[str, Any]] = partfiles.read_table(workdir.path("domains.parquet")).to_pylist()
    return rows


def domain_table(
    workdir: Workdir, domains: list[dict[str, Any]], documents: int
) -> list[dict[str, Any]]:
    """Per domain its size, and what it is made of; the largest first.

    Coverage is the share of all documents that came to clustering, so that what is missing to 1
    over all domains is what was dropped there; the share of tokens is of what is left.

    Args:
        workdir: whose cluster stage has finished.
        domains: rows of ``domains.parquet``.
        documents: that came to clustering.
    """
    columns = ["domain", "languages", "sources"]
    clusters = partfiles.read_table(workdir.path("clusters.parquet"), columns).to_pylist()
    # tiers divide each domain of the clusters into as many domains, one after another
    bases = 1 + max([row["domain"] for row in clusters], default=0)
    tiers = max(len(domains) // max(bases, 1), 1)
    made_of: dict[str, dict[int, dict[str, int]]] = {"languages": {}, "sources": {}}
    for row in clusters:
        for kind, sums in made_of.items():
            found = sums.setdefault(row["domain"], {})
            for name, count in row[kind] or []:
                found[name] = found.get(name, 0) + count
    names = {row["domain"]: row["name"] for row in domains}
    tokens = max(sum(row["n_tokens"] for row in domains), 1)
    rows = [
        row
        | {
            "share": row["n_tokens"] / tokens,
            "coverage": row["n_documents"] / max(documents, 1),
            "near": [names[number] for number in row["nearest"] if number in names],
        }
        | {kind: _shares(sums.get(row["domain"] // tiers, {})) for kind, sums in made_of.items()}
        for row in domains
    ]
    return sorted(rows, key=lambda row: (-row["n_tokens"], row["domain"]))


def _shares(counts: dict[str, int]) -> list[dict[str, Any]]:
    """The most frequent names with their shares, then how many others there are."""
    order = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    total = max(sum(counts.values()), 1)
    found = [{"name": name, "share": count / total} for name, count in order[:_NAMED]]
    if rest := order[_NAMED:]:
        share = sum(count for _, count in rest) / total
        found.append({"name": f"{len(rest):,} other" + "s" * (len(rest) > 1), "share": share})
    return found


def clusters(workdir: Workdir) -> dict[str, Any]:
    """Clusters by size, and how k was chosen, if it was."""
    columns = ["cluster", "n_documents", "mean_quality", "mean_distance", "std_distance"]
    columns += ["kept", "drop_detail", "domain"]
    rows = partfiles.read_table(workdir.path("clusters.parquet"), columns).to_pylist()
    rows.sort(key=lambda row: (-row["n_documents"], row["cluster"]))
    return {
        "shown": rows[:_MOST_CLUSTERS],
        "count": len(rows),
        "pruned": sum(not row["kept"] for row in rows),
        "most": max([row["n_documents"] for row in rows], default=1),
        "median": rows[len(rows) // 2]["n_documents"] if rows else 0,
        "silhouettes": _silhouettes(workdir),
    }


def _silhouettes(workdir: Workdir) -> list[dict[str, Any]]:
    """Each k that was tried, and its mean silhouette; the best is marked."""
    path = fit_note_path(workdir)
    note = storage.read_json(path) if storage.exists(path) else {}
    tried = note.get("silhouette") or []
    best = max([value for _, value in tried], default=0.0)
    return [{"k": k, "value": value, "best": value == best} for k, value in sorted(tried)]


def drift(workdir: Workdir) -> dict[str, Any] | None:
    """How documents lie on the clusters of an earlier run, if they were put on such."""
    path = workdir.path("drift.json")
    if not storage.exists(path):
        return None
    found: dict[str, Any] = storage.read_json(path)
    found["domains"].sort(key=lambda row: -abs(row["share"] - row["share_before"]))
    return {"notes": [], "expected_beyond_p99": None} | found


def domain_map(workdir: Workdir) -> list[dict[str, Any]]:
    """Each domain of an earlier fit, and the new ones that its documents are in now."""
    path = workdir.path("domain_map.parquet")
    if not storage.exists(path):
        return []
    columns = ["old_domain", "old_name", "new_domain", "new_name", "share"]
    found: dict[int, dict[str, Any]] = {}
    for row in partfiles.read_table(path, columns).to_pylist():
        old = found.setdefault(row["old_domain"], {"name": row["old_name"], "into": []})
        old["into"].append(row)
    for old in found.values():
        old["into"].sort(key=lambda row: (-row["share"], row["new_domain"]))
    return [old for _, old in sorted(found.items())]
