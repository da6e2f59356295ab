"""Presets of quality rules, and which document fails which rule first.

Bounds are the published ones, over the signals of ``mixcurate.kernels.signals``: Gopher (arXiv
2112.11446, appendix A.1.1) and FineWeb (arXiv 2406.17557, section 3.6). Where FineWeb's text and
its released code (datatrove) differ, the code is followed: characters in duplicate lines up to 0.01
(as in the paper's appendix E.4), not 0.1, and newlines per word, which the paper does not mention.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mixcurate.errors import RequestError, nearest
from mixcurate.kernels.signals import SIGNALS

#: Least and most value of a signal; None is no bound.
Bounds = tuple[float | None, float | None]

_GOPHER: dict[str, Bounds] = {
    "n_words": (50, 100_000),
    "mean_word_length": (3, 10),
    "symbol_word_ratio": (None, 0.1),
    "bullet_lines": (None, 0.9),
    "ellipsis_lines": (None, 0.3),
    "alpha_words": (0.8, None),
    "stop_words": (2, None),
    "duplicate_lines": (None, 0.3),
    "duplicate_line_chars": (None, 0.2),
}

PRESETS: dict[str, dict[str, Bounds]] = {
    "none": {},
    "gopher": _GOPHER,
    "fineweb": _GOPHER
    | {
        "punctuated_lines": (0.12, None),
        "short_lines": (None, 0.67),
        "duplicate_line_chars": (None, 0.01),
        "newline_ratio": (None, 0.3),
    },
}

#: Rules that only make sense for English, and languages that put no spaces between words.
_ENGLISH_ONLY = frozenset({"stop_words"})
_WORD_RULES = frozenset(
    {"n_words", "mean_word_length", "symbol_word_ratio", "alpha_words", "newline_ratio"}
)
_UNSPACED = ("zh", "ja", "th", "lo", "km", "my", "bo", "dz")


def rules(preset: str | None, thresholds: dict[str, Bounds]) -> dict[str, Bounds]:
    """The bounds of a preset with own thresholds on top.

    Raises:
        RequestError: a threshold names no signal.
    """
    for name in thresholds:
        if name not in SIGNALS:
            raise RequestError(f"ingest.thresholds: no signal {name!r}; {nearest(name, SIGNALS)}")
    return PRESETS[preset or "none"] | thresholds


def first_failures(
    signals: pa.RecordBatch, languages: pa.Array, bounds: dict[str, Bounds]
) -> npt.NDArray[np.int32]:
    """Which rule each document fails first.

    Args:
        signals: float32 columns ``[n]`` by signal name.
        languages: string ``[n]``, ISO 639-1; rules that make no sense for a language are skipped.
        bounds: rules, tried in their order.

    Returns:
        int32 ``[n]``: index of the first failed rule in ``bounds``, or -1.
    """
    language = np.asarray(languages.to_pylist(), dtype=object)
    english, unspaced = language == "en", np.isin(language, _UNSPACED)
    failed = np.full(len(languages), -1, np.int32)
    for index, (name, (least, most)) in enumerate(bounds.items()):
        value = signals.column(name).to_numpy(zero_copy_only=False)
        bad = np.zeros(len(value), bool)
        if least is not None:
            bad |= value < np.float32(least)
        if most is not None:
            bad |= value > np.float32(most)
        if name in _ENGLISH_ONLY:
            bad &= english
        if name in _WORD_RULES:
            bad &= ~unspaced
        failed[bad & (failed < 0)] = index
    return failed


def describe(name: str, value: float, bounds: Bounds) -> str:
    """The numbers behind a failed rule, for people."""
    least, most = bounds
    if least is not None and value < np.float32(least):
        return f"{name} {value:.4g} is below {least:g}"
    return f"{name} {value:.4g} is above {most:g}"
