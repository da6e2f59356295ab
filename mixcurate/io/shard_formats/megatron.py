"""Megatron's ``.bin`` and ``.idx``: the raw ids, and where each sequence is.

The index is ``MMIDIDX\\0\\0``, version (u64), type code (u8), sequences (u64), documents + 1 (u64),
tokens of each sequence (i32), where each starts in bytes (i64), and the first sequence of each
document and one past the last (i64). Each sequence is a document of its own: Megatron shuffles
documents, and so leaves packed sequences whole.
"""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Iterator
from typing import IO, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mixcurate.errors import CorpusError
from mixcurate.io.shard_formats import token_rows
from mixcurate.io.shard_formats.base import ShardWriter, TokenOptions

NAME = "megatron"

_MAGIC = b"MMIDIDX\x00\x00"
_HEADER = struct.Struct("<9sQBQQ")

#: Megatron stores ids in two bytes below 65,500 (``DType.optimal_dtype``), and signed above.
_TWO_BYTES_UP_TO = 65_499

_CODES = {"uint16": 8, "int32": 4}

#: Bytes of the index: of the header with the last of the documents' numbers, and of a sequence.
_FIXED, _EACH = _HEADER.size + 8, 4 + 8 + 8


def stored_type(vocabulary: int) -> np.dtype[Any]:
    """uint16 or int32."""
    return token_rows.stored_type(vocabulary, _TWO_BYTES_UP_TO, np.int32)


def shard_paths(split: str, shard: int, n_shards: int) -> list[str]:
    """``.bin`` and ``.idx``; without their ends they are the prefix that Megatron is given."""
    prefix = f"megatron/{split}-{shard:05d}-of-{n_shards:05d}"
    return [f"{prefix}.bin", f"{prefix}.idx"]


class _Writer:
    def __init__(self, stream: IO[bytes], maker: token_rows.SequenceMaker) -> None:
        self._stream, self._maker = stream, maker
        self.lengths: list[npt.NDArray[np.int64]] = []

    def write(self, batch: pa.RecordBatch) -> None:
        for block in self._maker.add(batch):
            self.append(block)

    def append(self, block: token_rows.Block) -> None:
        self._stream.write(block.tokens.data)
        self.lengths.append(block.sequences)


@contextlib.contextmanager
def open_writer(
    streams: list[IO[bytes]], shard: int, tokens: TokenOptions | None
) -> Iterator[ShardWriter]:
    """Ids are written as they come; the index when all are there: 8 bytes a sequence until then."""
    kind = stored_type(token_rows.required(tokens).vocabulary)
    with token_rows.sequence_maker(tokens, kind, shard) as maker:
        writer = _Writer(streams[0], maker)
        yield writer
        for block in maker.rest():
            writer.append(block)
    lengths = np.concatenate([np.zeros(0, np.int64), *writer.lengths])
    n = len(lengths)
    streams[1].write(_HEADER.pack(_MAGIC, 1, _CODES[kind.name], n, n + 1))
    streams[1].write(lengths.astype("<i4").data)
    starts = (np.cumsum(lengths) - lengths) * kind.itemsize
    streams[1].write(starts.astype("<i8").data)
    streams[1].write(np.arange(n + 1, dtype="<i8").data)


def read_rows(streams: list[IO[bytes]]) -> Iterator[pa.RecordBatch]:
    """No rows: whether the index is that of the ids.

    Raises:
        CorpusError: a number of the index is not what it must be, or the ids are more or fewer.
    """
    yield from ()
    index = streams[1]
    header = token_rows.read_exactly(index, _HEADER.size, "the header of the index")
    magic, version, code, n, documents = _HEADER.unpack(header)
    if (magic, version) != (_MAGIC, 1) or code not in _CODES.values():
        raise CorpusError(f"an index that starts with {header[:18]!r}")
    if documents != n + 1:
        raise CorpusError(f"{n:,} sequences and {documents:,} bounds of documents")
    size = 2 if code == _CODES["uint16"] else 4
    total = _check_index(index, n, size)
    if left := token_rows.skip_to_end(index):
        raise CorpusError(f"{left:,} bytes after the end of the index")
    found = token_rows.skip_to_end(streams[0])
    if found != total:
        raise CorpusError(f"{found:,} bytes of ids where the index has {total:,}")


def _check_index(index: IO[bytes], n: int, size: int) -> int:
    """Bytes that all sequences have, when each starts where the one before ends."""
    lengths = [*token_rows.read_array(index, "<i4", n, "the lengths")]
    ends = np.cumsum(np.concatenate([np.zeros(1, np.int64), *lengths]) * size)
    if any((some < 0).any() for some in lengths):
        raise CorpusError("a sequence of negative length")
    at = 0
    for starts in token_rows.read_array(index, "<i8", n, "the places of sequences"):
        if not np.array_equal(starts, ends[at : at + len(starts)]):
            raise CorpusError("a sequence that does not start where the one before ends")
        at += len(starts)
    at = 0
    for documents in token_rows.read_array(index, "<i8", n + 1, "the bounds of documents"):
        if not np.array_equal(documents, np.arange(at, at + len(documents))):
            raise CorpusError("a document of other than one sequence")
        at += len(documents)
    return int(ends[-1])


def shard_totals(entry: dict[str, Any], told: dict[str, Any]) -> dict[str, Any]:
    """Sequences and tokens of a shard, from the sizes of its files in the manifest."""
    size = stored_type(told["vocabulary"]).itemsize
    return {
        "path": entry["path"],
        "sequences": (entry["also"][0]["bytes"] - _FIXED) // _EACH,
        "tokens": entry["bytes"] // size,
    }


def files_beside(split: str, manifest: dict[str, Any]) -> dict[str, bytes]:
    """``megatron/{split}.json``: tokenizer, type, and sequences and tokens of each shard."""
    return token_rows.told_beside(NAME, split, manifest, shard_totals, stored_type)
