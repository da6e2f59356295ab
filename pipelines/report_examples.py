"""The documents that the report shows: typical ones of each domain, and rejected ones.

Only narrow columns are read to choose them; texts are read at the end, and only those shown.
"""

from __future__ import annotations

import heapq
from collections import Counter
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mixcurate.io import partfiles, storage
from mixcurate.io.workdir import Success, Workdir
from mixcurate.tables import EXCERPT

#: Documents shown per domain, and rejected ones per reason.
_EXAMPLES = 3
_CHARACTERS = 400

#: Files of rejected rows that are looked through for each step that writes them.
_MOST_FILES = 100

#: Steps whose rows say another stage than the files' names.
_STAGE_OF = {"extract": "ingest"}


def typical(
    workdir: Workdir, parts: list[str], domains: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Each domain with the documents of some parts that are nearest to their centroid."""
    best: dict[int, list[tuple[float, str, str, int]]] = {d["domain"]: [] for d in domains}
    for part in parts:
        assigned = partfiles.read_table(workdir.part("cluster", part), ["distance", "domain"])
        distance = assigned.column("distance").to_numpy()
        domain = assigned.column("domain").to_numpy()
        ids = partfiles.read_table(workdir.part("ingest", part), ["id"]).column("id")
        for number, kept in best.items():
            mine = np.flatnonzero(domain == number)
            if len(mine) == 0:
                continue
            last = np.sort(distance[mine])[:_EXAMPLES][-1]
            near = mine[distance[mine] <= last].tolist()  # ties are broken by id
            found = [(float(distance[r]), ids[r].as_py(), part, r) for r in near]
            best[number] = heapq.nsmallest(_EXAMPLES, kept + found)
    wanted = sorted({(part, row) for kept in best.values() for _, _, part, row in kept})
    texts = _texts(workdir, wanted)
    return [
        domain
        | {
            "examples": [
                texts[part, row] | {"distance": far} for far, _, part, row in best[domain["domain"]]
            ]
        }
        for domain in domains
    ]


def _texts(
    workdir: Workdir, wanted: list[tuple[str, int]]
) -> dict[tuple[str, int], dict[str, Any]]:
    """Beginning, source and address of a few documents, one part at a time."""
    found: dict[tuple[str, int], dict[str, Any]] = {}
    columns = ["id", "text", "url", "source", "n_tokens"]
    for part in sorted({part for part, _ in wanted}):
        rows = [row for name, row in wanted if name == part]
        start = 0
        for batch in partfiles.iter_batches(workdir.part("ingest", part), columns):
            mine = [row for row in rows if start <= row < start + batch.num_rows]
            taken = batch.take(pa.array([row - start for row in mine], pa.int64())).to_pylist()
            for row, document in zip(mine, taken, strict=True):
                found[part, row] = document | {"text": _cut(document["text"])}
            start += batch.num_rows
            if start > rows[-1]:
                break
    return found


def _cut(text: str) -> str:
    """The beginning of a text."""
    return text if len(text) <= _CHARACTERS else text[:_CHARACTERS].rstrip() + " …"


def rejected(workdir: Workdir, done: dict[str, Success]) -> list[dict[str, Any]]:
    """Some documents of each reason, in the order of the files.

    Of each step so many files are looked through at most: a rare reason may have no example.
    """
    counts = {
        (stage, reason): count
        for stage, success in done.items()
        for reason, count in success.rejected.items()
    }
    found: dict[tuple[str, str], list[dict[str, Any]]] = {key: [] for key in counts}
    looked: Counter[str] = Counter()
    for path in workdir.rejected_files():
        step = path.rsplit("/", 1)[-1].split("-")[1]
        stage = _STAGE_OF.get(step, step)
        wanted = {
            reason
            for (of, reason), rows in found.items()
            if of == stage and len(rows) < min(counts[of, reason], _EXAMPLES)
        }
        if wanted and looked[step] < _MOST_FILES:
            looked[step] += 1
            for row in _rows(path, wanted):
                key = (row["stage"], row["reason"])
                if key in found and len(found[key]) < _EXAMPLES:
                    found[key].append(row | {"part": path.rsplit("/", 1)[-1]})
    for rows in found.values():
        _add_texts(workdir, rows)
    ended = {_STAGE_OF.get(step, step) for step, files in looked.items() if files == _MOST_FILES}
    return [
        {"stage": stage, "reason": reason, "count": count, "examples": found[stage, reason]}
        | {"missed": stage in ended and not found[stage, reason]}
        for (stage, reason), count in counts.items()
    ]


def _rows(path: str, wanted: set[str]) -> list[dict[str, Any]]:
    """The first rows of a file for each wanted reason; other columns are read only for these."""
    reasons = partfiles.read_table(path, ["reason"]).column("reason")
    present = sorted(wanted.intersection(reasons.unique().to_pylist()))
    if not present:
        return []
    first = [
        pc.indices_nonzero(pc.equal(reasons, reason)).slice(0, _EXAMPLES) for reason in present
    ]
    rows: list[dict[str, Any]] = (
        partfiles.read_table(path).take(pa.concat_arrays(first)).to_pylist()
    )
    return rows


def _add_texts(workdir: Workdir, rows: list[dict[str, Any]]) -> None:
    """Documents that were dropped after ingest have no excerpt; their text is still there."""
    for row in rows:
        name = row["part"].removeprefix(f"part-{row['stage']}-").removesuffix(".parquet")
        path = workdir.part("ingest", name)
        if len(row["excerpt"]) >= EXCERPT:
            row["excerpt"] += "…"
        if row["excerpt"] or row["id"] is None or not storage.exists(path):
            continue
        for batch in partfiles.iter_batches(path, ["id", "text"]):
            text = batch.filter(pc.equal(batch.column("id"), row["id"])).column("text")
            if len(text):
                row["excerpt"] = _cut(text[0].as_py())
                break
