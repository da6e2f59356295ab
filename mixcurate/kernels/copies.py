"""Where a document's content has occurred before, so that its vector is copied, not computed."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

#: A content hash as two words; numeric order is the order of the hash's bytes.
HASH = np.dtype([("high", "<u8"), ("low", "<u8")])

#: One document as the search sees it. Origins, and the parts of an origin, go by number.
OCCURRENCE = np.dtype(
    [("high", "<u8"), ("low", "<u8"), ("origin", "<u4"), ("part", "<u4"), ("row", "<u4")]
)

#: A row of an own part, and the place of the same content.
COPY = np.dtype(
    [
        ("part", "<u4"),
        ("row", "<u4"),
        ("origin", "<u4"),
        ("source_part", "<u4"),
        ("source_row", "<u4"),
    ]
)

HashArray = npt.NDArray[np.void]
OccurrenceArray = npt.NDArray[np.void]
CopyArray = npt.NDArray[np.void]


def hash_words(column: pa.Array | pa.ChunkedArray) -> HashArray:
    """The content hashes of a part as two words each, without a Python object per row.

    Args:
        column: binary(16) ``[n]`` without nulls, such as the column ``content_hash``.

    Returns:
        ``HASH`` records ``[n]``.
    """
    chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
    hashes = np.zeros(sum(len(chunk) for chunk in chunks), HASH)
    start = 0
    for chunk in chunks:
        if len(chunk) == 0:
            continue  # its buffer may be missing
        words = np.frombuffer(chunk.buffers()[1], ">u8")[2 * chunk.offset :][: 2 * len(chunk)]
        hashes["high"][start : start + len(chunk)] = words[0::2]
        hashes["low"][start : start + len(chunk)] = words[1::2]
        start += len(chunk)
    return hashes


def find_copies(occurrences: OccurrenceArray, own_origin: int) -> CopyArray:
    """The rows of the own run whose content also occurs at a better place, and that place.

    Any other origin is better than the own run, for its vectors exist already; then the smallest
    (origin, part, row) is best. So one row of the own run owns a content that no other origin
    has, and every other row copies from it. A source is never itself a copy.

    Args:
        occurrences: ``OCCURRENCE`` records ``[n]`` in any order, each place at most once.
        own_origin: number of the own run among the origins.

    Returns:
        ``COPY`` records, at most one per own row, sorted by part and row.
    """
    repeated = _repeated(occurrences)
    order = np.lexsort(
        (
            repeated["row"],
            repeated["part"],
            repeated["origin"],
            repeated["origin"] == own_origin,
            repeated["low"],
            repeated["high"],
        )
    )
    ranked = repeated[order]
    first = _first_of_each(ranked)
    mine = np.flatnonzero((ranked["origin"] == own_origin) & (first != np.arange(len(ranked))))
    copied, sources = ranked[mine], ranked[first[mine]]
    copies = np.zeros(len(mine), COPY)
    copies["part"], copies["row"] = copied["part"], copied["row"]
    copies["origin"] = sources["origin"]
    copies["source_part"], copies["source_row"] = sources["part"], sources["row"]
    by_place: CopyArray = copies[np.lexsort((copies["row"], copies["part"]))]
    return by_place


def _repeated(occurrences: OccurrenceArray) -> OccurrenceArray:
    """Those whose high word occurs twice: one cheap sort spares most rows the costly one."""
    if len(occurrences) == 0:
        return occurrences
    order = np.argsort(occurrences["high"])
    high = occurrences["high"][order]
    same = high[1:] == high[:-1]
    repeated: OccurrenceArray = occurrences[order[np.append(same, False) | np.append(False, same)]]
    return repeated


def _first_of_each(ranked: OccurrenceArray) -> npt.NDArray[Any]:
    """Per record of ``ranked``, sorted by hash, the index of the first one with its hash."""
    starts = np.ones(len(ranked), bool)
    starts[1:] = (ranked["high"][1:] != ranked["high"][:-1]) | (
        ranked["low"][1:] != ranked["low"][:-1]
    )
    first: npt.NDArray[Any] = np.maximum.accumulate(np.where(starts, np.arange(len(ranked)), 0))
    return first
