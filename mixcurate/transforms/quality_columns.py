"""Quality of a part's documents as the quality step has left it, and numbers that they carry."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from mixcurate.io import partfiles, storage
from mixcurate.io.workdir import Workdir
from mixcurate.kernels.quality import Dimension

if TYPE_CHECKING:
    import polars as pl

Float32Array = npt.NDArray[np.float32]

#: Prefix of the columns of dimensions.
PREFIX = "quality_"


@dataclasses.dataclass(frozen=True)
class Quality:
    """Quality of the documents of a part.

    Attributes:
        dimensions: float32 ``[n]`` of each, in its own range; NaN where a document has none.
        overall: float32 ``[n]`` in [0, 1].
    """

    dimensions: dict[str, Float32Array]
    overall: Float32Array


def columns_path(workdir: Workdir, part: str) -> str:
    """The quality columns of a part."""
    return workdir.path("_stages", "quality", "columns", f"part-{part}.parquet")


def about_path(workdir: Workdir) -> str:
    """What the columns are."""
    return workdir.path("_stages", "quality", "about.json")


def write_dimensions(workdir: Workdir, dimensions: Sequence[Dimension]) -> None:
    """Say what the columns are."""
    rows = [dataclasses.asdict(dimension) for dimension in dimensions]
    storage.write_json(about_path(workdir), {"dimensions": rows})


def read_dimensions(workdir: Workdir) -> list[Dimension]:
    """What the columns are."""
    return [Dimension(**row) for row in storage.read_json(about_path(workdir))["dimensions"]]


def read_quality(workdir: Workdir, part: str) -> Quality:
    """All quality columns of a part."""
    table = partfiles.read_table(columns_path(workdir, part))
    dimensions = {
        name.removeprefix(PREFIX): table.column(name).to_numpy()
        for name in table.column_names
        if name.startswith(PREFIX)
    }
    return Quality(dimensions, table.column("quality").to_numpy())


def read_overall(workdir: Workdir, part: str) -> Float32Array:
    """Quality alone: float32 ``[n]`` in [0, 1]."""
    table = partfiles.read_table(columns_path(workdir, part), ["quality"])
    overall: Float32Array = table.column("quality").to_numpy()
    return overall


def read_carried(workdir: Workdir, part: str, names: Sequence[str]) -> dict[str, Float32Array]:
    """Numbers that a part's documents carry in ``metadata``; NaN where one does not.

    Args:
        workdir: of the job.
        part: its name.
        names: fields of the inputs, without quotes in them.
    """
    if not names:
        return {}
    import polars as pl  # here: plan and materialize read no metadata, and would wait for it

    table = partfiles.read_table(workdir.part("ingest", part), ["metadata"])
    metadata = pl.from_arrow(table.column("metadata"))
    if not isinstance(metadata, pl.Series):
        raise TypeError("a column came back as a table")
    return {name: _numbers(metadata, name) for name in names}


def _numbers(metadata: pl.Series, name: str) -> Float32Array:
    import polars as pl

    found = metadata.str.json_path_match(f'$["{name}"]').cast(pl.Float32, strict=False)
    values: Float32Array = found.fill_null(float("nan")).to_numpy().astype(np.float32)
    values[~np.isfinite(values)] = np.nan
    return values
