"""Labels of quality that people or a language model gave: one judgement of a document a row.

Whoever gives labels wants every one of them used. So a row that cannot be read, or a label that is
no number of its range, is an error here, unlike in an input, where it costs one rejected row.
"""

from __future__ import annotations

import array
import dataclasses
import math
from collections.abc import Iterator, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from mixcurate.errors import InputError, RequestError, nearest
from mixcurate.io import storage
from mixcurate.io.compression import open_plain
from mixcurate.io.label_fields import (
    MOST_POINTS,
    AskedDimension,
    LabelDimension,
    check_name,
    is_number,
    not_finite,
    number_of,
)
from mixcurate.io.lines import CHUNK, as_utf8
from mixcurate.io.readers import InputParams, ReadTask, list_tasks, read
from mixcurate.io.records import RawBatch, field_list, take

#: Fields of a row that are no labels unless they are asked for.
KNOWN = frozenset(
    {"id", "text", "url", "path", "source", "position", "language", "language_score"}
    | {"n_tokens", "n_bytes", "domain", "cluster", "seed", "total"}
    | {"tokens", "prompt_tokens", "completion_tokens"}
)

_FORMATS = ("jsonl", "csv", "parquet")
_MOST_FIELDS = 1_000
_SHOWN = 5

By = Literal["id", "text"]


class _Problem(NamedTuple):
    task: ReadTask
    position: int
    what: str


@dataclasses.dataclass(frozen=True)
class Labels:
    """Documents and their labels, in the order of their first rows.

    Attributes:
        path: as it was given.
        by: whether rows name documents by id or bring their text.
        keys: string ``[n]``: the id, or the hash of the text.
        groups: string ``[n]``: what is held out together; the key where no group is known.
        values: float64 ``[n, m]``, NaN where a document has no label. Of a document that is judged
            in several rows, their mean: that is what a head is to predict.
        dimensions: ``[m]``.
        places: of each document, number of its file in ``tasks`` and position there.
        tasks: the files.
        first_rows: int64 ``[n]``: first row of each document, counted over all files.
        rows: of all files.
        repeated: rows of a document that an earlier row had.
        unlabelled: documents without any label; they are left out.
    """

    path: str
    by: By
    keys: pa.Array
    groups: pa.Array
    values: npt.NDArray[np.float64]
    dimensions: tuple[LabelDimension, ...]
    places: list[tuple[int, int]]
    tasks: list[ReadTask]
    first_rows: npt.NDArray[np.int64]
    rows: int
    repeated: int
    unlabelled: int


def read_labels(
    path: str,
    *,
    by: By,
    asked: Sequence[AskedDimension] = (),
    group_field: str | None = None,
    base: str = ".",
) -> Labels:
    """Read JSON Lines, CSV (each also compressed) or Parquet.

    A row names its document by ``id`` or brings its ``text``; all other numbers are labels unless
    ``asked`` says which are. null, an empty cell of a CSV and a field that is not there mean: not
    labelled. true and false are 1 and 0 where they are asked for.

    Args:
        path: file, folder or pattern.
        by: ``id`` or ``text``, where the rows have both.
        asked: the dimensions; none: every field whose first value is a number, but those in
            ``KNOWN``.
        group_field: rows of one value there are of one group.
        base: folder that a relative ``path`` starts from.

    Raises:
        InputError: no file, one that cannot be read, no label, or bad ones: file, line, field and
            value of the first of them, and their number.
        RequestError: a field that is asked for is nowhere, or its name can be no dimension's.
    """
    tasks = list_tasks(0, InputParams(path=path), base=base, task_bytes=1 << 62)
    for task in tasks:
        if task.format not in _FORMATS:
            raise InputError(f"{task.shown_path}: labels are JSON Lines, CSV or Parquet")
    by = _by(tasks[0], by)
    names = [dimension.name for dimension in asked]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise RequestError(f"two dimensions are named {twice[0]!r}; ask for each once")
    rows = _Rows(asked, group_field)
    for number, task in enumerate(tasks):
        for batch in _batches(task, by):
            rows.add(number, task, batch, hashed=by == "text")
    rows.add_not_finite(tasks)
    if rows.n_problems:
        raise InputError(_told(path, rows))
    return rows.labels(path, by, tasks)


def iter_texts(labels: Labels) -> Iterator[list[str]]:
    """The texts of labelled documents in their order, read again, in batches of bounded size.

    Raises:
        InputError: the files are not those that labels were read of.
    """
    row = done = 0
    for task in labels.tasks:
        for batch in _batches(task, "text"):
            stop = row + batch.documents.num_rows
            end = int(np.searchsorted(labels.first_rows, stop))
            mine = pa.array(labels.first_rows[done:end] - row)
            texts = batch.documents.column("text").take(mine).to_pylist()
            if texts:
                yield texts
            row, done = stop, end
    if row != labels.rows:
        raise InputError(f"{labels.path} was changed while it was read; start again")


def lines_at(task: ReadTask, positions: Sequence[int]) -> list[int]:
    """Lines of a text file, or rows of a Parquet file, both from 1, of ascending positions."""
    if task.format == "parquet":
        return [position + 1 for position in positions]
    lines, line, at = [], 1, 0
    with storage.open_read(task.path) as stream:
        text = as_utf8(open_plain(stream, task.path))
        for position in positions:
            while at < position and (chunk := text.read(min(CHUNK, position - at))):
                at += len(chunk)
                line += chunk.count(b"\n")
            lines.append(line)
    return lines


class _Rows:
    """Collects the labels of rows, by field, and the document of each row."""

    def __init__(self, asked: Sequence[AskedDimension], group_field: str | None) -> None:
        self.problems: list[_Problem] = []
        self.n_problems = 0
        self.asked = {dimension.field: dimension for dimension in asked}
        self._is_open = not asked
        self._group_field = group_field
        self._number: dict[str, int] = {}  # of each document, by key
        self._places: list[tuple[int, int]] = []
        self._groups: list[str | None] = []
        self._first_rows, self._documents = array.array("q"), array.array("q")
        self._values = {field: array.array("d") for field in self.asked}  # by row
        self._seen: set[str] = set()
        self._ignored = {*KNOWN, group_field or "id"}

    def add(self, number: int, task: ReadTask, batch: RawBatch, *, hashed: bool) -> None:
        """Add the rows of a batch of file ``number``."""
        for rejection in batch.rejected:
            what = f"{rejection.reason}: {rejection.detail[:300]}"
            self._refuse(_Problem(task, rejection.position, what))
        columns = (batch.documents.column(name) for name in ("position", "text", "metadata"))
        for position, name, rest in zip(*(column.to_pylist() for column in columns), strict=True):
            record = orjson.loads(rest) if rest else {}
            if len(self._seen) < _MOST_FIELDS:
                self._seen |= record.keys()
            if not name or name.isspace():
                self._refuse(_Problem(task, position, f"{'text' if hashed else 'id'} is empty"))
            key = xxhash.xxh3_128_hexdigest(name.encode()) if hashed else name
            document = self._number.setdefault(key, len(self._places))
            if document == len(self._places):
                self._places.append((number, position))
                self._first_rows.append(len(self._documents))
                group = take(record, self._group_field) if self._group_field else None
                self._groups.append(None if group is None else str(group))
            if self._is_open:
                self._find(record, is_csv=task.format == "csv")
            self._documents.append(document)
            for field, dimension in self.asked.items():
                value, problem = number_of(
                    take(record, field), task.format == "csv", dimension.range
                )
                self._values[field].append(value)
                if problem:
                    self._refuse(_Problem(task, position, f"{field} is {problem}"))

    def add_not_finite(self, tasks: Sequence[ReadTask]) -> None:
        """Problems of the numbers of Parquet that JSON, which rows come as, has no words for."""
        for task in tasks:
            if task.format == "parquet":
                for position, field, value in not_finite(task.path, self.asked):
                    self._refuse(_Problem(task, position, f"{field} is {value}, not a number"))

    def _find(self, record: dict[str, Any], *, is_csv: bool) -> None:
        """Fields that turn out to be labels by their first value."""
        for field, value in record.items():
            if field in self.asked or field in self._ignored or value is None or value == "":
                continue
            if isinstance(value, bool) or not is_number(value, is_csv):
                self._ignored.add(field)
                continue
            self.asked[field] = AskedDimension(field)
            self._values[field] = array.array("d", [math.nan]) * len(self._documents)
            if len(self.asked) > _MOST_FIELDS:
                raise InputError("more than 1,000 fields are numbers; name those that are labels")

    def _refuse(self, problem: _Problem) -> None:
        self.n_problems += 1
        if len(self.problems) < _SHOWN:
            self.problems.append(problem)

    def labels(self, path: str, by: By, tasks: list[ReadTask]) -> Labels:
        """What was collected, a document once."""
        if not self._documents:
            raise InputError(f"{path} holds no row")
        if self._group_field and not any(group is not None for group in self._groups):
            raise RequestError(f"{path}: no row has {self._nowhere(self._group_field)}")
        if not self.asked:
            has = field_list(self._seen)
            raise InputError(f"{path}: no field holds a number; it has {has}; see --dimension")
        document, n = np.array(self._documents), len(self._places)
        sums, dimensions = np.empty((n, len(self.asked))), []
        for column, (field, values) in enumerate(sorted(self._values.items())):
            rows = np.array(values)
            labelled = ~np.isnan(rows)
            dimensions.append(self._dimension(path, field, rows[labelled]))
            count = np.bincount(document[labelled], minlength=n)
            total = np.bincount(document[labelled], weights=rows[labelled], minlength=n)
            sums[:, column] = np.where(count > 0, total / np.maximum(count, 1), np.nan)
        keep = np.flatnonzero(~np.isnan(sums).all(axis=1))
        keys = pa.array(list(self._number), pa.string()).take(pa.array(keep))
        groups = pa.array(self._groups, pa.string()).take(pa.array(keep))
        return Labels(
            path=path,
            by=by,
            keys=keys,
            groups=pc.coalesce(groups, keys),
            values=sums[keep],
            dimensions=tuple(dimensions),
            places=[self._places[one] for one in keep.tolist()],
            tasks=tasks,
            first_rows=np.array(self._first_rows)[keep],
            rows=len(document),
            repeated=len(document) - n,
            unlabelled=n - len(keep),
        )

    def _dimension(self, path: str, field: str, found: npt.NDArray[np.float64]) -> LabelDimension:
        """Name and range of a dimension with the labels ``found``."""
        dimension = self.asked[field]
        check_name(dimension.name)
        if len(found) == 0:
            raise RequestError(f"{path}: no row has a label in {self._nowhere(field)}")
        if dimension.range is not None:
            return LabelDimension(dimension.name, *dimension.range)
        most = max(1, math.ceil(found.max()))
        if most > MOST_POINTS:
            raise InputError(
                f"{path}: {field} goes up to {found.max():,.0f}, which is no judgement of at most "
                f"{MOST_POINTS} points; name the fields that are: --dimension NAME=LEAST:MOST"
            )
        return LabelDimension(dimension.name, 0, most)

    def _nowhere(self, field: str) -> str:
        near = nearest(field, self._seen) if len(self._seen) <= _MOST_FIELDS else ""
        return f"field {field!r}; {near}".removesuffix("; ")


def _by(task: ReadTask, wanted: By) -> By:
    """What names documents: what is wanted if the first row has it, else the other.

    Raises:
        InputError: it has neither.
    """
    other: By = "text" if wanted == "id" else "id"
    for by in (wanted, other):
        first = next(_batches(task, by), None)
        if first is None:
            continue
        reasons = {rejection.reason for rejection in first.rejected}
        if first.documents.num_rows or reasons != {"no_text_field"}:
            return by
    if first is None:
        raise InputError(f"{task.shown_path} holds no row")
    detail = first.rejected[0].detail.partition("; ")[2]
    raise InputError(f"{task.shown_path}: rows have neither 'id' nor 'text'; {detail}")


def _batches(task: ReadTask, by: By) -> Iterator[RawBatch]:
    # no field is taken out of the row as a URL or a licence: it may be the group
    fields = InputParams(path=task.path, text_field=by, url_field="", licence_field="")
    return read(task, fields, extract=lambda *_: None)


def _told(path: str, rows: _Rows) -> str:
    """The first problems with their lines, and the fix."""
    lines = [f"{path}: {rows.n_problems:,} labels or rows cannot be used:"]
    for task, position, what in rows.problems:
        [line] = lines_at(task, [position])
        unit = "row" if task.format == "parquet" else "line"
        lines.append(f"  {task.shown_path}, {unit} {line:,}: {what}")
    lines += [f"  and {rows.n_problems - _SHOWN:,} more"] * (rows.n_problems > _SHOWN)
    lines.append(
        "Mend them. null (in a CSV an empty cell) means: not labelled; --dimension NAME=LEAST:MOST "
        "names a field that holds labels, and their range"
    )
    return "\n".join(lines)
