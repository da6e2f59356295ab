"""Counting tokens: the unit of every budget and proportion."""

from __future__ import annotations

import functools
import os
import re
from typing import Protocol

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from mixcurate.errors import InputError
from mixcurate.models.embedded import tekken

#: A run without a break, be it of words or of blanks, overflows the stack of the vocabulary's
#: regular expression or takes quadratic time; texts with such runs are cut to this many characters,
#: which changes the count by a token or so a cut.
_LONGEST_RUN = 4_096
_BLANKS = re.compile(r"\s+")


class TokenCounter(Protocol):
    """Counts the tokens of texts."""

    def count(self, texts: list[str]) -> npt.NDArray[np.int32]:
        """Tokens of each text: int32 ``[n]``."""
        ...


class TekkenCounter:
    """Counts with the embedded Tekken vocabulary."""

    def __init__(self, threads: int) -> None:
        self._threads = threads

    def count(self, texts: list[str]) -> npt.NDArray[np.int32]:
        """Tokens of each text: int32 ``[n]``."""
        cuts = [_cut(text) for text in texts]
        pieces = [piece for cut in cuts for piece in cut]
        encoded = tekken().encode_ordinary_batch(pieces, num_threads=self._threads)
        lengths = iter([len(tokens) for tokens in encoded])
        return np.array([sum(next(lengths) for _ in cut) for cut in cuts], np.int32)


class FileCounter:
    """Counts with a Hugging Face ``tokenizer.json``, without special tokens."""

    def __init__(self, path: str) -> None:
        try:
            self._tokenizer = Tokenizer.from_file(path)
        except Exception as error:  # the Rust library raises bare Exception
            raise InputError(f"ingest.tokenizer: cannot read {path}: {error}") from error
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()

    def count(self, texts: list[str]) -> npt.NDArray[np.int32]:
        """Tokens of each text: int32 ``[n]``."""
        encoded = self._tokenizer.encode_batch_fast(texts, add_special_tokens=False)
        return np.array([len(encoding) for encoding in encoded], np.int32)


@functools.cache
def token_counter(name: str, threads: int) -> TokenCounter:
    """The counter a recipe names: ``embedded`` or the path of a ``tokenizer.json``.

    Raises:
        InputError: the file is missing or no tokenizer.
    """
    if name == "embedded":
        return TekkenCounter(threads)
    if not os.path.isfile(name):
        raise InputError(f"ingest.tokenizer: no file {name}; give a tokenizer.json or 'embedded'")
    return FileCounter(name)


def _cut(text: str) -> list[str]:
    """The text itself, or, if it has a very long run, slices that bound its cost."""
    if len(text) <= _LONGEST_RUN or not _has_long_run(text):
        return [text]
    return [text[start : start + _LONGEST_RUN] for start in range(0, len(text), _LONGEST_RUN)]


def _has_long_run(text: str) -> bool:
    words = text.split()
    lengths = [len(word) for word in words]
    if max(lengths, default=0) > _LONGEST_RUN:
        return True
    blanks = len(text) - sum(lengths)
    if blanks - len(words) + 2 <= _LONGEST_RUN:  # all but one gap between words has one at least
        return False
    return max(map(len, _BLANKS.findall(text))) > _LONGEST_RUN
