"""What the report says of quality, diversity and weights, from the sketches that score leaves.

Nothing here grows with the number of documents: the sketches count them by 64 bins of a score.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mixcurate.io import partfiles, storage
from mixcurate.io.workdir import Workdir
from mixcurate.kernels.score_sketch import BINS
from pipelines.report_what_if import what_if_tables

Float64Array = npt.NDArray[np.float64]

#: Files of the score stage that the section is made of.
_TABLES = ("plane", "sources", "domains_quality", "copies")

#: Rows of a table before the others are added up.
_MOST_ROWS = 24

#: Shades of the plane, and the bounds of expected copies between them: as many below one as above.
_SHADES = 8
_COPY_BOUNDS = (0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)

#: Numbers of copies that have a row of their own.
_MOST_COPIES = 8


def quality_section(workdir: Workdir, domains: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Everything the section shows; None if score has left no sketches, as older versions did not.

    Args:
        workdir: whose score stage has finished.
        domains: rows of ``domains.parquet``.
    """
    folder = workdir.path("_stages", "score")
    paths = {name: storage.join(folder, f"{name}.parquet") for name in _TABLES}
    about = storage.join(folder, "pool.json")
    if not all(storage.exists(path) for path in [about, *paths.values()]):
        return None
    pool = storage.read_json(about)
    names = [domain["name"] for domain in domains]
    tables = {name: partfiles.read_table(path) for name, path in paths.items()}
    columns = _columns(tables["plane"])
    if len(columns["domain"]) == 0:
        return None
    by_domain = _by_name(tables["domains_quality"], "domain", names)
    by_source = _by_name(tables["sources"], "source", None)
    return {
        "pool": pool,
        "by_domain": by_domain,
        "by_source": by_source,
        "axis": _axis([*by_domain, *by_source]),
        "plane": _plane(columns, pool),
        "drawn": _drawn(columns, tables["copies"], names, pool),
        "times": _times(columns, tables["copies"]),
        "what_if": what_if_tables(columns, pool, names),
    }


def _columns(table: pa.Table) -> dict[str, npt.NDArray[Any]]:
    return {name: table.column(name).to_numpy() for name in table.column_names}


@dataclasses.dataclass(frozen=True)
class Spread:
    """Where the values of a histogram between 0 and 1 lie: quantiles and mean."""

    p10: float
    p50: float
    p90: float
    mean: float

    @staticmethod
    def of(counts: npt.NDArray[np.integer]) -> Spread | None:
        """From the counts of equal bins, evenly filled; None if there are none."""
        total = int(counts.sum())
        if total == 0:
            return None
        below = np.cumsum(counts)
        wanted = np.array([0.1, 0.5, 0.9]) * total
        at = np.searchsorted(below, wanted)  # the first bin that reaches it is not empty
        inside = (wanted - below[at] + counts[at]) / counts[at]
        p10, p50, p90 = ((at + inside) / len(counts)).tolist()
        centres = (np.arange(len(counts)) + 0.5) / len(counts)
        return Spread(p10, p50, p90, float(np.dot(counts, centres)) / total)


def _by_name(table: pa.Table, by: str, names: list[str] | None) -> list[dict[str, Any]]:
    """Quality in the pool and as drawn for each domain or source, the largest first."""
    columns = _columns(table)
    keys, where = np.unique(columns[by].astype(str if names is None else int), return_inverse=True)
    sums = {}
    for name in ("n_documents", "copies"):
        sums[name] = np.zeros((len(keys), BINS), np.int64)
        np.add.at(sums[name], (where, columns["quality_bin"]), columns[name])
    order = np.argsort(-sums["n_documents"].sum(axis=1), kind="stable")
    rows = [
        _quality_row(str(keys[i]) if names is None else names[int(keys[i])], [i], sums)
        for i in order[:_MOST_ROWS]
    ]
    if rest := order[_MOST_ROWS:].tolist():
        rows.append(_quality_row(f"{len(rest):,} other" + "s" * (len(rest) > 1), rest, sums))
    return rows


def _quality_row(
    name: str, rows: list[int], sums: dict[str, npt.NDArray[np.int64]]
) -> dict[str, Any]:
    documents, copies = (sums[key][rows].sum(axis=0) for key in ("n_documents", "copies"))
    return {
        "name": name,
        "documents": int(documents.sum()),
        "copies": int(copies.sum()),
        "pool": Spread.of(documents),
        "drawn": Spread.of(copies),
    }


def _axis(rows: list[dict[str, Any]]) -> tuple[float, float]:
    """Tenths that all bars lie between."""
    spreads = [row[key] for row in rows for key in ("pool", "drawn") if row[key] is not None]
    low = math.floor(10 * min(spread.p10 for spread in spreads))
    high = math.ceil(10 * max(spread.p90 for spread in spreads))
    return low / 10, max(high, low + 1) / 10


def _plane(columns: dict[str, npt.NDArray[Any]], pool: dict[str, Any]) -> dict[str, Any]:
    """Both panels, as paths of an SVG whose user unit is a bin."""
    place = columns["diversity_bin"].astype(np.int64) * BINS + columns["quality_bin"]
    documents = np.bincount(place, columns["n_documents"], BINS * BINS).reshape(BINS, BINS)
    expected = np.bincount(place, columns["expected"], BINS * BINS).reshape(BINS, BINS)
    most = max(float(documents.max()), 1.0)
    steps = np.unique(np.ceil(most ** (np.arange(1, _SHADES) / _SHADES)))
    steps = steps[steps < most]
    there = documents > 0
    each = expected / np.maximum(documents, 1)
    plain = pool["normalise"] == "minmax" and len(pool["groups"]) == 1
    return {
        "documents": _panel(np.where(there, np.searchsorted(steps, documents), -1), len(steps) + 1),
        "document_bounds": [*(int(step) for step in steps), int(most)],
        "document_shades": np.linspace(_SHADES - 1, 0, len(steps) + 1)[::-1].astype(int).tolist(),
        "expected": _panel(np.where(there, np.searchsorted(_COPY_BOUNDS, each), -1), _SHADES),
        "copy_bounds": list(_COPY_BOUNDS),
        "ranges": pool["groups"][0] if plain else None,
    }


def _panel(shade: npt.NDArray[np.intp], shades: int) -> list[str]:
    """The cells of each shade as one path; those side by side are one rectangle.

    Args:
        shade: ``[diversity, quality]``; -1 for none.
        shades: how many.
    """
    paths: list[list[str]] = [[] for _ in range(shades)]
    for row, values in enumerate(shade.tolist()):
        column = 0
        for value, run in itertools.groupby(values):
            width = len(list(run))
            if value >= 0:
                paths[value].append(f"M{column} {BINS - 1 - row}h{width}v1h-{width}z")
            column += width
    return ["".join(path) for path in paths]


def _bernoulli(columns: dict[str, npt.NDArray[Any]]) -> tuple[Float64Array, Float64Array]:
    """Of each bin, whole copies of its documents and the chance of one more, at the bin's mean."""
    each = columns["expected"] / np.maximum(columns["n_documents"], 1)
    whole = np.floor(each)
    return whole, each - whole


def _drawn(
    columns: dict[str, npt.NDArray[Any]],
    copies: pa.Table,
    names: list[str],
    pool: dict[str, Any],
) -> list[dict[str, Any]]:
    """Expected and realised copies of each domain, and how often its documents come."""
    _, chance = _bernoulli(columns)
    variance = columns["n_documents"] * chance * (1 - chance)
    counted = _columns(copies)
    n = len(names)

    def by_domain(values: npt.NDArray[Any], rows: dict[str, npt.NDArray[Any]]) -> Float64Array:
        return np.bincount(rows["domain"], values, n).astype(np.float64)

    sums = {
        "documents": by_domain(columns["n_documents"], columns),
        "tokens": by_domain(columns["n_tokens"], columns),
        "expected": by_domain(columns["expected"], columns),
        "copies": by_domain(columns["copies"], columns),
        "expected_tokens": by_domain(columns["expected_tokens"], columns),
        "copy_tokens": by_domain(columns["copy_tokens"], columns),
        "variance": by_domain(variance, columns),
        "distinct": by_domain(counted["n_tokens"] * (counted["copies"] > 0), counted),
        "never": by_domain(counted["n_documents"] * (counted["copies"] == 0), counted),
        "repeated": by_domain(counted["n_documents"] * (counted["copies"] > 1), counted),
    }
    order = [i for i in np.argsort(-sums["copy_tokens"], kind="stable") if sums["documents"][i]]
    chances = pool["method"] != "gumbel"  # its sample has a fixed size: it spreads less
    rows = [_drawn_row(names[i], [i], sums, chances) for i in order[:_MOST_ROWS]]
    if rest := order[_MOST_ROWS:]:
        name = f"{len(rest):,} other" + "s" * (len(rest) > 1)
        rows.append(_drawn_row(name, rest, sums, chances))
    return [*rows, _drawn_row("all", order, sums, chances)]


def _drawn_row(
    name: str, rows: Sequence[int], sums: dict[str, Float64Array], chances: bool
) -> dict[str, Any]:
    found = {key: float(values[rows].sum()) for key, values in sums.items()}
    difference = found["copies"] - found["expected"]
    spread = found["variance"] ** 0.5
    documents = max(found["documents"], 1)
    return found | {
        "name": name,
        "off": difference / found["expected"] if found["expected"] else None,
        "z": difference / spread if chances and spread > 0 else None,
        "off_tokens": found["copy_tokens"] / found["expected_tokens"] - 1
        if found["expected_tokens"]
        else None,
        "epochs": found["copy_tokens"] / found["distinct"] if found["distinct"] else None,
        "never": found["never"] / documents,
        "repeated": found["repeated"] / documents,
    }


def _times(columns: dict[str, npt.NDArray[Any]], copies: pa.Table) -> list[dict[str, Any]]:
    """Documents by how often they are drawn, and how many the sketch lets expect."""
    whole, chance = _bernoulli(columns)
    documents = columns["n_documents"]
    top = _MOST_COPIES + 1
    expected = np.bincount(np.minimum(whole, top).astype(int), documents * (1 - chance), top + 1)
    expected += np.bincount(np.minimum(whole + 1, top).astype(int), documents * chance, top + 1)
    counted = _columns(copies)
    times = np.minimum(counted["copies"], top)
    realised = np.bincount(times, counted["n_documents"], top + 1)
    tokens = np.bincount(times, counted["n_tokens"] * counted["copies"], top + 1)
    total, drawn = max(float(realised.sum()), 1.0), max(float(tokens.sum()), 1.0)
    rows = [
        {
            "times": str(number) if number < top else f"{top} or more",
            "documents": int(realised[number]),
            "share": realised[number] / total,
            "expected": float(expected[number]),
            "off": realised[number] / expected[number] - 1 if expected[number] >= 0.5 else None,
            "token_share": tokens[number] / drawn,
        }
        for number in range(top + 1)
    ]
    last = max(i for i, row in enumerate(rows) if row["documents"] or row["expected"] >= 0.5)
    return rows[: last + 1]
