"""Keywords of domains by class-based TF-IDF over a bounded sample of their documents.

W(t, c) = p(t | c) * log(p(t | c) / p(t)): how often a word is in class c, times how much more often
than anywhere. It is what word t adds to the relative entropy of the class, so that words frequent
everywhere weigh nothing, which class-based TF-IDF (BERTopic, arXiv 2203.05794, equation 2) only
approximates by log(1 + A / f(t)).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from mixcurate.kernels.topic_stopwords import stop_words
from mixcurate.kernels.topic_terms import MAX_GRAM, terms

#: Characters of each document that are read; a topic shows at its beginning.
READ_CHARACTERS = 2_000

#: Characters that are read of all documents together; of a larger sample less of each is read.
MAX_CHARACTERS = 20_000_000

_MAX_VOCABULARY = 50_000
_CHUNK = 1_000

#: Overlapping n-grams are joined into words of at most so many characters.
_LONGEST_JOINED = 12

#: How many candidates behind the last keyword may still lengthen one of the keywords.
_LOOK_AHEAD = 40


class _Term(NamedTuple):
    text: str
    documents: int
    """Documents of the domain that have it."""
    is_gram: bool
    """Whether it is an n-gram of a script that does not part words."""


def keywords(
    texts: Sequence[str],
    languages: Sequence[str],
    domains: npt.NDArray[np.integer],
    n_domains: int,
    count: int,
) -> list[list[str]]:
    """The ``count`` most telling words of each domain, best first, in lower case.

    Words are runs of letters without the stop words of the document's language. Of scripts that do
    not part words, n-grams take their place, joined where they overlap and occur together. A word
    must occur in two documents of the sample (in one when the sample is tiny). Of a word and the
    same with an s at its end, the better one is taken. A domain without documents in the sample
    gets no keywords. Ties are broken by code points, so that the order of texts does not matter.

    Args:
        texts: sampled documents ``[n]``.
        languages: ISO 639-1 code of each document; an unknown one has no stop words.
        domains: integers ``[n]`` in [0, n_domains).
        n_domains: number of domains.
        count: keywords per domain.
    """
    result: list[list[str]] = [[] for _ in range(n_domains)]
    if not texts:
        return result
    read = min(READ_CHARACTERS, max(1, MAX_CHARACTERS // len(texts)))
    frame = pl.DataFrame(
        {
            "domain": np.asarray(domains, np.int64),
            "language": pl.Series(list(languages), dtype=pl.String),
            "text": pl.Series([text[:read] for text in texts], dtype=pl.String),
        }
    )
    counts = _weigh(_count(frame), least=2 if len(texts) >= 50 else 1)
    rows = counts.select("domain", "term", "documents", "is_gram").iter_rows()
    for domain, ranked in groupby(rows, key=lambda row: row[0]):
        together = _together_in(frame, domain)
        result[domain] = _pick([_Term(*row[1:]) for row in ranked], count, together)
    return result


def names(keyword_lists: Sequence[Sequence[str]]) -> list[str]:
    """A unique name for each domain: its first three keywords, numbered where they repeat."""
    return unique(
        ["-".join(words[:3]) or f"domain-{number}" for number, words in enumerate(keyword_lists)]
    )


def unique(wanted: Sequence[str]) -> list[str]:
    """The same names, each at its first place as it is, and with a number where it repeats."""
    taken: set[str] = set()
    last: dict[str, int] = {}
    result = []
    for name in wanted:
        found = name
        while found in taken:
            last[name] = last.get(name, 1) + 1
            found = f"{name}-{last[name]}"
        taken.add(found)
        result.append(found)
    return result


def _count(frame: pl.DataFrame) -> pl.DataFrame:
    """domain, term, is_gram, documents: in how many documents of a domain each term is.

    A document counts once, for one that repeats a word does not name a domain.
    """
    stops = stop_words(frame.get_column("language").unique().to_list())
    found = []
    for start in range(0, frame.height, _CHUNK):
        chunk = frame.slice(start, _CHUNK).with_row_index("document")
        found.append(
            terms(chunk)
            .unique(["document", "term"])
            .join(stops, on=["language", "term"], how="anti")
            .group_by("domain", "term", "is_gram")
            .agg(pl.len().cast(pl.Int64).alias("documents"))
        )
    return pl.concat(found).group_by("domain", "term", "is_gram").agg(pl.col("documents").sum())


def _weigh(counts: pl.DataFrame, least: int) -> pl.DataFrame:
    """Terms that tell something of their domain, by domain and falling weight."""
    totals = counts.group_by("term").agg(pl.col("documents").sum().alias("all"))
    totals = totals.filter(pl.col("all") >= least).sort(["all", "term"], descending=[True, False])
    counts = counts.join(totals.head(_MAX_VOCABULARY), on="term")
    in_class = pl.col("documents") / pl.col("documents").sum().over("domain")
    overall = pl.col("all") / pl.col("documents").sum()
    weight = in_class * (in_class / overall).log()
    if counts.get_column("domain").n_unique() == 1:  # nothing to tell it from
        weight = in_class
    return (
        counts.with_columns(weight.alias("weight"))
        .filter(pl.col("weight") > 0)
        .sort(["domain", "weight", "term"], descending=[False, True, False])
    )


def _together_in(frame: pl.DataFrame, domain: int) -> Callable[[str], int]:
    """Counts the documents of a domain that hold a string; they are looked up when needed."""

    def count(joined: str) -> int:
        mine = frame.filter(pl.col("domain") == domain).get_column("text")
        return int(mine.str.contains(joined, literal=True).sum())

    return count


def _pick(ranked: list[_Term], count: int, together: Callable[[str], int]) -> list[str]:
    """The best ``count`` terms without plurals of each other, overlapping n-grams joined."""
    chosen: dict[str, int] = {}
    for number, term in enumerate(ranked):
        full = len(chosen) >= count
        if full and number >= count + _LOOK_AHEAD:
            break
        if term.is_gram:
            if any(term.text in other for other in chosen):
                continue
            chosen, is_piece = _join(chosen, term, together)
            if is_piece:
                continue
        elif f"{term.text}s" in chosen or term.text.removesuffix("s") in chosen:
            continue
        if not full:
            chosen[term.text] = term.documents
    return list(chosen)


def _join(
    chosen: dict[str, int], term: _Term, together: Callable[[str], int]
) -> tuple[dict[str, int], bool]:
    """Lengthen a keyword by an n-gram that overlaps it, if most documents of both have them so.

    Args:
        chosen: keywords, and in how many documents each is.
        term: the n-gram.
        together: counts the documents that hold a string.

    Returns:
        The keywords, and whether the n-gram is mostly a piece of what one of them stands in.
    """
    for other, documents in chosen.items():
        joined = _overlap(other, term.text)
        if not joined or 2 * (found := together(joined)) < term.documents:
            continue
        if 2 * found >= documents and len(joined) <= _LONGEST_JOINED:
            pairs = chosen.items()
            return {joined if k == other else k: found if k == other else v for k, v in pairs}, True
        return chosen, True
    return chosen, False


def _overlap(word: str, gram: str) -> str:
    """The shortest string that begins with one of the two and ends with the other, or nothing."""
    for shared in range(min(len(word), len(gram), MAX_GRAM) - 1, 0, -1):
        if word.endswith(gram[:shared]):
            return word + gram[shared:]
        if word.startswith(gram[-shared:]):
            return gram[:-shared] + word
    return ""
