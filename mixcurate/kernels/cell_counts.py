"""How much there is of each combination of values that cells are made of."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mixcurate.kernels import fixedpoint
from mixcurate.kernels.cells import known_values

Int64Array = npt.NDArray[np.int64]
Float32Array = npt.NDArray[np.float32]

#: What is added up of the documents of a cell; of the largest document it is the maximum.
SUMS = ("documents", "tokens", "quality", "weighted", "low", "low_tokens")


@dataclasses.dataclass(frozen=True)
class Counted:
    """Some documents that can be drawn, one element each.

    Attributes:
        tokens: int64 ``[n]``.
        quality: float32 ``[n]``.
        weighted: int64 ``[n]``, expected copies x tokens in fixed point; zero if not asked for.
        weight: float32 ``[n]``, positive sampling weights; None if not asked for.
    """

    tokens: Int64Array
    quality: Float32Array
    weighted: Int64Array
    weight: Float32Array | None = None


#: Trailing bits of a weight that one bin of a cell covers: 2 ** -3 wide.
WEIGHT_LOW_BITS = 20


def count(columns: Mapping[str, pa.Array], documents: Counted) -> pa.Table:
    """How much there is of each combination of values, and of each bin of weights in it.

    Args:
        columns: of each level the values, as of ``cell_numbers``.
        documents: those that are counted.

    Returns:
        A row a combination: the levels, ``bin`` (of the weight; 0 if there are none), int64
        ``SUMS`` (quality as of ``fixedpoint``; ``low`` sums the weights' low bits, see
        ``allocation.WEIGHTS``) and ``largest``, the tokens of the largest document.
    """
    n = len(documents.tokens)
    bits = np.zeros(n, np.int32) if documents.weight is None else documents.weight.view(np.int32)
    low = (bits & ((1 << WEIGHT_LOW_BITS) - 1)).astype(np.int64)
    numbers = {
        "documents": np.ones(n, np.int64),
        "tokens": documents.tokens,
        "quality": fixedpoint.to_fixed(documents.quality),
        "weighted": documents.weighted,
        "low": low,
        "low_tokens": low * documents.tokens,
        "largest": documents.tokens,
    }
    levels = {level: known_values(column, level) for level, column in columns.items()}
    return _summed(pa.table(levels | {"bin": bits >> WEIGHT_LOW_BITS} | numbers), list(levels))


def merge_counts(tables: Sequence[pa.Table], levels: Sequence[str]) -> pa.Table:
    """One table of many, the same in any order; sorted by the levels."""
    return _summed(pa.concat_tables(tables), levels)


def by_cell(counts: pa.Table, levels: Sequence[str]) -> pa.Table:
    """The table without its bins of weights: a row a combination of the levels' values."""
    one = counts.set_column(
        counts.column_names.index("bin"), "bin", pa.array(np.zeros(counts.num_rows, np.int32))
    )
    return _summed(one, levels)


def _summed(table: pa.Table, levels: Sequence[str]) -> pa.Table:
    keys = [*levels, "bin"]
    wanted = [(name, "sum") for name in SUMS] + [("largest", "max")]
    found = table.group_by(keys, use_threads=False).aggregate(wanted)
    names = [*keys, *SUMS, "largest"]
    plain = found.select([*keys, *(f"{name}_{how}" for name, how in wanted)])
    return plain.rename_columns(names).sort_by([(key, "ascending") for key in keys])
