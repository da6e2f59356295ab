"""Static models: a vector per token, averaged. Some hundred times as fast as a transformer.

Reads the folders of sentence-transformers' ``StaticEmbedding`` and of model2vec, without torch.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load_file
from tokenizers import Tokenizer

from mixcurate.errors import InputError
from mixcurate.models.encoders import Beat, Encoded, EncoderSpec
from mixcurate.models.model_folder import ModelFolder, default_prompt
from mixcurate.models.sequences import Sequences, TextTokenizer

#: Token vectors gathered at once: bounds the memory of long documents.
_TOKENS_AT_ONCE = 1 << 16


class StaticBackend:
    """Token vectors in memory."""

    def __init__(self, spec: EncoderSpec, folder: ModelFolder) -> None:
        """Load the table of token vectors.

        Raises:
            InputError: it cannot be read.
        """
        home = Path(folder.path) / folder.first_module
        try:
            tensors = load_file(str(home / "model.safetensors"))
            tokenizer = Tokenizer.from_file(str(home / "tokenizer.json"))
            self._table = _folded(tensors)
            if tokenizer.get_vocab_size() > len(self._table):
                raise ValueError(
                    f"a tokenizer of {tokenizer.get_vocab_size()} tokens, but vectors of "
                    f"{len(self._table)}"
                )
        except Exception as error:  # tokenizers raises nothing narrower
            raise InputError(f"embed.model: cannot load {spec.name!r}: {error}") from error
        self.dimension = int(self._table.shape[1])
        self.normalises = "Normalize" in folder.modules
        self.window, self.lanes, self.ahead = 2_048, 1, 0
        windows = spec.max_windows if spec.long_documents == "mean_of_windows" else 1
        self.tokenizer = TextTokenizer(
            tokenizer,
            spec.max_tokens,
            prompt=default_prompt(folder.path),
            windows=windows,
            special_tokens=False,
        )

    def submit(self, sequences: Sequences, beat: Beat) -> Callable[[], Encoded]:
        """Average the token vectors of each sequence; see ``Backend``."""
        started = time.perf_counter()
        vectors = np.zeros((len(sequences.owners), self.dimension), np.float32)
        for row in range(len(vectors)):
            ids = sequences.sequence(row)
            total = np.zeros(self.dimension, np.float64)
            for start in range(0, len(ids), _TOKENS_AT_ONCE):
                total += self._table[ids[start : start + _TOKENS_AT_ONCE]].sum(0, np.float64)
            vectors[row] = total / max(1, len(ids))
        if self.normalises:
            norms = np.linalg.norm(vectors, axis=1, keepdims=True)
            vectors /= np.maximum(norms, np.float32(1e-12))
        beat(sequences.documents, len(sequences.ids))
        encoded = Encoded(vectors, len(sequences.ids), time.perf_counter() - started)
        return lambda: encoded


def _folded(tensors: dict[str, npt.NDArray[Any]]) -> npt.NDArray[np.float32]:
    """One vector per token id, from either layout."""
    if "embedding.weight" in tensors:
        return tensors["embedding.weight"].astype(np.float32)
    if "embeddings" not in tensors:
        raise ValueError("model.safetensors has neither embedding.weight nor embeddings")
    table = tensors["embeddings"].astype(np.float32)
    if "mapping" in tensors:  # vocabulary-quantised: several tokens share a vector
        table = table[tensors["mapping"]]
    if "weights" in tensors:
        table = table * tensors["weights"].astype(np.float32)[:, None]
    return table
