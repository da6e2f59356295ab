"""Ids, content hashes and the uniform keys that every random decision is made of.

All are xxh3 of bytes: stateless, so the same on any worker, in any order, after any restart.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import xxhash

UInt64Array = npt.NDArray[np.uint64]


def fingerprint(*parts: str) -> str:
    """128-bit hex hash of a sequence of strings; different splits give different hashes."""
    state = xxhash.xxh3_128()
    for part in parts:
        data = part.encode()
        state.update(len(data).to_bytes(8, "little"))
        state.update(data)
    return state.hexdigest()


def subseed(seed: int, purpose: str) -> int:
    """A 64-bit seed for one purpose, so that two decisions about one document are independent."""
    return xxhash.xxh3_64_intdigest(purpose.encode(), seed)


def document_ids(source: str, path: str, positions: npt.NDArray[np.int64]) -> pa.Array:
    """Ids of documents by their place: 32 hex digits of xxh3-128 over source, path, position.

    Returns:
        string array ``[n]``.
    """
    prefix = xxhash.xxh3_128(f"{len(source)}:{source}{path}\0".encode())
    ids = []
    for position in positions.tolist():
        state = prefix.copy()
        state.update(position.to_bytes(8, "little", signed=True))
        ids.append(state.hexdigest())
    return pa.array(ids, pa.string())


def content_hashes(text: pa.Array) -> pa.Array:
    """xxh3-128 of each text's UTF-8 bytes, as a binary(16) array ``[n]``."""
    digests = [xxhash.xxh3_128_digest(view) for view in _views(text)]
    return pa.array(digests, pa.binary(16))


def uniform_keys(ids: pa.Array, seed: int, purpose: str) -> UInt64Array:
    """A uniform 64-bit key per document: a function of (seed, purpose, id) and nothing else.

    Returns:
        uint64 ``[n]``.
    """
    start = subseed(seed, purpose)
    digest = xxhash.xxh3_64_intdigest
    return np.fromiter((digest(view, start) for view in _views(ids)), np.uint64, len(ids))


def unit_interval(keys: UInt64Array) -> npt.NDArray[np.float64]:
    """Map 64-bit keys to float64 in [0, 1): their top 53 bits, exactly."""
    return (keys >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _views(array: pa.Array) -> Iterator[memoryview]:
    """The UTF-8 bytes of each string, without copying; nulls read as empty."""
    wide = pa.types.is_large_string(array.type)
    _, offset_buffer, data_buffer = array.buffers()
    dtype = np.int64 if wide else np.int32
    if len(array) == 0:
        return
    offsets = np.frombuffer(offset_buffer, dtype)[array.offset : array.offset + len(array) + 1]
    data = memoryview(data_buffer) if data_buffer is not None else memoryview(b"")
    bounds = offsets.tolist()
    for start, stop in zip(bounds[:-1], bounds[1:], strict=True):
        yield data[start:stop]
