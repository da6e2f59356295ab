"""Writers of corpus shards: Arrow IPC streams in the Hugging Face layout, and WebDataset tars.

Both write the same bytes for the same rows: no clock, no user, no library version in them.
"""

from __future__ import annotations

import contextlib
import tarfile
from collections.abc import Iterator
from typing import IO, Protocol

import orjson
import pyarrow as pa

from mixcurate.tables import CORPUS

_RECORD = 512
_END_OF_TAR = bytes(2 * _RECORD)


class ShardWriter(Protocol):
    """Takes the rows of one shard in order."""

    def write(self, batch: pa.RecordBatch) -> None:
        """Append rows of schema ``CORPUS``."""
        ...


class _ArrowWriter:
    def __init__(self, writer: pa.RecordBatchWriter) -> None:
        self._writer = writer

    def write(self, batch: pa.RecordBatch) -> None:
        self._writer.write_batch(batch)


class _TarWriter:
    """Members ``<key>.txt`` and ``<key>.json``, adjacent; the key is unique over all shards."""

    def __init__(self, stream: IO[bytes], shard: int) -> None:
        self._stream, self._shard, self._row = stream, shard, 0

    def write(self, batch: pa.RecordBatch) -> None:
        texts = batch.column("text").to_pylist()
        others = batch.drop_columns(["text"]).to_pylist()
        for text, fields in zip(texts, others, strict=True):
            key = f"{self._shard:06d}-{self._row:08d}"
            self._member(f"{key}.txt", text.encode())
            self._member(f"{key}.json", orjson.dumps(fields, option=orjson.OPT_SORT_KEYS))
            self._row += 1

    def _member(self, name: str, data: bytes) -> None:
        header = tarfile.TarInfo(name)
        header.size, header.mode, header.mtime = len(data), 0o644, 0
        self._stream.write(header.tobuf(tarfile.USTAR_FORMAT, "ascii", "strict"))
        self._stream.write(data)
        self._stream.write(bytes(-len(data) % _RECORD))


def shard_path(name: str, shard: int, n_shards: int) -> str:
    """Path of a shard inside the corpus folder, by format."""
    if name == "arrow":
        return f"train/data-{shard:05d}-of-{n_shards:05d}.arrow"
    return f"wds/train-{shard:06d}.tar"


@contextlib.contextmanager
def shard_writer(name: str, stream: IO[bytes], shard: int) -> Iterator[ShardWriter]:
    """A writer of one shard in format ``arrow`` or ``webdataset``."""
    if name == "arrow":
        with pa.ipc.new_stream(stream, CORPUS) as writer:
            yield _ArrowWriter(writer)
        return
    yield _TarWriter(stream, shard)
    stream.write(_END_OF_TAR)
