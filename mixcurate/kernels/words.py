"""Words of a batch of texts as numbers: where they are, a hash of each, and hashes of n-grams.

One pass over the UTF-8 bytes of a whole batch; what works on words (near-duplicates, repetition,
contamination) then works on integers. A *word* is a maximal run of non-whitespace, whitespace being
Unicode's White_Space, as in Rust's ``\\s``.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import xxhash

UInt64Array = npt.NDArray[np.uint64]
Int64Array = npt.NDArray[np.int64]

_ASCII_SPACE = np.zeros(256, bool)
_ASCII_SPACE[[*range(9, 14), 32]] = True

#: Whitespace beyond ASCII: its bytes in UTF-8, by their number.
_WIDE_SPACES = [
    char.encode()
    for char in "\x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000"
]

#: Words above this many bytes are hashed one by one: hostile text has words of megabytes.
_LONG = 64

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)

#: Scripts that put no spaces between words: there each character counts as a word.
_UNSPACED = r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}\p{Tibetan}]"


@dataclasses.dataclass(frozen=True)
class Words:
    """The words of a batch of ``n`` texts, in order."""

    hashes: UInt64Array
    """uint64 ``[w]``: equal words have equal hashes, on any machine."""
    starts: Int64Array
    """int64 ``[w]``: first byte of each word in the batch's data."""
    ends: Int64Array
    """int64 ``[w]``: the byte after it."""
    offsets: Int64Array
    """int64 ``[n + 1]``: the words of text ``i`` are ``[offsets[i], offsets[i + 1])``."""


def normalise(text: pa.Array) -> pa.Array:
    """Texts as duplicate searches compare them.

    Lower case, NFKC, one space for whatever is neither letter, mark nor digit, and spaces around
    each character of a script that writes none, so that an n-gram means something there.

    Args:
        text: large_string ``[n]`` without nulls.

    Returns:
        large_string ``[n]``.
    """
    column = pl.Series(pl.from_arrow(pa.chunked_array([text], pa.large_string())))
    plain = (
        column.str.normalize("NFKC")  # Arrow's own leaves composed letters apart
        .str.to_lowercase()
        .str.replace_all(r"[^\p{L}\p{M}\p{N}]+", " ")
        .str.replace_all(f"({_UNSPACED})", " $1 ")
    )
    array: pa.Array = plain.to_arrow().cast(pa.large_string())
    return array


def split_words(text: pa.Array) -> Words:
    """Where the words of each text are, and their hashes.

    Args:
        text: large_string ``[n]`` without nulls.
    """
    bounds, data = _bytes_of(text)
    space = _spaces(data)
    n = len(data)
    word = ~space
    begins = np.zeros(n + 1, bool)  # one more: documents may be empty at the very end
    begins[1:n] = space[:-1]
    begins[bounds] = True
    starts = np.flatnonzero(begins[:n] & word)
    stops = np.zeros(n + 1, bool)
    stops[:n] = space
    stops[bounds] = True
    ends = np.flatnonzero(stops[1:] & word) + 1
    offsets = np.searchsorted(starts, bounds)
    return Words(_hash(data, starts, ends), starts, ends, offsets)


def ngrams(words: Words, n: int) -> tuple[UInt64Array, Int64Array]:
    """Hashes of all runs of ``n`` words; none crosses from one text to the next.

    Returns:
        uint64 ``[m]`` and int64 ``[texts + 1]``: those of text ``i`` are at
        ``[offsets[i], offsets[i + 1])``. A text of fewer than ``n`` words has none.
    """
    if n == 1:
        return words.hashes, words.offsets
    runs = max(0, len(words.hashes) - n + 1)
    hashes = np.zeros(runs, np.uint64)
    for place in range(n):
        hashes = _mixed(hashes + words.hashes[place : place + runs] + _GOLDEN)
    counts = np.maximum(np.diff(words.offsets) - (n - 1), 0)
    offsets = np.concatenate([[0], np.cumsum(counts)])
    within = np.arange(offsets[-1]) - np.repeat(offsets[:-1], counts)
    return hashes[np.repeat(words.offsets[:-1], counts) + within], offsets


def _bytes_of(text: pa.Array) -> tuple[Int64Array, npt.NDArray[np.uint8]]:
    """Bounds int64 ``[n + 1]`` of the texts in their bytes, without copying these."""
    if len(text) == 0:
        return np.zeros(1, np.int64), np.zeros(0, np.uint8)
    _, offset_buffer, data_buffer = text.buffers()
    bounds = np.frombuffer(offset_buffer, np.int64)[text.offset : text.offset + len(text) + 1]
    whole = np.frombuffer(data_buffer if data_buffer is not None else b"", np.uint8)
    return bounds - bounds[0], whole[bounds[0] : bounds[-1]]


def _spaces(data: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    """Which bytes belong to whitespace."""
    space = _ASCII_SPACE[data]
    for lead in {wide[0] for wide in _WIDE_SPACES}:
        places = np.flatnonzero(data == lead)
        for wide in _WIDE_SPACES:
            if wide[0] != lead or len(places) == 0:
                continue
            found = places[places <= len(data) - len(wide)]
            for step in range(1, len(wide)):
                found = found[data[found + step] == wide[step]]
            for step in range(len(wide)):
                space[found + step] = True
    return space


def _hash(data: npt.NDArray[np.uint8], starts: Int64Array, ends: Int64Array) -> UInt64Array:
    """Eight bytes of every word at a time; a word of up to eight bytes is its own number, mixed."""
    padded = np.concatenate([data, np.zeros(8, np.uint8)])
    eights = np.ndarray((len(data) + 1,), "<u8", padded.data, strides=(1,))
    lengths = ends - starts
    hashes = np.zeros(len(starts), np.uint64)
    rows = np.flatnonzero(lengths <= _LONG)
    for first in range(0, _LONG, 8):
        left = lengths[rows] - first
        rows, left = rows[left > 0], left[left > 0]
        if len(rows) == 0:
            break
        unused = np.uint64(8) * (np.uint64(8) - np.minimum(left, 8).astype(np.uint64))
        chunk = (eights[starts[rows] + first] << unused) >> unused
        hashes[rows] = _mixed(hashes[rows] + chunk + _GOLDEN)
    for row in np.flatnonzero(lengths > _LONG).tolist():
        hashes[row] = xxhash.xxh3_64_intdigest(data[starts[row] : ends[row]].data)
    return hashes


def _mixed(values: UInt64Array) -> UInt64Array:
    """The finaliser of splitmix64 (Steele, Lea and Flood 2014): a bijection of 64-bit words."""
    values = (values ^ (values >> np.uint64(30))) * _MIX_1
    values = (values ^ (values >> np.uint64(27))) * _MIX_2
    mixed: UInt64Array = values ^ (values >> np.uint64(31))
    return mixed
