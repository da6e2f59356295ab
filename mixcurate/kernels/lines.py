"""Lines of texts that are no content, taken out per batch; the rest of a text stays as it is.

The rules are those of C4 (arXiv 1910.10683, section 2.2, and its code), and in their spirit those
of RefinedWeb on navigation (arXiv 2306.01116, appendix G.2). Lines go before signals are computed,
so that all signals speak of the text that is kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
import polars as pl
import pyarrow as pa

from mixcurate.kernels.cleaning import LineRule
from mixcurate.kernels.signals import TERMINAL, TERMINAL_UNSPACED, word_chars
from mixcurate.kernels.words import split_words

#: What each rule takes out.
LINE_RULES: dict[LineRule, str] = {
    "citations": "citation marks inside lines: [1], [], [edit], [citation needed]",
    "long_words": "lines with a word of more than 1,000 characters",
    "unpunctuated": "lines that do not end in terminal punctuation or a quotation mark, or do in "
    "three dots",
    "short": "lines of fewer than three words",
    "javascript": "lines with the word javascript",
    "policy": "lines on cookies, terms of use or privacy",
    "navigation": "lines that are but a link of the site, or a path of links",
    "counters": "lines that are but a number, or a number of likes, comments and the like",
}

#: The rules that published filters imply, by preset of quality rules. FineWeb kept lines without
#: punctuation; navigation and counters are of neither.
PRESET_LINES: dict[str, tuple[LineRule, ...]] = {
    "none": (),
    "gopher": (),
    "c4": ("citations", "long_words", "unpunctuated", "short", "javascript", "policy"),
    "fineweb": ("citations", "long_words", "short", "javascript", "policy"),
}

_LONG_WORD = 1000
_CITATION = r"\[[0-9]*\]|\[edit\]|\[citation needed\]"

#: Scripts without spaces, where a word in our sense says nothing, and those without full stops.
_UNSPACED = r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}\p{Tibetan}]"
_UNPUNCTUATED = r"[\p{Thai}\p{Lao}]"

_ENDS = TERMINAL.replace("…", "") + TERMINAL_UNSPACED + "\"'”’»」』"

#: C4's phrases, and the same in other languages.
_POLICY = (
    "terms of use|privacy policy|cookie policy|uses cookies|use of cookies|use cookies"
    "|verwendet cookies|verwenden cookies|verwendung von cookies|datenschutzerklärung"
    "|utilise des cookies|utilisons des cookies|utilisation de cookies|utilisation des cookies"
    "|politique de confidentialité|mentions légales"
    "|utiliza cookies|utilizamos cookies|uso de cookies|política de privacidad|política de cookies"
    "|utilizza cookie|utilizziamo cookie|uso dei cookie|informativa sulla privacy"
    "|gebruikt cookies|gebruik van cookies|använder cookies|använder sig av cookies"
    "|användning av cookies|bruker cookies|bruger cookies|política de privacidade"
)

_SIGNS = r"[^\p{L}\p{N}]*"  # around a line's words
_LINK = (
    "home|menu|main menu|search|next|previous|prev|back|top|back to top|go to top|close|print"
    "|print this page|email this|share|share this|share on (?:facebook|twitter|linkedin|pinterest)"
    "|tweet|like this|follow us|follow us on .{1,30}|contact|contact us|about|about us|faq|sitemap"
    "|site map|skip to (?:main |primary )?content|skip navigation|jump to .{1,20}"
    "|read more|continue reading|learn more|more info|see more|view more|show more|load more"
    "|view all|see all|click here|click here to .{1,40}|(?:sign|log) ?(?:in|up|out)"
    "|(?:sign|log) ?(?:in|up) to .{1,40}|register|my account|subscribe|subscribe now"
    "|add to (?:cart|basket|wishlist)|items? in (?:your )?cart|leave a (?:reply|comment)"
    "|post a comment|reply|related (?:posts|articles)|all rights reserved\\.?|advertisement"
)
_NAVIGATION = (
    rf"(?i)^{_SIGNS}(?:{_LINK}){_SIGNS}$"
    r"|^[^|›»•·]{1,30}(?:\s[|›»•·]\s?[^|›»•·]{1,30}){2,}$"  # Home | News | Contact
)
_COUNTED = "likes?|comments?|shares?|views?|replies|reply|votes?|followers?|retweets?|points?"
_COUNTER = rf"(?i)^{_SIGNS}[0-9][0-9.,]*\s?[km]?\s?(?:{_COUNTED}|reviews?|ratings?)?{_SIGNS}$"

#: Whether a line goes, of the column `line`, that is neither blank nor has whitespace around it.
_DROPS: dict[LineRule, pl.Expr] = {
    "unpunctuated": (
        ~pl.col("line").str.contains(rf"[{_ENDS}]$") | pl.col("line").str.ends_with("...")
    )
    & ~pl.col("line").str.contains(_UNPUNCTUATED),
    "short": pl.col("line").str.contains(r"^\S+(?:\s+\S+)?$")
    & ~pl.col("line").str.contains(_UNSPACED),
    "javascript": pl.col("line").str.contains(r"(?i-u:javascript)"),
    "policy": pl.col("line").str.contains(f"(?i){_POLICY}"),
    "navigation": pl.col("line").str.contains(_NAVIGATION),
    "counters": pl.col("line").str.contains(_COUNTER),
}


def clean_lines(text: pa.Array, rules: Sequence[LineRule]) -> pa.Array:
    """Texts without the lines that some rule takes out.

    A text without such a line is returned byte for byte. In others, runs of blank lines become
    one blank line, and whitespace at both ends goes; a text may become empty. Rules on words do
    not judge lines in a script that puts no spaces between words.

    Args:
        text: large_string ``[n]`` without nulls.
        rules: names in ``LINE_RULES``, in any order.

    Returns:
        large_string ``[n]``.
    """
    column = _series(text)
    if "citations" in rules:
        column = column.str.replace_all(_CITATION, "")
    lines = _lines(column)
    drop = pl.lit(False)
    for rule in get_args(LineRule):
        if rule in rules and rule in _DROPS:
            drop |= _DROPS[rule]
    lines = lines.with_columns(drop=pl.col("line").str.len_bytes().gt(0) & drop)
    if "long_words" in rules:
        lines = lines.with_columns(drop=pl.col("drop") | _has_long_word(lines["line"]))
    return _without(column, lines)


def drop_repeated_paragraphs(
    text: pa.Array, *, unit: Literal["line", "paragraph"] = "line", min_chars: int = 100
) -> pa.Array:
    """Texts without what repeats an earlier line, or paragraph, of the same text.

    Args:
        text: large_string ``[n]`` without nulls.
        unit: what is compared: a line, as extractors of web pages give a paragraph, or what stands
            between blank lines. Whitespace around it does not count.
        min_chars: shorter ones may repeat.

    Returns:
        large_string ``[n]``; a text without repeats is returned byte for byte, others as
        ``clean_lines`` leaves them.
    """
    column = _series(text)
    lines = _lines(column)
    if unit == "paragraph":
        blank = pl.col("line").str.len_bytes() == 0
        begins = pl.col("row").ne_missing(pl.col("row").shift(1))
        lines = lines.with_columns(number=(blank | begins).cum_sum())
        pieces = (
            lines.filter(~blank)
            .group_by("row", "number", maintain_order=True)
            .agg(piece=pl.col("line").str.join("\n"))
        )
    else:
        lines = lines.with_row_index("number")
        pieces = lines.select("row", "number", piece="line")
    pieces = pieces.filter(pl.col("piece").str.len_chars() >= min_chars)
    repeats = pieces.filter(~pl.struct("row", "piece").is_first_distinct())
    drop = pl.col("number").is_in(repeats["number"].implode()) & (pl.col("line") != "")
    return _without(column, lines.with_columns(drop=drop))


def _series(text: pa.Array) -> pl.Series:
    return pl.Series("text", pl.from_arrow(pa.chunked_array([text], pa.large_string())))


def _lines(column: pl.Series) -> pl.DataFrame:
    """``row``, ``raw`` and ``line``, which is ``raw`` less the whitespace around it."""
    return (
        column.to_frame("text")
        .with_row_index("row")
        .select("row", raw=pl.col("text").str.split("\n"))
        .explode("raw")
        .with_columns(line=pl.col("raw").str.strip_chars())
    )


def _has_long_word(line: pl.Series) -> pl.Series:
    """Whether a line has a word above the limit, and puts spaces between words."""
    candidates = np.flatnonzero((line.str.len_bytes() > _LONG_WORD).to_numpy())
    own = line.gather(candidates)
    text = own.to_arrow().cast(pa.large_string())
    words = split_words(text)
    long = np.flatnonzero(word_chars(text, words) > _LONG_WORD)
    of = np.searchsorted(words.offsets, long, side="right") - 1
    found = np.zeros(len(line), bool)
    found[candidates[of]] = True
    found[candidates] &= ~own.str.contains(_UNSPACED).to_numpy()
    return pl.Series(found)


def _without(column: pl.Series, lines: pl.DataFrame) -> pa.Array:
    """The texts of ``column`` less the lines marked in ``drop``."""
    touched = lines["row"].filter(lines["drop"]).unique()
    if len(touched) > 0:
        blank = pl.col("line").str.len_bytes() == 0
        kept = (
            lines.filter(pl.col("row").is_in(touched.implode()), ~pl.col("drop"))
            .filter(~(blank & blank.shift(1, fill_value=False)))
            .group_by("row", maintain_order=True)
            .agg(text=pl.col("raw").str.join("\n"))
        )
        texts = pl.DataFrame({"row": touched}).join(kept, on="row", how="left")
        cleaned = texts["text"].fill_null("").str.strip_chars()
        column = column.scatter(texts["row"].to_numpy(), cleaned)
    array: pa.Array = column.to_arrow().cast(pa.large_string())
    return array
