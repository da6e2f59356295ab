"""Any sentence-transformers model, with the batching done for the device it runs on.

``SentenceTransformer.encode`` uses a fixed batch size in arrival order. Here the documents of a
part are tokenised in bulk, sorted by length and cut into batches of a token budget, so that little
is padding. On CPU the batches run in threads of one core each: that beats one batch on all cores,
and a batch's result does not depend on how many threads there are.
"""

from __future__ import annotations

import concurrent.futures
import os
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from mixcurate.errors import InputError, JobError
from mixcurate.models.embedded import encoder_folder
from mixcurate.models.encoders import EmbedParams, EncodeStats

#: Tokens per forward pass that measured best: cache-sized on CPU, launch-bound on GPU.
_CPU_BATCH_TOKENS = 1_024
_GPU_BATCH_TOKENS = 65_536

#: Text beyond this many characters per token hardly ever reaches the model; cutting it first halves
#: the cost of tokenising long documents. Where the rest does not fill the model, nothing is cut.
_CHARACTERS_PER_TOKEN = 12


class TorchEncoder:
    """A sentence-transformers model on one device."""

    def __init__(self, params: EmbedParams, threads: int) -> None:
        """Load the model.

        Args:
            params: which model, and how.
            threads: CPU threads to use.

        Raises:
            InputError: the model cannot be loaded.
        """
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
        import torch
        from sentence_transformers import SentenceTransformer
        from transformers.utils.logging import disable_progress_bar

        disable_progress_bar()

        self._torch = torch
        self._device = params.device
        if params.device == "auto":
            self._device = "cuda" if torch.cuda.is_available() else "cpu"
        name = encoder_folder() if params.model == "embedded" else params.model
        try:
            self._model: Any = SentenceTransformer(
                name,
                device=self._device,
                revision=params.revision,
                trust_remote_code=params.trust_remote_code,
            )
        except (OSError, ValueError, ImportError) as error:
            raise InputError(f"embed.model: cannot load {params.model!r}: {error}") from error
        self._model.eval()
        if self._device == "cuda":
            self._model.half()
        else:
            torch.set_num_threads(1)  # the threads below each run their own batch
        self._threads = threads if self._device == "cpu" else 1
        own_limit = self._model.max_seq_length or params.max_tokens
        self.max_tokens = min(params.max_tokens, own_limit)
        default = _CPU_BATCH_TOKENS if self._device == "cpu" else _GPU_BATCH_TOKENS
        self._batch_tokens = params.batch_tokens or default
        self.dimension = int(self._model.get_embedding_dimension())
        self._prompt = self._model.prompts.get(self._model.default_prompt_name or "", "")

    def encode(
        self, texts: list[str], on_progress: Callable[[int, int], None]
    ) -> tuple[npt.NDArray[np.float32], EncodeStats]:
        """Embed ``texts``: float32 ``[n, dimension]``, and what it cost.

        Raises:
            JobError: the model gave a value that is not finite.
        """
        stats = EncodeStats(documents=len(texts))
        started = time.perf_counter()
        ids = self._tokenize(texts)
        stats.tokenize_seconds = time.perf_counter() - started
        lengths = np.array([len(row) for row in ids], np.int64)
        vectors = np.zeros((len(texts), self.dimension), np.float32)
        batches = list(token_budget_batches(lengths, self._batch_tokens))
        started = time.perf_counter()
        with concurrent.futures.ThreadPoolExecutor(self._threads) as pool:
            results = pool.map(lambda rows: self._forward([ids[i] for i in rows]), batches)
            for rows, result in zip(batches, results, strict=True):
                vectors[rows] = result
                stats.tokens += int(lengths[rows].sum())
                stats.padded_tokens += int(lengths[rows].max()) * len(rows)
                on_progress(len(rows), int(lengths[rows].sum()))
        stats.forward_seconds = time.perf_counter() - started
        if not np.isfinite(vectors).all():
            bad = int(np.flatnonzero(~np.isfinite(vectors).all(axis=1))[0])
            raise JobError(
                f"the model gave a value that is not finite for document {bad} of a batch of "
                f"{len(texts)}; check embed.model and the device's precision"
            )
        return vectors, stats

    def _tokenize(self, texts: list[str]) -> list[list[int]]:
        limit = self.max_tokens * _CHARACTERS_PER_TOKEN
        ids = self._token_ids([text[:limit] for text in texts])
        for row, text in enumerate(texts):
            if len(text) > limit and len(ids[row]) < self.max_tokens:  # blanks or endless words
                ids[row] = self._token_ids([text])[0]
        return ids

    def _token_ids(self, texts: list[str]) -> list[list[int]]:
        if not texts:
            return []
        encoded = self._model.tokenizer(
            [self._prompt + text for text in texts],
            truncation=True,
            max_length=self.max_tokens,
            return_attention_mask=False,
            return_token_type_ids=False,
        )
        ids: list[list[int]] = encoded["input_ids"]
        return ids

    def _forward(self, ids: list[list[int]]) -> npt.NDArray[np.float32]:
        """One batch through the model; halved when the device runs out of memory."""
        torch = self._torch
        features = self._model.tokenizer.pad({"input_ids": ids}, return_tensors="pt")
        try:
            with torch.inference_mode():
                moved = {name: value.to(self._device) for name, value in features.items()}
                output = self._model(moved)["sentence_embedding"]
                result: npt.NDArray[np.float32] = output.float().cpu().numpy()
                return result
        except torch.cuda.OutOfMemoryError:
            if len(ids) == 1:
                raise
            torch.cuda.empty_cache()
            half = len(ids) // 2
            return np.concatenate([self._forward(ids[:half]), self._forward(ids[half:])])


def token_budget_batches(
    lengths: npt.NDArray[np.int64], budget: int
) -> Iterator[npt.NDArray[np.intp]]:
    """Cut documents into batches of similar length, each at most ``budget`` tokens with padding.

    Longest first, so that the largest batch meets the memory first. A document above the budget is
    a batch of its own. The batches are a function of the lengths alone.

    Yields:
        Row numbers of one batch, intp ``[m]``, m >= 1.
    """
    order = np.argsort(-lengths, kind="stable")
    start = 0
    while start < len(order):
        longest = max(1, int(lengths[order[start]]))
        stop = start + max(1, budget // longest)
        yield order[start:stop]
        start = stop
