"""Delimiter-separated values (CSV, TSV) as RFC 4180 has them: a header, then one document a row.

Python's ``csv`` does the parsing, record by record: pyarrow's parser gives up a whole file where a
quote is not closed or a cell is longer than its block.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator

from mixcurate.io import records
from mixcurate.io.compression import PlainStream
from mixcurate.io.lines import Readable, as_utf8, read_pieces
from mixcurate.io.records import (
    FieldParams,
    RawBatch,
    RawBuilder,
    Rejection,
    add_mapping,
    field_list,
)

#: A row above this size is rejected: the parser holds four bytes for each character of a cell, and
#: a quote that is never closed makes a row of everything that follows.
MAX_ROW_BYTES = 16 << 20

#: Bytes that may be read again after rows that were cut, beyond those that were read once.
_REREAD = 4 * MAX_ROW_BYTES

_Line = tuple[int, bytes | Rejection]
#: The position, the first line, and the cells of a row or why it has none.
_Row = tuple[int, bytes, list[str] | Rejection]


def read_delimited(
    stream: PlainStream, *, fields: FieldParams, delimiter: str
) -> Iterator[RawBatch]:
    """Documents of the rows below the header; the cells besides the text are metadata.

    Text is UTF-8, or UTF-16 with a byte order mark. A position is the byte offset of the row in the
    decompressed file (of UTF-16: as if it were UTF-8). A row costs one rejection if its number of
    cells is not the header's (``ragged_row``), if its quoting is broken (``broken_row``), if it is
    not UTF-8 or too large. After a quote that is not closed within ``MAX_ROW_BYTES``, or that is
    closed where no cell ends, reading goes on in the line after it. Damaged compression costs one
    rejection (``truncated``) for the file, and so does a file without a usable header
    (``not_csv``).
    """
    builder = RawBuilder()
    text = as_utf8(stream)
    rows = _Rows(text, delimiter)
    header: list[str] | None = None
    for position, line, row in rows:
        if header is None:
            problem = _bad_header(row, line, fields)
            if problem is not None:
                builder.reject(Rejection.of(0, "not_csv", problem, line))
                yield from builder.rest()
                return
            assert isinstance(row, list)
            header = row
        elif isinstance(row, Rejection):
            builder.reject(row)
        elif len(row) != len(header):
            detail = f"the row has {len(row):,} cells and the header {len(header):,}"
            builder.reject(Rejection.of(position, "ragged_row", detail, line))
        else:
            # A name that appears twice keeps its first column, as in a Parquet file.
            record = dict(zip(reversed(header), reversed(row), strict=True))
            for name in (fields.url_field, fields.licence_field, fields.id_field):
                if name and record.get(name) == "":  # CSV has no other way to say: there is none
                    del record[name]
            add_mapping(builder, record, position=position, fields=fields)
        yield from builder.full()
    if text.error is not None and not rows.cut:
        builder.reject(Rejection.of(text.tell(), "truncated", text.error))
    yield from builder.rest()


def _bad_header(row: list[str] | Rejection, line: bytes, fields: FieldParams) -> str | None:
    """Why the first row is no header; None if it is one."""
    if isinstance(row, Rejection):
        return f"the header cannot be read: {row.detail}"
    if b"\0" in line:
        return "the header holds zero bytes: a binary file?"
    if len(row) == 1 and row[0] not in (fields.text_field, fields.text_field.partition(".")[0]):
        return (
            f"the header is one column, {field_list(row)!r}, and not {fields.text_field!r}: another"
            " `delimiter`, or no table"
        )
    return None


class _Rows:
    """The rows of a file, whatever is in it.

    The lines of the row that is being parsed are kept. Where it is broken, they are read again as
    rows of their own, all but the first, as long as that does not make the work more than twice
    the file and a constant: a quote that someone forgot costs its own row and no other.
    """

    def __init__(self, text: Readable, delimiter: str) -> None:
        self.cut = False
        """Whether damage of the file cut the last row, which is then its rejection."""
        self._text = text
        self._lines = read_pieces(text)
        self._delimiter = delimiter
        self._again: list[_Line] = []  # the next line is the last
        self._row: list[_Line] = []  # lines of the row so far
        self._size = 0  # their bytes
        self._read = self._reread = 0
        # The module's own limit is for all readers of the process; it is only ever raised.
        csv.field_size_limit(max(csv.field_size_limit(), MAX_ROW_BYTES))

    def __iter__(self) -> Iterator[_Row]:
        reader = self._reader()
        while True:
            self._row, self._size = [], 0
            try:
                cells = next(reader)
            except StopIteration:
                return
            except (csv.Error, _TooLargeError) as error:
                yield self._broken(error)
                reader = self._reader()
                continue
            if not cells:  # an empty line
                continue
            position, line = self._row[0]
            assert isinstance(line, bytes)
            yield position, line, self._invalid() or cells

    def _reader(self) -> Iterator[list[str]]:
        return csv.reader(self._feed(), delimiter=self._delimiter, strict=True)

    def _feed(self) -> Iterator[str]:
        """The lines that are next, decoded, each noted as a part of the row."""
        while True:
            if self._again:
                item = self._again.pop()
            elif (read := next(self._lines, None)) is not None:
                item = read
                self._read += _size(item)
            else:
                self.cut = self.cut or (bool(self._row) and self._text.error is not None)
                return
            self._row.append(item)
            self._size += _size(item)
            limit = min(MAX_ROW_BYTES, records.MAX_RECORD_BYTES)
            if isinstance(item[1], Rejection) or self._size > limit:
                raise _TooLargeError
            yield item[1].decode("utf-8", "replace") + "\n"

    def _broken(self, error: Exception) -> _Row:
        """The rejection of a row that cannot be parsed; reading goes on after its first line."""
        position, line = self._row[0]
        n_lines, size = len(self._row), self._size
        if self.cut:
            assert isinstance(line, bytes)
            return position, line, Rejection.of(position, "truncated", str(self._text.error), line)
        if n_lines > 1 and self._reread + size <= self._read + _REREAD:
            self._reread += size
            self._again += reversed(self._row[1:])
            fate = "are read again, each for itself"
        else:
            fate = "are left out"
        if isinstance(line, Rejection):
            return position, b"", line
        if n_lines == 1 and isinstance(error, _TooLargeError):
            limit = min(MAX_ROW_BYTES, records.MAX_RECORD_BYTES)
            detail = f"the row has {size:,} bytes; the limit is {limit:,}"
            return position, line, Rejection.of(position, "too_large", detail, line)
        problem = "a quote is not closed" if isinstance(error, _TooLargeError) else str(error)
        rest = f"; the {n_lines - 1:,} lines after it, up to there, {fate}" if n_lines > 1 else ""
        return position, line, Rejection.of(position, "broken_row", problem + rest, line)

    def _invalid(self) -> Rejection | None:
        """The rejection of a row that is not UTF-8."""
        position, first = self._row[0]
        for _, line in self._row:
            assert isinstance(line, bytes)
            try:
                line.decode("utf-8")
            except UnicodeDecodeError as error:
                detail = f"the row is not UTF-8: {error.reason}"
                assert isinstance(first, bytes)
                return Rejection.of(position, "invalid_utf8", detail, first)
        return None


class _TooLargeError(Exception):
    """A row grew above its limit."""


def _size(item: _Line) -> int:
    return 1 if isinstance(item[1], Rejection) else len(item[1]) + 1
