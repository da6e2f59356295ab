"""What a format of shards is: the same few functions in each module of this package.

A shard is one or more files (Megatron's tokens and their index). Everything that is written is the
same for the same rows: no clock, no user, no library version.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import IO, Any, Protocol

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa

#: Texts to their token ids, without special tokens.
Encode = Callable[[list[str]], list[npt.NDArray[np.uint32]]]

_Int64Array = npt.NDArray[np.int64]


class Pieces(Protocol):
    """Sequences as runs of pieces of documents: what ``kernels.packing.Packing`` is.

    ``documents``, ``starts`` and ``lengths`` are int64 ``[p]``, ``bounds`` int64 ``[s + 1]``.
    """

    @property
    def documents(self) -> _Int64Array:
        """The document of each piece."""
        ...

    @property
    def starts(self) -> _Int64Array:
        """Its first token in the document."""
        ...

    @property
    def lengths(self) -> _Int64Array:
        """Its tokens."""
        ...

    @property
    def bounds(self) -> _Int64Array:
        """Sequence i has the pieces ``bounds[i]`` to ``bounds[i + 1] - 1``."""
        ...


#: Tokens of documents ``[n]``, their domains ``[n]``, tokens of a sequence, and number of the shard
#: to the sequences; all but the last have the same length.
Pack = Callable[[_Int64Array, npt.NDArray[np.int32], int, int], Pieces]


@dataclasses.dataclass(frozen=True)
class TokenOptions:
    """How rows become tokens.

    Attributes:
        encode: the tokenizer.
        vocabulary: number of ids; up to 65,536 of them are stored in two bytes.
        bos: id before each document, or None.
        eos: id after each document, or None.
        sequence_length: tokens of a packed sequence, or None for a sequence per document.
        name: of the tokenizer, for files that tell it.
        pack: ``kernels.packing.pack``, where there is a sequence_length.
    """

    encode: Encode
    vocabulary: int
    bos: int | None
    eos: int | None
    sequence_length: int | None
    name: str
    pack: Pack | None = None


class ShardWriter(Protocol):
    """Takes the rows of one shard in order."""

    def write(self, batch: pa.RecordBatch) -> None:
        """Append rows of schema ``CORPUS``."""
        ...


class ShardFormat(Protocol):
    """One module of this package. ``split`` is ``train`` or ``holdout``."""

    def shard_paths(self, split: str, shard: int, n_shards: int) -> list[str]:
        """The files of a shard, in the corpus; the first one names it."""
        ...

    def open_writer(
        self, streams: list[IO[bytes]], shard: int, tokens: TokenOptions | None
    ) -> AbstractContextManager[ShardWriter]:
        """A writer of one shard into its files."""
        ...

    def read_rows(self, streams: list[IO[bytes]]) -> Iterator[pa.RecordBatch]:
        """The rows of a shard again, in order, as far as the format keeps them, for ``verify``.

        Columns that the format does not keep are left out. Formats of tokens keep no row, only
        sequences: they are read to their end and yield nothing.

        Raises:
            CorpusError: the shard is not built as the format wants it.
        """
        ...

    def files_beside(self, split: str, manifest: dict[str, Any]) -> dict[str, bytes]:
        """Index files that readers expect, by path in the corpus."""
        ...


def entries(manifest: dict[str, Any], name: str, split: str) -> list[dict[str, Any]]:
    """What the manifest says of a format's shards of one split, in order."""
    return [
        shard for shard in manifest["shards"] if shard["format"] == name and shard["split"] == split
    ]


def json_file(value: Any) -> bytes:
    """``value`` as the bytes of an indented JSON file with sorted keys."""
    options = orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE
    return orjson.dumps(value, option=options)
