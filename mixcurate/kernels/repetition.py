"""How much of a text repeats itself: lines, paragraphs and runs of words, exactly and per batch.

The measures of Gopher (arXiv 2112.11446, appendix A.1.1, table A1), counted as its public
reimplementation counts them (datatrove's ``gopher_repetition_filter``), save for what a word, a
line and a paragraph is: see ``mixcurate.kernels.signals``.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right

import numpy as np
import numpy.typing as npt
import polars as pl

from mixcurate.kernels.words import UInt64Array, Words

Int64Array = npt.NDArray[np.int64]
Float64Array = npt.NDArray[np.float64]

#: Lengths of the n-grams of which the most frequent one is looked at.
TOP = (2, 3, 4)

#: Lengths of the n-grams of which all repeats are looked at.
DUPLICATED = (5, 6, 7, 8, 9, 10)

#: Words searched at a time, so that the arrays of a search stay in the processor's cache.
_WORDS_AT_ONCE = 1 << 16

_SEED = np.uint64(0x9E3779B97F4A7C15)
_FACTOR = np.uint64(0xD6E8FEB86659FD93)
_HALF = np.uint64(32)


def repeated_pieces(frame: pl.DataFrame, pieces: pl.Expr, name: str) -> pl.DataFrame:
    """Which share of the pieces of each text repeats an earlier piece.

    Args:
        frame: ``row``, and what ``pieces`` reads.
        pieces: list of strings per row; whitespace around a piece, and blank ones, do not count.
        name: what the columns are called.

    Returns:
        ``row``; ``duplicate_NAMEs``, the share of pieces; ``duplicate_NAME_chars``, the share of
        their characters. Rows without pieces are missing.
    """
    piece = pl.col("piece")
    counted = (
        frame.select("row", piece=pieces)
        .explode("piece")
        .with_columns(piece.str.strip_chars())
        .filter(piece.str.len_bytes() > 0)
        .group_by("row", "piece")
        .agg(seen=pl.len())
        .with_columns(chars=piece.str.len_chars())
    )
    seen, chars = pl.col("seen"), pl.col("chars")
    shares = {
        f"duplicate_{name}s": (seen - 1).sum() / seen.sum(),
        f"duplicate_{name}_chars": ((seen - 1) * chars).sum() / (seen * chars).sum(),
    }
    return counted.group_by("row").agg(**shares)


def repeated_ngrams(
    words: Words, word_chars: Int64Array, text_chars: Int64Array
) -> dict[str, Float64Array]:
    """Which share of each text's characters lies in repeated runs of words.

    ``top_Ngram_chars``: the most frequent n-gram (of several, the one that comes first), its
    characters with one blank between words, times how often it occurs; occurrences may overlap,
    so that the share can exceed 1. ``duplicate_Ngram_chars``: reading from the front, an n-gram
    that was read before counts with the characters of its words and is stepped over; any other is
    remembered, and reading goes on at the next word.

    Args:
        words: of ``n`` texts.
        word_chars: int64 ``[w]``, characters of each word.
        text_chars: int64 ``[n]``, characters of each text.

    Returns:
        float64 ``[n]`` by name, for each length in ``TOP`` and ``DUPLICATED``; 0 for a text of
        fewer words.
    """
    n = len(text_chars)
    found = {f"top_{size}gram_chars": np.zeros(n) for size in TOP}
    found |= {f"duplicate_{size}gram_chars": np.zeros(n) for size in DUPLICATED}
    start = 0
    while start < n:
        limit = words.offsets[start] + _WORDS_AT_ONCE
        stop = max(start + 1, int(np.searchsorted(words.offsets, limit, side="right")) - 1)
        first, last = words.offsets[start], words.offsets[stop]
        counted = _Search(
            words.hashes[first:last],
            words.offsets[start : stop + 1] - first,
            np.concatenate([[0], np.cumsum(word_chars[first:last])]),
        ).chars()
        for name, chars in counted.items():
            found[name][start:stop] = chars / np.maximum(text_chars[start:stop], 1)
        start = stop
    return found


class _Search:
    """Repeated n-grams of some texts, found from short to long.

    An n-gram can only repeat where the (n - 1)-gram at its place does, so that each length looks
    at the few places which the last one left.
    """

    def __init__(self, hashes: UInt64Array, offsets: Int64Array, chars_before: Int64Array) -> None:
        self.hashes, self.offsets, self.chars_before = hashes, offsets, chars_before
        self.lengths = np.diff(offsets)
        self.text = np.repeat(np.arange(len(self.lengths)), self.lengths)
        self.words_left = offsets[1:][self.text] - np.arange(len(hashes))

    def chars(self) -> dict[str, Int64Array]:
        """Characters by name, as in ``repeated_ngrams``: int64 ``[n]``."""
        counted: dict[str, Int64Array] = {}
        places = np.arange(len(self.hashes))
        grams = self.hashes ^ _mixed(self.text.astype(np.uint64))  # texts share no n-gram
        for size in range(2, DUPLICATED[-1] + 1):
            room = self.words_left[places] >= size
            places, grams = places[room], grams[room]
            grams = _mixed(grams + self.hashes[places + (size - 1)])
            places, grams, firsts = _repeated(places, grams)
            if size in TOP:
                counted[f"top_{size}gram_chars"] = self._top(places, firsts, size)
            if size in DUPLICATED:
                counted[f"duplicate_{size}gram_chars"] = self._duplicated(places, firsts, size)
        return counted

    def _top(self, places: Int64Array, firsts: Int64Array, size: int) -> Int64Array:
        """Characters of the most frequent n-gram of each text, times its number."""
        own = np.flatnonzero(places == firsts)  # one a group, in the groups' order
        seen = np.diff(np.append(own, len(places)))
        place, text = places[own], self.text[places[own]]
        most = np.where(self.lengths >= size, 1, 0)
        first = np.where(most > 0, self.offsets[:-1], len(self.hashes))  # all occur once
        np.maximum.at(most, text, seen)
        first[text] = len(self.hashes)
        best = seen == most[text]
        np.minimum.at(first, text[best], place[best])
        first = np.where(most > 0, first, 0)
        end = np.minimum(first + size, len(self.hashes))
        chars = self.chars_before[end] - self.chars_before[first] + (size - 1)
        top: Int64Array = most * chars
        return top

    def _duplicated(self, places: Int64Array, firsts: Int64Array, size: int) -> Int64Array:
        """Characters of the n-grams that count as repeats, of each text."""
        again = places != firsts
        order = np.argsort(places[again])
        taken = _read(places[again][order].tolist(), firsts[again][order].tolist(), size)
        at = np.array(taken, np.int64)
        chars = np.zeros(len(self.lengths), np.int64)
        np.add.at(chars, self.text[at], self.chars_before[at + size] - self.chars_before[at])
        return chars


def _repeated(places: Int64Array, grams: UInt64Array) -> tuple[Int64Array, UInt64Array, Int64Array]:
    """Those n-grams which occur more than once.

    Returns:
        Place and hash of each, and the first place of its like; equal n-grams stand together, in
        order of place.
    """
    bits = np.uint64(max(1, len(grams).bit_length()))
    numbers = np.arange(len(grams), dtype=np.uint64)
    ordered = np.sort(((grams >> bits) << bits) | numbers)  # many times faster than an argsort
    order = (ordered & ((np.uint64(1) << bits) - np.uint64(1))).astype(np.int64)
    ranked = grams[order]
    alike = ordered[1:] >> bits == ordered[:-1] >> bits
    if not np.array_equal(alike, ranked[1:] == ranked[:-1]):  # the upper bits are not enough
        order = np.argsort(grams, kind="stable")
        ranked = grams[order]
        alike = ranked[1:] == ranked[:-1]
    again, followed = np.append(False, alike)[: len(grams)], np.append(alike, False)[: len(grams)]
    keep = np.flatnonzero(again | followed)
    order, again = order[keep], again[keep]
    group = np.maximum.accumulate(np.where(again, 0, np.arange(len(order))))
    kept = places[order]
    return kept, ranked[keep], kept[group]


def _read(places: list[int], firsts: list[int], size: int) -> list[int]:
    """The places of n-grams that count as repeats, read as ``repeated_ngrams`` says.

    Args:
        places: where an n-gram stands that also stood earlier in its text, ascending.
        firsts: where each stood first.
        size: words in an n-gram, which are stepped over.
    """
    taken: list[int] = []
    known: set[int] = set()  # n-grams whose first place was stepped over, but which were read later
    at = 0
    while at < len(places):
        place, first = places[at], firsts[at]
        before = bisect_right(taken, first)
        if before == 0 or first >= taken[before - 1] + size or first in known:
            taken.append(place)
            at = bisect_left(places, place + size, at + 1)
        else:
            known.add(first)
            at += 1
    return taken


def _mixed(values: UInt64Array) -> UInt64Array:
    """Spread the bits of each value over all 64, one to one."""
    values = (values + _SEED) * _FACTOR
    values = (values ^ (values >> _HALF)) * _FACTOR
    return values ^ (values >> _HALF)
