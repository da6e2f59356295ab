"""The cell of each document of a part."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mixcurate.io import partfiles
from mixcurate.io.workdir import Workdir
from mixcurate.kernels import tiers
from mixcurate.kernels.cells import Members, Membership, Partition, cell_numbers

BoolArray = npt.NDArray[np.bool_]


@dataclasses.dataclass(frozen=True)
class CellsOf:
    """What a worker needs to tell the cell of each document.

    Attributes:
        partition: of the pool.
        membership: which documents can be drawn.
    """

    partition: Partition
    membership: Membership

    def read(self, workdir: Workdir, part: str) -> npt.NDArray[np.int32]:
        """As ``read_cells``."""
        return read_cells(workdir, part, self.partition, self.membership)


def read_members(workdir: Workdir, part: str, membership: Membership) -> Members:
    """Which of a part's documents can be drawn, and what became of the others of the pool."""
    assigned = partfiles.read_table(workdir.part("cluster", part), ["domain"])
    pool = assigned.column("domain").to_numpy() >= 0
    if membership.everyone:
        return membership.of(pool, None)
    table = partfiles.read_table(workdir.part("ingest", part), ["id"])
    return membership.of(pool, table.column("id").combine_chunks())


def read_cells(
    workdir: Workdir, part: str, partition: Partition, membership: Membership
) -> npt.NDArray[np.int32]:
    """The cell of each document of a part.

    Returns:
        int32 ``[n]``; -1 if it is not in the pool, held out, or left out by ``subsample``.
    """
    columns = read_levels(workdir, part, partition.levels, partition.tier_cuts)
    found = cell_numbers(partition, columns)
    drawable = read_members(workdir, part, membership).drawable
    return np.where(drawable, found, -1).astype(np.int32)


def read_levels(
    workdir: Workdir, part: str, levels: tuple[str, ...], tier_cuts: tuple[float, ...]
) -> dict[str, pa.Array]:
    """The value of each document on each level, ``[n]``."""
    found: dict[str, pa.Array] = {}
    for level in levels:
        path, column = place_of(workdir, part, level)
        values = partfiles.read_table(path, [column]).column(0).combine_chunks()
        found[level] = level_values(level, values, tier_cuts)
    return found


#: The stage whose parts have a level's values; of a tier the quality that it follows from.
_STAGES = {"domain": "cluster", "cluster": "cluster", "tier": "score"}


def place_of(workdir: Workdir, part: str, level: str) -> tuple[str, str]:
    """The file and the column that a level's values are in."""
    if level == "side":
        from mixcurate.transforms.preference import preference_path

        return preference_path(workdir, part), level
    column = "quality" if level == "tier" else level
    return workdir.part(_STAGES.get(level, "ingest"), part), column


def level_values(level: str, column: pa.Array, tier_cuts: tuple[float, ...]) -> pa.Array:
    """A level's values, from the column that ``place_of`` names."""
    return pa.array(tiers.tiers(column.to_numpy(), tier_cuts)) if level == "tier" else column
