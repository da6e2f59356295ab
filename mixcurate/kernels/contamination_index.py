"""What is searched for items of evaluation sets: hashes of their n-grams, and whose they are."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from mixcurate.errors import InputError
from mixcurate.kernels.words import Words, ngrams, normalise, split_words

Int64Array = npt.NDArray[np.int64]
UInt64Array = npt.NDArray[np.uint64]

#: Bits of the bitmap for each hash, at least: at most one strange hash in 16 then passes it.
_BITS = 16

#: Items normalised at once: the memory of a step is bounded, that of the index is not.
_ITEMS_AT_ONCE = 20_000


@dataclasses.dataclass(frozen=True)
class SetReport:
    """How the items of one set are searched; the numbers add up to ``items``."""

    name: str
    items: int
    by_ngrams: int
    """Items that have n-grams which are evidence."""
    whole: int
    """Items shorter than an n-gram, searched whole."""
    duplicates: int
    """Items whose words equal those of an earlier one."""
    too_short: int
    """Items below ``min_words``: not searched."""
    template: int
    """Items of which every n-gram is shared by too many: not searched."""
    ngrams: int
    """Different n-grams that are evidence, over all items."""
    template_ngrams: int
    """Different n-grams that are not, because too many items share them."""


@dataclasses.dataclass(frozen=True)
class ContaminationIndex:
    """The n-grams of ``k`` items as ``p`` pairs of a hash and an item, sorted by hash."""

    ngram: int
    min_words: int
    sets: list[str]
    """Names of the sets."""
    files: list[str]
    """Files of all sets, as the recipe writes them."""
    reports: list[SetReport]
    """One for each set."""
    short_lengths: list[int]
    """Which numbers of words below ``ngram`` items have that are searched whole."""
    hashes: UInt64Array
    """uint64 ``[p]``."""
    items: npt.NDArray[np.int32]
    """int32 ``[p]``."""
    heads: UInt64Array
    """uint64: n-grams of ``min_words`` words with which items begin that are searched whole."""
    bitmap: npt.NDArray[np.uint8]
    """uint8, a power of two: bit ``h`` modulo their number is set for every hash ``h``."""
    item_set: npt.NDArray[np.int32]
    """int32 ``[k]``."""
    item_file: npt.NDArray[np.int32]
    """int32 ``[k]``."""
    item_position: Int64Array
    """int64 ``[k]``: line or row of the file."""
    item_grams: npt.NDArray[np.int32]
    """int32 ``[k]``: different n-grams that are evidence."""

    def parts(self) -> tuple[dict[str, Any], dict[str, npt.NDArray[Any]]]:
        """What JSON can hold, and the arrays: how an index is stored."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        arrays = {name: value for name, value in values.items() if isinstance(value, np.ndarray)}
        plain = {name: value for name, value in values.items() if name not in arrays}
        return plain | {"reports": [dataclasses.asdict(r) for r in self.reports]}, arrays

    @staticmethod
    def from_parts(
        plain: dict[str, Any], arrays: dict[str, npt.NDArray[Any]]
    ) -> ContaminationIndex:
        """Back from ``parts``."""
        reports = [SetReport(**report) for report in plain["reports"]]
        return ContaminationIndex(**(plain | arrays | {"reports": reports}))

    def may_hold(self, hashes: UInt64Array) -> Int64Array:
        """Which of ``hashes`` can be in the index, by one look at the bitmap each."""
        bits = hashes & np.uint64(8 * len(self.bitmap) - 1)
        byte = self.bitmap[(bits >> np.uint64(3)).view(np.int64)]
        return np.flatnonzero((byte >> (bits & np.uint64(7)).astype(np.uint8)) & 1)


@dataclasses.dataclass(frozen=True)
class Items:
    """The items of all sets, those of a set behind each other."""

    text: pa.Array
    """large_string ``[k]``."""
    set: npt.NDArray[np.int32]
    """int32 ``[k]``, ascending."""
    file: npt.NDArray[np.int32]
    """int32 ``[k]``."""
    position: Int64Array
    """int64 ``[k]``."""


def gather_items(sets: list[pa.Table]) -> tuple[Items, list[str]]:
    """The items of all sets, and their files.

    Args:
        sets: for each set a table of ``path`` string, ``position`` int64 and ``text`` large_string.
    """
    whole = pa.concat_tables(sets).combine_chunks()
    paths = whole.column("path").to_pylist()
    files = {path: number for number, path in enumerate(dict.fromkeys(paths))}
    items = Items(
        text=pa.concat_arrays([pa.array([], pa.large_string()), *whole.column("text").chunks]),
        set=np.repeat(np.arange(len(sets)), [table.num_rows for table in sets]).astype(np.int32),
        file=np.array([files[path] for path in paths], np.int32),
        position=np.array(whole.column("position").to_pylist(), np.int64),
    )
    return items, list(files)


def build_index(
    items: Items,
    sets: list[str],
    files: list[str],
    *,
    ngram: int,
    min_words: int,
    template_items: int,
    template_share: float,
) -> ContaminationIndex:
    """Index the items of evaluation sets; see ``ContaminationParams`` for the numbers.

    Two n-grams have the same hash by chance about once in 1.8e19 pairs: with 10 million in the
    index, about once in 2e12 n-grams of the documents.
    """
    words, fresh = _words(items)
    lengths = np.diff(words.offsets)
    hashes, owners = _by_hash(words, fresh & (lengths >= ngram), ngram)
    sizes = np.bincount(items.set, weights=fresh, minlength=len(sets))
    most = np.maximum(template_items, np.floor(template_share * sizes))
    shared, first = _shared(hashes, items.set[owners])
    template = shared > most[items.set[owners]]
    different = [items.set[owners[first & kind]] for kind in (~template, template)]
    short = fresh & (lengths < ngram) & (lengths >= min_words)
    short_lengths = np.unique(lengths[short]).tolist()
    parts = [(hashes[~template], owners[~template])]
    parts += [_by_hash(words, short & (lengths == n), n) for n in short_lengths]
    hashes, owners = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    order = np.argsort(hashes, kind="stable")  # items are in order already
    heads = _heads(words, short, min_words)
    grams = np.bincount(owners, minlength=len(lengths)).astype(np.int32)
    long = fresh & (lengths >= ngram)
    kinds = {
        "by_ngrams": long & (grams > 0),
        "whole": short,
        "duplicates": ~fresh,
        "too_short": fresh & ~long & ~short,
        "template": long & (grams == 0),
    }
    return ContaminationIndex(
        ngram=ngram,
        min_words=min_words,
        sets=sets,
        files=files,
        reports=_reports(sets, items.set, kinds, different),
        short_lengths=short_lengths,
        hashes=hashes[order],
        items=owners[order].astype(np.int32),
        heads=heads,
        bitmap=_bitmap(np.concatenate([hashes, heads])),
        item_set=items.set,
        item_file=items.file,
        item_position=items.position,
        item_grams=grams,
    )


def _reports(
    sets: list[str],
    item_set: npt.NDArray[np.int32],
    kinds: dict[str, npt.NDArray[np.bool_]],
    ngram_sets: list[npt.NDArray[np.int32]],
) -> list[SetReport]:
    """One report a set. ``ngram_sets``: set of each n-gram that is evidence, and that is not."""
    evidence, template = (np.bincount(found, minlength=len(sets)) for found in ngram_sets)
    return [
        SetReport(
            name=name,
            items=int((item_set == number).sum()),
            **{kind: int((which & (item_set == number)).sum()) for kind, which in kinds.items()},
            ngrams=int(evidence[number]),
            template_ngrams=int(template[number]),
        )
        for number, name in enumerate(sets)
    ]


def require_searchable(index: ContaminationIndex) -> None:
    """Refuse an index with a set of which not one item is searched.

    Raises:
        InputError: names the set and why its items are left out.
    """
    for report in index.reports:
        if report.by_ngrams + report.whole == 0:
            raise InputError(
                f"evaluation set {report.name}: none of its {report.items:,} items can be searched:"
                f" {report.too_short:,} have fewer than {index.min_words} words, of"
                f" {report.template:,} every n-gram is shared by too many. Give more `fields`, or"
                " lower `min_words`."
            )


def _words(items: Items) -> tuple[Words, npt.NDArray[np.bool_]]:
    """Words of all items, and which are the first of their set with their words."""
    starts = range(0, len(items.text), _ITEMS_AT_ONCE)
    parts = [normalise(items.text[start : start + _ITEMS_AT_ONCE]) for start in starts]
    plain = pa.concat_arrays(parts) if parts else pa.array([], pa.large_string())
    frame = pl.DataFrame({"set": items.set, "plain": pl.from_arrow(plain)})
    fresh = frame.select(pl.struct("set", "plain").is_first_distinct()).to_series().to_numpy()
    return split_words(plain), fresh


def _by_hash(words: Words, chosen: npt.NDArray[np.bool_], n: int) -> tuple[UInt64Array, Int64Array]:
    """Different n-grams of the chosen items: hashes and items, sorted by both."""
    hashes, offsets = ngrams(words, n)
    counts = np.diff(offsets)
    keep = np.repeat(chosen, counts)
    hashes, owners = hashes[keep], np.repeat(np.arange(len(counts)), counts)[keep]
    order = np.argsort(hashes, kind="stable")  # items are in order already
    hashes, owners = hashes[order], owners[order]
    new = np.ones(len(hashes), bool)
    new[1:] = (hashes[1:] != hashes[:-1]) | (owners[1:] != owners[:-1])
    return hashes[new], owners[new]


def _shared(
    hashes: UInt64Array, sets: npt.NDArray[np.int32]
) -> tuple[Int64Array, npt.NDArray[np.bool_]]:
    """How many items of its set share each n-gram; where the pairs of a hash and a set begin."""
    starts = np.ones(len(hashes), bool)
    starts[1:] = (hashes[1:] != hashes[:-1]) | (sets[1:] != sets[:-1])
    group = np.cumsum(starts) - 1
    counts: Int64Array = np.bincount(group)
    return counts[group], starts


def _heads(words: Words, chosen: npt.NDArray[np.bool_], n: int) -> UInt64Array:
    """The first n-grams of the chosen items, which have as many words at least."""
    hashes, offsets = ngrams(words, n)
    return np.unique(hashes[offsets[:-1][chosen]])


def _bitmap(hashes: UInt64Array) -> npt.NDArray[np.uint8]:
    n_bytes = 1 << max(10, int(np.ceil(np.log2(max(1, len(hashes)) * _BITS / 8))))
    bitmap = np.zeros(n_bytes, np.uint8)
    bits = hashes & np.uint64(8 * n_bytes - 1)
    byte = (bits >> np.uint64(3)).astype(np.int64)
    np.bitwise_or.at(bitmap, byte, np.uint8(1) << (bits & np.uint64(7)).astype(np.uint8))
    return bitmap
