"""litdata chunks of ids, for ``StreamingDataset(item_loader=TokensLoader(block_size))``.

A chunk is the number of its sequences (u32), where each starts and the last one ends (u32 each, in
bytes of the file), and the raw ids. ``TokensLoader`` reads blocks of ``block_size`` ids and leaves
out what is left of each chunk: of packed sequences nothing is, when ``block_size`` is
``sequence_length``, for the last one is filled up with the id that ends a sequence (or begins one,
or 0, where these are not put), which ``litdata_tokens/{split}.json`` tells.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from typing import IO, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mixcurate.errors import CorpusError, OutputError
from mixcurate.io.shard_formats import token_rows
from mixcurate.io.shard_formats.base import ShardWriter, TokenOptions, entries, json_file

NAME = "litdata_tokens"

_TWO_BYTES_UP_TO = 65_536

#: litdata's numbers of the types.
_CODES = {"uint16": 5, "uint32": 6}

_LARGEST = 2**32 - 1

#: A single array without children, as ``torch``'s pytree writes it.
_DATA_SPEC = '[1, {"type": null, "context": null, "children_spec": []}]'


def stored_type(vocabulary: int) -> np.dtype[Any]:
    """uint16 or uint32."""
    return token_rows.stored_type(vocabulary, _TWO_BYTES_UP_TO, np.uint32)


def shard_paths(split: str, shard: int, n_shards: int) -> list[str]:
    """A chunk a shard; a folder a split, which is a data set with its index."""
    return [f"litdata_tokens/{split}/chunk-{shard:05d}-of-{n_shards:05d}.bin"]


class _Writer:
    """Ids wait in a file: their number stands before them."""

    def __init__(self, ids: IO[bytes], maker: token_rows.SequenceMaker) -> None:
        self._ids, self._maker = ids, maker
        self.lengths: list[npt.NDArray[np.int64]] = []

    def write(self, batch: pa.RecordBatch) -> None:
        for block in self._maker.add(batch):
            self.append(block)

    def append(self, block: token_rows.Block) -> None:
        self._ids.write(block.tokens.data)
        self.lengths.append(block.sequences)

    def pad(self, sequence_length: int, fill: npt.NDArray[Any]) -> None:
        """Fill the last sequence up."""
        missing = sequence_length - int(self.lengths[-1][-1])
        self._ids.write(np.repeat(fill, missing).data)
        self.lengths[-1] = np.append(self.lengths[-1][:-1], sequence_length)


@contextlib.contextmanager
def open_writer(
    streams: list[IO[bytes]], shard: int, tokens: TokenOptions | None
) -> Iterator[ShardWriter]:
    """The ids go to a temporary file first.

    Raises:
        OutputError: the shard is too large for a chunk, whose places have four bytes.
    """
    options = token_rows.required(tokens)
    kind = stored_type(options.vocabulary)
    with (
        tempfile.TemporaryFile() as ids,
        token_rows.sequence_maker(options, kind, shard) as maker,
    ):
        writer = _Writer(ids, maker)
        yield writer
        for block in maker.rest():
            writer.append(block)
        if options.sequence_length and writer.lengths:
            writer.pad(options.sequence_length, np.array([_fill(options.bos, options.eos)], kind))
        lengths = np.concatenate([np.zeros(0, np.int64), *writer.lengths])
        header = 4 * (len(lengths) + 2)
        ends = header + np.append(0, np.cumsum(lengths)) * kind.itemsize
        if ends[-1] > _LARGEST:
            raise OutputError(
                f"output.shard_bytes: shard {shard} has {ends[-1]:,} bytes of tokens; a chunk of "
                f"litdata has at most {_LARGEST:,}. Make shards smaller"
            )
        streams[0].write(np.append(len(lengths), ends).astype("<u4").data)
        ids.seek(0)
        shutil.copyfileobj(ids, streams[0], 1 << 20)


def _fill(bos: int | None, eos: int | None) -> int:
    """The id that a sequence is filled up with."""
    return next((one for one in (eos, bos) if one is not None), 0)


def read_rows(streams: list[IO[bytes]]) -> Iterator[pa.RecordBatch]:
    """No rows: whether the places are those of the ids.

    Raises:
        CorpusError: they do not ascend, or the file is longer or shorter.
    """
    yield from ()
    stream = streams[0]
    (n,) = np.frombuffer(token_rows.read_exactly(stream, 4, "the header"), "<u4").tolist()
    last, first = 4 * (n + 2), True
    for places in token_rows.read_array(stream, "<u4", n + 1, "the places of sequences"):
        if first and places[0] != last:
            raise CorpusError(f"a first sequence at byte {places[0]:,} instead of {last:,}")
        if (np.diff(places.astype(np.int64), prepend=last) < 0).any():
            raise CorpusError("places of sequences that do not ascend")
        last, first = int(places[-1]), False
    found = 4 * (n + 2) + token_rows.skip_to_end(stream)
    if found != last:
        raise CorpusError(f"{found:,} bytes where the places end at {last:,}")


def shard_totals(entry: dict[str, Any], told: dict[str, Any]) -> dict[str, Any]:
    """Sequences and tokens of a shard, from the size of its file and its number of documents."""
    size, length = stored_type(told["vocabulary"]).itemsize, told["sequence_length"]
    if length is None:
        sequences = entry["n_documents"]
        tokens = (entry["bytes"] - 8 - 4 * sequences) // size
    else:
        sequences = (entry["bytes"] - 8) // (4 + size * length)
        tokens = sequences * length
    return {"path": entry["path"], "sequences": sequences, "tokens": tokens}


def files_beside(split: str, manifest: dict[str, Any]) -> dict[str, bytes]:
    """litdata's index, and ``litdata_tokens/{split}.json`` with what it does not say."""
    shards, told = entries(manifest, NAME, split), manifest.get("token_files")
    if not shards or not told:
        return {}
    kind = stored_type(told["vocabulary"]).name
    totals = [shard_totals(entry, told) for entry in shards]
    chunks = [
        {
            "chunk_bytes": entry["bytes"],
            "chunk_size": total["sequences"],
            "dim": total["tokens"],
            "filename": entry["path"].rpartition("/")[2],
        }
        for entry, total in zip(shards, totals, strict=True)
    ]
    config = {
        "compression": None,
        "chunk_size": None,
        "chunk_bytes": max(entry["bytes"] for entry in shards),
        "data_format": [f"no_header_numpy:{_CODES[kind]}"],
        "data_spec": _DATA_SPEC,
        "encryption": None,
        "item_loader": "TokensLoader",
    }
    told = told | {"dtype": kind, "shards": totals}
    if told["sequence_length"] is not None:
        told["filled_up_with"] = _fill(told["bos"], told["eos"])
    return {
        f"litdata_tokens/{split}/index.json": json_file(
            {"chunks": chunks, "config": config, "updated_at": "0"}
        ),
        f"litdata_tokens/{split}.json": json_file(told),
    }
