"""WebDataset tars: a sample is ``<key>.txt`` followed by ``<key>.json``.

Keys are short, have no dots, and are unique over the shards of a split. The files beside the tars
are those of ``wids``, ``open_clip`` and DCLM's ``open_lm``.
"""

# ruff: noqa: ARG001 - every format has the same functions

from __future__ import annotations

import contextlib
import re
import tarfile
from collections.abc import Iterator
from typing import IO, Any

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa

from mixcurate.errors import CorpusError, OutputError
from mixcurate.io.shard_formats import binary_rows
from mixcurate.io.shard_formats.base import ShardWriter, TokenOptions, entries, json_file
from mixcurate.tables import CORPUS

NAME = "webdataset"

_RECORD = 512
_END_OF_TAR = bytes(2 * _RECORD)
_SAMPLES = 256

#: Where the size of a member and the sum of a header stand in it.
_SIZE_AT, _SIZE_DIGITS, _SUM_AT = 124, 11, 148

_KEY = re.compile(r"[0-9a-z_-]+")


class _Writer:
    def __init__(self, stream: IO[bytes], shard: int) -> None:
        self._stream, self._prefix, self._row = stream, key_prefix(shard), 0

    def write(self, batch: pa.RecordBatch) -> None:
        keys = _decimal(np.arange(self._row, self._row + batch.num_rows))
        names = sorted(set(batch.schema.names) - {"text"})
        columns = [batch.column(name).to_pylist() for name in names]
        fields = [
            orjson.dumps(dict(zip(names, values, strict=True)))
            for values in zip(*columns, strict=True)
        ]
        members = [
            *_member(self._prefix, keys, "txt", binary_rows.from_text(batch.column("text"))),
            *_member(self._prefix, keys, "json", pa.array(fields, pa.large_binary())),
        ]
        self._stream.write(binary_rows.data(binary_rows.join(members)))
        self._row += batch.num_rows


def _member(
    prefix: str, keys: npt.NDArray[np.uint8], suffix: str, data: pa.LargeBinaryArray
) -> list[pa.LargeBinaryArray]:
    """Header, content and padding of a member for each row."""
    first = tarfile.TarInfo(f"{prefix}{0:08d}.{suffix}")
    first.mode = 0o644
    template = np.frombuffer(first.tobuf(tarfile.USTAR_FORMAT, "ascii", "strict"), np.uint8)
    sizes = binary_rows.lengths(data)
    if sizes.max(initial=0) >= 8**_SIZE_DIGITS:
        raise OutputError("a document has 8 GiB or more, which no member of a tar can hold")
    headers = np.repeat(template[None], len(keys), axis=0)
    headers[:, len(prefix) : len(prefix) + keys.shape[1]] = keys
    headers[:, _SIZE_AT : _SIZE_AT + _SIZE_DIGITS] = _octal(sizes, _SIZE_DIGITS)
    headers[:, _SUM_AT : _SUM_AT + 8] = ord(" ")  # as which its own bytes count
    headers[:, _SUM_AT : _SUM_AT + 6] = _octal(headers.sum(axis=1, dtype=np.uint32), 6)
    headers[:, _SUM_AT + 6] = 0
    return [binary_rows.fixed(headers), data, binary_rows.zeros(-sizes % _RECORD)]


def _decimal(numbers: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
    """Eight ASCII digits a row."""
    powers = 10 ** np.arange(7, -1, -1)
    return (numbers[:, None] // powers % 10 + ord("0")).astype(np.uint8)


def _octal(numbers: npt.NDArray[Any], width: int) -> npt.NDArray[np.uint8]:
    """ASCII digits ``[n, width]`` with leading zeros."""
    shifts = np.arange(3 * width - 3, -1, -3)
    return ((numbers[:, None] >> shifts & 7) + ord("0")).astype(np.uint8)


def key_prefix(shard: int) -> str:
    """What the keys of a shard begin with, and no others of its split."""
    return f"{shard:06d}-"


def shard_paths(split: str, shard: int, n_shards: int) -> list[str]:
    """One tar a shard; the number of shards is no part of the name, for ``{000000..000099}``."""
    return [f"wds/{split}-{shard:06d}.tar"]


@contextlib.contextmanager
def open_writer(
    streams: list[IO[bytes]], shard: int, tokens: TokenOptions | None
) -> Iterator[ShardWriter]:
    """No clock and no user stand in the members' headers."""
    yield _Writer(streams[0], shard)
    streams[0].write(_END_OF_TAR)


def read_rows(streams: list[IO[bytes]]) -> Iterator[pa.RecordBatch]:
    """Every column of the corpus.

    Raises:
        CorpusError: members are missing, of another kind or in another order, or a key stands
            twice.
    """
    try:
        yield from _read(streams[0])
    except (pa.ArrowException, OSError, ValueError) as error:
        raise CorpusError(str(error)) from error


def _read(stream: IO[bytes]) -> Iterator[pa.RecordBatch]:
    rows: list[dict[str, Any]] = []
    last = prefix = ""
    members = _members(stream)
    for name, data in members:
        key, dot, kind = name.partition(".")
        if dot + kind != ".txt" or not _KEY.fullmatch(key):
            raise CorpusError(f"member {name!r} where '<key>.txt' should be")
        if last and key <= last:
            word = "twice" if key == last else f"after {last!r}"
            raise CorpusError(f"the key {key!r} {word}; keys are unique and ascend")
        prefix = prefix or key.partition("-")[0]
        if key.partition("-")[0] != prefix:
            raise CorpusError(f"the key {key!r} where keys begin with {prefix}-")
        follower, fields = next(members, ("the end of the file", b""))
        if follower != f"{key}.json":
            raise CorpusError(f"{follower!r} after {name!r} where {key + '.json'!r} should be")
        row = orjson.loads(fields)
        if not isinstance(row, dict):
            raise CorpusError(f"{follower!r} that holds no JSON object")
        rows.append(row | {"text": data.decode()})
        last = key
        if len(rows) == _SAMPLES:
            yield pa.RecordBatch.from_pylist(rows, schema=CORPUS)
            rows.clear()
    yield pa.RecordBatch.from_pylist(rows, schema=CORPUS)


def _members(stream: IO[bytes]) -> Iterator[tuple[str, bytes]]:
    """Name and bytes of each member, as our writer lays them out: plain files, short names.

    ``tarfile`` takes five times as long, and would follow extensions that do not belong.
    """
    while (header := stream.read(_RECORD)) != bytes(_RECORD):
        if len(header) < _RECORD:
            raise CorpusError("the end of the file where a member or the end mark should be")
        name = header[:100].rstrip(b"\0").decode("ascii")
        if header[156:157] not in b"0\0":
            raise CorpusError(f"member {name!r} that is not a plain file")
        size = int(header[124:136].strip(b"\0 "), 8)
        if size < 0:
            raise CorpusError(f"member {name!r} of {size} bytes")
        data = stream.read(size)
        if len(data) < size or len(stream.read(-size % _RECORD)) < -size % _RECORD:
            raise CorpusError(f"the end of the file within member {name!r}")
        yield name, data


def files_beside(split: str, manifest: dict[str, Any]) -> dict[str, bytes]:
    """The ``wids`` index, samples per tar, and DCLM's manifest; the holdout's have a prefix."""
    shards = [
        (entry["path"].removeprefix("wds/"), entry) for entry in entries(manifest, NAME, split)
    ]
    if not shards:
        return {}
    index = {
        "wids_version": 1,
        "name": manifest["name"],
        "shardlist": [
            {"url": name, "nsamples": entry["n_documents"], "filesize": entry["bytes"]}
            for name, entry in shards
        ],
    }
    lines = [
        orjson.dumps({"shard": name.removesuffix(".tar"), "num_sequences": entry["n_documents"]})
        for name, entry in shards
    ]
    prefix = "wds/" if split == "train" else f"wds/{split}-"
    return {
        f"{prefix}index.json": json_file(index),
        f"{prefix}sizes.json": json_file({name: e["n_documents"] for name, e in shards}),
        f"{prefix}manifest.jsonl": b"\n".join(lines) + b"\n",
    }
