"""What the formats of tokens share: rows become sequences of ids, and ids become bytes.

Without ``sequence_length`` a document is a sequence, written as it comes. With it, the tokens of a
shard wait in a temporary file until all are there, and are then written as they were packed.
"""

from __future__ import annotations

import contextlib
import dataclasses
import tempfile
from collections.abc import Callable, Iterator
from typing import IO, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mixcurate.errors import CorpusError
from mixcurate.io.shard_formats.base import Pieces, TokenOptions, entries, json_file

Tokens = npt.NDArray[Any]
Int64Array = npt.NDArray[np.int64]

#: Tokens that are put in order at once.
_BLOCK = 1 << 20

_CHUNK = 4 << 20


@dataclasses.dataclass(frozen=True)
class Block:
    """Whole sequences, one after another.

    Attributes:
        tokens: ids ``[t]`` of the stored type.
        sequences: int64 ``[s]``, tokens of each sequence.
        pieces: int64 ``[p]``, tokens of each document, or part of one, in these sequences.
    """

    tokens: Tokens
    sequences: Int64Array
    pieces: Int64Array


class SequenceMaker:
    """Takes the rows of a shard, gives its sequences."""

    def __init__(self, options: TokenOptions, dtype: npt.DTypeLike, shard: int) -> None:
        self._options, self._dtype, self._shard = options, np.dtype(dtype), shard
        self._waiting: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed by close()
        self._lengths: list[Int64Array] = []
        self._domains: list[npt.NDArray[np.int32]] = []

    def add(self, batch: pa.RecordBatch) -> Iterator[Block]:
        """Take rows of schema ``CORPUS``; the sequences that are complete with them."""
        tokens, lengths = _encode(batch.column("text").to_pylist(), self._options, self._dtype)
        if self._options.sequence_length is None:
            yield Block(tokens, lengths, lengths)
            return
        self._waiting.write(tokens.data)
        self._lengths.append(lengths)
        self._domains.append(batch.column("domain").to_numpy().astype(np.int32))

    def rest(self) -> Iterator[Block]:
        """The sequences that are left when all rows have been taken."""
        options = self._options
        if options.sequence_length is None or not self._lengths:
            return
        if options.pack is None:
            raise ValueError("options with a sequence_length need a function to pack with")
        lengths = np.concatenate(self._lengths)
        domains = np.concatenate(self._domains)
        pieces = options.pack(lengths, domains, options.sequence_length, self._shard)
        self._waiting.flush()
        if len(pieces.lengths):
            tokens = np.memmap(self._waiting, self._dtype, "r")
            yield from _in_order(tokens, np.cumsum(lengths) - lengths, pieces)

    def close(self) -> None:
        """Give the temporary file back."""
        self._waiting.close()


@contextlib.contextmanager
def sequence_maker(
    options: TokenOptions | None, dtype: npt.DTypeLike, shard: int
) -> Iterator[SequenceMaker]:
    """A ``SequenceMaker`` for one shard."""
    with contextlib.closing(SequenceMaker(required(options), dtype, shard)) as maker:
        yield maker


def required(options: TokenOptions | None) -> TokenOptions:
    """The options, which a caller gives to every format of tokens."""
    if options is None:
        raise ValueError("a format of tokens needs TokenOptions")
    return options


def facts(options: TokenOptions) -> dict[str, Any]:
    """What the manifest says of tokens under ``token_files``; side files are made of it."""
    names = ("vocabulary", "bos", "eos", "sequence_length")
    return {"tokenizer": options.name} | {name: getattr(options, name) for name in names}


def told_beside(
    name: str,
    split: str,
    manifest: dict[str, Any],
    shard_totals: Callable[[dict[str, Any], dict[str, Any]], dict[str, Any]],
    stored: Callable[[int], np.dtype[Any]],
) -> dict[str, bytes]:
    """``NAME/{split}.json``: tokenizer, type of the ids, and what each shard has.

    Args:
        name: of the format, and of its folder.
        split: of the corpus.
        manifest: of the corpus.
        shard_totals: what a shard's entry, and what is told of all, come to.
        stored: the type of the ids of a vocabulary.
    """
    shards, told = entries(manifest, name, split), manifest.get("token_files")
    if not shards or not told:
        return {}
    totals = [shard_totals(entry, told) for entry in shards]
    kind = stored(told["vocabulary"]).name
    return {f"{name}/{split}.json": json_file(told | {"dtype": kind, "shards": totals})}


def _encode(texts: list[str], options: TokenOptions, dtype: np.dtype[Any]) -> tuple[Tokens, Any]:
    """Ids of all texts with what comes before and after each, and how many each has."""
    before = [] if options.bos is None else [np.array([options.bos], np.uint32)]
    after = [] if options.eos is None else [np.array([options.eos], np.uint32)]
    encoded = options.encode(texts)
    extra = len(before) + len(after)
    lengths = np.array([len(ids) + extra for ids in encoded], np.int64)
    parts = [part for ids in encoded for part in (*before, ids, *after)]
    if not parts:
        return np.zeros(0, dtype), lengths
    return np.concatenate(parts, dtype=dtype, casting="unsafe"), lengths


def _in_order(tokens: Tokens, first: Int64Array, pieces: Pieces) -> Iterator[Block]:
    """Sequences in the order of ``pieces``, some at a time, gathered from ``tokens``.

    ``first`` is where each document starts.
    """
    ends = np.append(0, np.cumsum(pieces.lengths))[pieces.bounds]
    sources = first[pieces.documents] + pieces.starts
    start = 0
    while start < len(ends) - 1:
        stop = int(np.searchsorted(ends, ends[start] + _BLOCK, "right")) - 1
        stop = max(stop, start + 1)
        mine = slice(int(pieces.bounds[start]), int(pieces.bounds[stop]))
        lengths = pieces.lengths[mine]
        shift = sources[mine] - (np.cumsum(lengths) - lengths)
        places = np.arange(lengths.sum()) + np.repeat(shift, lengths)
        yield Block(tokens[places], np.diff(ends[start : stop + 1]), lengths)
        start = stop


def stored_type(vocabulary: int, two_bytes_up_to: int, wide: npt.DTypeLike) -> np.dtype[Any]:
    """uint16 where all ids fit into it, or ``wide``; little-endian."""
    kind = np.dtype(np.uint16) if vocabulary <= two_bytes_up_to else np.dtype(wide)
    return kind.newbyteorder("<")


def read_exactly(stream: IO[bytes], size: int, what: str) -> bytes:
    """The next bytes of a stream.

    Raises:
        CorpusError: it ends before.
    """
    data = stream.read(size)
    if len(data) < size:
        raise CorpusError(f"the end of the file within {what}")
    return data


def read_array(stream: IO[bytes], dtype: str, count: int, what: str) -> Iterator[npt.NDArray[Any]]:
    """Numbers of a stream, a few MB at a time.

    Raises:
        CorpusError: it ends before.
    """
    size = np.dtype(dtype).itemsize
    while count:
        some = min(count, _CHUNK // size)
        yield np.frombuffer(read_exactly(stream, some * size, what), dtype)
        count -= some


def skip_to_end(stream: IO[bytes]) -> int:
    """Bytes that are left."""
    total = 0
    while data := stream.read(_CHUNK):
        total += len(data)
    return total
