"""nanotron's (datatrove's) ``.ds``: the raw ids, where documents end, and a line on the tokenizer.

A folder holds one split, because the reader takes every ``.ds`` of a folder. It cuts windows of
``sequence length + 1`` tokens: packed sequences are these windows when ``sequence_length`` is one
more than that of the training.

``.ds.index`` has the end of each document in tokens (u64). Of packed sequences it has the end of
each document and of each part of one, so that positions and masks that are made from it start anew
with each sequence.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from typing import IO, Any

import numpy as np
import pyarrow as pa

from mixcurate.errors import CorpusError
from mixcurate.io.shard_formats import token_rows
from mixcurate.io.shard_formats.base import ShardWriter, TokenOptions

NAME = "nanotron"

#: Ids are stored in two bytes up to this vocabulary (datatrove's ``token_size``).
_TWO_BYTES_UP_TO = 65_536

_POWERS = ("", "k", "M", "G", "T", "P")


def stored_type(vocabulary: int) -> np.dtype[Any]:
    """uint16 or uint32."""
    return token_rows.stored_type(vocabulary, _TWO_BYTES_UP_TO, np.uint32)


def shard_paths(split: str, shard: int, n_shards: int) -> list[str]:
    """``.ds``, its index and its metadata, in a folder for each split."""
    path = f"nanotron/{split}/{shard:05d}-of-{n_shards:05d}.ds"
    return [path, f"{path}.index", f"{path}.metadata"]


class _Writer:
    def __init__(self, streams: list[IO[bytes]], maker: token_rows.SequenceMaker) -> None:
        self._ids, self._index, self._maker = streams[0], streams[1], maker
        self.tokens = 0

    def write(self, batch: pa.RecordBatch) -> None:
        for block in self._maker.add(batch):
            self.append(block)

    def append(self, block: token_rows.Block) -> None:
        self._ids.write(block.tokens.data)
        ends = self.tokens + np.cumsum(block.pieces)
        self._index.write(ends.astype("<u8").data)
        self.tokens += len(block.tokens)


@contextlib.contextmanager
def open_writer(
    streams: list[IO[bytes]], shard: int, tokens: TokenOptions | None
) -> Iterator[ShardWriter]:
    """Ids and ends are written as they come."""
    options = token_rows.required(tokens)
    kind = stored_type(options.vocabulary)
    with token_rows.sequence_maker(options, kind, shard) as maker:
        writer = _Writer(streams, maker)
        yield writer
        for block in maker.rest():
            writer.append(block)
    lines = [f"{options.name}|{kind.itemsize}", str(writer.tokens), metric(writer.tokens)]
    streams[2].write("\n".join(lines).encode())


def metric(count: int) -> str:
    """Three digits and a unit, as ``humanize.metric(count, unit="T")`` writes whole numbers."""
    rounded, _, exponent = f"{count:.2e}".partition("e")
    power = min(int(exponent) // 3, len(_POWERS) - 1)
    places = int(exponent) - 3 * power
    return f"{float(rounded) * 10**places:.{max(2 - places, 0)}f} {_POWERS[power]}T"


def read_rows(streams: list[IO[bytes]]) -> Iterator[pa.RecordBatch]:
    """No rows: whether the index and the metadata are those of the ids.

    Raises:
        CorpusError: ends do not ascend, or the ids are more or fewer.
    """
    yield from ()
    lines = streams[2].read(1 << 16).decode(errors="replace").split("\n")
    size = lines[0].rpartition("|")[2]
    if len(lines) != 3 or size not in ("2", "4") or not re.fullmatch("[0-9]{1,19}", lines[1]):
        raise CorpusError(f"metadata that starts with {lines[0][:80]!r}")
    last = 0
    while data := streams[1].read(1 << 20):
        if len(data) % 8:
            raise CorpusError("an index that ends within a number")
        ends = np.frombuffer(data, "<u8").astype(np.int64)
        if (np.diff(ends, prepend=last) < 0).any():
            raise CorpusError("an index whose ends do not ascend")
        last = int(ends[-1])
    found = token_rows.skip_to_end(streams[0])
    if found != last * int(size) or int(lines[1]) != last:
        raise CorpusError(
            f"{found:,} bytes of ids where the index has {last:,} tokens and the metadata "
            f"{int(lines[1]):,} of {size} bytes"
        )


def shard_totals(entry: dict[str, Any], told: dict[str, Any]) -> dict[str, Any]:
    """Documents, or parts of them, and tokens of a shard, from the sizes of its files."""
    size = stored_type(told["vocabulary"]).itemsize
    return {
        "path": entry["path"],
        "pieces": entry["also"][0]["bytes"] // 8,
        "tokens": entry["bytes"] // size,
    }


def files_beside(split: str, manifest: dict[str, Any]) -> dict[str, bytes]:
    """``nanotron/{split}.json``: tokenizer, type, and tokens of each shard."""
    return token_rows.told_beside(NAME, split, manifest, shard_totals, stored_type)
