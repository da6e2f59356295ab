"""Which documents hold items of evaluation sets, told by shared runs of words.

An *item* is one record of an evaluation set, such as a question with its answers. A document is
contaminated if it shares an n-gram of words with an item: 13 words as in GPT-3 (arXiv 2005.14165,
appendix C), 12 as in datatrove, 8 as in Tülu 3 (arXiv 2411.15124, section 3.2). Words are compared
in normal form (``mixcurate.kernels.words``), as 64-bit hashes.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mixcurate.kernels.contamination_index import ContaminationIndex
from mixcurate.kernels.replace import replace_rows
from mixcurate.kernels.word_places import Place, word_places
from mixcurate.kernels.words import Words, ngrams, normalise, split_words
from mixcurate.tables import EXCERPT, HITS

Int64Array = npt.NDArray[np.int64]
UInt64Array = npt.NDArray[np.uint64]


@dataclasses.dataclass(frozen=True)
class Hits:
    """Which texts of a batch hold which items. A text has a hit exactly if it has a run."""

    row: Int64Array
    """int64 ``[h]``: number of the text, ascending."""
    item: Int64Array
    """int64 ``[h]``: number of the item in the index."""
    matched: Int64Array
    """int64 ``[h]``: how many different n-grams of the item the text holds."""
    overlap: npt.NDArray[np.float32]
    """float32 ``[h]``: their share of the item's n-grams."""
    word: Int64Array
    """int64 ``[h]``: word of the text's normal form at which the first of them begins."""
    words: Int64Array
    """int64 ``[h]``: its length in words."""
    run_row: Int64Array
    """int64 ``[r]``: text of each maximal run of words that items cover, ascending."""
    run_start: Int64Array
    """int64 ``[r]``: its first word."""
    run_end: Int64Array
    """int64 ``[r]``: the word after it."""

    def rows(self, n: int) -> npt.NDArray[np.bool_]:
        """bool ``[n]``: which of the ``n`` texts are contaminated."""
        found = np.zeros(n, bool)
        found[self.row] = True
        return found


@dataclasses.dataclass(frozen=True)
class _Found:
    """Places of a batch where an n-gram of the index stands, sorted by text and hash."""

    row: Int64Array
    word: Int64Array
    length: Int64Array
    hashes: UInt64Array

    def take(self, keep: npt.NDArray[np.bool_] | Int64Array) -> _Found:
        return _Found(self.row[keep], self.word[keep], self.length[keep], self.hashes[keep])


def find(text: pa.Array, index: ContaminationIndex, min_overlap: float = 0.0) -> Hits:
    """Search a batch for items.

    Args:
        text: large_string ``[n]`` without nulls.
        index: from ``build_index``.
        min_overlap: least share of an item's n-grams in a text.
    """
    words = split_words(normalise(text))
    found = _together([_long_places(words, index), _short_places(words, index)])
    found = found.take(np.lexsort((found.word, found.hashes, found.row)))
    first = np.ones(
        len(found.row), bool
    )  # of equal n-grams of a text: the rest is no more evidence
    first[1:] = (np.diff(found.row) != 0) | (found.hashes[1:] != found.hashes[:-1])
    grams = found.take(first)
    gram, item = _owners(grams, index)
    row = grams.row[gram]
    begins = np.ones(len(row), bool)
    begins[1:] = (np.diff(row) != 0) | (np.diff(item) != 0)
    hit = np.cumsum(begins) - 1
    matched = np.bincount(hit, minlength=int(begins.sum()))
    overlap = (matched / index.item_grams[item[begins]]).astype(np.float32)
    enough = overlap >= np.float32(min_overlap)
    evidence = np.zeros(len(grams.row), bool)
    evidence[gram[enough[hit]]] = True
    chosen = np.flatnonzero(begins)[enough]
    at = gram[chosen]
    runs = _runs(found.take(evidence[np.cumsum(first) - 1]), words)
    return Hits(
        row[chosen],
        item[chosen],
        matched[enough],
        overlap[enough],
        grams.word[at],
        grams.length[at],
        *runs,
    )


def _owners(grams: _Found, index: ContaminationIndex) -> tuple[Int64Array, Int64Array]:
    """All pairs of an n-gram and an item that has it, by text, item and place."""
    low = np.searchsorted(index.hashes, grams.hashes, "left")
    counts = np.searchsorted(index.hashes, grams.hashes, "right") - low
    gram = np.repeat(np.arange(len(low)), counts)
    within = np.arange(len(gram)) - np.repeat(np.cumsum(counts) - counts, counts)
    item = index.items[low[gram] + within].astype(np.int64)
    order = np.lexsort((grams.word[gram], item, grams.row[gram]))
    return gram[order], item[order]


def _together(parts: list[_Found]) -> _Found:
    return _Found(
        np.concatenate([part.row for part in parts]),
        np.concatenate([part.word for part in parts]),
        np.concatenate([part.length for part in parts]),
        np.concatenate([part.hashes for part in parts]),
    )


def _long_places(words: Words, index: ContaminationIndex) -> _Found:
    """Where n-grams of items stand."""
    hashes, offsets = ngrams(words, index.ngram)
    places = index.may_hold(hashes)
    places = places[_is_in(hashes[places], index.hashes)]
    row = np.searchsorted(offsets, places, side="right") - 1
    return _Found(
        row, places - offsets[row], np.full(len(row), index.ngram, np.int64), hashes[places]
    )


def _short_places(words: Words, index: ContaminationIndex) -> _Found:
    """Where items stand whole that have fewer words than an n-gram.

    Their first words are searched everywhere, and the whole of them only behind those.
    """
    if not index.short_lengths:
        none = np.zeros(0, np.int64)
        return _Found(none, none, none, none.astype(np.uint64))
    hashes, offsets = ngrams(words, index.min_words)
    places = index.may_hold(hashes)
    places = places[_is_in(hashes[places], index.heads)]
    row = np.searchsorted(offsets, places, side="right") - 1
    word = places - offsets[row]
    found: list[_Found] = []
    for length in index.short_lengths:
        fits = word + length <= np.diff(words.offsets)[row]
        rows, begin = row[fits], word[fits]
        at = (words.offsets[rows] + begin)[:, None] + np.arange(length)
        whole = dataclasses.replace(
            words, hashes=words.hashes[at].ravel(), offsets=np.arange(len(rows) + 1) * length
        )
        grams = ngrams(whole, length)[0]
        candidates = _Found(rows, begin, np.full(len(rows), length, np.int64), grams)
        found.append(candidates.take(_is_in(grams, index.hashes)))
    return _together(found)


def _is_in(values: UInt64Array, ordered: UInt64Array) -> npt.NDArray[np.bool_]:
    if len(ordered) == 0:
        return np.zeros(len(values), bool)
    order = np.argsort(values)  # a search in order stays in the cache: twice as fast
    wanted = values[order]
    at = np.minimum(np.searchsorted(ordered, wanted), len(ordered) - 1)
    found = np.zeros(len(values), bool)
    found[order] = ordered[at] == wanted
    return found


def _runs(found: _Found, words: Words) -> tuple[Int64Array, Int64Array, Int64Array]:
    """Text, first word and word after the last of what places cover together, in order."""
    shift = words.offsets[found.row] + found.row  # a gap of one, so that no two texts touch
    start = found.word + shift
    order = np.argsort(start, kind="stable")
    start, end = start[order], (start + found.length)[order]
    reach = np.maximum.accumulate(end) if len(end) else end
    begins = np.ones(len(start), bool)
    begins[1:] = start[1:] > reach[:-1]
    row, shift = found.row[order][begins], shift[order][begins]
    last = np.append(np.flatnonzero(begins)[1:], len(start)) - 1
    return row, start[begins] - shift, reach[last[: len(row)]] - shift


def cut(text: pa.Array, hits: Hits) -> pa.Array:
    """The texts without the runs of ``hits``; a text of which no word is left is empty.

    What stands between a run and its neighbours stays; other texts are the same bytes.

    Args:
        text: large_string ``[n]``, as it was given to ``find``.

    Returns:
        large_string ``[n]``.
    """
    shorter: dict[int, str] = {}
    for row in np.unique(hits.run_row).tolist():
        original = text[row].as_py()
        places = word_places(original)
        mine = hits.run_row == row
        spans = [
            (places[a][0], places[b - 1][1])
            for a, b in zip(hits.run_start[mine].tolist(), hits.run_end[mine].tolist(), strict=True)
        ]
        rest = _without(original, spans)
        left = len(places) - int((hits.run_end[mine] - hits.run_start[mine]).sum())
        shorter[row] = rest if left else ""
    return replace_rows(text, shorter)


def _without(text: str, spans: list[Place]) -> str:
    kept, done = [], 0
    for start, end in spans:
        kept.append(text[done : max(start, done)])
        done = max(done, end)
    return "".join([*kept, text[done:]])


def hit_table(
    text: pa.Array, hits: Hits, index: ContaminationIndex, documents: pa.RecordBatch
) -> pa.RecordBatch:
    """Rows of schema ``HITS``.

    Args:
        text: as it was given to ``find``.
        documents: columns ``id``, ``source``, ``path`` and ``position`` of the same rows.
    """
    excerpts, seen, places = [], -1, list[Place]()
    spans = zip(hits.row.tolist(), hits.word.tolist(), hits.words.tolist(), strict=True)
    original = ""
    for row, word, count in spans:
        if row != seen:
            original = text[row].as_py()
            places, seen = word_places(original), row
        first, last = places[word][0], places[word + count - 1][1]
        excerpts.append(original[first:last][:EXCERPT])
    who = documents.take(pa.array(hits.row))
    sets, files = pa.array(index.sets, pa.string()), pa.array(index.files, pa.string())
    columns = {
        **{name: who.column(name) for name in ("id", "source", "path", "position")},
        "set": sets.take(pa.array(index.item_set[hits.item])),
        "set_path": files.take(pa.array(index.item_file[hits.item])),
        "item": pa.array(index.item_position[hits.item], pa.int64()),
        "matched": pa.array(hits.matched, pa.int32()),
        "overlap": pa.array(hits.overlap, pa.float32()),
        "excerpt": pa.array(excerpts, pa.string()),
    }
    return pa.RecordBatch.from_arrays([columns[name] for name in HITS.names], schema=HITS)
