"""Exact duplicates from content hashes: which rows to drop, whatever order they come in."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

#: One document as the duplicate search sees it. Hashes and ids are two big-endian words each, so
#: that numeric order is the order of their hex digits; ``own_id`` documents are hashed first.
KEY = np.dtype(
    [
        ("hash_high", "<u8"),
        ("hash_low", "<u8"),
        ("id_high", "<u8"),
        ("id_low", "<u8"),
        ("part", "<u4"),
        ("row", "<u4"),
    ]
)

KeyArray = npt.NDArray[np.void]


def pack_keys(hashes: pa.Array, id_hashes: pa.Array, part: int) -> KeyArray:
    """Pack the keys of one part's rows.

    Args:
        hashes: binary(16) ``[n]``, the content hashes.
        id_hashes: binary(16) ``[n]``; the smallest one survives among equals.
        part: number of the part.

    Returns:
        ``KEY`` records ``[n]``.
    """
    keys = np.zeros(len(hashes), KEY)
    for prefix, column in (("hash", hashes), ("id", id_hashes)):
        words = np.frombuffer(b"".join(column.to_pylist()), ">u8").reshape(-1, 2)
        keys[f"{prefix}_high"], keys[f"{prefix}_low"] = words[:, 0], words[:, 1]
    keys["part"] = part
    keys["row"] = np.arange(len(hashes))
    return keys


def duplicates(keys: KeyArray) -> tuple[KeyArray, KeyArray]:
    """Every record whose content equals that of a record with a smaller id.

    Returns:
        The records to drop and, aligned with them, the survivor of each; sorted by part and row.
    """
    order = np.lexsort(
        (
            keys["row"],
            keys["part"],
            keys["id_low"],
            keys["id_high"],
            keys["hash_low"],
            keys["hash_high"],
        )
    )
    ranked = keys[order]
    same = (ranked["hash_high"][1:] == ranked["hash_high"][:-1]) & (
        ranked["hash_low"][1:] == ranked["hash_low"][:-1]
    )
    starts = np.concatenate([[True], ~same]) if len(ranked) else np.zeros(0, bool)
    first = np.maximum.accumulate(np.where(starts, np.arange(len(ranked)), 0))
    dropped, survivors = ranked[~starts], ranked[first[~starts]]
    by_place = np.lexsort((dropped["row"], dropped["part"]))
    return dropped[by_place], survivors[by_place]
