"""Near-duplicates by MinHash-LSH: keys that texts of many common word n-grams share.

A text is its set of word n-grams. Under a random order of all n-grams, two sets have the same
smallest element with a probability equal to their Jaccard similarity s (Broder 1997). ``rows``
such minima make a band, and texts that agree in one of ``bands`` bands are candidates: with
probability 1 - (1 - s^rows)^bands (Leskovec, Rajaraman and Ullman, "Mining of Massive Datasets",
section 3.4). Defaults are those of FineWeb (arXiv 2406.17557): 5-grams, 14 bands of 8 rows.

An order is the number ``a * h mod 2^32`` of an n-gram's mixed 32-bit hash h, for an odd a. Plain
minima over that many orders, not one of the schemes with a single pass: SIMD minima in the
processor's cache cost less than cutting the text into words does.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mixcurate.kernels.cleaning import NearParams
from mixcurate.kernels.splitmix import GOLDEN, mix
from mixcurate.kernels.words import Int64Array, UInt64Array, Words, ngrams

UInt32Array = npt.NDArray[np.uint32]

#: Most minima per text that a threshold may ask for: the cost grows with them.
_MOST_HASHES = 128

#: N-grams that are worked on at once: with their products they stay in a core's own cache.
_BLOCK = 1 << 15

_SEED = 0x6D696E68617368


def curve(params: NearParams) -> tuple[int, int]:
    """Bands and rows that are used: the given ones, or those for ``threshold``."""
    if params.threshold is None:
        return params.bands, params.rows
    return bands_and_rows(params.threshold)


def match_probability(
    similarity: npt.NDArray[np.float64], bands: int, rows: int
) -> npt.NDArray[np.float64]:
    """The S-curve: how likely texts of some Jaccard similarity agree in at least one band."""
    found: npt.NDArray[np.float64] = 1 - (1 - similarity**rows) ** bands
    return found


def bands_and_rows(threshold: float) -> tuple[int, int]:
    """The steepest S-curve of at most 128 minima that reaches one half near ``threshold``.

    Near is within 0.01; where no curve comes so near (close to 0 and 1), the nearest one.

    Returns:
        Bands and rows.
    """
    curves = [
        (abs((1 - 0.5 ** (1 / bands)) ** (1 / rows) - threshold), bands, rows)
        for rows in range(1, _MOST_HASHES + 1)
        for bands in range(1, _MOST_HASHES // rows + 1)
    ]
    near = max(0.01, min(curves)[0])
    steepest = max(rows for off, _, rows in curves if off <= near)
    return min(curve for curve in curves if curve[2] == steepest)[1:]


def shingles(words: Words, n: int) -> tuple[UInt64Array, Int64Array]:
    """The n-grams of each text; a text of fewer than ``n`` words is one shingle.

    Returns:
        uint64 ``[m]`` and int64 ``[texts + 1]``, as of ``ngrams``. Only a text without any word
        has no shingle.
    """
    hashes, offsets = ngrams(words, n)
    counts = np.diff(words.offsets)
    short = np.flatnonzero((counts > 0) & (counts < n))
    if len(short) == 0:
        return hashes, offsets
    whole = np.zeros(len(short), np.uint64)
    for place in range(n - 1):
        longer = np.flatnonzero(counts[short] > place)
        folded = whole[longer] + words.hashes[words.offsets[short[longer]] + place] + GOLDEN
        mix(folded)
        whole[longer] = folded
    sizes = np.diff(offsets)
    sizes[short] = 1
    return np.insert(hashes, offsets[short], whole), np.concatenate([[0], np.cumsum(sizes)])


def signatures(hashes: UInt64Array, offsets: Int64Array, count: int) -> UInt32Array:
    """MinHash signatures of sets of shingles.

    Args:
        hashes: uint64 ``[m]``, well mixed.
        offsets: int64 ``[n + 1]``: set ``i`` is ``hashes[offsets[i]:offsets[i + 1]]``.
        count: minima per set.

    Returns:
        uint32 ``[count, n]``; all ones where a set is empty.
    """
    sets = len(offsets) - 1
    result = np.full((count, sets), np.uint32(0xFFFFFFFF))
    filled = np.flatnonzero(np.diff(offsets))
    small = (hashes >> np.uint64(32)).astype(np.uint32)
    orders = _orders(count)
    first = 0
    while first < len(filled):
        start = offsets[filled[first]]
        past = int(np.searchsorted(offsets[filled + 1], start + _BLOCK, side="right"))
        past = max(past, first + 1)  # a set larger than a block goes alone
        mine = filled[first:past]
        block = small[start : offsets[mine[-1] + 1]]
        _block_minima(block, offsets[mine] - start, orders, result, mine)
        first = past
    return result


def _block_minima(
    block: UInt32Array,
    starts: Int64Array,
    orders: UInt32Array,
    result: UInt32Array,
    sets: Int64Array,
) -> None:
    """The minima of some sets that are not empty, under every order, into ``result``."""
    values = np.empty_like(block)
    for number, order in enumerate(orders):
        np.multiply(block, order, out=values)
        result[number, sets] = np.minimum.reduceat(values, starts)


def band_keys(words: Words, params: NearParams) -> UInt64Array:
    """The keys under which near-duplicates meet.

    Args:
        words: of normalised texts.
        params: n-gram, bands and rows.

    Returns:
        uint64 ``[n, bands]``, never 0 but where a text has no word. A key is salted with its
        band, so that equal keys mean the same band.
    """
    bands, rows = curve(params)
    hashes, offsets = shingles(words, params.ngram)
    minima = signatures(hashes, offsets, bands * rows)
    keys = np.zeros((bands, minima.shape[1]), np.uint64)
    salts = _random(bands, 2)
    for band in range(bands):
        keys[band] = salts[band]
        for row in range(rows):
            keys[band] = _mixed(keys[band] ^ minima[band * rows + row])
    keys[keys == 0] = 1
    keys[:, np.diff(offsets) == 0] = 0
    return np.ascontiguousarray(keys.T)


def _orders(count: int) -> UInt32Array:
    """Odd 32-bit factors, the same in every run."""
    return (_random(count, 1) >> np.uint64(32)).astype(np.uint32) | np.uint32(1)


def _random(count: int, stream: int) -> UInt64Array:
    """The generator splitmix64, from a fixed seed."""
    steps = np.arange(1, count + 1, dtype=np.uint64) * GOLDEN
    return _mixed(steps + np.uint64(_SEED * stream))


def _mixed(values: UInt64Array) -> UInt64Array:
    mixed = values.copy()
    mix(mixed)
    return mixed
