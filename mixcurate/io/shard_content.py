"""What a shard really holds: read through, counted, and checked for its structure.

Memory is bounded by one record batch (Arrow) or a few hundred samples (WebDataset).
"""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections.abc import Iterable, Iterator
from typing import IO, Any

import numpy as np
import orjson
import pyarrow as pa
import xxhash

from mixcurate.errors import CorpusError
from mixcurate.io import storage
from mixcurate.tables import CORPUS

#: What documents and tokens are added up by.
GROUPS = ("domain", "source", "licence")

_CHUNK = 4 << 20
_SAMPLES = 256
_RECORD = 512
_KEY = re.compile(r"[0-9a-z_-]+")

#: The columns that the manifest makes claims about, and the text that both formats must share.
_READ = pa.schema(
    [
        CORPUS.field(name)
        for name in ("id", "text", "copy", "n_tokens", "domain", "source", "licence")
    ]
)


class _BrokenShard(Exception):
    """A shard whose structure is wrong; the rest of it cannot be judged."""


@dataclasses.dataclass
class Content:
    """The numbers of one shard.

    Attributes:
        documents: rows or samples.
        tokens: their tokens.
        groups: by domain, source and licence: [documents, tokens, tokens of first copies].
        largest: tokens of the largest document by domain.
        rows: hash of (id, copy, text) in order: equal where two formats hold the same.
        first_key: first key of a tar.
        last_key: last key of a tar.
    """

    documents: int = 0
    tokens: int = 0
    groups: dict[str, dict[str, list[int]]] = dataclasses.field(
        default_factory=lambda: {by: {} for by in GROUPS}
    )
    largest: dict[str, int] = dataclasses.field(default_factory=dict)
    rows: str = ""
    first_key: str = ""
    last_key: str = ""


def read_shard(path: str, kind: str) -> Content:
    """Read a shard of format ``kind`` to its end.

    Raises:
        CorpusError: it cannot be read, or is not built as the format wants it.
    """
    content = Content()
    try:
        with storage.open_read(path) as stream:
            _count(content, _arrow(stream) if kind == "arrow" else _tar(stream, content))
    except (_BrokenShard, pa.ArrowException, OSError, ValueError) as error:
        raise CorpusError(f"expected a sound {kind} shard, found {error}") from error
    return content


def sha256(path: str) -> str:
    """sha256 of a file's bytes."""
    state = hashlib.sha256()
    with storage.open_read(path) as stream:
        while chunk := stream.read(_CHUNK):
            state.update(chunk)
    return state.hexdigest()


def _arrow(stream: IO[bytes]) -> Iterator[pa.RecordBatch]:
    with pa.ipc.open_stream(stream) as reader:
        if not reader.schema.equals(CORPUS):
            names = ", ".join(f"{field.name} ({field.type})" for field in reader.schema)
            raise _BrokenShard(f"another schema: {names}")
        for batch in reader:
            batch.validate()
            yield batch.select(_READ.names)


def _tar(stream: IO[bytes], content: Content) -> Iterator[pa.RecordBatch]:
    """Samples of a tar: each is ``<key>.txt`` followed by ``<key>.json``."""
    rows: list[dict[str, Any]] = []
    members = _members(stream)
    for name, data in members:
        key, dot, kind = name.partition(".")
        if dot + kind != ".txt" or not _KEY.fullmatch(key):
            raise _BrokenShard(f"member {name!r} where '<key>.txt' should be")
        if content.last_key and key <= content.last_key:
            word = "twice" if key == content.last_key else f"after {content.last_key!r}"
            raise _BrokenShard(f"the key {key!r} {word}; keys are unique and ascend")
        follower, fields = next(members, ("the end of the file", b""))
        if follower != f"{key}.json":
            raise _BrokenShard(f"{follower!r} after {name!r} where {key + '.json'!r} should be")
        row = orjson.loads(fields)
        if not isinstance(row, dict):
            raise _BrokenShard(f"{follower!r} that holds no JSON object")
        rows.append(row | {"text": data.decode()})
        content.first_key, content.last_key = content.first_key or key, key
        if len(rows) == _SAMPLES:
            yield pa.RecordBatch.from_pylist(rows, schema=_READ)
            rows.clear()
    yield pa.RecordBatch.from_pylist(rows, schema=_READ)


def _members(stream: IO[bytes]) -> Iterator[tuple[str, bytes]]:
    """Name and bytes of each member, as our writer lays them out: plain files, short names.

    ``tarfile`` takes five times as long, and would follow extensions that do not belong.
    """
    while (header := stream.read(_RECORD)) != bytes(_RECORD):
        if len(header) < _RECORD:
            raise _BrokenShard("the end of the file where a member or the end mark should be")
        name = header[:100].rstrip(b"\0").decode("ascii")
        if header[156:157] not in b"0\0":
            raise _BrokenShard(f"member {name!r} that is not a plain file")
        size = int(header[124:136].strip(b"\0 "), 8)
        if size < 0:
            raise _BrokenShard(f"member {name!r} of {size} bytes")
        data = stream.read(size)
        if len(data) < size or len(stream.read(-size % _RECORD)) < -size % _RECORD:
            raise _BrokenShard(f"the end of the file within member {name!r}")
        yield name, data


def _count(content: Content, batches: Iterable[pa.RecordBatch]) -> None:
    state = xxhash.xxh3_128()
    for batch in batches:
        for field in _READ:
            if not field.nullable and batch.column(field.name).null_count:
                raise _BrokenShard(f"a document without {field.name!r}")
        tokens = batch.column("n_tokens").to_numpy().astype(np.int64)
        first = batch.column("copy").to_numpy() == 0
        content.documents += batch.num_rows
        content.tokens += int(tokens.sum())
        for by in GROUPS:
            values = batch.column(by).dictionary_encode(null_encoding="encode")
            codes = values.indices.to_numpy(zero_copy_only=False)
            for code, value in enumerate(values.dictionary.to_pylist()):
                name, mine = "unknown" if value is None else str(value), codes == code
                sums = [int(mine.sum()), int(tokens[mine].sum()), int(tokens[mine & first].sum())]
                _add(content.groups[by], name, sums)
                if by == "domain":
                    most = int(tokens[mine].max())
                    content.largest[name] = max(most, content.largest.get(name, 0))
        for name, copy, text in zip(
            *(batch.column(c).to_pylist() for c in ("id", "copy", "text")), strict=True
        ):
            data = text.encode()
            state.update(f"{len(name)}:{name}{copy}:{len(data)}:".encode())
            state.update(data)
    content.rows = state.hexdigest()


def _add(sums: dict[str, list[int]], name: str, numbers: list[int]) -> None:
    sums[name] = [a + b for a, b in zip(sums.get(name, [0, 0, 0]), numbers, strict=True)]


def sum_groups(contents: list[Content]) -> dict[str, dict[str, list[int]]]:
    """The groups of many shards added up."""
    sums: dict[str, dict[str, list[int]]] = {by: {} for by in GROUPS}
    for content in contents:
        for by in GROUPS:
            for name, numbers in content.groups[by].items():
                _add(sums[by], name, numbers)
    return sums
