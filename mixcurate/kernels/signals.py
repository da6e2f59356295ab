"""Quality signals of texts: the published heuristics as columns, computed per batch.

A *word* is a maximal run of non-whitespace; a *line* is a run without newline that is not blank,
less the whitespace around it; characters are Unicode code points. (Tools that count tokens of a
linguistic tokenizer as words reach other values.) Sources: Gopher
(arXiv 2112.11446, appendix A.1.1) and FineWeb (arXiv 2406.17557, section 3.6).
"""

from __future__ import annotations

import polars as pl
import pyarrow as pa

#: Gopher's eight English stop words, of which a document needs two.
STOP_WORDS = ("the", "be", "to", "of", "and", "that", "have", "with")

#: Signals in the order of their columns, with what each means.
SIGNALS: dict[str, str] = {
    "n_words": "number of words",
    "mean_word_length": "mean characters in a word",
    "symbol_word_ratio": "number signs and ellipses per word",
    "alpha_words": "share of words with at least one letter",
    "stop_words": "how many of eight English stop words occur, in any case",
    "bullet_lines": "share of lines that start with a bullet and a blank",
    "ellipsis_lines": "share of lines that end in an ellipsis",
    "punctuated_lines": "share of lines that end in terminal punctuation",
    "short_lines": "share of lines of at most 30 characters",
    "newline_ratio": "newlines per word",
    "duplicate_lines": "share of lines that repeat an earlier line",
    "duplicate_line_chars": "share of characters in such lines",
}


def text_signals(text: pa.Array) -> pa.RecordBatch:
    """All signals of a batch of texts.

    Args:
        text: large_string ``[n]`` without nulls.

    Returns:
        RecordBatch ``[n]`` with one float32 column per name in ``SIGNALS``, all finite: a ratio
        over zero words or lines is zero.
    """
    frame = pl.DataFrame({"text": pl.from_arrow(pa.chunked_array([text]))}).with_row_index("row")
    words = pl.col("n_words").clip(lower_bound=1)
    lines = pl.col("n_lines").clip(lower_bound=1)
    counted = frame.select(
        "row",
        n_words=_count(r"\S+"),
        n_lines=_count(r"[^\n]*[^\s][^\n]*"),
        spaces=_count(r"\s"),
        n_chars=pl.col("text").str.len_chars(),
        symbols=_count(r"#|\.\.\.|…"),
        alpha=_count(r"[^\s\p{L}]*\p{L}\S*"),
        stop_words=pl.sum_horizontal(
            [pl.col("text").str.contains(rf"(?i)\b{word}\b").cast(pl.UInt32) for word in STOP_WORDS]
        ),
        bullets=_count(r"(?m)^[^\S\n]*[•‣▪●◦○*\-–][^\S\n]"),
        ellipses=_count(r"(?m)(?:\.\.\.|…)[^\S\n]*$"),
        punctuated=_count(r"""(?m)[.!?…。！？؟।][\"'”’»)\]]*[^\S\n]*$"""),
        short=_count(r"(?m)^[^\S\n]*\S(?:[^\n]{0,28}\S)?[^\S\n]*$"),
        newlines=pl.col("text").str.count_matches("\n", literal=True),
    )
    ratios = (
        counted.join(_duplicate_lines(frame), on="row", how="left")
        .sort("row")
        .select(
            n_words=pl.col("n_words"),
            mean_word_length=(pl.col("n_chars") - pl.col("spaces")) / words,
            symbol_word_ratio=pl.col("symbols") / words,
            alpha_words=pl.col("alpha") / words,
            stop_words=pl.col("stop_words"),
            bullet_lines=pl.col("bullets") / lines,
            ellipsis_lines=pl.col("ellipses") / lines,
            punctuated_lines=pl.col("punctuated") / lines,
            short_lines=pl.col("short") / lines,
            newline_ratio=pl.col("newlines") / words,
            duplicate_lines=pl.col("duplicate_lines").fill_null(0),
            duplicate_line_chars=pl.col("duplicate_line_chars").fill_null(0),
        )
    )
    table = ratios.cast(pl.Float32).to_arrow().combine_chunks()
    return pa.RecordBatch.from_arrays(
        [
            table.column(name).combine_chunks() if table.num_rows else pa.array([], pa.float32())
            for name in SIGNALS
        ],
        names=list(SIGNALS),
    )


def _count(pattern: str) -> pl.Expr:
    return pl.col("text").str.count_matches(pattern)


def _duplicate_lines(frame: pl.DataFrame) -> pl.DataFrame:
    """Per row: the share of lines, and of their characters, that repeat an earlier line."""
    line = pl.col("line")
    lines = (
        frame.select("row", line=pl.col("text").str.split("\n"))
        .explode("line")
        .with_columns(line.str.strip_chars())
        .filter(line.str.len_bytes() > 0)
        .group_by("row", "line")
        .agg(seen=pl.len())
        .with_columns(chars=line.str.len_chars())
    )
    repeats = pl.col("seen") - 1
    return lines.group_by("row").agg(
        duplicate_lines=repeats.sum() / pl.col("seen").sum(),
        duplicate_line_chars=(repeats * pl.col("chars")).sum()
        / (pl.col("seen") * pl.col("chars")).sum(),
    )
