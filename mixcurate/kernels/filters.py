"""Presets of quality rules, and which document fails which rule first.

Bounds are the published ones, over the signals of ``mixcurate.kernels.signals``: Gopher (arXiv
2112.11446, appendix A.1.1 and table A1), C4 (arXiv 1910.10683, section 2.2) and FineWeb (arXiv
2406.17557, section 3.6). Where FineWeb's text and its released code (datatrove) differ, the code is
followed: characters in duplicate lines up to 0.01 (as in the paper's appendix E.4), not 0.1, and
newlines per word, which the paper does not mention. What C4 does to lines is in
``mixcurate.kernels.lines``.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mixcurate.errors import RequestError, nearest
from mixcurate.kernels.signals import SIGNALS
from mixcurate.kernels.stopwords import STOP_WORDS

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
    "duplicate_paragraphs": (None, 0.3),
    "duplicate_paragraph_chars": (None, 0.2),
    "top_2gram_chars": (None, 0.2),
    "top_3gram_chars": (None, 0.18),
    "top_4gram_chars": (None, 0.16),
    "duplicate_5gram_chars": (None, 0.15),
    "duplicate_6gram_chars": (None, 0.14),
    "duplicate_7gram_chars": (None, 0.13),
    "duplicate_8gram_chars": (None, 0.12),
    "duplicate_9gram_chars": (None, 0.11),
    "duplicate_10gram_chars": (None, 0.1),
}

_C4: dict[str, Bounds] = {
    "sentences": (5, None),
    "lorem_ipsum": (None, 0),
    "curly_brackets": (None, 0),
}

_FINEWEB: dict[str, Bounds] = {
    "punctuated_lines": (0.12, None),
    "short_lines": (None, 0.67),
    "duplicate_line_chars": (None, 0.01),
    "newline_ratio": (None, 0.3),
}

#: Rules by preset, in the order in which they are tried; `fineweb` is all that FineWeb applied.
PRESETS: dict[str, dict[str, Bounds]] = {
    "none": {},
    "gopher": _GOPHER,
    "c4": _C4,
    "fineweb": _GOPHER | _C4 | _FINEWEB,
}

#: Languages that put no spaces between words, and the rules that count words.
_UNSPACED = ("zh", "ja", "th", "lo", "km", "my", "bo", "dz", "yue", "wuu")
_WORD_RULES = frozenset(
    {"n_words", "mean_word_length", "symbol_word_ratio", "alpha_words", "newline_ratio"}
    | {name for name in SIGNALS if "gram_chars" in name}
)

#: Languages that end sentences without a mark, and the rules that look for one.
_UNPUNCTUATED = ("th", "lo")
_PUNCTUATION_RULES = frozenset({"punctuated_lines", "sentences"})

#: Languages whose good text has words of less than 3 or more than 10 characters in the mean: found
#: in the Universal Declaration of Human Rights, of which 1 piece of 100 words in 5 would fail.
_OTHER_WORD_LENGTH = ("ko", "ml", "ta", "sa")


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
    signals: pa.RecordBatch,
    languages: pa.Array,
    bounds: dict[str, Bounds],
    certain: npt.NDArray[np.bool_] | None = None,
) -> npt.NDArray[np.int32]:
    """Which rule each document fails first.

    A rule that makes no sense in a document's language is not asked of it: stop words without a
    list of them, words where they are not written apart, sentences where nothing marks their end.

    Args:
        signals: float32 columns ``[n]`` by signal name.
        languages: string ``[n]``, ISO 639-1.
        bounds: rules, tried in their order.
        certain: bool ``[n]``, whose language is sure enough to ask for its stop words: a page in a
            small language is often taken for one in another. None is all.

    Returns:
        int32 ``[n]``: index of the first failed rule in ``bounds``, or -1.
    """
    codes, language = np.unique(
        np.array(languages.to_pylist(), dtype=object).astype(str), return_inverse=True
    )
    failed = np.full(len(languages), -1, np.int32)
    for index, (name, (least, most)) in enumerate(bounds.items()):
        value = signals.column(name).to_numpy(zero_copy_only=False)
        bad = np.zeros(len(value), bool)
        if least is not None:
            bad |= value < np.float32(least)
        if most is not None:
            bad |= value > np.float32(most)
        bad &= np.array([applies(name, str(code)) for code in codes], bool)[language]
        if name == "stop_words" and certain is not None:
            bad &= certain
        failed[bad & (failed < 0)] = index
    return failed


def applies(name: str, language: str) -> bool:
    """Whether a rule on the signal ``name`` makes sense in ``language``, an ISO 639-1 code."""
    if name == "stop_words":
        return language in STOP_WORDS
    if name == "mean_word_length" and language in _OTHER_WORD_LENGTH:
        return False
    if name in _PUNCTUATION_RULES and language in _UNPUNCTUATED:
        return False
    return name not in _WORD_RULES or language not in _UNSPACED


def describe(name: str, value: float, bounds: Bounds) -> str:
    """The numbers behind a failed rule, for people."""
    least, most = bounds
    if least is not None and value < np.float32(least):
        return f"{name} {value:.4g} is below {least:g}"
    return f"{name} {value:.4g} is above {most:g}"
