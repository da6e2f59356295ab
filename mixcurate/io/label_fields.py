"""What is a label of quality: which fields of a row hold one, in what range, and what is none."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterator
from typing import Any, NamedTuple

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from mixcurate.errors import RequestError
from mixcurate.io import partfiles, storage

#: Points of a dimension; what has more is no judgement but a count or a number of another kind.
MOST_POINTS = 100

_ASKED = re.compile(r"([^=]+)(?:=(-?\d{1,9}):(-?\d{1,9}))?")
_NAME = re.compile(r"[a-z][a-z0-9_]{0,59}")  # as params.DimensionName: it becomes a column


class AskedDimension(NamedTuple):
    """A field that holds labels."""

    field: str
    """Its name; `labels.clarity` is a field inside of another."""
    range: tuple[int, int] | None = None
    """Least and greatest label; None: 0 and the greatest that is seen, rounded up."""

    @property
    def name(self) -> str:
        """Name of the dimension: the last part of the field's."""
        return self.field.rpartition(".")[2]


class LabelDimension(NamedTuple):
    """A dimension that labels were found of."""

    name: str
    least: int
    most: int


def parse_dimension(given: str) -> AskedDimension:
    """``FIELD`` or ``FIELD=LEAST:MOST``, as on the command line.

    Raises:
        RequestError: it is neither, or its range or name will not do.
    """
    found = _ASKED.fullmatch(given.strip())
    if found is None:
        raise RequestError(
            f"--dimension {given!r}: write NAME or NAME=LEAST:MOST, such as depth=0:2"
        )
    field, least, most = found.groups()
    asked = AskedDimension(field.strip(), None if least is None else (int(least), int(most)))
    check_name(asked.name)
    if asked.range is not None and not 0 < asked.range[1] - asked.range[0] <= MOST_POINTS:
        raise RequestError(
            f"--dimension {given!r}: must go from a lower to a higher number, by at most "
            f"{MOST_POINTS} points"
        )
    return asked


def check_name(name: str) -> None:
    """Raises RequestError where a name cannot be a column's."""
    if not _NAME.fullmatch(name):
        raise RequestError(
            f"{name!r} cannot be a dimension: its name must be small letters, digits and "
            f"underscores and begin with a letter; rename the field, or name those that are labels "
            f"with --dimension"
        )


def number_of(
    value: Any, is_csv: bool, allowed: tuple[int, int] | None
) -> tuple[float, str | None]:
    """A label, NaN for none, and what is wrong with it."""
    if value is None or (is_csv and not value.strip()):
        return math.nan, None
    shown = orjson.dumps(value).decode()[:80]
    number = _parsed(value, is_csv)
    least, most = allowed or (0, math.inf)
    if not math.isfinite(number):
        return math.nan, f"{shown}, not a number"
    if not least <= number <= most:
        return math.nan, f"{shown}, {f'below {least}' if number < least else f'above {most}'}"
    return number, None


def is_number(value: Any, is_csv: bool) -> bool:
    """Whether a value is a number, though perhaps not one that is allowed."""
    return not math.isnan(_parsed(value, is_csv))


def not_finite(path: str, fields: Collection[str]) -> Iterator[tuple[int, str, float]]:
    """Row, field and value of the numbers of a Parquet file that are NaN or infinite."""
    with storage.open_read(path) as stream:
        schema = pq.read_schema(stream)
    floats = [
        field.name for field in schema if field.name in fields and pa.types.is_floating(field.type)
    ]
    row = 0
    for batch in partfiles.iter_batches(path, floats) if floats else ():
        for name in floats:
            values = batch.column(name).to_numpy(zero_copy_only=False)
            is_bad = ~np.isfinite(values) & batch.column(name).is_valid().to_numpy(
                zero_copy_only=False
            )
            for place in np.flatnonzero(is_bad).tolist():
                yield row + place, name, float(values[place])
        row += batch.num_rows


def _parsed(value: Any, is_csv: bool) -> float:
    """The number that a value is, NaN if it is none; text is one in a CSV only."""
    if isinstance(value, str) and (not is_csv or "_" in value):  # Python would read 1_000
        return math.nan
    try:
        return float(value)
    except (ValueError, TypeError, OverflowError):
        return math.nan
