"""What a part's selection comes to: by range of shards, by cell and phase, by domain."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mixcurate.kernels.draw import Pool
from mixcurate.kernels.fixedpoint import sums_by_group

Int64Array = npt.NDArray[np.int64]


def counts_of(
    selection: pa.RecordBatch,
    pool: Pool,
    domain: npt.NDArray[np.int32],
    document_bytes: Int64Array,
    phases: int,
) -> dict[str, Any]:
    """Count a part's copies.

    Args:
        selection: ``SELECTION`` rows.
        pool: the part's documents.
        domain: int32 ``[n]`` of all its documents.
        document_bytes: int64 ``[n]``, of their texts.
        phases: how many; the range after them is the holdout.

    Returns:
        JSON-able: ``copies`` of phases; ``ranges``, of each [copies, tokens, bytes]; ``cells`` by
        number, of each [copies, different documents, their tokens, then tokens by phase];
        ``domains`` by number, of each [copies, tokens, different documents, their tokens, documents
        that can be drawn, their tokens].
    """
    row, copy, where = (selection.column(name).to_numpy() for name in ("row", "copy", "range"))
    keep = selection.column("keep_tokens").fill_null(-1).to_numpy().astype(np.int64)
    tokens = np.where(keep < 0, pool.tokens[row], keep)
    n_bytes = document_bytes[row]
    n_bytes = np.where(keep < 0, n_bytes, n_bytes * tokens // np.maximum(pool.tokens[row], 1))
    n_ranges = phases + 1
    ones = np.ones(len(row), np.int64)
    sums = [sums_by_group(value, where, n_ranges) for value in (ones, tokens, n_bytes)]
    train = where < phases
    first = train & (copy == 0)
    drawable = np.flatnonzero(pool.cell >= 0)
    return {
        "copies": int(train.sum()),
        "ranges": np.stack(sums, axis=1).tolist(),
        "cells": _by(
            pool.cell[row],
            [
                (train, ones),
                (first, ones),
                (first, tokens),
                *((where == phase, tokens) for phase in range(phases)),
            ],
        ),
        "domains": _joined(
            _by(domain[row], [(train, ones), (train, tokens), (first, ones), (first, tokens)]),
            _by(
                domain[drawable],
                [
                    (np.ones(len(drawable), bool), np.ones(len(drawable), np.int64)),
                    (np.ones(len(drawable), bool), pool.tokens[drawable]),
                ],
            ),
        ),
    }


def _by(
    group: npt.NDArray[np.int32], sums: list[tuple[npt.NDArray[np.bool_], Int64Array]]
) -> dict[str, list[int]]:
    """Sums of some rows' values by group, as JSON has it.

    Groups below zero, and those where all sums are zero, are left out.
    """
    numbers, place = np.unique(group, return_inverse=True)
    columns = [sums_by_group(np.where(mask, v, 0), place, len(numbers)) for mask, v in sums]
    table = np.stack(columns, axis=1)
    listed = (numbers >= 0) & table.any(axis=1)
    return dict(zip(map(str, numbers[listed].tolist()), table[listed].tolist(), strict=True))


def _joined(drawn: dict[str, list[int]], there: dict[str, list[int]]) -> dict[str, list[int]]:
    """The numbers of both, for all groups of either."""
    return {
        number: drawn.get(number, [0] * 4) + there.get(number, [0] * 2)
        for number in sorted(drawn.keys() | there.keys(), key=int)
    }


def added(counts: list[dict[str, list[int]]], n: int, width: int) -> Int64Array:
    """Counts of many parts by number, as they are read from JSON: int64 ``[n, width]``."""
    total = np.zeros((n, width), np.int64)
    for one in counts:
        if one:
            places = np.fromiter((int(number) for number in one), np.int64, len(one))
            total[places] += np.array(list(one.values()), np.int64)
    return total
