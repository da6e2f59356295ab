"""JSON Lines, compressed: an object a line, with the columns of the corpus in their order.

A file is a single Zstandard frame, because readers that stop after the first one are common. It
carries a checksum.
"""

# ruff: noqa: ARG001 - every format has the same functions

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from typing import IO, Any

import orjson
import pyarrow as pa
import zstandard

from mixcurate.errors import CorpusError
from mixcurate.io.shard_formats.base import ShardWriter, TokenOptions
from mixcurate.tables import CORPUS

NAME = "jsonl"

_LEVEL = 3
_ROWS = 256


class _Writer:
    def __init__(self, stream: zstandard.ZstdCompressionWriter) -> None:
        self._stream = stream

    def write(self, batch: pa.RecordBatch) -> None:
        names = batch.schema.names
        columns = [column.to_pylist() for column in batch.columns]
        lines = [orjson.dumps(dict(zip(names, v, strict=True))) for v in zip(*columns, strict=True)]
        lines.append(b"")
        self._stream.write(b"\n".join(lines))


def shard_paths(split: str, shard: int, n_shards: int) -> list[str]:
    """One file a shard."""
    return [f"jsonl/{split}-{shard:05d}-of-{n_shards:05d}.jsonl.zst"]


@contextlib.contextmanager
def open_writer(
    streams: list[IO[bytes]], shard: int, tokens: TokenOptions | None
) -> Iterator[ShardWriter]:
    """Numbers are the shortest that are read back the same."""
    compressor = zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True)
    with compressor.stream_writer(streams[0], closefd=False) as stream:
        yield _Writer(stream)


def read_rows(streams: list[IO[bytes]]) -> Iterator[pa.RecordBatch]:
    """Every column of the corpus.

    Raises:
        CorpusError: it is damaged, or a line is no object with the columns of the corpus.
    """
    rows: list[dict[str, Any]] = []
    try:
        with zstandard.ZstdDecompressor().stream_reader(streams[0], closefd=False) as plain:
            for number, line in enumerate(io.BufferedReader(plain)):
                row = orjson.loads(line)
                if not isinstance(row, dict) or list(row) != CORPUS.names:
                    raise CorpusError(f"line {number + 1} that has not the columns of the corpus")
                rows.append(row)
                if len(rows) == _ROWS:
                    yield pa.RecordBatch.from_pylist(rows, schema=CORPUS)
                    rows.clear()
    except (pa.ArrowException, OSError, ValueError, zstandard.ZstdError) as error:
        raise CorpusError(str(error)) from error
    yield pa.RecordBatch.from_pylist(rows, schema=CORPUS)


def files_beside(split: str, manifest: dict[str, Any]) -> dict[str, bytes]:
    """Readers find the files by their names."""
    return {}
