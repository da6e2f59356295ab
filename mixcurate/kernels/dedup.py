"""Which documents are duplicates: the keys they meet under, and which one of a group survives."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from mixcurate.kernels import minhash, quality
from mixcurate.kernels.cleaning import DedupParams, NearParams
from mixcurate.kernels.hashing import uniform_keys
from mixcurate.kernels.urls import normal_url
from mixcurate.kernels.words import normalise, split_words

UInt64Array = npt.NDArray[np.uint64]
Int64Array = npt.NDArray[np.int64]
KeyArray = npt.NDArray[np.void]


#: Kinds of links as bits, the strongest first, and the reason of what is dropped for each.
SAME_ID, SAME_TEXT, SAME_URL, NEAR = 8, 4, 2, 1
REASONS = {
    SAME_ID: "duplicate_id",
    SAME_TEXT: "exact_duplicate",
    SAME_URL: "duplicate_url",
    NEAR: "near_duplicate",
}
_DETAILS = {
    SAME_ID: "the same id as",
    SAME_TEXT: "the same words as",
    SAME_URL: "the same URL as",
    NEAR: "nearly the same words as",
}

#: Text that is worked on at once: what is made of it stays in a processor's cache.
_SLICE_BYTES = 1 << 20


def key_type(params: DedupParams | None, own_ids: bool) -> np.dtype[np.void]:
    """The record of one document's keys: uint64 fields, where 0 is no key.

    The names of the fields say how the keys are made, so that keys of another run are known to
    compare, or not. The field of near-duplicates has a key for each band.
    """
    fields: list[tuple[str, str] | tuple[str, str, tuple[int]]] = []
    if own_ids:
        fields.append(("id", "<u8"))
    if params and params.exact:
        fields.append(("words_1", "<u8"))
    if params and params.url:
        fields.append(("url_1", "<u8"))
    if params and params.near:
        bands, rows = minhash.curve(params.near)
        fields.append((f"near_1_{params.near.ngram}_{rows}", "<u8", (bands,)))
    return np.dtype(fields)


def kind_of(field: str) -> int:
    """The kind of link that a field of keys makes."""
    return {"id": SAME_ID, "words": SAME_TEXT, "url": SAME_URL, "near": NEAR}[_stem(field)]


def _stem(field: str) -> str:
    """What a field is about: its name before version and parameters."""
    return field.split("_", maxsplit=1)[0]


def columns(keys: KeyArray) -> Iterator[tuple[int, UInt64Array]]:
    """The kind and the keys, uint64 ``[n]``, of each column; equal keys of one column link."""
    for field in keys.dtype.names or ():
        values = keys[field].reshape(len(keys), -1)
        for place in range(values.shape[1]):
            yield kind_of(field), values[:, place]


def document_keys(documents: pa.Table, kind: np.dtype[np.void], ngram: int) -> KeyArray:
    """The keys of documents.

    Args:
        documents: columns ``id``, ``text`` and ``url`` of ``documents/``.
        kind: a ``key_type``.
        ngram: words in an n-gram.

    Returns:
        Records ``[n]`` of that type.
    """
    keys = np.zeros(documents.num_rows, kind)
    names = {_stem(name): name for name in kind.names or ()}
    start = 0
    for batch in documents.to_batches():
        for text in _slices(batch.column("text")):
            stop = start + len(text)
            if "words" in names or "near" in names:
                _text_keys(text, keys[start:stop], names, ngram)
            start = stop
    if "id" in names:
        keys[names["id"]] = _hashes(documents.column("id").combine_chunks())
    if "url" in names:
        urls = documents.column("url").to_pylist()
        normal = pa.array([normal_url(url) if url else None for url in urls], pa.string())
        known = normal.is_valid().to_numpy(zero_copy_only=False)
        keys[names["url"]] = np.where(known, _hashes(normal), np.uint64(0))
    return keys


def _text_keys(text: pa.Array, keys: KeyArray, names: dict[str, str], ngram: int) -> None:
    """Fill in the keys that are made of words."""
    normal = normalise(text)
    if "words" in names:
        empty = pc.equal(pc.binary_length(normal), 0)
        compared = pc.if_else(empty, text, normal) if pc.any(empty).as_py() else normal
        keys[names["words"]] = _hashes(compared)
    if "near" in names:
        field = names["near"]
        bands = keys.dtype[field].shape[0]
        near = NearParams(ngram=ngram, bands=bands, rows=int(field.split("_")[-1]))
        keys[field] = minhash.band_keys(split_words(normal), near)


def _slices(text: pa.Array) -> Iterator[pa.Array]:
    """Cut texts into slices of about a megabyte, of one text at least."""
    ends = np.cumsum(pc.binary_length(text).to_numpy(zero_copy_only=False))
    start = 0
    while start < len(text):
        before = int(ends[start - 1]) if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, before + _SLICE_BYTES, side="right")))
        yield text[start:stop]
        start = stop


def _hashes(values: pa.Array) -> UInt64Array:
    """A hash of each value that is never 0: uint64 ``[n]``."""
    return np.maximum(uniform_keys(values, 0, "duplicates"), np.uint64(1))


def scores(documents: pa.Table, keep: Literal["longest", "quality"]) -> UInt64Array:
    """How good a survivor each document is, from its content alone: uint64 ``[n]``, more is better.

    Args:
        documents: ``n_bytes`` of each document, or the ``signal_*`` columns of its quality.
        keep: bytes, or quality in thousandths.
    """
    if keep == "longest":
        size: UInt64Array = documents.column("n_bytes").to_numpy().astype(np.uint64)
        return size
    signals = {
        name: documents.column(f"signal_{name}").to_numpy().astype(np.float32)
        for name in quality.INPUTS
    }
    mean = quality.overall(quality.heuristic_quality(signals))
    return np.rint(mean.astype(np.float64) * 1000).astype(np.uint64)


def score_columns(keep: Literal["longest", "quality"]) -> list[str]:
    """The columns that ``scores`` reads."""
    return ["n_bytes"] if keep == "longest" else [f"signal_{name}" for name in quality.INPUTS]


#: A document that is linked to another, as the choice of a survivor sees it.
MEMBER = np.dtype(
    [
        ("group", "<u4"),  # the smallest document of its group
        ("row", "<u4"),
        ("origin", "<u2"),  # number of the earlier run, or OWN
        ("kinds", "u1"),  # bits of its own links
        ("score", "<u8"),
        ("content", "<u8"),  # hash of the exact text
        ("place", "<u8"),  # hash of path and position, for twins in all else
    ]
)

#: Origin of the documents of this run: after all earlier ones.
OWN = 0xFFFF


def survivors(members: npt.NDArray[np.void], ids: pa.Array) -> Int64Array:
    """The best member of each member's group.

    A document of an earlier run is better than any own one, of the first such run the best; then
    the greatest score, the smallest hash of content, the smallest id and the smallest place.

    Args:
        members: ``MEMBER`` records ``[n]`` of whole groups, in any order.
        ids: string ``[n]``.

    Returns:
        int64 ``[n]``: index of the survivor.
    """
    rank = pc.rank(ids, sort_keys="ascending", tiebreaker="dense").to_numpy()
    order = np.lexsort(
        (
            members["place"],
            rank,
            members["content"],
            ~members["score"],
            members["origin"],
            members["group"],
        )
    )
    group = members["group"][order]
    starts = np.ones(len(group), bool)
    starts[1:] = group[1:] != group[:-1]
    first = np.maximum.accumulate(np.where(starts, np.arange(len(group)), 0))
    best = np.zeros(len(group), np.int64)
    best[order] = order[first]
    return best


def why(kinds: int, survivor: str) -> tuple[str, str]:
    """Reason and detail of a dropped document from the kinds of its links.

    Args:
        kinds: bits, of which the strongest counts.
        survivor: names the document that stays.
    """
    kind = next(kind for kind in REASONS if kinds & kind)
    return REASONS[kind], f"{_DETAILS[kind]} document {survivor}, which is kept"
