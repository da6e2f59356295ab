"""Are the tokens of a corpus what its manifest says? For ``verify --tokens``.

Tokenised caches without the token that begins a document have gone into trainings unnoticed (marin
issue 5149). So every id is looked at: none beyond the vocabulary, and each document with the tokens
before and after it. Memory is bounded by 8 bytes for each sequence of a shard.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt

from mixcurate.errors import CorpusError
from mixcurate.io import storage
from mixcurate.io.corpus import MANIFEST
from mixcurate.io.shard_formats import litdata_tokens, megatron, nanotron
from mixcurate.io.shard_formats.table import FORMATS

_CHUNK = 1 << 22

_STORED = {
    megatron.NAME: megatron.stored_type,
    nanotron.NAME: nanotron.stored_type,
    litdata_tokens.NAME: litdata_tokens.stored_type,
}

Int64Array = npt.NDArray[np.int64]


def check_tokens(corpus: str) -> list[str]:
    """Check the shards of tokens of a corpus.

    Returns:
        One sentence per problem: the file, what was expected, what was found. Empty when good, and
        when there are no shards of tokens.

    Raises:
        CorpusError: there is no manifest.
    """
    path = storage.join(corpus, MANIFEST)
    if not storage.exists(path):
        raise CorpusError(f"{corpus} has no {MANIFEST}")
    manifest = storage.read_json(path)
    shards = [shard for shard in manifest["shards"] if shard["format"] in _STORED]
    told = manifest.get("token_files")
    if not shards:
        return []
    if not told:
        return [f"{MANIFEST}: expected 'token_files' for its shards of tokens, found none"]
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        found = pool.map(lambda shard: _check_shard(corpus, shard, told), shards)
        return [problem for problems in found for problem in problems]


@dataclasses.dataclass
class _Seen:
    """What the ids of a shard have."""

    tokens: int = 0
    greatest: int = -1
    bos: int = 0
    eos: int = 0
    begun: int = 0  # sequences that begin with the one
    ended: int = 0  # and end with the other


def _check_shard(corpus: str, shard: dict[str, Any], told: dict[str, Any]) -> list[str]:
    paths = [shard["path"], *(file["path"] for file in shard["also"])]
    full = [storage.join(corpus, path) for path in paths]
    try:
        with contextlib.ExitStack() as stack:
            streams = [stack.enter_context(storage.open_read(path)) for path in full]
            for _ in FORMATS[shard["format"]].read_rows(streams):
                pass
        ends, kind, skipped = _layout(shard["format"], full, told)
        seen = _look(full[0], kind, skipped, ends, told)
    except (CorpusError, OSError) as error:
        return [f"{shard['path']}: {error}"]
    return [f"{shard['path']}: {problem}" for problem in _problems(shard, told, ends, seen)]


def _layout(name: str, full: list[str], told: dict[str, Any]) -> tuple[Int64Array, Any, int]:
    """Where sequences end in tokens, the type of ids, and the bytes before the first.

    Of nanotron it is documents, or parts of them, that end there. The files are known to be sound.
    """
    kind = _STORED[name](told["vocabulary"])
    if name == nanotron.NAME:
        data = storage.read_bytes(full[1])
        size = storage.read_bytes(full[2]).split(b"\n")[0].rpartition(b"|")[2]
        _expect_size(int(size), kind)
        return np.frombuffer(data, "<u8").astype(np.int64), kind, 0
    if name == megatron.NAME:
        with storage.open_read(full[1]) as stream:
            header = stream.read(34)
            n = int.from_bytes(header[18:26], "little")
            _expect_size(2 if header[17] == 8 else 4, kind)
            return np.cumsum(np.frombuffer(stream.read(4 * n), "<i4"), dtype=np.int64), kind, 0
    with storage.open_read(full[0]) as stream:
        n = int.from_bytes(stream.read(4), "little")
        places = np.frombuffer(stream.read(4 * (n + 1)), "<u4").astype(np.int64)
    if ((places - places[0]) % kind.itemsize).any():
        raise CorpusError(f"expected ids of {kind.itemsize} bytes, found places within one")
    return (places[1:] - places[0]) // kind.itemsize, kind, int(places[0])


def _expect_size(found: int, kind: np.dtype[Any]) -> None:
    if found != kind.itemsize:
        raise CorpusError(f"expected ids of {kind.itemsize} bytes ({kind.name}), found {found}")


def _look(
    path: str, kind: np.dtype[Any], skipped: int, ends: Int64Array, told: dict[str, Any]
) -> _Seen:
    """Read all ids, some at a time."""
    bos = -1 if told["bos"] is None else told["bos"]
    eos = -1 if told["eos"] is None else told["eos"]
    long = np.flatnonzero(np.diff(ends, prepend=0) > 0)
    first, last = (np.append(0, ends)[long], ends[long] - 1)
    seen = _Seen()
    for ids in _ids(path, kind, skipped):
        start, stop = seen.tokens, seen.tokens + len(ids)
        seen.greatest = max(seen.greatest, int(ids.max()))
        seen.bos += int(np.count_nonzero(ids == bos))
        seen.eos += int(np.count_nonzero(ids == eos))
        seen.begun += int(np.count_nonzero(ids[_within(first, start, stop)] == bos))
        seen.ended += int(np.count_nonzero(ids[_within(last, start, stop)] == eos))
        seen.tokens = stop
    return seen


def _within(places: Int64Array, start: int, stop: int) -> Int64Array:
    low, high = np.searchsorted(places, [start, stop])
    return places[low:high] - start


def _ids(path: str, kind: np.dtype[Any], skipped: int) -> Iterator[npt.NDArray[np.int64]]:
    with storage.open_read(path) as stream:
        stream.read(skipped)
        while data := stream.read(_CHUNK):
            yield np.frombuffer(data, kind).astype(np.int64)


def _problems(
    shard: dict[str, Any], told: dict[str, Any], ends: Int64Array, seen: _Seen
) -> list[str]:
    found = []
    documents, vocabulary = shard["n_documents"], told["vocabulary"]
    if seen.greatest >= vocabulary:
        found.append(f"expected ids below {vocabulary:,}, found {seen.greatest:,}")
    length = told["sequence_length"]
    if length is None:
        if len(ends) != documents:
            found.append(f"expected {documents:,} documents, found {len(ends):,}")
        begun, ended = seen.begun, seen.ended
    else:
        found += _lengths(shard["format"], ends, length)
        both = told["bos"] == told["eos"]
        begun, ended = seen.bos - (documents if both else 0), seen.eos
    for kind, count in (("bos", begun), ("eos", ended)):
        if told[kind] is not None and count < documents:
            share = count / max(documents, 1)
            word = "before" if kind == "bos" else "after"
            found.append(
                f"expected the {kind} token {told[kind]:,} {word} each of {documents:,} documents, "
                f"found it {word} {max(count, 0):,} ({max(share, 0):.1%})"
            )
    return found


def _lengths(name: str, ends: Int64Array, length: int) -> list[str]:
    """Packed sequences have one length; the last may be shorter, where it is not filled up."""
    if name == nanotron.NAME:
        wanted = np.arange(length, ends[-1] if len(ends) else 0, length)
        missing = int(np.count_nonzero(~np.isin(wanted, ends)))
        problem = f"found {missing:,} sequences that do not end there"
    else:
        sizes = np.diff(ends, prepend=0)
        whole = sizes if name == litdata_tokens.NAME else sizes[:-1]
        missing = int(np.count_nonzero(whole != length)) + int((sizes > length).any())
        problem = f"found {missing:,} of others"
    return [f"expected sequences of {length:,} tokens, {problem}"] if missing else []
