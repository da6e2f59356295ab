"""Texts in, vectors out: what all backends share.

Batches of texts are tokenised while the backend is busy with the ones before, so that the device
does not wait for the tokenizer.
"""

from __future__ import annotations

import collections
import threading
import time
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import numpy.typing as npt

from mixcurate.errors import InputError
from mixcurate.models.encoders import Backend, Beat, Encoded, EncoderSpec, EncodeStats
from mixcurate.models.sequences import Sequences, TextTokenizer

Float32Array = npt.NDArray[np.float32]

#: What a model has to give finite vectors for before it is let loose on a corpus.
_PROBES = ["", "A short sentence that any model of text can read.", "word " * 600]


class Encoder:
    """A model that is loaded: its tokenizer and its backend."""

    def __init__(self, spec: EncoderSpec, tokenizer: TextTokenizer, backend: Backend) -> None:
        """Put the two together, and check that the model works.

        Raises:
            InputError: the model gives values that are not finite.
        """
        self.spec = spec
        self.dimension = backend.dimension
        self.window = backend.window
        self.load_seconds = 0.0
        self._tokenizer, self._backend = tokenizer, backend
        stats = EncodeStats()
        collections.deque(self.encode([_PROBES], stats), maxlen=0)
        if stats.not_finite:
            raise InputError(
                f"embed.model: {spec.description} gives values that are not finite for "
                f"{stats.not_finite} of {len(_PROBES)} plain texts; try embed.precision: fp32, or "
                f"another model"
            )

    @property
    def max_tokens(self) -> int | None:
        """Most tokens of a sequence; None where the model has no limit."""
        return self._tokenizer.max_tokens

    def tokenize(self, texts: list[str]) -> Sequences:
        """The sequences that the model would read."""
        return self._tokenizer.tokenize(texts)

    def encode(
        self,
        batches: Iterable[list[str]],
        stats: EncodeStats,
        on_progress: Callable[[int, int], None] | None = None,
    ) -> Iterator[Float32Array]:
        """Embed batches of texts, best some ``window`` texts each.

        Args:
            batches: any strings, the empty one included.
            stats: added to as batches are done.
            on_progress: called, from one thread at a time, with (documents, tokens) that are done.

        Yields:
            float32 ``[n, dimension]`` for each batch, in order; a vector that is not finite is
            yielded as zeros and counted.
        """
        started = time.perf_counter()
        beat = _beat(on_progress)
        busy = 0.0
        waiting: collections.deque[tuple[Sequences, Callable[[], Encoded]]] = collections.deque()

        def finish() -> Float32Array:
            nonlocal busy
            sequences, wait = waiting.popleft()
            encoded = wait()
            busy += encoded.seconds / self._backend.lanes
            stats.padded_tokens += encoded.padded_tokens
            return self._documents(sequences, encoded.vectors, stats)

        for texts in batches:
            before = time.perf_counter()
            sequences = self._tokenizer.tokenize(texts)
            stats.tokenize_seconds += time.perf_counter() - before
            waiting.append((sequences, self._backend.submit(sequences, beat)))
            if len(waiting) > self._backend.ahead:
                yield finish()
        while waiting:
            yield finish()
        stats.forward_seconds += busy
        stats.wait_seconds += max(0.0, time.perf_counter() - started - busy)

    def _documents(
        self, sequences: Sequences, vectors: Float32Array, stats: EncodeStats
    ) -> Float32Array:
        """Vectors of documents from those of their sequences, longer windows counting for more."""
        stats.documents += sequences.documents
        stats.tokens += len(sequences.ids)
        if len(vectors) > sequences.documents:
            weights = sequences.lengths.astype(np.float32)[:, None]
            starts = np.searchsorted(sequences.owners, np.arange(sequences.documents))
            several = np.bincount(sequences.owners) > 1
            sums: Float32Array = np.add.reduceat(vectors * weights, starts)[several]
            means = sums / np.add.reduceat(weights, starts)[several]
            if self._backend.normalises:
                means /= np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-12)
            # one window: as it is, whatever is in the batch with it
            vectors = vectors[starts]
            vectors[several] = means
        good = np.asarray(np.isfinite(vectors).all(axis=1))
        if not good.all():
            stats.not_finite += int((~good).sum())
            vectors = np.where(good[:, None], vectors, np.float32(0))
        return vectors


def _beat(on_progress: Callable[[int, int], None] | None) -> Beat:
    lock = threading.Lock()

    def beat(documents: int, tokens: int) -> None:
        if on_progress is not None:
            with lock:
                on_progress(documents, tokens)

    return beat
