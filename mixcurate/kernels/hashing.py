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
    words = _ids_as_words(ids)
    if words is not None:
        return _hash_ids(words, start)
    digest = xxhash.xxh3_64_intdigest
    return np.fromiter((digest(view, start) for view in _views(ids)), np.uint64, len(ids))


#: Bytes of an id of ``document_ids``.
_ID_BYTES = 32

#: Constants of xxh3 (XXH3_len_17to128_64b): the secret's first 32 bytes, and two primes.
_SECRET = (0xBE4BA423396CFEB8, 0x1CAD21F72C81017C, 0xDB979083E96DD4DE, 0x1F67B3B7A4A44072)
_PRIME, _AVALANCHE = 0x9E3779B185EBCA87, np.uint64(0x165667919E3779F9)

#: Ids that are hashed at once, so that all intermediate results stay in the cache.
_HASHED = 4_096


def _ids_as_words(ids: pa.Array) -> UInt64Array | None:
    """Ids of 32 bytes, as all of ours are, as uint64 ``[n, 4]``; None if one has another length."""
    if len(ids) == 0 or ids.null_count:
        return None
    _, offset_buffer, data_buffer = ids.buffers()
    dtype = np.int64 if pa.types.is_large_string(ids.type) else np.int32
    offsets = np.frombuffer(offset_buffer, dtype)[ids.offset : ids.offset + len(ids) + 1]
    if data_buffer is None or not (np.diff(offsets) == _ID_BYTES).all():
        return None
    data = np.frombuffer(data_buffer, np.uint8)[int(offsets[0]) : int(offsets[-1])]
    return data.view("<u8").reshape(-1, _ID_BYTES // 8)


def _hash_ids(words: UInt64Array, seed: int) -> UInt64Array:
    """xxh3-64 of rows of 32 bytes: what ``xxh3_64_intdigest`` gives, for many at once."""
    start = np.uint64(_ID_BYTES * _PRIME % (1 << 64))
    shifts = (seed, -seed, seed, -seed)
    first, second, third, fourth = (
        np.uint64((secret + shift) % (1 << 64))
        for secret, shift in zip(_SECRET, shifts, strict=True)
    )
    keys = np.empty(len(words), np.uint64)
    for begin in range(0, len(words), _HASHED):
        a, b, c, d = np.ascontiguousarray(words[begin : begin + _HASHED].T)
        found = start + _folded(a ^ first, b ^ second) + _folded(c ^ third, d ^ fourth)
        found ^= found >> np.uint64(37)
        found *= _AVALANCHE
        found ^= found >> np.uint64(32)
        keys[begin : begin + _HASHED] = found
    return keys


def _folded(a: UInt64Array, b: UInt64Array) -> UInt64Array:
    """Both halves of the 128-bit products, xor-ed; of 32-bit parts, since numpy has no more."""
    half, low = np.uint64(32), np.uint64(0xFFFFFFFF)
    a_high, b_high, a_low, b_low = a >> half, b >> half, a & low, b & low
    middle = a_high * b_low
    cross = (a_low * b_low >> half) + (middle & low) + a_low * b_high
    high = (middle >> half) + (cross >> half) + a_high * b_high
    folded: UInt64Array = high ^ (a * b)
    return folded


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
