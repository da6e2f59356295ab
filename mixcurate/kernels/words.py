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

from mixcurate.kernels.splitmix import GOLDEN, mix

UInt64Array = npt.NDArray[np.uint64]
Int64Array = npt.NDArray[np.int64]

#: What an ASCII byte becomes when text is normalised; the bytes of other characters stay.
_PLAIN = bytes(
    byte if byte >= 128 else ord(chr(byte).lower()) if chr(byte).isalnum() else ord(" ")
    for byte in range(256)
)

#: Stands between pieces of text that are normalised together.
_BETWEEN = b"\1"

#: Runs with wide characters are taken out of a batch if it has this many bytes for each.
_FEW_BYTES = 32

#: Whitespace beyond ASCII: its bytes in UTF-8, by their number.
_WIDE_SPACES = [
    char.encode()
    for char in "\x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000"
]

#: Words above this many bytes are hashed one by one: hostile text has words of megabytes.
_LONG = 64

#: Keeps the first 0 to 8 bytes of a little-endian number.
_FIRST_BYTES = np.array([(1 << 8 * count) - 1 for count in range(9)], np.uint64)

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
    """Texts as duplicate searches compare them: their words, with one space between two.

    Lower case, NFKC, a space for whatever is neither letter, mark nor digit, and spaces around
    each character of a script that writes none, so that an n-gram means something there.

    Args:
        text: large_string ``[n]`` without nulls.

    Returns:
        large_string ``[n]``, without spaces at either end.
    """
    bounds, data = text_bytes(text)
    raw = data.tobytes().replace(_BETWEEN, b" ")
    plain = raw.translate(_PLAIN)
    if not raw.isascii():
        plain, bounds = _replace_wide(raw, plain, bounds)
    words, bounds = _collapse(np.frombuffer(plain, np.uint8), bounds)
    buffers = [None, pa.py_buffer(bounds.astype(np.int64)), pa.py_buffer(words)]
    return pa.Array.from_buffers(pa.large_string(), len(text), buffers)


def _replace_wide(raw: bytes, plain: bytes, bounds: Int64Array) -> tuple[bytes, Int64Array]:
    """Put the normal form of each run with a character beyond ASCII in its place.

    Such a run reaches from one ASCII blank to the next. Nothing acts across one, neither
    composition nor the final sigma, so few bytes of most texts need the costly way.
    """
    data = np.frombuffer(raw, np.uint8)
    blanks = np.flatnonzero(_ascii_spaces(data))
    cuts = np.insert(blanks, np.searchsorted(blanks, bounds), bounds)
    after = np.searchsorted(cuts, np.flatnonzero(data >= 128), side="right")
    after = after[np.diff(after, prepend=-1) > 0]
    starts, ends = cuts[after - 1], cuts[after]
    if len(starts) * _FEW_BYTES > len(raw):  # little is spared, and each run is an object
        filled = np.flatnonzero(np.diff(bounds))
        starts, ends = bounds[filled], bounds[filled + 1]
    runs = [raw[a:b] for a, b in zip(starts.tolist(), ends.tolist(), strict=True)]
    forms = _BETWEEN + _normal_forms(_BETWEEN.join(runs)) + _BETWEEN
    between = np.flatnonzero(np.frombuffer(forms, np.uint8) == _BETWEEN[0])
    pieces: list[bytes] = []
    places, done = between.tolist(), 0
    for number, (start, end) in enumerate(zip(starts.tolist(), ends.tolist(), strict=True)):
        pieces += (plain[done:start], forms[places[number] + 1 : places[number + 1]])
        done = end
    pieces.append(plain[done:])
    longer = np.concatenate([[0], np.cumsum(np.diff(between) - 1 - (ends - starts))])
    return b"".join(pieces), bounds + longer[np.searchsorted(ends, bounds, side="right")]


def _normal_forms(data: bytes) -> bytes:
    """Pieces of text in normal form, by regular expressions; spaces are left as they come."""
    plain = (
        pl.Series([data.decode()])
        .str.normalize("NFKC")  # Arrow's own leaves composed letters apart
        .str.to_lowercase()
        .str.replace_all(rf"[^\p{{L}}\p{{M}}\p{{N}}{_BETWEEN.decode()}]+", " ")
        .str.replace_all(f"({_UNSPACED})", " $1 ")
    )
    return str(plain[0]).encode()


def _collapse(
    plain: npt.NDArray[np.uint8], bounds: Int64Array
) -> tuple[npt.NDArray[np.uint8], Int64Array]:
    """Leave one space of a run between words and none at the ends of a text."""
    space = plain == ord(" ")
    drop = np.zeros(len(plain), bool)
    drop[:-1] = space[:-1] & space[1:]
    inner = bounds[bounds > 0] - 1  # the last byte of a text, or of one before empty texts
    drop[inner] = space[inner]
    for start, end in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
        if start < end and space[start]:  # the run's last space is still there
            word = int(np.argmin(space[start:end]))
            drop[start + max(word - 1, 0)] = True  # of a text without a word all is dropped
    dropped = np.flatnonzero(drop)
    return plain[~drop], bounds - np.searchsorted(dropped, bounds)


def split_words(text: pa.Array) -> Words:
    """Where the words of each text are, and their hashes.

    Args:
        text: large_string ``[n]`` without nulls.
    """
    bounds, data = text_bytes(text)
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
        hashes += words.hashes[place : place + runs]
        hashes += GOLDEN
        mix(hashes)
    counts = np.maximum(np.diff(words.offsets) - (n - 1), 0)
    offsets = np.concatenate([[0], np.cumsum(counts)])
    within = np.arange(offsets[-1]) - np.repeat(offsets[:-1], counts)
    return hashes[np.repeat(words.offsets[:-1], counts) + within], offsets


def text_bytes(text: pa.Array) -> tuple[Int64Array, npt.NDArray[np.uint8]]:
    """Bounds int64 ``[n + 1]`` of the texts in their bytes, without copying these."""
    if len(text) == 0:
        return np.zeros(1, np.int64), np.zeros(0, np.uint8)
    _, offset_buffer, data_buffer = text.buffers()
    bounds = np.frombuffer(offset_buffer, np.int64)[text.offset : text.offset + len(text) + 1]
    whole = np.frombuffer(data_buffer if data_buffer is not None else b"", np.uint8)
    return bounds - bounds[0], whole[bounds[0] : bounds[-1]]


def _ascii_spaces(data: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    """Which bytes are a blank or one of the controls 9 to 13."""
    space: npt.NDArray[np.bool_] = (data == 32) | (data - np.uint8(9) < 5)
    return space


def _spaces(data: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    """Which bytes belong to whitespace."""
    space = _ascii_spaces(data)
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
    left = ends - starts
    hashes = eights[starts]
    hashes &= _FIRST_BYTES[np.minimum(left, 8)]
    hashes += GOLDEN
    mix(hashes)
    rows = np.flatnonzero((left > 8) & (left <= _LONG))
    for first in range(8, _LONG, 8):
        rows = rows[left[rows] > first]
        if len(rows) == 0:
            break
        chunk = eights[starts[rows] + first]
        chunk &= _FIRST_BYTES[np.minimum(left[rows] - first, 8)]
        chunk += hashes[rows]
        chunk += GOLDEN
        mix(chunk)
        hashes[rows] = chunk
    for row in np.flatnonzero(left > _LONG).tolist():
        hashes[row] = xxhash.xxh3_64_intdigest(data[starts[row] : ends[row]].data)
    return hashes
