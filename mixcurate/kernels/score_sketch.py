"""What the report and `explain` know of the weights: counts by bin, exact in any order of parts."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from mixcurate.kernels import fixedpoint

#: Equal bins of a score in [0, 1].
BINS = 64

_EXPECTED, _EXPECTED_TOKENS = 1 << 20, 1 << 16
_KEYS = ("kind", "source", "domain", "first", "second")
_SUMS = ("n_documents", "n_tokens", "expected", "expected_tokens", "copies", "copy_tokens")

#: All tables in one: of a kind, what is counted by source or domain and up to two more numbers.
SKETCH = pa.schema(
    [
        pa.field("kind", pa.string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("domain", pa.int32(), nullable=False),
        pa.field("first", pa.int32(), nullable=False),
        pa.field("second", pa.int32(), nullable=False),
        *(pa.field(name, pa.int64(), nullable=False) for name in _SUMS),
    ]
)

#: The tables as they are written: which columns of the sketch they have, under which names.
TABLES: Mapping[str, Mapping[str, str]] = {
    "plane": {"domain": "domain", "first": "quality_bin", "second": "diversity_bin"},
    "sources": {"source": "source", "first": "quality_bin"},
    "domains_quality": {"domain": "domain", "first": "quality_bin"},
    "copies": {"domain": "domain", "first": "copies"},
}


@dataclasses.dataclass(frozen=True)
class Scored:
    """The pool's documents of a part, one element each.

    Attributes:
        domain: int32 ``[n]``.
        source: strings ``[n]``.
        tokens: int64 ``[n]``.
        quality: float32 ``[n]`` in [0, 1].
        units: float64 ``[2, n]``, quality and diversity as they are weighed.
        expected: float64 ``[n]``, expected copies.
        copies: int32 ``[n]``.
    """

    domain: npt.NDArray[np.int32]
    source: pa.Array
    tokens: npt.NDArray[np.int64]
    quality: npt.NDArray[np.float32]
    units: npt.NDArray[np.float64]
    expected: npt.NDArray[np.float64]
    copies: npt.NDArray[np.int32]


def sketch(part: Scored) -> pa.Table:
    """The sketch of a part."""
    n = len(part.tokens)
    expected_tokens = np.rint(part.expected * _EXPECTED_TOKENS).astype(np.int64) * part.tokens
    sums = [
        np.ones(n, np.int64),
        part.tokens,
        np.rint(part.expected * _EXPECTED).astype(np.int64),
        expected_tokens,
        part.copies.astype(np.int64),
        part.copies * part.tokens,
    ]
    names, source = _coded(part.source)
    nowhere, zero = np.zeros(n, np.int64), np.zeros(n, np.int32)
    unit, diversity = (_bins(values) for values in part.units)
    quality = _bins(part.quality)
    tables = [
        _counted("copies", nowhere, [""], part.domain, part.copies, zero, sums),
        _counted("domains_quality", nowhere, [""], part.domain, quality, zero, sums),
        _counted("plane", nowhere, [""], part.domain, unit, diversity, sums),
        _counted("sources", source, names, zero - 1, quality, zero, sums),
    ]
    return pa.concat_tables(tables)


def _coded(source: pa.Array) -> tuple[list[str], npt.NDArray[np.int64]]:
    """The different sources in order, and the place of each document's among them."""
    encoded = source.dictionary_encode()
    names = encoded.dictionary.to_pylist()
    order = sorted(range(len(names)), key=lambda place: str(names[place]).encode())
    rank = np.empty(len(names), np.int64)
    rank[order] = np.arange(len(names))
    codes = rank[encoded.indices.to_numpy()] if len(source) else np.zeros(0, np.int64)
    return [names[place] for place in order], codes


def _counted(
    kind: str,
    source: npt.NDArray[np.int64],
    names: list[str],
    domain: npt.NDArray[np.int32],
    first: npt.NDArray[np.int32],
    second: npt.NDArray[np.int32],
    sums: list[npt.NDArray[np.int64]],
) -> pa.Table:
    """One kind of the sketch of a part, sorted by its key, which is packed into one number."""
    sizes = [int(part.max(initial=0)) + 2 for part in (domain, first, second)]
    packed = source
    for part, size in zip((domain, first, second), sizes, strict=True):
        packed = packed * size + part + 1
    keys, totals = fixedpoint.sums_by_key(packed, *sums)
    columns: list[pa.Array] = []
    for size in reversed(sizes):
        columns.insert(0, pa.array(keys % size - 1, pa.int32()))
        keys = keys // size
    place = pa.array(names, pa.string()).take(pa.array(keys))
    found = [pa.repeat(kind, len(keys)), place, *columns, *(pa.array(total) for total in totals)]
    return pa.Table.from_arrays(found, schema=SKETCH)


def _bins(values: npt.NDArray[np.floating]) -> npt.NDArray[np.int32]:
    return np.minimum((values * BINS).astype(np.int32), BINS - 1)


def merge_sketches(tables: Sequence[pa.Table]) -> pa.Table:
    """One sketch of many, sorted: the same whatever their order."""
    if not tables:
        return SKETCH.empty_table()
    grouped = pa.concat_tables(tables).group_by(list(_KEYS), use_threads=False)
    merged = grouped.aggregate([(name, "sum") for name in _SUMS])
    merged = merged.rename_columns([*_KEYS, *_SUMS])
    return merged.sort_by([(key, "ascending") for key in _KEYS]).cast(SKETCH)


def table_of(merged: pa.Table, kind: str) -> pa.Table:
    """One of ``TABLES``, with expected copies and tokens as plain numbers."""
    mine = merged.filter(pc.equal(merged.column("kind"), kind))
    columns = {name: mine.column(key) for key, name in TABLES[kind].items()}
    for name, unit in (("expected", _EXPECTED), ("expected_tokens", _EXPECTED_TOKENS)):
        columns[name] = pa.array(mine.column(name).to_numpy() / unit)
    for name in ("n_documents", "n_tokens", "copies", "copy_tokens"):
        if name not in columns:
            columns[name] = mine.column(name)
    return pa.table(columns)
