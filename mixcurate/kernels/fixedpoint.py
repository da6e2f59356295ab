"""Sums of floats that come out the same in any order: integers with a fixed binary point."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

#: Values are stored as multiples of 2 ** -30; a sum of 2 ** 33 values of size one still fits int64.
SCALE = 1 << 30

#: Keys that span so many times their number are added up in an array of that length.
_DENSE = 4


def to_fixed(values: npt.NDArray[np.floating]) -> npt.NDArray[np.int64]:
    """Round floats to int64 multiples of 1 / ``SCALE``."""
    fixed: npt.NDArray[np.int64] = np.rint(values.astype(np.float64) * SCALE).astype(np.int64)
    return fixed


def from_fixed(total: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Back to floats."""
    return total.astype(np.float64) / SCALE


def sums_by_group(
    values: npt.NDArray[np.int64], groups: npt.NDArray[np.integer], n_groups: int
) -> npt.NDArray[np.int64]:
    """Exact integer sums per group.

    Args:
        values: int64 ``[n]``.
        groups: integers ``[n]`` in [0, n_groups).
        n_groups: number of groups.

    Returns:
        int64 ``[n_groups]``.
    """
    totals = np.zeros(n_groups, np.int64)
    np.add.at(totals, groups, values)
    return totals


def sums_by_key(
    keys: npt.NDArray[np.int64], *values: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int64], list[npt.NDArray[np.int64]]]:
    """Exact sums of integers by any keys.

    Args:
        keys: int64 ``[n]``.
        values: int64 ``[n]`` each.

    Returns:
        The different keys ``[m]``, rising, and of each of ``values`` its sums ``[m]``.
    """
    if len(keys) == 0:
        return keys, list(values)
    first = int(keys.min())
    span = int(keys.max()) - first + 1
    if span <= _DENSE * len(keys):  # no need to sort
        place = keys - first
        present = np.flatnonzero(np.bincount(place, minlength=span))
        return present + first, [sums_by_group(value, place, span)[present] for value in values]
    order = np.argsort(keys)
    ordered = keys[order]
    starts = np.flatnonzero(np.diff(ordered, prepend=ordered[0] - 1))
    return ordered[starts], [np.add.reduceat(value[order], starts) for value in values]
