"""Quality signals of texts: the published heuristics as columns, computed per batch.

A *word* is a maximal run of non-whitespace; a *line* is a run without newline that is not blank,
less the whitespace around it; *paragraphs* are what blank lines separate, less the whitespace
around them; characters are Unicode code points. Tools that count tokens of a linguistic tokenizer
as words reach other values, to which ``mixcurate.kernels.tokens`` comes near. Sources: Gopher
(arXiv 2112.11446, appendix A.1.1), C4 (arXiv 1910.10683, section 2.2) and FineWeb (arXiv
2406.17557, section 3.6).
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from mixcurate.kernels import repetition
from mixcurate.kernels.stopwords import STOP_WORDS
from mixcurate.kernels.tokens import separate_tokens
from mixcurate.kernels.words import Words, split_words, text_bytes

Float64Array = npt.NDArray[np.float64]

#: Signals in the order of their columns, with what each means.
SIGNALS: dict[str, str] = {
    "n_words": "number of words",
    "mean_word_length": "mean characters in a word",
    "symbol_word_ratio": "number signs per word, or ellipses per word if these are more",
    "alpha_words": "share of words with at least one letter",
    "stop_words": "how many of the language's most frequent function words occur, in any case",
    "bullet_lines": "share of lines that start with a bullet and a blank",
    "ellipsis_lines": "share of lines that end in an ellipsis",
    "punctuated_lines": "share of lines that end in terminal punctuation",
    "short_lines": "share of lines of at most 30 characters",
    "newline_ratio": "newlines per word",
    "duplicate_lines": "share of lines that repeat an earlier line",
    "duplicate_line_chars": "share of characters in such lines",
    "duplicate_paragraphs": "share of paragraphs that repeat an earlier paragraph",
    "duplicate_paragraph_chars": "share of characters in such paragraphs",
    "top_2gram_chars": "share of characters in the most frequent run of two words",
    "top_3gram_chars": "share of characters in the most frequent run of three words",
    "top_4gram_chars": "share of characters in the most frequent run of four words",
    "duplicate_5gram_chars": "share of characters in runs of five words that occurred before",
    "duplicate_6gram_chars": "share of characters in runs of six words that occurred before",
    "duplicate_7gram_chars": "share of characters in runs of seven words that occurred before",
    "duplicate_8gram_chars": "share of characters in runs of eight words that occurred before",
    "duplicate_9gram_chars": "share of characters in runs of nine words that occurred before",
    "duplicate_10gram_chars": "share of characters in runs of ten words that occurred before",
    "sentences": "number of sentences; a line without punctuation is one",
    "lorem_ipsum": "how often 'lorem ipsum' occurs, in any case",
    "curly_brackets": "number of opening curly brackets",
}

#: What ends a sentence before a blank, in the scripts of living languages, and without a blank.
TERMINAL = ".!?…‼⁇⁈⁉‽؟۔؞।॥։።፧፨៕၊᠃᠉᱾᱿߹꓿．﹒﹖﹗⸮"
TERMINAL_UNSPACED = "。！？｡។။།"

#: What may stand between such a mark and the end of the sentence.
CLOSERS = "\"'”’»)]」』】）"

_TERMINAL = f"[{TERMINAL}{TERMINAL_UNSPACED}]"
_CLOSERS = "[" + CLOSERS.replace("]", r"\]") + "]*"
_SENTENCE_END = f"{_TERMINAL}*[{TERMINAL_UNSPACED}]{_CLOSERS}|[{TERMINAL}]+{_CLOSERS}(?:\\s|$)"
_BLANK_LINES = r"\n\s*\n"


def text_signals(
    text: pa.Array,
    languages: pa.Array | None = None,
    *,
    words: Literal["whitespace", "tokens"] = "whitespace",
) -> pa.RecordBatch:
    """All signals of a batch of texts.

    Args:
        text: large_string ``[n]`` without nulls.
        languages: string ``[n]``, ISO 639-1, for ``stop_words``, which is 0 in a language without
            a list (``mixcurate.kernels.stopwords``); English if not given.
        words: what counts as a word: a run of non-whitespace, or a token that is near those of
            spaCy (``mixcurate.kernels.tokens``), as datatrove counts them.

    Returns:
        RecordBatch ``[n]`` with one float32 column per name in ``SIGNALS``, all finite: a ratio
        over zero words or lines is zero.
    """
    if len(text) == 0:
        empty = [pa.array([], pa.float32()) for _ in SIGNALS]
        return pa.RecordBatch.from_arrays(empty, names=list(SIGNALS))
    column = pl.Series("text", pl.from_arrow(pa.chunked_array([text])))
    spaced = column
    if words == "tokens":
        spaced = separate_tokens(column)
        text = spaced.to_arrow().cast(pa.large_string())
    frame = pl.DataFrame([column, spaced.alias("spaced")]).with_row_index("row")
    found = split_words(text)
    chars = word_chars(text, found)
    counted = frame.select(_counts()).to_dict(as_series=False)
    counts = {name: np.asarray(values, np.float64) for name, values in counted.items()}
    n_chars = counts.pop("n_chars").astype(np.int64)
    n_words = np.diff(found.offsets).astype(np.float64)
    total = np.concatenate([[0], np.cumsum(chars)])[found.offsets]
    values = (
        _ratios(counts, np.maximum(n_words, 1))
        | {"n_words": n_words, "mean_word_length": np.diff(total) / np.maximum(n_words, 1)}
        | {"stop_words": _stop_words(column, languages)}
        | _repeated_pieces(frame)
        | repetition.repeated_ngrams(found, chars, n_chars)
    )
    columns = [pa.array(values[name].astype(np.float32)) for name in SIGNALS]
    return pa.RecordBatch.from_arrays(columns, names=list(SIGNALS))


def _counts() -> list[pl.Expr]:
    """What is counted in each text, all of it whole numbers."""
    text = pl.col("text")
    patterns = {
        "n_lines": r"[^\n]*[^\s][^\n]*",
        "ellipses": r"\.\.\.|…",
        "bullets": r"(?m)^[^\S\n]*[•‣▪●◦○*\-–][^\S\n]",
        "ended_by_ellipsis": r"(?m)(?:\.\.\.|…)[^\S\n]*$",
        "punctuated": rf"(?m){_TERMINAL}{_CLOSERS}[^\S\n]*$",
        "short": r"(?m)^[^\S\n]*\S(?:[^\n]{0,28}\S)?[^\S\n]*$",
        "sentence_ends": _SENTENCE_END,
        "lorem_ipsum": r"(?i-u:lorem ipsum)",
    }
    literals = {"hashes": "#", "newlines": "\n", "curly_brackets": "{"}
    return [
        text.str.len_chars().alias("n_chars"),
        pl.col("spaced").str.count_matches(r"[^\s\p{L}]*\p{L}\S*").alias("alpha"),
        *[text.str.count_matches(pattern).alias(name) for name, pattern in patterns.items()],
        *[text.str.count_matches(s, literal=True).alias(name) for name, s in literals.items()],
    ]


def _ratios(counts: dict[str, Float64Array], n_words: Float64Array) -> dict[str, Float64Array]:
    """Signals from the counts, and the number of words or 1."""
    lines = np.maximum(counts["n_lines"], 1)
    return {
        "symbol_word_ratio": np.maximum(counts["hashes"], counts["ellipses"]) / n_words,
        "alpha_words": counts["alpha"] / n_words,
        "bullet_lines": counts["bullets"] / lines,
        "ellipsis_lines": counts["ended_by_ellipsis"] / lines,
        "punctuated_lines": counts["punctuated"] / lines,
        "short_lines": counts["short"] / lines,
        "newline_ratio": counts["newlines"] / n_words,
        "sentences": counts["sentence_ends"] + counts["n_lines"] - counts["punctuated"],
        "lorem_ipsum": counts["lorem_ipsum"],
        "curly_brackets": counts["curly_brackets"],
    }


def word_chars(text: pa.Array, words: Words) -> npt.NDArray[np.int64]:
    """Characters of each word: its bytes that do not continue a character."""
    _, data = text_bytes(text)
    inner = np.flatnonzero((data & 0xC0) == 0x80)
    lengths: npt.NDArray[np.int64] = words.ends - words.starts
    if len(inner):
        before = np.searchsorted(inner, np.stack([words.starts, words.ends]))
        lengths = lengths - (before[1] - before[0])
    return lengths


def _stop_words(text: pl.Series, languages: pa.Array | None) -> Float64Array:
    """How many words of its language's list occur in each text."""
    found = np.zeros(len(text))
    language = np.array(["en"] if languages is None else languages.to_pylist(), object)
    for code in sorted({code for code in language if code in STOP_WORDS}):
        rows = np.flatnonzero(np.broadcast_to(language == code, len(text)))
        own = text if len(rows) == len(text) else text.gather(rows)
        if code != "en":  # some keyboards give letters and marks apart
            own = own.str.normalize("NFC")
        for word in STOP_WORDS[code]:
            found[rows] += own.str.contains(rf"(?i)\b{word}\b").to_numpy()
    return found


def _repeated_pieces(frame: pl.DataFrame) -> dict[str, Float64Array]:
    """Duplicate lines and paragraphs."""
    text = pl.col("text").str
    paragraphs = text.replace_all(_BLANK_LINES, "\n\n").str.split("\n\n")
    several = frame.filter(text.contains(_BLANK_LINES))
    found: dict[str, Float64Array] = {}
    for shares in (
        repetition.repeated_pieces(frame, text.split("\n"), "line"),
        repetition.repeated_pieces(several, paragraphs, "paragraph"),
    ):
        row = shares["row"].to_numpy()
        for name in shares.columns[1:]:
            found[name] = np.zeros(frame.height)
            found[name][row] = shares[name].to_numpy()
    return found
