"""Tables about hosts: their scores, or the links between them.

CSV, TSV or Parquet; text may be compressed. Scores may also be one JSON object from host to number.
Common Crawl's rank files are read as they are: a ``#`` before names of columns, and hosts written
as ``com.example``.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from mixcurate.errors import InputError, nearest
from mixcurate.io import storage
from mixcurate.io.compression import PlainStream, open_plain
from mixcurate.io.listing import reason_of

#: Names of a column of hosts, and of one of registered domains, which stand for all hosts below.
_HOSTS = ("host", "hostname", "host_rev", "host_reversed")
_DOMAINS = ("domain", "domain_rev", "domain_reversed")
_ENDS = (
    ("source", "target"),
    ("from", "to"),
    ("src", "dst"),
    ("from_host", "to_host"),
    ("source_host", "target_host"),
)

#: Names of columns that hold positions, where the least is the best, or counts.
_NO_SCORE = re.compile(r"(.*_)?(pos|position|rank)|n_hosts")

#: Larger objects of JSON are not read: they are held whole, several times.
_MAX_JSON = 2 << 30

_HEAD = 64 << 10
_BLOCK = 4 << 20


class HostScores(NamedTuple):
    """A table of scores, a row of the file each.

    Attributes:
        names: string ``[n]``, as the file has them.
        scores: float64 ``[n]``, finite and not negative.
        column: where they were.
        of_domains: whether names are registered domains.
    """

    names: pa.Array
    scores: npt.NDArray[np.float64]
    column: str
    of_domains: bool


def read_host_scores(path: str, column: str | None) -> HostScores:
    """Read a table of hosts with a score each.

    Args:
        path: file.
        column: of the scores; None takes the first column of numbers that is no position or count.

    Raises:
        InputError: the file cannot be read, has no column of hosts or of scores, or a score that
            is missing, negative or not finite.
    """
    batches = _batches(path)
    first = next(batches, None)
    if first is None:
        raise InputError(f"{path} holds no row")
    names = first.schema.names
    host = next((name for name in (*_HOSTS, *_DOMAINS) if name in names), None)
    if host is None:
        raise InputError(
            f"{path}: no column of hosts; it has {', '.join(names)}; name it 'host' or 'domain'"
        )
    scores = _score_column(path, first.schema, host, column)
    found_names, found_scores, row = [], [], 0
    for batch in (first, *batches):
        found_names.append(batch.column(host).cast(pa.string()))
        values = _numbers(path, batch.column(scores), scores, row)
        found_scores.append(values)
        row += batch.num_rows
    return HostScores(
        pa.chunked_array(found_names, pa.string()).combine_chunks(),
        np.concatenate(found_scores),
        scores,
        host in _DOMAINS,
    )


def read_host_links(path: str) -> tuple[pa.Array, pa.Array]:
    """Read a table of links: string ``[m]`` and string ``[m]``, as the file has them.

    Raises:
        InputError: the file cannot be read, or has no columns of a link's two ends.
    """
    sources, targets, ends = [], [], None
    for batch in _batches(path):
        names = batch.schema.names
        ends = ends or next((pair for pair in _ENDS if set(pair) <= set(names)), None)
        if ends is None:
            raise InputError(
                f"{path}: no columns of a link's two ends; it has {', '.join(names)}; name them "
                "'source' and 'target'"
            )
        sources.append(batch.column(ends[0]).cast(pa.string()))
        targets.append(batch.column(ends[1]).cast(pa.string()))
    if ends is None:
        raise InputError(f"{path} holds no row")
    left, right = (pa.chunked_array(end, pa.string()) for end in (sources, targets))
    return left.combine_chunks(), right.combine_chunks()


def _score_column(path: str, schema: pa.Schema, host: str, asked: str | None) -> str:
    numbers: list[str] = [
        field.name
        for field in schema
        if field.name != host
        and (pa.types.is_floating(field.type) or pa.types.is_integer(field.type))
    ]
    fit = [name for name in numbers if not _NO_SCORE.fullmatch(name)]
    if asked is None:
        if fit:
            return fit[0]
        raise InputError(f"{path}: no column of scores; it has {', '.join(schema.names)}")
    asked = _plain(asked)
    if asked in fit:
        return asked
    if asked in numbers:
        raise InputError(
            f"{path}: column {asked!r} holds positions or counts, of which the greatest is not the "
            f"most central; choose {' or '.join(map(repr, fit)) or 'another table'}"
        )
    raise InputError(f"{path}: no column of numbers {asked!r}; {nearest(asked, fit)}")


def _numbers(path: str, column: pa.Array, name: str, row: int) -> npt.NDArray[np.float64]:
    values = column.cast(pa.float64()).fill_null(np.nan).to_numpy(zero_copy_only=False)
    bad = np.flatnonzero(~(np.isfinite(values) & (values >= 0)))
    if len(bad):
        raise InputError(
            f"{path}, row {row + int(bad[0]) + 1:,}: {name} is {values[bad[0]]:g}; scores must be "
            "numbers from 0 on"
        )
    found: npt.NDArray[np.float64] = values
    return found


def _batches(path: str) -> Iterator[pa.RecordBatch]:
    """The rows of a file, whatever it is; names of columns in small letters without ``#``.

    Raises:
        InputError: it cannot be read.
    """
    try:
        with storage.open_read(path) as stream:
            if stream.read(4) == b"PAR1":
                stream.seek(0)
                found = pq.ParquetFile(stream).iter_batches()
            else:
                stream.seek(0)
                plain = open_plain(stream, path)
                found = _text(plain, path)
            for batch in found:
                if batch.num_rows:
                    yield batch.rename_columns([_plain(name) for name in batch.schema.names])
    except OSError as error:
        raise InputError(f"cannot read {path}: {reason_of(error)}") from error
    except pa.ArrowException as error:
        raise InputError(f"cannot read {path}: {error}") from error


def _plain(name: str) -> str:
    return name.strip().lstrip("#").lower()


def _text(plain: PlainStream, path: str) -> Iterator[pa.RecordBatch]:
    head = plain.peek(_HEAD)
    if head.lstrip().startswith(b"{"):
        yield _json(plain, path)
        return
    if head:
        line = head.partition(b"\n")[0]
        delimiter = max("\t,; ", key=lambda one: line.count(one.encode()))
        reader = pacsv.open_csv(
            pa.PythonFile(io.BufferedReader(_Raw(plain), _BLOCK), mode="r"),
            read_options=pacsv.ReadOptions(block_size=_BLOCK, use_threads=False),
            parse_options=pacsv.ParseOptions(delimiter=delimiter),
            convert_options=pacsv.ConvertOptions(strings_can_be_null=True, null_values=[""]),
        )
        yield from reader
    if plain.error is not None:
        raise InputError(f"cannot read {path}: {plain.error}")


def _json(plain: PlainStream, path: str) -> pa.RecordBatch:
    """One object from host to score."""
    content = plain.read(_MAX_JSON)
    if len(content) == _MAX_JSON:
        raise InputError(f"{path} is JSON of more than {_MAX_JSON:,} bytes; make a CSV of it")
    try:
        table = orjson.loads(content)
        scores = pa.array(list(table.values()), pa.float64())
    except (ValueError, pa.ArrowException) as error:
        raise InputError(f"{path} is no JSON object from host to number: {error}") from error
    return pa.RecordBatch.from_pydict({"host": list(table), "score": scores})


class _Raw(io.RawIOBase):
    """A decompressed stream as Python's files are."""

    def __init__(self, plain: PlainStream) -> None:
        self._plain = plain

    def readable(self) -> bool:
        """Whether it can be read: it can."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Fill a buffer as far as there is something."""
        data = self._plain.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)
