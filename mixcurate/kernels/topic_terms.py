"""What counts as a word when domains get keywords, in any script."""

from __future__ import annotations

import polars as pl

#: Letters of alphabets whose words no space parts, and how long their n-grams are: two letters say
#: nothing, four are about a syllable or two.
_UNSPACED_LETTERS = r"\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}\p{Tibetan}"
_LETTER_GRAM = 4
_HAN_GRAM = 2
MAX_GRAM = _LETTER_GRAM

#: Runs of one kind of script: Han; Katakana, which writes loan words; Hiragana, which writes
#: Japanese function words and endings; unspaced letters; all else that words are made of.
_RUN = (
    r"[\p{Han}々]+|[\p{Katakana}ー]+|\p{Hiragana}+"
    rf"|[{_UNSPACED_LETTERS}]+"
    rf"|[\p{{L}}\p{{M}}\p{{N}}_--\p{{Han}}--\p{{Katakana}}--\p{{Hiragana}}--[ー々{_UNSPACED_LETTERS}]]+"
)
#: A word: letters alone, and no longer than any language has them.
_WORD = r"^(?:\p{L}[\p{L}\p{M}]{2,39}|\p{Hangul}{2,39}|[\p{Katakana}ー]{2,39})$"

#: Characters that write Chinese function words: a bigram with one of them names nothing.
_HAN_FUNCTION = (
    "的了是在我有和就不人都一个上也很到说要去你会着没看好自己这那们他她它与及为以于而其之被把从对中来"
    "個說會這那們與為於從對來沒將还還可能所得地过過又或但则則因并並等及让讓給给吗嗎呢吧啊"
)


def terms(frame: pl.DataFrame) -> pl.DataFrame:
    """The terms of documents, each as often as it occurs.

    Text is compared in lower case and NFKC. Runs of Chinese characters give bigrams, runs of Thai,
    Lao, Khmer, Burmese and Tibetan letters give n-grams of four characters, and everything else
    gives its words of three letters and more (Hangul and Katakana: two).

    Args:
        frame: any columns, with ``text``.

    Returns:
        The other columns with ``term`` and ``is_gram``, a row per occurrence.
    """
    runs = (
        frame.with_columns(
            pl.col("text").str.normalize("NFKC").str.to_lowercase().str.extract_all(_RUN)
        )
        .explode("text")
        .rename({"text": "term"})
        .drop_nulls("term")
    )
    words = runs.filter(
        pl.col("term").str.contains(_WORD)
        & ~pl.col("term").str.contains(rf"^[\p{{Han}}\p{{Hiragana}}々{_UNSPACED_LETTERS}]")
    )
    han = runs.filter(pl.col("term").str.contains(r"^[\p{Han}々]"))
    letters = runs.filter(pl.col("term").str.contains(rf"^[{_UNSPACED_LETTERS}]"))
    bigrams = _grams(han, _HAN_GRAM).filter(~pl.col("term").str.contains(f"[{_HAN_FUNCTION}]"))
    return pl.concat(
        [
            words.with_columns(pl.lit(False).alias("is_gram")),
            bigrams.with_columns(pl.lit(True).alias("is_gram")),
            _grams(letters, _LETTER_GRAM).with_columns(pl.lit(True).alias("is_gram")),
        ]
    )


def _grams(runs: pl.DataFrame, size: int) -> pl.DataFrame:
    """All n-grams of runs: every n-th from each of the first n places, joined."""
    phases = [
        runs.with_columns(pl.col("term").str.slice(place).str.extract_all(f".{{{size}}}"))
        for place in range(size)
    ]
    return pl.concat(phases).explode("term").drop_nulls("term")
