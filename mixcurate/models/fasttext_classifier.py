"""Classifiers of fastText, one score a text.

A text is read whole, as one line: fastText was trained on lines, and DCLM (arXiv 2406.11794) joins
those of a document by blanks. A score depends on its text alone.
"""

from __future__ import annotations

import concurrent.futures
import importlib
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from mixcurate.errors import InputError, MissingExtra
from mixcurate.models.fasttext_file import read_labels
from mixcurate.models.text_classifier import FASTTEXT
from mixcurate.models.text_classifiers import (
    ClassifierSpec,
    ClassifyStats,
    Float32Array,
    numbers_of,
    one_at_a_time,
)

#: Texts that a thread scores before it looks for more.
_CHUNK = 64

#: All labels, however unlikely.
_ALL, _ANY = -1, 0.0


class FastTextClassifier:
    """A fastText model; the library lets other threads run while it works."""

    def __init__(self, spec: ClassifierSpec, path: str, threads: int) -> None:
        """Load the model, after a check that the file is whole.

        Args:
            spec: which model, and what of it is the score.
            path: of its file.
            threads: CPU threads to use.

        Raises:
            InputError: the file is no classifier, or is damaged.
            MissingExtra: fastText is not installed.
        """
        labels = read_labels(path, spec.where)
        try:
            fasttext = importlib.import_module("fasttext")
        except ImportError as error:
            raise MissingExtra(*FASTTEXT) from error
        try:
            # not its wrapper: that of one of the packages of this name fails with NumPy 2
            self._model: Any = fasttext.load_model(path).f
        except (ValueError, RuntimeError, MemoryError) as error:
            raise InputError(f"{spec.where}: model: cannot load {path}: {error}") from error
        self.window, self.load_seconds = 2_048, 0.0
        self._spec, self._threads = spec, threads
        self._pool = concurrent.futures.ThreadPoolExecutor(threads)
        self._worth = _worth(spec, labels)

    def score(
        self,
        batches: Iterable[list[str]],
        stats: ClassifyStats,
        on_progress: Callable[[int, int], None] | None = None,
    ) -> Iterator[Float32Array]:
        """Score batches of texts; see ``TextClassifier``."""
        beat = one_at_a_time(on_progress)
        least, most = self._spec.range

        def run(texts: list[str]) -> tuple[list[float], int, float]:
            started = time.perf_counter()
            lines = [one_line(text) for text in texts]
            found = [self._score(line) for line in lines]
            words = sum(line.count(" ") + 1 for line in lines if line)
            beat(len(texts), words)
            return found, words, time.perf_counter() - started

        for texts in batches:
            chunks = [texts[start : start + _CHUNK] for start in range(0, len(texts), _CHUNK)]
            done = list(self._pool.map(run, chunks))
            values = np.array([value for found, _, _ in done for value in found], np.float64)
            stats.documents += len(values)
            stats.tokens += sum(words for _, words, _ in done)
            stats.padded_tokens += sum(words for _, words, _ in done)
            stats.not_judged += int(np.isnan(values).sum())
            stats.forward_seconds += sum(seconds for _, _, seconds in done) / self._threads
            yield np.clip(values, least, most).astype(np.float32)

    def _score(self, line: str) -> float:
        """The score of a line, uncut; NaN where the model gives no probability that is one."""
        if not line:
            return float("nan")
        try:
            found = self._predict(line)
        except RuntimeError:  # it has met a value that is not finite
            return float("nan")
        if not found:
            return float("nan")
        total = sum(probability * self._worth.get(label, 0.0) for probability, label in found)
        if self._spec.output == "expected":  # of one: probabilities do not quite add up to it
            total /= sum(probability for probability, _ in found) or float("nan")
        return float(total)

    def _predict(self, line: str) -> list[tuple[float, str]]:
        """Probability and name of each label that the model gives."""
        try:
            found = self._model.predict(line + "\n", _ALL, _ANY, "strict")
        except TypeError:  # lone surrogates, which UTF-8 cannot hold
            clean = line.encode("utf-8", "replace").decode()
            found = self._model.predict(clean + "\n", _ALL, _ANY, "strict")
        return list(found)


def one_line(text: str) -> str:
    """A text as fastText is to read it; empty if the text is blank."""
    return " ".join(text.strip().splitlines())


def _worth(spec: ClassifierSpec, labels: tuple[str, ...]) -> dict[str, float]:
    """What the probability of each label counts for."""
    if spec.output == "expected":
        return dict(zip(labels, numbers_of(labels) or (), strict=True))
    return {labels[spec.label or 0]: 1.0}
