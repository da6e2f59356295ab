"""Documents and tokens by language, source and licence.

Cluster has counted languages and sources over the whole corpus; what it has not counted is read.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import pyarrow.compute as pc

from mixcurate.io import partfiles, storage
from mixcurate.io.workdir import Success, Workdir
from mixcurate.transforms.cluster_files import counts_path
from pipelines.report_sample import PartSample

_NAMES = ("language", "source", "licence")
_MOST_GROUPS = 12

#: Name of the documents that cluster has left out: their vectors are of no use.
_REST = "in no cluster"

#: Documents and tokens of each value.
Sums = dict[str, tuple[int, int]]


@dataclasses.dataclass(frozen=True)
class Group:
    """Rows of one table, the largest first.

    Attributes:
        by: language, source or licence.
        rows: name, documents, tokens, and share of the tokens.
        sampled: whether they are of some parts only.
    """

    by: str
    rows: list[dict[str, Any]]
    sampled: bool


def groups(
    workdir: Workdir, sample: PartSample, ingested: Success, *, clustered: bool
) -> list[Group]:
    """A table for each of language, source and licence that there is.

    Args:
        workdir: of a job.
        sample: the parts that are read.
        ingested: what ingest has left.
        clustered: whether cluster has finished on these documents.
    """
    sums: dict[str, Sums] = {}
    if clustered and not sample.whole:
        sums = _counted(workdir, ingested)
    known = set(sums)
    sums |= _read(workdir, sample.parts, [name for name in _NAMES if name not in known])
    return [
        _group(by, sums[by], sampled=not sample.whole and by not in known)
        for by in _NAMES
        if sums.get(by)
    ]


def _counted(workdir: Workdir, ingested: Success) -> dict[str, Sums]:
    """What cluster has counted over the corpus, with the documents that it has left out."""
    if not storage.exists(counts_path(workdir)):
        return {}
    table = partfiles.read_table(counts_path(workdir))
    found: dict[str, Sums] = {}
    for kind in ("language", "source"):
        mine = table.filter(pc.equal(table.column("kind"), kind)).group_by("value")
        rows = mine.aggregate([("n_documents", "sum"), ("n_tokens", "sum")]).to_pylist()
        sums = {row["value"]: (row["n_documents_sum"], row["n_tokens_sum"]) for row in rows}
        documents, tokens = (sum(pair[i] for pair in sums.values()) for i in (0, 1))
        rest = (ingested.documents_out - documents, ingested.tokens - tokens)
        if min(rest) < 0 or documents == 0:  # counted over other documents
            return {}
        if any(rest):
            sums[_REST] = rest
        found[kind] = sums
    return found


def _read(workdir: Workdir, parts: list[str], names: list[str]) -> dict[str, Sums]:
    """The same from the documents of some parts."""
    sums: dict[str, Sums] = {name: {} for name in names}
    for part in parts:
        table = partfiles.read_table(workdir.part("ingest", part), [*names, "n_tokens"])
        for by in names:
            grouped = table.group_by(by).aggregate([("n_tokens", "count"), ("n_tokens", "sum")])
            for row in grouped.to_pylist():
                key = "unknown" if row[by] is None else row[by]
                documents, tokens = sums[by].get(key, (0, 0))
                sums[by][key] = (documents + row["n_tokens_count"], tokens + row["n_tokens_sum"])
    return sums


def _group(by: str, found: Sums, *, sampled: bool) -> Group:
    order = sorted(found.items(), key=lambda item: (-item[1][1], item[0]))
    rows: list[dict[str, Any]] = [
        {"name": key, "documents": n, "tokens": t} for key, (n, t) in order[:_MOST_GROUPS]
    ]
    rest = order[_MOST_GROUPS:]
    if rest:
        documents, tokens = (sum(numbers[i] for _, numbers in rest) for i in (0, 1))
        rows.append({"name": f"{len(rest):,} others", "documents": documents, "tokens": tokens})
    total = max(sum(row["tokens"] for row in rows), 1)
    return Group(by, [row | {"share": row["tokens"] / total} for row in rows], sampled)
