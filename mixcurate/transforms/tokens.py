"""The tokenizer and the packing of a recipe, bound for the formats of tokens."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mixcurate.io.corpus import TokenParams
from mixcurate.io.shard_formats.base import TokenOptions
from mixcurate.kernels.packing import pack
from mixcurate.models.tokenizer import DocumentTokenizer, token_counter


class _Memory:
    """Encodes, and knows the last texts again: several formats get the same batch in turn."""

    def __init__(self, tokenizer: DocumentTokenizer) -> None:
        self._tokenizer = tokenizer
        self._texts: list[str] = []
        self._ids: list[npt.NDArray[np.uint32]] = []

    def encode(self, texts: list[str]) -> list[npt.NDArray[np.uint32]]:
        if texts != self._texts:
            self._texts, self._ids = texts, self._tokenizer.encode(texts)
        return self._ids


def token_options(
    params: TokenParams, ingest_tokenizer: str, threads: int, name: str | None = None
) -> TokenOptions:
    """How rows become tokens, as the recipe says.

    Args:
        params: ``output.tokens``, with the path of its tokenizer as it can be opened.
        ingest_tokenizer: the tokenizer that counts tokens: used when ``params`` names none.
        threads: for the embedded tokenizer.
        name: what files say of the tokenizer; null is its own name, without a machine's folders.

    Raises:
        InputError: the file is no tokenizer, or has no special token that is asked for.
    """
    path = params.tokenizer or ingest_tokenizer
    key = "output.tokens.tokenizer" if params.tokenizer else "ingest.tokenizer"
    tokenizer = token_counter(path, threads, key)
    return TokenOptions(
        encode=_Memory(tokenizer).encode,
        vocabulary=tokenizer.vocabulary,
        bos=tokenizer.special.require("bos") if params.bos else None,
        eos=tokenizer.special.require("eos") if params.eos else None,
        sequence_length=params.sequence_length,
        name=name or tokenizer.name,
        pack=pack,
    )
