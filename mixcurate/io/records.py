"""What a reader gives: batches of raw documents, and a rejection for each unusable record."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Any

import orjson
import pyarrow as pa

from mixcurate.params import Params
from mixcurate.tables import EXCERPT, RAW

#: A batch is closed when it holds this many documents or this much text.
BATCH_DOCUMENTS = 2_000
BATCH_BYTES = 4 << 20

#: A record (line, WARC payload, cell) above this size is rejected, never buffered whole.
MAX_RECORD_BYTES = 64 << 20

#: Digits of a list index in a path; Python refuses to read very long numbers.
_DIGITS = 9


class FieldParams(Params):
    """Which fields of a structured record hold what; `a.b.0` names a field inside of others."""

    text_field: str = "text"
    """Field with the document's text; in a WebDataset tar also the ending of a member."""
    url_field: str = "url"
    """Field with the document's URL; absent fields are fine."""
    licence_field: str = "licence"
    """Field with the document's licence; absent fields are fine."""
    id_field: str | None = None
    """Field with the input's own document id; by default ids are hashes of the document's place."""


@dataclasses.dataclass(frozen=True)
class Rejection:
    """One record that a reader could not turn into a document."""

    position: int
    reason: str
    detail: str
    excerpt: str = ""

    @staticmethod
    def of(position: int, reason: str, detail: str, excerpt: bytes | str = "") -> Rejection:
        """A rejection whose excerpt is decoded and cut to ``EXCERPT`` characters."""
        if isinstance(excerpt, bytes):
            excerpt = excerpt[: EXCERPT * 4].decode("utf-8", "replace")
        return Rejection(position, reason, detail, excerpt[:EXCERPT])


@dataclasses.dataclass(frozen=True)
class RawBatch:
    """Documents of schema ``RAW`` in file order, and what was rejected among them."""

    documents: pa.RecordBatch
    rejected: list[Rejection]


class RawBuilder:
    """Collects records and cuts them into batches of bounded size."""

    def __init__(self) -> None:
        self._rows: list[tuple[int, str | None, str, str | None, str | None, str | None]] = []
        self._rejected: list[Rejection] = []
        self._bytes = 0

    def add(
        self,
        *,
        position: int,
        text: str,
        url: str | None = None,
        licence: str | None = None,
        own_id: str | None = None,
        metadata: str | None = None,
    ) -> None:
        """Append one document."""
        self._rows.append((position, own_id, text, url, licence, metadata))
        self._bytes += len(text) + len(metadata or "")

    def reject(self, rejection: Rejection) -> None:
        """Append one rejection."""
        self._rejected.append(rejection)

    def full(self) -> Iterator[RawBatch]:
        """The batch collected so far if it is large enough, else nothing."""
        rows = len(self._rows) + len(self._rejected)
        if rows >= BATCH_DOCUMENTS or self._bytes >= BATCH_BYTES:
            yield from self.rest()

    def rest(self) -> Iterator[RawBatch]:
        """Whatever is left, as the last batch; nothing when there is nothing."""
        if not self._rows and not self._rejected:
            return
        columns = list(zip(*self._rows, strict=True)) if self._rows else [()] * len(RAW)
        arrays = [pa.array(column, field.type) for column, field in zip(columns, RAW, strict=True)]
        batch = RawBatch(pa.RecordBatch.from_arrays(arrays, schema=RAW), self._rejected)
        self._rows, self._rejected, self._bytes = [], [], 0
        yield batch


def add_mapping(
    builder: RawBuilder, record: dict[str, Any], *, position: int, fields: FieldParams
) -> None:
    """Add one structured record (a JSON object, a table row), or the reason why it is none.

    Fields other than text, URL, licence and id are kept as JSON text in ``metadata``.
    """
    record = dict(record)
    text = take(record, fields.text_field)
    add_record(builder, record, text, position=position, fields=fields)


def add_record(
    builder: RawBuilder, record: dict[str, Any], text: Any, *, position: int, fields: FieldParams
) -> None:
    """As ``add_mapping``, where the text is taken out already; ``record`` is used up."""
    if not isinstance(text, str):
        found = "is missing" if text is None else f"is {type(text).__name__}, not text"
        detail = f"field {fields.text_field!r} {found}; the record has: {field_list(record)}"
        shown = {k: v[:EXCERPT] if isinstance(v, str) else v for k, v in record.items()}
        builder.reject(Rejection.of(position, "no_text_field", detail, _show(shown)))
        return
    if not text.isascii() and not _encodable(text):
        detail = "the text holds lone surrogates, which UTF-8 cannot store"
        builder.reject(
            Rejection.of(position, "invalid_utf8", detail, text.encode("utf-8", "replace"))
        )
        return
    own_id = take(record, fields.id_field) if fields.id_field else None
    if fields.id_field and own_id is None:
        detail = f"field {fields.id_field!r} (id_field) is missing"
        builder.reject(Rejection.of(position, "no_id_field", detail, text))
        return
    url = take(record, fields.url_field)
    licence = take(record, fields.licence_field)
    builder.add(
        position=position,
        text=text,
        url=None if url is None else _show(url),
        licence=None if licence is None else _show(licence),
        own_id=None if own_id is None else _show(own_id),
        metadata=_metadata(record),
    )


def take(record: dict[str, Any], path: str) -> Any:
    """Remove what is at ``path`` from ``record`` and give it; None where there is nothing.

    ``content.body`` goes into objects and ``messages.0.content`` into lists; a key that is spelt
    like the whole path wins. In a list the place stays, as null, so that other paths still hold.
    Objects inside of ``record`` may be shared with others: they are copied, not changed.
    """
    if path in record:
        return record.pop(path)
    key, _, rest = path.partition(".")
    if not rest or key not in record:
        return None
    taken, record[key] = _take_inside(record[key], rest)
    return taken


def _take_inside(value: Any, path: str) -> tuple[Any, Any]:
    """What is at ``path`` inside of ``value``, and ``value`` without it."""
    if isinstance(value, dict):
        value = dict(value)
        return take(value, path), value
    if not isinstance(value, list):
        return None, value
    index, _, rest = path.partition(".")
    if not index.isdecimal() or len(index) > _DIGITS or int(index) >= len(value):
        return None, value
    value = list(value)
    if rest:
        taken, value[int(index)] = _take_inside(value[int(index)], rest)
    else:
        taken, value[int(index)] = value[int(index)], None
    return taken, value


def field_list(names: Iterable[object]) -> str:
    """The first dozen of the fields that a record has, for a message."""
    return ", ".join(sorted(str(name)[:40] for name in names)[:12]) or "no fields"


def _show(value: object) -> str:
    try:
        return str(value)
    except RecursionError:  # orjson reads deeper lists than Python can print
        return "(nested too deeply)"


def _encodable(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _metadata(record: dict[str, Any]) -> str | None:
    if not record:
        return None
    try:
        return _dumps(record)
    except TypeError:  # integers beyond 64 bits, lone surrogates, deep nesting: kept as plain text
        return _dumps(dict(_dumpable(key, value) for key, value in record.items()))


def _dumps(record: dict[str, Any]) -> str:
    return orjson.dumps(record, default=str, option=orjson.OPT_SORT_KEYS).decode()


def _dumpable(key: object, value: object) -> tuple[str, object]:
    name = str(key).encode("utf-8", "replace").decode()
    try:
        _dumps({name: value})
    except TypeError:
        return name, _show(value).encode("utf-8", "replace").decode()
    return name, value
