"""What a fastText file says of itself, and whether it is whole.

The library trusts its files: one that is cut off or made up can end the process, or read memory
that is not its own. So every size in a file is checked against the others before the library sees
it. The layout is that of fastText 0.9.2 (versions 11 and 12 of the format), as its ``Args``,
``Dictionary``, ``DenseMatrix``, ``QuantMatrix`` and ``ProductQuantizer`` save themselves.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import struct
from typing import Any, NamedTuple

import numpy as np

from mixcurate.errors import InputError

_MAGIC = 793_712_314
_VERSIONS = (11, 12)

#: Of the trainer's enumerations: a supervised model, and its four losses.
_SUPERVISED = 3
_LOSSES = (1, 2, 3, 4)

#: Codes of a product quantiser are bytes.
_CENTROIDS = 256

#: Counts from here on stand for "no node" in the tree that hierarchical softmax builds.
_MOST_COUNT = 10**15

#: More n-grams than this take no memory, but endless time.
_MOST_NGRAMS = 64


class _Damaged(Exception):
    """What is wrong with the file; told with its name by ``read_labels``."""


class _Args(NamedTuple):
    """The training parameters, as they lie in the file: twelve int32 and a float64."""

    dim: int
    window: int
    epoch: int
    min_count: int
    negatives: int
    word_ngrams: int
    loss: int
    model: int
    buckets: int
    min_chars: int
    max_chars: int
    update_rate: int
    sampling: float


def read_labels(path: str, where: str) -> tuple[str, ...]:
    """Labels of a fastText classifier, in its order, after a check of the whole file's layout.

    Args:
        path: of the file.
        where: place in the recipe, for messages.

    Raises:
        InputError: the file is no fastText classifier, or is damaged.
    """
    try:
        with open(path, "rb") as stream:
            if os.fstat(stream.fileno()).st_size == 0:
                raise _Damaged("it is empty")
            with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
                return _Reader(data).labels()
    except OSError as error:
        raise InputError(f"{where}: model: cannot read {path}: {error}") from error
    except _Damaged as error:
        raise InputError(f"{where}: model: {path} is no fastText classifier: {error}") from error


def file_hash(path: str) -> str:
    """sha256 of a file."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


class _Reader:
    """Walks a file from its beginning to its end."""

    def __init__(self, data: mmap.mmap) -> None:
        self._data = data
        self._at = 0

    def labels(self) -> tuple[str, ...]:
        """The labels; every part of the file is walked over."""
        magic, version = self._take("<ii")
        if magic != _MAGIC:
            raise _Damaged("it does not begin as one")
        if version not in _VERSIONS:
            raise _Damaged(f"its format has version {version}; versions 11 and 12 are known")
        args = _Args(*self._take("<12id"))
        _check_args(args)
        words, labels, pruned = self._dictionary()
        quantised = self._flag()
        if pruned is not None and not quantised:
            raise _Damaged("its dictionary is pruned, but its matrix is not quantised")
        # without pruning, a row for each bucket; with it, for each that was kept
        rows = words + (args.buckets if pruned is None else pruned)
        self._matrix(rows, args.dim, quantised=quantised)
        self._matrix(len(labels), args.dim, quantised=self._flag() and quantised)
        if self._at != len(self._data):
            raise _Damaged(f"{len(self._data) - self._at:,} bytes are left over at its end")
        return labels

    def _take(self, layout: str) -> tuple[Any, ...]:
        start = self._at
        self._skip(struct.calcsize(layout))
        return struct.unpack_from(layout, self._data, start)

    def _skip(self, count: int) -> None:
        if count < 0 or count > len(self._data) - self._at:
            raise _Damaged(f"it ends after {len(self._data):,} bytes, in the middle")
        self._at += count

    def _flag(self) -> bool:
        (value,) = self._take("<B")
        if value not in (0, 1):
            raise _Damaged(f"byte {self._at - 1:,} should be 0 or 1")
        return bool(value)

    def _dictionary(self) -> tuple[int, tuple[str, ...], int | None]:
        """Words, labels, and how many hashed n-grams a pruned one keeps (None: it is not)."""
        size, words, n_labels, _, pruned = self._take("<iiiqq")
        if words < 0 or n_labels < 1 or size != words + n_labels:
            raise _Damaged(f"it has {words:,} words and {n_labels:,} labels of {size:,} entries")
        labels = []
        for entry in range(size):
            end = self._data.find(b"\0", self._at)
            if end < 0:
                raise _Damaged("its dictionary does not end")
            name = self._data[self._at : end] if entry >= words else b""
            self._at = end + 1
            count, kind = self._take("<qb")
            if kind != (entry >= words) or not 0 <= count < _MOST_COUNT:
                raise _Damaged(f"entry {entry:,} of its dictionary is not as it should be")
            if entry >= words:
                labels.append(name.decode("utf-8", "replace"))
        if len(set(labels)) != n_labels:
            raise _Damaged("two of its labels are the same")
        if pruned < 0:
            return words, tuple(labels), None
        start = self._at
        self._skip(8 * pruned)
        pairs = np.frombuffer(self._data[start : self._at], "<i4").reshape(-1, 2)
        if pruned and not (pairs[:, 1].min() >= 0 and pairs[:, 1].max() < pruned):
            raise _Damaged("its pruned n-grams point out of its matrix")
        return words, tuple(labels), pruned

    def _matrix(self, rows: int, dim: int, *, quantised: bool) -> None:
        scaled = quantised and self._flag()
        found = self._take("<qq")
        if found != (rows, dim):
            raise _Damaged(f"a matrix is {found[0]:,} by {found[1]:,}, not {rows:,} by {dim:,}")
        if not quantised:
            self._skip(4 * rows * dim)
            return
        (codes,) = self._take("<i")
        self._skip(codes)
        parts = self._quantiser(dim)
        if codes != rows * parts:
            raise _Damaged(f"a matrix has {codes:,} codes for {rows:,} rows of {parts}")
        if scaled:
            self._skip(rows)
            self._quantiser(1)

    def _quantiser(self, dim: int) -> int:
        """Walk over centroids; into how many parts a row is cut."""
        length, parts, width, last = self._take("<4i")
        if length != dim or width < 1 or parts != -(-dim // width):
            raise _Damaged(f"a quantiser cuts {length} numbers into {parts} parts of {width}")
        if last != dim - (parts - 1) * width:
            raise _Damaged(f"the last part of a quantiser has {last} numbers")
        self._skip(4 * dim * _CENTROIDS)
        return int(parts)


def _check_args(args: _Args) -> None:
    if args.model != _SUPERVISED:
        raise _Damaged("it holds vectors of words, and has no labels")
    if args.loss not in _LOSSES:
        raise _Damaged(f"its loss has number {args.loss}")
    if args.dim < 1 or args.buckets < 0 or not 0 < args.word_ngrams <= _MOST_NGRAMS:
        raise _Damaged(
            f"it has {args.dim} dimensions, {args.buckets} buckets and n-grams of "
            f"{args.word_ngrams} words"
        )
    if not 0 <= args.min_chars <= _MOST_NGRAMS or not 0 <= args.max_chars <= _MOST_NGRAMS:
        raise _Damaged(f"it has n-grams of {args.min_chars} to {args.max_chars} characters")
    if args.buckets == 0 and (args.word_ngrams > 1 or args.max_chars > 0):
        raise _Damaged("it has n-grams, but no buckets for them")
