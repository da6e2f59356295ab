"""The exchange: text that must move goes through files, not through a Beam shuffle.

Each map task writes one Arrow file whose record batches are contiguous by output shard; each
output shard then reads its one batch from every file. Memory is bounded by a part on one side and
by a shard on the other, on any runner.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mixcurate.io import storage
from mixcurate.tables import CORPUS

#: Rows of an exchange file: a corpus row and the key that orders it within its shard.
EXCHANGE = CORPUS.append(pa.field("shuffle", pa.uint64(), nullable=False))


def write_exchange(
    path: str, table: pa.Table, shard: npt.NDArray[np.int32], n_shards: int
) -> list[int]:
    """Write rows contiguous by shard: one record batch per shard that has rows.

    Args:
        path: file to write, atomically.
        table: rows of schema ``EXCHANGE``.
        shard: int32 ``[n]``, the shard of each row.
        n_shards: number of shards.

    Returns:
        Rows per shard. The batch of shard i is the number of shards before i that have rows.
    """
    order = np.argsort(shard, kind="stable")
    counts = np.bincount(shard, minlength=n_shards).tolist()
    ordered = table.take(pa.array(order)).combine_chunks()
    with storage.open_atomic(path) as stream, pa.ipc.new_file(stream, EXCHANGE) as writer:
        start = 0
        for count in counts:
            if count:
                for batch in ordered.slice(start, count).to_batches():
                    writer.write_batch(batch)
            start += count
    return [int(count) for count in counts]


@contextlib.contextmanager
def open_segments(segments: list[tuple[str, int]]) -> Iterator[list[pa.RecordBatch]]:
    """The record batches of one shard.

    Args:
        segments: (file, number of the batch in it).
    """
    with contextlib.ExitStack() as stack:
        batches = []
        for path, number in segments:
            if storage.is_local(path):
                source: object = stack.enter_context(pa.memory_map(path))
            else:
                source = stack.enter_context(storage.open_read(path))
            batches.append(pa.ipc.open_file(source).get_batch(number))
        yield batches
