"""Beside each shard, where its documents come from; and what the shard adds up to."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mixcurate.io import lineage

#: What documents and tokens of a shard are added up by.
_GROUPS = ("domain", "source", "licence", "language", "cell")

#: What is read of a shard's rows.
TRACED = ["id", "copy", "path", "position", "n_tokens", "missed", *_GROUPS]


def write_lineage(
    corpus: str, payload: dict[str, Any], rows: pa.RecordBatch
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Write the lineage of one shard.

    Args:
        corpus: its folder.
        payload: of the shard's task: ``part``, ``split`` and ``shard``.
        rows: columns ``TRACED`` of the shard, in its order.

    Returns:
        What the manifest says of the file; and of the shard: that as ``lineage``, ``cut``, and per
        domain, source, licence, language and cell its copies, tokens, and tokens of first copies.
    """
    part, split, shard = (payload[key] for key in ("part", "split", "shard"))
    written = lineage.write_lineage(corpus, part, rows, split, shard)
    return written, {"lineage": written, "cut": _cuts(rows), **_sums(rows)}


def _sums(rows: pa.RecordBatch) -> dict[str, dict[str, list[int]]]:
    tokens = rows.column("n_tokens").to_numpy().astype(np.int64)
    first = tokens * (rows.column("copy").to_numpy() == 0)
    result: dict[str, dict[str, list[int]]] = {}
    for by in _GROUPS:
        values = rows.column(by).dictionary_encode(null_encoding="encode")
        codes = values.indices.to_numpy()
        names = ["unknown" if name is None else str(name) for name in values.dictionary.to_pylist()]
        sums = np.zeros((len(names), 3), np.int64)
        for column, amount in enumerate((np.ones(len(codes), np.int64), tokens, first)):
            np.add.at(sums[:, column], codes, amount)
        result[by] = dict(zip(names, sums.tolist(), strict=True))
    return result


def _cuts(rows: pa.RecordBatch) -> dict[str, list[int]]:
    """Per cell: copies that were cut, tokens that the cuts have missed."""
    cut = rows.filter(pc.is_valid(rows.column("missed")))
    cells, missed = (cut.column(name).to_numpy() for name in ("cell", "missed"))
    return {
        str(cell): [int((cells == cell).sum()), int(missed[cells == cell].sum())]
        for cell in np.unique(cells).tolist()
    }
