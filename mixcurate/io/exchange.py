"""The exchange: text that must move goes through files, not through a Beam shuffle.

Each map task writes its rows sorted by output shard, and tells at which bytes of its file each
shard begins and ends. An output shard then reads those bytes of every file, one range of each.
Memory is bounded by a part on one side and by a shard on the other, on any runner, and no more than
a few files are open, however many parts there are.

A file is an Arrow IPC file, so that any tool can look into it; its batches are small, since small
pieces of memory are used again, where a large one is paid for page by page.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import xxhash

from mixcurate.io import storage
from mixcurate.io.hashing_stream import HashingStream, buffered
from mixcurate.tables import CORPUS

#: Rows of an exchange file: a corpus row, the key that orders it within its shard, and what is
#: known of it beside what the corpus shows.
EXCHANGE = pa.schema(
    [
        *CORPUS,
        pa.field("shuffle", pa.uint64(), nullable=False),
        pa.field("path", pa.string(), nullable=False),
        pa.field("position", pa.int64(), nullable=False),
        pa.field("cell", pa.int32(), nullable=False),
        pa.field("missed", pa.int32()),  # tokens that a cut has missed; null where all is kept
    ]
)

#: First byte of a segment in its file, and its length.
Extent = tuple[int, int]

#: Rows that are gathered at once.
_ROWS = 1_000

#: Segments of one shard that are fetched at the same time from elsewhere.
_FETCHED = 16


@dataclasses.dataclass(frozen=True)
class Written:
    """An exchange file: the extent of each shard that has rows, and the whole file.

    Attributes:
        segments: (shard, first byte, bytes), by shard.
        bytes: size of the file.
        digest: hash of the file, as ``storage.digest`` gives it.
    """

    segments: list[tuple[int, int, int]]
    bytes: int
    digest: str


def write_exchange(
    path: str, rows: Iterable[pa.RecordBatch], shard: npt.NDArray[np.int32]
) -> Written:
    """Write rows that come sorted by shard.

    Args:
        path: file to write, atomically.
        rows: batches of ``EXCHANGE``, cut anywhere, ``n`` rows together.
        shard: int32 ``[n]``, the shard of each row, ascending.
    """
    extents: dict[int, Extent] = {}
    done = 0
    with storage.open_atomic(path) as stream:
        hashing = HashingStream(stream, xxhash.xxh3_128())
        with buffered(hashing) as buffer, pa.ipc.new_file(buffer, EXCHANGE) as writer:
            for batch in rows:
                for number, piece in _by_shard(batch, shard[done : done + batch.num_rows]):
                    writer.write_batch(piece)
                    # the file's own beginning is written with its first batch
                    end = buffer.tell()
                    begin = end - pa.ipc.get_record_batch_size(piece)
                    first = extents.get(number, (begin, 0))[0]
                    extents[number] = (first, end - first)
                done += batch.num_rows
    segments = [(number, first, length) for number, (first, length) in extents.items()]
    return Written(segments, hashing.size, f"xxh3:{hashing.digests[0]}")


def _by_shard(
    batch: pa.RecordBatch, shard: npt.NDArray[np.int32]
) -> Iterator[tuple[int, pa.RecordBatch]]:
    """The runs of rows of one shard."""
    cuts = [0, *(np.flatnonzero(np.diff(shard)) + 1).tolist(), len(shard)]
    for begin, end in zip(cuts[:-1], cuts[1:], strict=True):
        if begin < end:
            yield int(shard[begin]), batch.slice(begin, end - begin)


def gather(rows: pa.RecordBatch, order: npt.NDArray[np.intp]) -> Iterator[pa.RecordBatch]:
    """Rows in another order, in small batches.

    Args:
        rows: any.
        order: int64 ``[n]``, rows of it; any number of times each.
    """
    for start in range(0, len(order), _ROWS):
        yield rows.take(pa.array(order[start : start + _ROWS]))


@contextlib.contextmanager
def open_segments(segments: Sequence[tuple[str, Extent]]) -> Iterator[list[pa.RecordBatch]]:
    """The rows of one shard, in the order of its segments.

    Args:
        segments: (file, extent in it).

    Raises:
        OSError: a file cannot be read, or ends too early.
    """
    remote = any(not storage.is_local(path) for path, _ in segments)
    with ThreadPoolExecutor(_FETCHED) if remote else contextlib.nullcontext() as pool:
        read = pool.map if pool else map
        yield [batch for data in read(_read, segments) for batch in _batches(data)]


def _read(segment: tuple[str, Extent]) -> bytes:
    path, (first, length) = segment
    return storage.read_range(path, first, length)


def _batches(data: bytes) -> Iterator[pa.RecordBatch]:
    stream = pa.BufferReader(data)
    while stream.tell() < len(data):
        yield pa.ipc.read_record_batch(pa.ipc.read_message(stream), EXCHANGE)


@contextlib.contextmanager
def open_batches(batches: Sequence[tuple[str, int]]) -> Iterator[list[pa.RecordBatch]]:
    """One batch of each of some files of any schema; local ones are mapped.

    Args:
        batches: (file, number of the batch in it).
    """
    with contextlib.ExitStack() as stack:
        yield [
            pa.ipc.open_file(stack.enter_context(storage.open_mapped(path))).get_batch(number)
            for path, number in batches
        ]
