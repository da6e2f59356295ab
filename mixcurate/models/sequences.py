"""Texts to sequences of token ids, many at once, in the Rust tokenizer."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from mixcurate.errors import InputError

#: Text beyond this many characters per token hardly ever reaches the model; cutting it first halves
#: the cost of tokenising long documents. Where the rest does not fill the model, nothing is cut.
_CHARACTERS_PER_TOKEN = 12

#: A text is cut at the last space among as many characters, for half a word may be other tokens.
_LONGEST_WORD = 200


@dataclasses.dataclass(frozen=True)
class Sequences:
    """What a model reads: token ids of one or more sequences per document.

    Attributes:
        ids: all token ids in a row, int32 ``[t]``.
        offsets: where each sequence starts and ends in ``ids``, int64 ``[m + 1]``.
        owners: the document of each sequence, ascending, int64 ``[m]``.
        documents: number of documents; each has at least one sequence.
    """

    ids: npt.NDArray[np.int32]
    offsets: npt.NDArray[np.int64]
    owners: npt.NDArray[np.int64]
    documents: int

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """Tokens of each sequence, int64 ``[m]``."""
        return np.diff(self.offsets)

    def sequence(self, index: int) -> npt.NDArray[np.int32]:
        """Token ids of one sequence, a view."""
        return self.ids[self.offsets[index] : self.offsets[index + 1]]

    def progress(self, rows: npt.NDArray[np.intp]) -> tuple[int, int]:
        """(documents, tokens) that some sequences stand for; a document counts by its first."""
        owners = self.owners[rows]
        first = (rows == 0) | (self.owners[rows - 1] != owners)
        return int(first.sum()), int(self.lengths[rows].sum())

    def padded(
        self, rows: npt.NDArray[np.intp], pad_id: int, *, left: bool = False
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Some sequences as one rectangle: ids and attention mask, int64 ``[m, longest]``."""
        lengths = self.lengths[rows]
        longest = int(lengths.max())
        places = np.arange(longest)
        filled = places >= longest - lengths[:, None] if left else places < lengths[:, None]
        ids = np.full((len(rows), longest), pad_id, np.int64)
        ids[filled] = np.concatenate([self.sequence(row) for row in rows.tolist()])
        return ids, filled.astype(np.int64)


class TextTokenizer:
    """A model's own tokenizer, set to its length, prompt and treatment of long documents."""

    def __init__(
        self,
        tokenizer: Tokenizer,
        max_tokens: int | None,
        *,
        prompt: str = "",
        windows: int = 1,
        special_tokens: bool = True,
        truncation_side: str = "right",
    ) -> None:
        """Take over ``tokenizer``; its padding and truncation are set anew.

        Args:
            tokenizer: the fast tokenizer of the model.
            max_tokens: most tokens of a sequence, special tokens included; None for no limit.
            prompt: text put before each document.
            windows: most sequences of a document; with 1, what does not fit is cut off.
            special_tokens: whether the model wants its special tokens around a sequence.
            truncation_side: which end of a long document is cut off.

        Raises:
            InputError: ``max_tokens`` leaves no room between the special tokens.
        """
        special = tokenizer.num_special_tokens_to_add(is_pair=False) if special_tokens else 0
        if max_tokens is not None and max_tokens <= special:
            raise InputError(
                f"embed.max_tokens: {max_tokens} is too small: {special} of them are special "
                f"tokens of the model"
            )
        self.max_tokens = max_tokens
        self._prompt, self._windows, self._special = prompt, windows, special_tokens
        self._cut = None
        if max_tokens is not None and windows == 1 and truncation_side == "right":
            self._cut = _LONGEST_WORD + max_tokens * _CHARACTERS_PER_TOKEN
        tokenizer.no_padding()
        tokenizer.no_truncation()
        if max_tokens is not None:
            tokenizer.enable_truncation(max_tokens, direction=truncation_side)
        self._tokenizer = tokenizer

    def tokenize(self, texts: list[str]) -> Sequences:
        """Token ids of any texts: the empty one, endless words and lone surrogates included."""
        found = self._encode([self._head(text) for text in texts])
        if self._cut is not None and self.max_tokens is not None:
            for row, text in enumerate(texts):
                # blanks or endless words: what was cut off might have been read after all
                if len(text) > self._cut and len(found[row]) < self.max_tokens:
                    found[row] = self._encode([text])[0]
        rows: list[list[int]] = []
        owners: list[int] = []
        for document, encoding in enumerate(found):
            windows = [encoding]
            if self._windows > 1:
                windows = _spread([encoding, *encoding.overflowing], self._windows)
            rows += [window.ids for window in windows]
            owners += [document] * len(windows)
        offsets = np.zeros(len(rows) + 1, np.int64)
        np.cumsum([len(row) for row in rows], out=offsets[1:])
        ids = np.fromiter(itertools.chain.from_iterable(rows), np.int32, int(offsets[-1]))
        return Sequences(ids, offsets, np.array(owners, np.int64), len(texts))

    def _head(self, text: str) -> str:
        """As much of a text as the model may read, up to the end of a word."""
        if self._cut is None or len(text) <= self._cut:
            return text
        space = text.rfind(" ", self._cut - _LONGEST_WORD, self._cut)
        return text[: self._cut if space < 0 else space]

    def _encode(self, texts: list[str]) -> list[Any]:
        prompted = [self._prompt + text for text in texts] if self._prompt else texts
        encode = self._tokenizer.encode_batch_fast
        try:
            return list(encode(prompted, add_special_tokens=self._special))
        except (TypeError, UnicodeEncodeError):  # lone surrogates, which UTF-8 cannot hold
            clean = [text.encode("utf-8", "replace").decode() for text in prompted]
            return list(encode(clean, add_special_tokens=self._special))


def _spread(windows: list[Any], most: int) -> list[Any]:
    """At most ``most`` of the windows, evenly from the first to the last."""
    if len(windows) <= most:
        return windows
    picked = np.linspace(0, len(windows) - 1, most).round().astype(int)
    return [windows[i] for i in picked.tolist()]
