"""Why one document was dropped, or is drawn as often as it is: each number and what made it.

Only the document's own rows are read, and small tables. Nothing here needs Beam or a model.
"""

from __future__ import annotations

import math
from typing import Any

import yaml

from mixcurate.errors import RequestError
from mixcurate.io import partfiles, storage
from mixcurate.io.workdir import DATA_FOLDERS, Workdir
from pipelines.explain_find import Place, find
from pipelines.explain_plan import drawn_of
from pipelines.explain_weight import copies_of, weight_of

#: Characters of the text that are shown.
_CHARACTERS = 600

_PLAIN = [
    "id", "source", "path", "position", "url", "language", "language_score", "licence",
    "n_tokens", "n_bytes", "text",
]  # fmt: skip

Section = dict[str, Any]


def explain(workdir: str, document: str) -> Section:
    """Everything that is known of one document.

    Args:
        workdir: of a job, on any filesystem.
        document: its id, or at least 6 characters of the beginning of one, that no other id has.

    Returns:
        JSON-able. A section is None where its stage has not run or has dropped the document before:
        ``document``, ``signals``, ``quality``, ``cluster``, ``diversity``, ``weight``, ``copies``,
        ``plan``, ``corpus``. ``rejected`` holds a row for each stage that dropped it, ``verdict``
        one sentence, ``notes`` what is odd.

    Raises:
        RequestError: there is no such workdir or document, or several ids begin so.
    """
    folder = Workdir.open(workdir)
    if not any(storage.exists(folder.path(name)) for name in ("documents", "rejected")):
        raise RequestError(f"{workdir} is no workdir: it has no documents/; name one of a run")
    place = find(folder, document)
    found: Section = {"id": place.id, "part": place.part, "row": place.row}
    found |= {"rejected": place.rejected, "notes": []}
    found |= dict.fromkeys(
        ("document", "signals", "quality", "cluster", "diversity", "weight", "copies", "plan")
    )
    found["waiting"] = [stage for stage in DATA_FOLDERS if folder.success(stage) is None]
    found["corpus"] = None
    if place.part is not None:
        _fill(folder, place, found)
    return found | {"verdict": _verdict(found)}


def _fill(workdir: Workdir, place: Place, found: Section) -> None:
    """Add what each stage says of a document that ingest kept."""
    part, row = place.part, place.row
    assert part is not None
    assert row is not None
    own = read_row(workdir.part("ingest", part), row) or {}
    found["document"] = {name: own.get(name) for name in _PLAIN}
    found["document"]["text"] = _excerpt(own.get("text") or "")
    found["signals"] = {
        name.removeprefix("signal_"): value
        for name, value in own.items()
        if name.startswith("signal_")
    }
    recipe = _recipe(workdir)
    found["quality"] = _quality(workdir, part, row, recipe)
    found["cluster"] = cluster = _cluster(workdir, part, row, found["waiting"])
    scores = None
    if "score" not in found["waiting"]:
        scores = read_row(workdir.part("score", part), row)
    if scores is None or cluster is None or cluster["domain"] < 0:
        return
    found["diversity"] = _diversity(workdir, part, row, scores)
    pool = _json(workdir.path("_stages", "score", "pool.json"))
    if pool is None:
        found["notes"].append(
            "an older version scored this document; run mixcurate score again to see its weight"
        )
    else:
        spread = found["diversity"]
        exact = scores | ({} if spread is None else {"diversity": spread["computed"]})
        found["weight"] = weight = weight_of(workdir, pool, exact, cluster["domain"])
        seed = int(recipe.get("seed", 0))
        found["copies"] = copies_of(pool, weight, place.id, seed, int(scores["copies"]))
    plan = _json(workdir.path("plan.json"))
    if "plan" not in found["waiting"] and plan is not None:
        found["plan"] = drawn_of(workdir, place, found, plan, recipe.get("mixture") or {})
        found["corpus"] = _corpus(workdir, plan, found)


def read_row(path: str, row: int, columns: list[str] | None = None) -> Section | None:
    """One row of a Parquet file; None if there is no such file or row."""
    if not storage.exists(path):
        return None
    start = 0
    for batch in partfiles.iter_batches(path, columns):
        if row < start + batch.num_rows:
            value: Section = batch.slice(row - start, 1).to_pylist()[0]
            return value
        start += batch.num_rows
    return None


def _json(path: str) -> Any:
    return storage.read_json(path) if storage.exists(path) else None


def _recipe(workdir: Workdir) -> Section:
    path = workdir.path("recipe.yaml")
    value = yaml.safe_load(storage.read_bytes(path)) if storage.exists(path) else None
    return value if isinstance(value, dict) else {}


def _excerpt(text: str) -> str:
    return text if len(text) <= _CHARACTERS else text[:_CHARACTERS].rstrip() + " …"


def _quality(workdir: Workdir, part: str, row: int, recipe: Section) -> Section | None:
    """Each dimension, where it lies in its range, and the weighted mean of these."""
    about = _json(workdir.path("_stages", "quality", "about.json"))
    columns = workdir.path("_stages", "quality", "columns", f"part-{part}.parquet")
    values = read_row(columns, row)
    if about is None or values is None:
        return None
    settings = ((recipe.get("score") or {}).get("quality") or {}).get("missing")
    dimensions: list[Section] = []
    total = weights = 0.0
    for dimension in about["dimensions"]:
        value = values[f"quality_{dimension['name']}"]
        span = dimension["most"] - dimension["least"]
        unit = None
        if value is not None and math.isfinite(value):
            unit = min(max((value - dimension["least"]) / span, 0.0), 1.0)
        dimensions.append(dimension | {"value": None if unit is None else value, "unit": unit})
        if unit is not None or settings != "skip":
            weights += dimension["weight"]
        total += dimension["weight"] * (unit or 0.0)
    return {
        "dimensions": dimensions,
        "total": total,
        "weights": weights,
        "computed": total / weights if weights else 0.0,
        "stored": values["quality"],
    }


def _cluster(workdir: Workdir, part: str, row: int, waiting: list[str]) -> Section | None:
    """The document's cluster and domain, and what became of the cluster."""
    assigned = None if "cluster" in waiting else read_row(workdir.part("cluster", part), row)
    if assigned is None:
        return None
    columns = ["n_documents", "mean_distance", "std_distance", "mean_quality", "separation"]
    columns += ["kept", "drop_reason", "drop_detail"]
    table = workdir.path("clusters.parquet")
    about = read_row(table, assigned["cluster"], columns) if assigned["cluster"] >= 0 else None
    domain = None
    if assigned["domain"] >= 0:
        wanted = ["domain_id", "name", "keywords", "n_documents", "n_tokens", "mean_quality"]
        domain = read_row(workdir.path("domains.parquet"), assigned["domain"], wanted)
    return assigned | {"of_cluster": about, "of_domain": domain}


def _diversity(workdir: Workdir, part: str, row: int, scores: Section) -> Section | None:
    """Compactness and separation of the document's cluster of the diversity step."""
    folder = ("_stages", "diversity")
    measured = read_row(workdir.path(*folder, "parts", f"part-{part}.parquet"), row)
    if measured is None or measured["cluster"] < 0:
        return None
    about = read_row(workdir.path(*folder, "clusters.parquet"), measured["cluster"])
    if about is None:
        return None
    note = _json(workdir.path(*folder, "note.json")) or {}
    kind = (note.get("params") or {}).get("compactness", "cluster")
    compactness = about["compactness"]
    if kind != "cluster":
        compactness = measured["neighbours" if kind == "neighbours" else "distance"]
    return {
        "cluster": measured["cluster"],
        "distance": measured["distance"],
        "n_documents": about["n_documents"],
        "kind": kind,
        "compactness": compactness,
        "separation": about["separation"],
        "computed": compactness * about["separation"],
        "stored": scores["diversity"],
    }


def _corpus(workdir: Workdir, plan: Section, found: Section) -> Section | None:
    """Copies in the corpus, unless it was written of another plan."""
    done = workdir.success("materialize")
    if done is None:
        return None
    if done.tokens != sum(one["tokens"] for one in plan["ranges"]):
        found["notes"].append(
            f"the corpus in {done.details.get('corpus')} was written of an earlier plan; "
            f"run mixcurate materialize to write this one"
        )
        return None
    return {"path": done.details.get("corpus"), "copies": found["plan"]["stored"]}


def _verdict(found: Section) -> str:
    """One sentence: what became of the document."""
    if found["rejected"]:
        first = found["rejected"][0]
        detail = f" ({first['detail']})" if first["detail"] else ""
        return f"dropped by {first['stage']}: {first['reason']}{detail}"
    if found["plan"] is not None:
        if found["plan"]["held_out"]:
            return "held out of the corpus's shards for training"
        times: int = found["plan"]["stored"]
        return f"drawn {times} time" + "s" * (times != 1)
    if found["copies"] is not None:
        return f"in the pool with {found['copies']['expected']:.4g} expected copies"
    if found["cluster"] is not None:
        return "in the pool"
    return "kept by ingest"
