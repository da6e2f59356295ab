"""Histograms of the scores, from one pass over narrow columns."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

from mixcurate.io import partfiles, storage
from mixcurate.io.workdir import Workdir

_BINS = 40

Float32Array = npt.NDArray[np.float32]


@dataclasses.dataclass(frozen=True)
class Histogram:
    """Counts over equal bins between ``low`` and ``high``."""

    name: str
    low: float
    high: float
    counts: list[int]
    mean: float


def histograms(workdir: Workdir, parts: list[str]) -> list[Histogram]:
    """Histograms of quality and its dimensions, diversity and weight.

    Quality has the fixed range 0 to 1; documents of pruned clusters have no weight and are left out
    of that one. The values are held until their range is known: 4 bytes for each.

    Args:
        workdir: whose score stage has finished.
        parts: names of the parts that are read (``report_sample``).
    """
    if not parts:
        return []
    with storage.open_read(workdir.part("score", parts[0])) as stream:
        present = pq.read_schema(stream).names
    names = [name for name in present if name.startswith("quality_")]
    names = ["quality", "diversity", "weight", *names]
    values: dict[str, list[Float32Array]] = {name: [] for name in names}
    for part in parts:
        table = partfiles.read_table(workdir.part("score", part), names)
        for name in names:
            found = table.column(name).to_numpy()
            values[name].append(found[found > 0] if name == "weight" else found)
    return [_histogram(name, values[name]) for name in names]


def _histogram(name: str, pieces: list[Float32Array]) -> Histogram:
    """Of the pieces one after another; sums are made piece by piece."""
    filled = [piece.astype(np.float64) for piece in pieces if len(piece)]
    low = min([float(piece.min()) for piece in filled], default=np.inf)
    high = max([float(piece.max()) for piece in filled], default=-np.inf)
    edges = _range(name, low, high)
    counts = np.zeros(_BINS, np.int64)
    total = 0.0
    for piece in filled:
        counts += np.histogram(piece, _BINS, edges)[0]
        total += float(piece.sum())
    return Histogram(name, *edges, counts.tolist(), total / max(int(counts.sum()), 1))


def _range(name: str, low: float, high: float) -> tuple[float, float]:
    if name.startswith("quality") or low > high:
        return 0.0, 1.0
    low = 0.0 if name == "weight" else low
    return (low, high) if high > low else (low - 0.5, low + 0.5)
