"""What the draw needs of each part, read from the tables once and kept in a file that is mapped.

The draw goes over the pool four times. A document takes some 30 bytes here, so that only the first
time has to read columns of Parquet from three tables.
"""

from __future__ import annotations

import dataclasses
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mixcurate.io import partfiles
from mixcurate.io.workdir import Workdir
from mixcurate.kernels import hashing, licences
from mixcurate.kernels.cells import NUMBERED, Members, Membership, known_values
from mixcurate.transforms.cells import level_values, place_of
from mixcurate.transforms.pool import DRAW

#: What a document's order within its shard goes by.
SHUFFLE = "shuffle"

#: Prefix of a level's column: ``domain`` is one in any case.
_LEVEL = "level:"


#: Columns of the groups of ``Members``.
_MEMBERS = [field.name for field in dataclasses.fields(Members)]

#: What a draw that is not alike for all documents goes by.
WeightColumn = Literal["weight", "preference"]


@dataclasses.dataclass(frozen=True)
class PoolPlan:
    """What is kept of each document.

    Attributes:
        levels: of the cells, outermost first.
        membership: which documents can be drawn.
        weight: the column that the draw goes by; None where documents are drawn alike.
        licences: factors of licences, as in the recipe.
    """

    levels: tuple[str, ...]
    membership: Membership
    weight: WeightColumn | None = None
    licences: dict[str, float] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class PoolPart:
    """A part's documents, ``[n]`` each.

    Attributes:
        levels: of each level the values.
        domain: int32.
        tokens: int32.
        n_bytes: int64, of the texts.
        quality: float32.
        key: uint64, uniform: what the draw goes by.
        shuffle: uint64, uniform: what the order in a shard goes by.
        members: who can be drawn.
        weight: float32 or float64; None where documents are drawn alike.
        factor: float64, of their licences; None where licences do not matter.
    """

    levels: dict[str, pa.Array]
    domain: npt.NDArray[np.int32]
    tokens: npt.NDArray[np.int32]
    n_bytes: npt.NDArray[np.int64]
    quality: npt.NDArray[np.float32]
    key: npt.NDArray[np.uint64]
    shuffle: npt.NDArray[np.uint64]
    members: Members
    weight: npt.NDArray[np.floating] | None
    factor: npt.NDArray[np.float64] | None


def pool_path(workdir: Workdir, part: str = "") -> str:
    """The file of one part; the folder of all."""
    return workdir.path("_stages", "select", "pool", *([f"part-{part}.arrow"] if part else []))


def write_pool(
    workdir: Workdir, part: str, plan: PoolPlan, tier_cuts: tuple[float, ...]
) -> PoolPart:
    """Read a part's tables, each once, and keep what is asked for in the part's file."""
    weight = _weight_place(workdir, part, plan.weight)
    levels = {level: place_of(workdir, part, level) for level in plan.levels}
    ingest, clusters, scores = (workdir.part(s, part) for s in ("ingest", "cluster", "score"))
    wanted = [*levels.values(), (clusters, "domain"), (scores, "quality")]
    wanted += [(ingest, name) for name in ("id", "n_tokens", "n_bytes")]
    wanted += [(ingest, "licence")] if plan.licences else []
    read = _read([*wanted, *([weight] if weight else [])])
    ids, seed = read[ingest, "id"], plan.membership.seed
    members = plan.membership.of(read[clusters, "domain"].to_numpy() >= 0, ids)
    columns = {
        "domain": read[clusters, "domain"],
        "tokens": read[ingest, "n_tokens"],
        "n_bytes": read[ingest, "n_bytes"],
        "quality": read[scores, "quality"],
        "key": pa.array(hashing.uniform_keys(ids, seed, DRAW)),
        "shuffle": pa.array(hashing.uniform_keys(ids, seed, SHUFFLE)),
    }
    columns |= {name: pa.array(getattr(members, name)) for name in _MEMBERS}
    for level, place in levels.items():
        values = known_values(level_values(level, read[place], tier_cuts), level)
        columns[_LEVEL + level] = values if level in NUMBERED else values.dictionary_encode()
    if weight:
        columns["weight"] = read[weight]
    if plan.licences:
        factors = licences.factors(read[ingest, "licence"], plan.licences)
        columns["factor"] = pa.array(factors)
    batch = pa.RecordBatch.from_arrays(list(columns.values()), names=list(columns))
    partfiles.write_batch(pool_path(workdir, part), batch)
    return _of(batch)


def _weight_place(
    workdir: Workdir, part: str, weight: WeightColumn | None
) -> tuple[str, str] | None:
    if weight != "preference":
        return None if weight is None else (workdir.part("score", part), weight)
    from mixcurate.transforms.preference import preference_path

    return preference_path(workdir, part), weight


def _read(places: list[tuple[str, str]]) -> dict[tuple[str, str], pa.Array]:
    """Columns of some files by (file, column); each file is opened once."""
    found: dict[tuple[str, str], pa.Array] = {}
    for path in dict.fromkeys(path for path, _ in places):
        columns = list(dict.fromkeys(name for other, name in places if other == path))
        table = partfiles.read_table(path, columns)
        found |= {(path, name): table.column(name).combine_chunks() for name in columns}
    return found


def read_pool(workdir: Workdir, part: str) -> PoolPart:
    """What ``write_pool`` has kept of a part."""
    return _of(partfiles.read_batch(pool_path(workdir, part)))


def _of(batch: pa.RecordBatch) -> PoolPart:
    columns = dict(zip(batch.schema.names, batch.columns, strict=True))

    def numbers(name: str) -> npt.NDArray[np.generic] | None:
        return columns[name].to_numpy(zero_copy_only=False) if name in columns else None

    members = Members(*(numbers(name) for name in _MEMBERS))  # type: ignore[arg-type]
    plain = ("domain", "tokens", "n_bytes", "quality", "key", "shuffle", "weight", "factor")
    return PoolPart(
        levels={
            name.removeprefix(_LEVEL): values
            for name, values in columns.items()
            if name.startswith(_LEVEL)
        },
        members=members,
        **{name: numbers(name) for name in plain},  # type: ignore[arg-type]
    )
