"""Words as a linguistic tokenizer cuts them: punctuation by itself, contractions in two.

datatrove counts the tokens of spaCy's blank English tokenizer as words, and the thresholds of
FineWeb were applied to such counts: a comma is a word without a letter, which is why its rule on
words with a letter drops many more pages than Gopher's text says. The pattern here comes near
these tokens at a hundredth of the time; it has no list of exceptions but some abbreviations.
"""

from __future__ import annotations

import polars as pl

_WORD = r"[\p{L}\p{M}\p{N}_]+"
_ABBREVIATION = (
    "Mr|Mrs|Ms|Dr|St|Jr|Sr|Inc|Ltd|Co|Corp|vs|e\\.g|i\\.e|etc|Jan|Feb|Mar|Apr|Aug|Sept|Sep|Oct|Nov"
    "|Dec|No|Gen|Prof|Rev|Gov|Sen|a\\.m|p\\.m"
)

#: The first that fits at a place is the token; every character but whitespace belongs to one.
_TOKEN = "|".join(
    [
        r"(?:https?://|www\.)\S*[\p{L}\p{N}/]",
        r"[\p{L}\p{N}_.+-]+@[\p{L}\p{N}_][\p{L}\p{N}_.-]*[\p{L}\p{N}]",
        r"[nN]['’][tT]\b",
        r"['’](?i:s|re|ve|ll|d|m)\b",
        r"(?:\p{L}\.){2,}",
        rf"(?:{_ABBREVIATION})\.",
        r"\p{N}+(?:[.,:/-]\p{N}+)*",
        rf"{_WORD}(?:['’]{_WORD}|\.[\p{{Ll}}\p{{N}}_][\p{{L}}\p{{M}}\p{{N}}_]*)*",
        r"\.{2,}",
        r"-{2,}",
        r"[^\p{L}\p{M}\p{N}_\s]",
    ]
)


def separate_tokens(text: pl.Series) -> pl.Series:
    """Texts with one blank between tokens, so that a token is a run of non-whitespace.

    Args:
        text: strings ``[n]``.

    Returns:
        Strings ``[n]`` of the same characters, save for whitespace.
    """
    return (
        text.str.replace_all(r"(\p{L})([nN]['’][tT])\b", "$1 $2")
        .str.replace_all(r"(['’](?i:s|re|ve|ll|d|m))\b", " $1")
        .str.extract_all(_TOKEN)
        .list.join(" ")
    )
