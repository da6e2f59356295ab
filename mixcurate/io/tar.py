"""WebDataset tars: members that share a name up to its first dot are one sample, one document.

The archive is read forwards and nothing is written to disk. ``tarfile`` reads the headers; it does
not walk the archive, because it takes extended headers of any size and number into memory.
"""

from __future__ import annotations

import dataclasses
import posixpath
import re
from collections.abc import Iterator

import orjson

from mixcurate.io import records
from mixcurate.io.compression import PlainStream
from mixcurate.io.records import (
    FieldParams,
    RawBatch,
    RawBuilder,
    Rejection,
    add_record,
    field_list,
    take,
)
from mixcurate.io.tar_members import Member, read_members

#: The key of a sample among its metadata, as WebDataset calls it.
KEY = "__key__"

_BOM = b"\xef\xbb\xbf"
_KEY = re.compile(r"((?:.*/|)[^.]+)\.([^/]*)", re.DOTALL)
_DEFAULT = "text"
_MAX_ENDINGS = 100


@dataclasses.dataclass
class _Sample:
    """The members of one key so far: the contents that are wanted, and what is wrong."""

    key: str
    position: int
    endings: set[str] = dataclasses.field(default_factory=set)
    contents: dict[str, bytes] = dataclasses.field(default_factory=dict)
    problem: Rejection | None = None


def read_tar(stream: PlainStream, *, fields: FieldParams) -> Iterator[RawBatch]:
    """One document a sample; its position is the offset of its first header in the plain file.

    The text is the member ``txt``, or the one that ``text_field`` names (``md``); else it is a
    field of the member ``json``, whose other fields are metadata, together with the ``__key__``.
    Other members are passed over. A sample without text, or with a member that is no plain file,
    is there twice, is too large, has a name that leaves the archive or is not UTF-8, costs one
    rejection; so does each stretch that is no tar (``corrupt``), the file if it is none at all
    (``not_tar``), and the cut end of a file (``truncated``).
    """
    builder = RawBuilder()
    endings = {"json", *_text_members(fields)}
    sample: _Sample | None = None
    last = -1
    for member in read_members(stream):
        if isinstance(member, Rejection):
            if sample is not None and member.position != last:
                _finish(builder, sample, fields)
            sample = None  # the member before was cut, so that its rejection is its sample's too
            builder.reject(member)
        elif isinstance(named := _named(member), Rejection):
            builder.reject(named)
        elif named is not None:
            key, ending = named
            if sample is None or sample.key != key:
                if sample is not None:
                    _finish(builder, sample, fields)
                sample = _Sample(key, member.position)
            _add_member(sample, member, ending, wanted=ending in endings)
        last = member.position
        yield from builder.full()
    if sample is not None:
        _finish(builder, sample, fields)
    yield from builder.rest()


def _text_members(fields: FieldParams) -> list[str]:
    """The endings that a text may have."""
    return [fields.text_field.lower(), *(["txt"] if fields.text_field == _DEFAULT else [])]


def _named(member: Member) -> tuple[str, str] | Rejection | None:
    """Key and ending of a member; None for what is in no sample and no loss."""
    name = member.name
    base = posixpath.basename(name.rstrip("/"))
    if member.kind == "folder" or base.startswith(".") or re.fullmatch("__[^/]*__", base):
        return None  # as in folders, hidden files are passed over; and WebDataset's own notes
    match = _KEY.fullmatch(name)
    if "\ufffd" in name or "\0" in name or name.startswith("/") or ".." in name.split("/"):
        detail = "the name is not UTF-8 or leads out of the archive"
        return Rejection.of(member.position, "bad_name", detail, name)
    if match is None:
        detail = "a name without an ending belongs to no sample"
        return Rejection.of(member.position, "bad_name", detail, name)
    return match[1], match[2].lower()


def _add_member(sample: _Sample, member: Member, ending: str, *, wanted: bool) -> None:
    """Take the content of a member into its sample, or note what is wrong with it."""
    if sample.problem is not None:
        return
    problem = None
    if member.kind != "file":
        problem = ("not_a_file", f"member {ending!r} is a {member.kind}")
    elif ending in sample.endings:
        problem = ("duplicate_member", f"member {ending!r} is there twice")
    elif len(sample.endings) >= _MAX_ENDINGS:
        problem = ("too_large", f"more than {_MAX_ENDINGS} members")
    elif wanted and member.size > records.MAX_RECORD_BYTES:
        detail = f"member {ending!r} has {member.size:,} bytes; the limit is "
        problem = ("too_large", f"{detail}{records.MAX_RECORD_BYTES:,}")
    if problem is not None:
        sample.problem = Rejection.of(sample.position, *problem, sample.key)
        sample.contents.clear()
        return
    sample.endings.add(ending)
    if wanted:
        sample.contents[ending] = member.read()


def _finish(builder: RawBuilder, sample: _Sample, fields: FieldParams) -> None:
    """Add the document of a whole sample, or the reason why it has none."""
    if sample.problem is not None:
        builder.reject(sample.problem)
        return
    record: dict[str, object] = {}
    if (data := sample.contents.get("json")) is not None and fields.text_field != "json":
        try:
            loaded = orjson.loads(data.removeprefix(_BOM))
        except orjson.JSONDecodeError as error:
            builder.reject(Rejection.of(sample.position, "not_json", str(error), data))
            return
        if not isinstance(loaded, dict):
            detail = f"the member is a JSON {type(loaded).__name__}, not an object"
            builder.reject(Rejection.of(sample.position, "not_json", detail, data))
            return
        record = loaded
    record[KEY] = sample.key
    names = _text_members(fields)
    data = next((sample.contents[name] for name in names if name in sample.contents), None)
    if data is None:
        text = take(record, fields.text_field)
        if text is None and "json" not in sample.contents:
            detail = f"no member {' or '.join(names)}, or json; there are: "
            detail += field_list(sample.endings)
            builder.reject(Rejection.of(sample.position, "no_text_field", detail, sample.key))
            return
    else:
        try:
            text = data.removeprefix(_BOM).decode("utf-8")
        except UnicodeDecodeError as error:
            detail = f"byte {error.start} of the text is not UTF-8: {error.reason}"
            builder.reject(Rejection.of(sample.position, "invalid_utf8", detail, data))
            return
    add_record(builder, record, text, position=sample.position, fields=fields)
