"""Tokens of texts: counted, the unit of every budget and proportion, or told one by one."""

from __future__ import annotations

import functools
import os
import re
from array import array
from itertools import islice
from typing import Protocol

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from mixcurate.errors import InputError
from mixcurate.models.embedded import TEKKEN_NAME, TEKKEN_SPECIAL, tekken
from mixcurate.models.special_tokens import SpecialIds, special_ids

#: A run without a break, be it of words or of blanks, overflows the stack of the vocabulary's
#: regular expression or takes quadratic time; texts with such runs are cut to this many characters,
#: which changes the count by a token or so a cut.
_LONGEST_RUN = 4_096
_BLANKS = re.compile(r"\s+")


class DocumentTokenizer(Protocol):
    """Turns texts into tokens, none of them special.

    A text in which the name of a special token stands, such as ``</s>``, has the tokens of these
    characters: a document cannot end itself.
    """

    @property
    def name(self) -> str:
        """What files tell that were made with it; no folder of this machine."""
        ...

    @property
    def vocabulary(self) -> int:
        """Number of ids, special ones included: the greatest id and one."""
        ...

    @property
    def special(self) -> SpecialIds:
        """The ids that begin and end a sequence."""
        ...

    def count(self, texts: list[str]) -> npt.NDArray[np.int32]:
        """Tokens of each text: int32 ``[n]``."""
        ...

    def encode(self, texts: list[str]) -> list[npt.NDArray[np.uint32]]:
        """Ids of each text: uint32 ``[count(text)]``."""
        ...

    def ends(self, text: str) -> npt.NDArray[np.int64]:
        """Where each token of a text ends: int64 ``[count(text)]``.

        In characters that are whole by then: a token within a character ends before it.
        """
        ...


class TekkenTokenizer:
    """The embedded Tekken vocabulary."""

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self.name = TEKKEN_NAME
        self.vocabulary = tekken().n_vocab + TEKKEN_SPECIAL
        self.special = SpecialIds("the embedded tokenizer", bos=1, eos=2)

    def count(self, texts: list[str]) -> npt.NDArray[np.int32]:
        """Tokens of each text: int32 ``[n]``."""
        return np.array([sum(map(len, pieces)) for pieces in self._ranks(texts)], np.int32)

    def encode(self, texts: list[str]) -> list[npt.NDArray[np.uint32]]:
        """Ids of each text, as Mistral's models have them: after those of the special tokens."""
        return [
            _uint32([rank for piece in pieces for rank in piece] if pieces[1:] else pieces[0])
            + np.uint32(TEKKEN_SPECIAL)
            for pieces in self._ranks(texts)
        ]

    def ends(self, text: str) -> npt.NDArray[np.int64]:
        """Where each token of a text ends, in whole characters: int64 ``[count(text)]``."""
        token_bytes = tekken().decode_single_token_bytes
        ranks = [rank for piece in self._ranks([text])[0] for rank in piece]
        ends = np.cumsum([len(token_bytes(rank)) for rank in ranks], dtype=np.int64)
        data = np.frombuffer(text.encode(), np.uint8)
        starts = np.append(np.flatnonzero((data & 0xC0) != 0x80), len(data))
        whole: npt.NDArray[np.int64] = np.searchsorted(starts, ends, "right") - 1
        return whole

    def _ranks(self, texts: list[str]) -> list[list[list[int]]]:
        """Ranks in the vocabulary, for each piece that a text was cut to."""
        cuts = [_cut(text) for text in texts]
        pieces = [piece for cut in cuts for piece in cut]
        encoded = iter(tekken().encode_ordinary_batch(pieces, num_threads=self._threads))
        return [list(islice(encoded, len(cut))) for cut in cuts]


class FileTokenizer:
    """A Hugging Face ``tokenizer.json``; as many threads as ``RAYON_NUM_THREADS`` allows."""

    def __init__(self, path: str, key: str) -> None:
        try:
            self._tokenizer = Tokenizer.from_file(path)
        except Exception as error:  # the Rust library raises bare Exception
            raise InputError(f"{key}: cannot read {path}: {error}") from error
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._tokenizer.encode_special_tokens = True
        self._path = path
        self.name = os.path.basename(path)

    @functools.cached_property
    def vocabulary(self) -> int:
        """Number of ids, special ones included: the greatest id and one."""
        return max(self._ids.values(), default=-1) + 1

    @functools.cached_property
    def special(self) -> SpecialIds:
        """The ids that begin and end a sequence."""
        added = {
            token.content: number
            for number, token in self._tokenizer.get_added_tokens_decoder().items()
        }
        return special_ids(self._path, added, self._ids)

    @functools.cached_property
    def _ids(self) -> dict[str, int]:
        ids: dict[str, int] = self._tokenizer.get_vocab(with_added_tokens=True)
        return ids

    def count(self, texts: list[str]) -> npt.NDArray[np.int32]:
        """Tokens of each text: int32 ``[n]``."""
        encoded = self._tokenizer.encode_batch_fast(texts, add_special_tokens=False)
        return np.array([len(encoding) for encoding in encoded], np.int32)

    def encode(self, texts: list[str]) -> list[npt.NDArray[np.uint32]]:
        """Ids of each text: uint32 ``[count(text)]``."""
        encoded = self._tokenizer.encode_batch_fast(texts, add_special_tokens=False)
        return [_uint32(encoding.ids) for encoding in encoded]

    def ends(self, text: str) -> npt.NDArray[np.int64]:
        """Where each token of a text ends, in whole characters: int64 ``[count(text)]``."""
        encoding = self._tokenizer.encode(text, add_special_tokens=False)
        offsets = np.array(encoding.offsets, np.int64).reshape(-1, 2)
        ends: npt.NDArray[np.int64] = offsets[:, 1].copy()
        ends[:-1] = np.minimum(ends[:-1], offsets[1:, 0])  # all tokens of a character tell its end
        return ends


@functools.cache
def token_counter(name: str, threads: int, key: str = "ingest.tokenizer") -> DocumentTokenizer:
    """The tokenizer a recipe names: ``embedded`` or the path of a ``tokenizer.json``.

    Args:
        name: what the recipe says.
        threads: for the embedded one.
        key: where the recipe says it, for messages.

    Raises:
        InputError: the file is missing or no tokenizer.
    """
    if name == "embedded":
        return TekkenTokenizer(threads)
    if not os.path.isfile(name):
        raise InputError(f"{key}: no file {name}; give a tokenizer.json or 'embedded'")
    return FileTokenizer(name, key)


def _uint32(ids: list[int]) -> npt.NDArray[np.uint32]:
    """Twice as fast as ``np.array`` of the list."""
    return np.frombuffer(array("I", ids), np.uint32)


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
