"""Quality of a part's documents: our own dimensions, and those that the documents carry."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import polars as pl

from mixcurate.io import partfiles
from mixcurate.io.workdir import Workdir
from mixcurate.kernels import quality

Float32Array = npt.NDArray[np.float32]


def read_quality(workdir: Workdir, part: str) -> dict[str, Float32Array]:
    """Quality dimensions of a part, computed from its signal columns."""
    columns = [f"signal_{name}" for name in quality.INPUTS]
    table = partfiles.read_table(workdir.part("ingest", part), columns)
    signals = {name: table.column(f"signal_{name}").to_numpy() for name in quality.INPUTS}
    return quality.heuristic_quality(signals)


def read_carried(workdir: Workdir, part: str, names: Sequence[str]) -> dict[str, Float32Array]:
    """Numbers that a part's documents carry in ``metadata``; NaN where one does not.

    Args:
        workdir: of the job.
        part: its name.
        names: fields of the inputs, without quotes in them.
    """
    if not names:
        return {}
    table = partfiles.read_table(workdir.part("ingest", part), ["metadata"])
    metadata = pl.from_arrow(table.column("metadata"))
    if not isinstance(metadata, pl.Series):
        raise TypeError("a column came back as a table")
    return {name: _numbers(metadata, name) for name in names}


def _numbers(metadata: pl.Series, name: str) -> Float32Array:
    found = metadata.str.json_path_match(f'$["{name}"]').cast(pl.Float32, strict=False)
    values: Float32Array = found.fill_null(float("nan")).to_numpy().astype(np.float32)
    values[~np.isfinite(values)] = np.nan
    return values
