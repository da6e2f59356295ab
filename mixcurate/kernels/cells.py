"""Cells: the leaves of the tree of levels that shares are of.

A level is a fact that every document has: its source, domain, licence, language, quality tier or
cluster. A cell is one combination of the values of all levels that occurs. Cells are numbered in
the order of their paths, so that those of one parent follow each other.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from mixcurate.kernels.hashing import uniform_keys, unit_interval

Int32Array = npt.NDArray[np.int32]
Int64Array = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

Value = str | int
Path = tuple[Value, ...]

#: Levels whose values are numbers; those of the others are strings.
NUMBERED = ("domain", "tier", "cluster", "side")

#: Value of a level where a document has none.
UNKNOWN = "unknown"

#: Names of the values of ``side``: where a host of the web graph lies, or, without sides, that the
#: whole pool is one ranking.
SIDES = ("peripheral", "central", "ranked")

#: The number of the last one.
RANKED = SIDES.index("ranked")

#: Between the names of a path.
SEPARATOR = ":"


@dataclasses.dataclass(frozen=True)
class Partition:
    """How the pool is divided.

    Attributes:
        levels: outermost first.
        paths: of each cell its value on each level, in rising order and none twice.
        tier_cuts: qualities at which tiers 1, 2, ... begin.
        names: of the cells, for people: ``books:sports``.
        domain_names: of all domains by number, if domains are a level.
    """

    levels: tuple[str, ...]
    paths: tuple[Path, ...]
    tier_cuts: tuple[float, ...] = ()
    names: tuple[str, ...] = ()
    domain_names: tuple[str, ...] = ()

    @staticmethod
    def of(
        levels: Sequence[str],
        paths: Iterable[Path],
        tier_cuts: Sequence[float] = (),
        domain_names: Sequence[str] = (),
    ) -> Partition:
        """Cells of these paths, in any order, with their names."""
        ordered = tuple(sorted(paths))
        bare = Partition(tuple(levels), ordered, tuple(tier_cuts), (), tuple(domain_names))
        return dataclasses.replace(bare, names=tuple(map(bare.name, ordered)))

    def name(self, path: Path) -> str:
        """The name of a path, or of the first values of one."""
        each = zip(self.levels, path, strict=False)
        return SEPARATOR.join(self.value_name(level, value) for level, value in each)

    def value_name(self, level: str, value: Value) -> str:
        """The name of one value: a domain's name, or the value itself."""
        if level == "domain" and int(value) < len(self.domain_names):
            return self.domain_names[int(value)]
        return SIDES[int(value)] if level == "side" else str(value)

    def label(self, cell: int) -> str:
        """A cell in a message: ``domain 3 ('sports')``, ``source 'books'``."""
        value, name = self.paths[cell][-1], self.names[cell]
        if self.levels == ("domain",):
            return f"domain {value} ({name!r})"
        return f"{SEPARATOR.join(self.levels)} {name!r}"

    @property
    def units(self) -> str:
        """What cells are called in a message: ``domains``, ``sources``, or ``cells`` of a tree."""
        return self.units_of(self.levels[0]) if len(self.levels) == 1 else "cells"

    def units_of(self, level: str) -> str:
        """The plural of a level."""
        return f"{level}s"

    def values(self, level: str) -> list[Value]:
        """The different values of a level, in rising order."""
        place = self.levels.index(level)
        return sorted({path[place] for path in self.paths})

    @functools.cached_property
    def _steps(self) -> list[tuple[pa.Array, Int64Array]]:
        """Per level: its values, and parent x number of values + value's place, of each prefix."""
        steps: list[tuple[pa.Array, Int64Array]] = []
        parents = np.zeros(len(self.paths), np.int64)
        for place, level in enumerate(self.levels):
            kind = pa.int64() if level in NUMBERED else pa.string()
            values = pa.array(self.values(level), kind)
            mine = pa.array([path[place] for path in self.paths], kind)
            codes = pc.index_in(mine, value_set=values).to_numpy(zero_copy_only=False)
            keys, parents = np.unique(parents * len(values) + codes, return_inverse=True)
            steps.append((values, keys))
        return steps


def cell_numbers(partition: Partition, columns: Mapping[str, pa.Array]) -> Int32Array:
    """The cell of each document.

    Args:
        partition: of the pool.
        columns: of each level the values, ``[n]``: integers of ``NUMBERED``, else strings; a null
            reads as ``UNKNOWN``.

    Returns:
        int32 ``[n]``; -1 where the values are those of no cell.
    """
    n = len(columns[partition.levels[0]])
    found, known = np.zeros(n, np.int64), np.ones(n, bool)
    for level, (values, keys) in zip(partition.levels, partition._steps, strict=True):
        if len(keys) == 0:
            return np.full(n, -1, np.int32)
        codes = _codes(columns[level], level, values)
        wanted = found * len(values) + codes
        place = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
        known &= (codes >= 0) & (keys[place] == wanted)
        found = np.where(known, place, 0)
    return np.where(known, found, -1).astype(np.int32)


def _codes(column: pa.Array, level: str, values: pa.Array) -> Int32Array:
    """The place of each element among some values: int32 ``[n]``, -1 for none."""
    if pa.types.is_dictionary(column.type) and column.null_count == 0:
        of_values = _codes(column.dictionary, level, values)
        codes: Int32Array = of_values[column.indices.to_numpy()]
        return codes
    found = pc.index_in(known_values(column, level), value_set=values)
    places: Int32Array = found.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int32)
    return places


def known_values(column: pa.Array, level: str) -> pa.Array:
    """A level's column as int64, or as strings without nulls."""
    if level in NUMBERED:
        return column.cast(pa.int64())
    return column.cast(pa.string()).fill_null(UNKNOWN)


@dataclasses.dataclass(frozen=True)
class Members:
    """Some documents: of each bool ``[n]``, whether it is in one of three separate groups.

    Attributes:
        drawable: in the pool, and neither of the others.
        held_out: of the pool, kept out of every shard.
        left_out: of the pool, left out by ``subsample``.
    """

    drawable: BoolArray
    held_out: BoolArray
    left_out: BoolArray


@dataclasses.dataclass(frozen=True)
class Membership:
    """Which documents of the pool can be drawn at all.

    Attributes:
        seed: of the recipe.
        holdout: share of the documents that is kept out of every shard, by hash.
        subsample: share of the documents that there are, by another hash.
    """

    seed: int
    holdout: float = 0.0
    subsample: float = 1.0

    @property
    def everyone(self) -> bool:
        """Whether no document of the pool is kept out."""
        return self.holdout <= 0 and self.subsample >= 1

    def left_out(self, ids: pa.Array) -> BoolArray:
        """Documents that ``subsample`` leaves out: bool ``[n]``."""
        if self.subsample >= 1:
            return np.zeros(len(ids), bool)
        return unit_interval(uniform_keys(ids, self.seed, "subsample")) >= self.subsample

    def held_out(self, ids: pa.Array) -> BoolArray:
        """Documents of the holdout, whether or not ``subsample`` has them: bool ``[n]``."""
        if self.holdout <= 0:
            return np.zeros(len(ids), bool)
        return unit_interval(uniform_keys(ids, self.seed, "holdout")) < self.holdout

    def of(self, pool: BoolArray, ids: pa.Array | None) -> Members:
        """What becomes of documents.

        Args:
            pool: bool ``[n]``, whether they are in the pool.
            ids: of them, ``[n]``; not looked at if this is everyone.
        """
        if self.everyone or ids is None:
            nobody = np.zeros(len(pool), bool)
            return Members(pool, nobody, nobody)
        left = pool & self.left_out(ids)
        held = pool & ~left & self.held_out(ids)
        return Members(pool & ~left & ~held, held, left)
