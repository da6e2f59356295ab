"""Parquet, compressed with Zstandard, in row groups that a reader can hold.

The files name the version of the library that wrote them (``created_by``, which it sets), so the
same rows give the same bytes with the same version of pyarrow only.
"""

# ruff: noqa: ARG001 - every format has the same functions

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from mixcurate.errors import CorpusError
from mixcurate.io.shard_formats.base import ShardWriter, TokenOptions
from mixcurate.tables import CORPUS

NAME = "parquet"

#: A row group ends when it holds this much; readers take groups whole.
_GROUP_BYTES = 32 << 20
_GROUP_ROWS = 100_000
_LEVEL = 3

#: Columns with few values.
_DICTIONARY = ["source", "language", "licence", "domain", "domain_name", "copy"]


class _Writer:
    def __init__(self, writer: pq.ParquetWriter) -> None:
        self._writer = writer
        self._batches: list[pa.RecordBatch] = []
        self._bytes = self._rows = 0

    def write(self, batch: pa.RecordBatch) -> None:
        self._batches.append(batch)
        self._bytes += batch.nbytes
        self._rows += batch.num_rows
        if self._bytes >= _GROUP_BYTES or self._rows >= _GROUP_ROWS:
            self.flush()

    def flush(self) -> None:
        """Write what was collected as one row group."""
        if self._rows:
            table = pa.Table.from_batches(self._batches, CORPUS)
            self._writer.write_table(table, row_group_size=self._rows)
        self._batches, self._bytes, self._rows = [], 0, 0


def shard_paths(split: str, shard: int, n_shards: int) -> list[str]:
    """One file a shard."""
    return [f"parquet/{split}-{shard:05d}-of-{n_shards:05d}.parquet"]


@contextlib.contextmanager
def open_writer(
    streams: list[IO[bytes]], shard: int, tokens: TokenOptions | None
) -> Iterator[ShardWriter]:
    """Row groups end with a batch."""
    with pq.ParquetWriter(
        streams[0],
        CORPUS,
        compression="zstd",
        compression_level=_LEVEL,
        use_dictionary=_DICTIONARY,
        write_page_checksum=True,
    ) as parquet:
        writer = _Writer(parquet)
        yield writer
        writer.flush()


def read_rows(streams: list[IO[bytes]]) -> Iterator[pa.RecordBatch]:
    """Every column of the corpus, a row group at a time.

    Raises:
        CorpusError: it is no Parquet file, or has another schema.
    """
    try:
        with pq.ParquetFile(streams[0], page_checksum_verification=True) as file:
            if not file.schema_arrow.equals(CORPUS):
                fields = ", ".join(f"{field.name} ({field.type})" for field in file.schema_arrow)
                raise CorpusError(f"another schema: {fields}")
            for group in range(file.num_row_groups):
                yield from file.read_row_group(group, use_threads=False).to_batches()
    except (pa.ArrowException, OSError, ValueError) as error:
        raise CorpusError(str(error)) from error


def files_beside(split: str, manifest: dict[str, Any]) -> dict[str, bytes]:
    """Readers find the files by their names."""
    return {}
