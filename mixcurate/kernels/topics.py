"""Keywords of domains by class-based TF-IDF over a bounded sample of their documents.

W(t, c) = p(t | c) * log(p(t | c) / p(t)): how often a word is in class c, times how much more often
than anywhere. It is what word t adds to the relative entropy of the class, so that words frequent
everywhere weigh nothing, which class-based TF-IDF (BERTopic, arXiv 2203.05794, equation 2) only
approximates by log(1 + A / f(t)).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from sklearn.feature_extraction.text import CountVectorizer

#: Characters of each document that are read; a topic shows at its beginning.
READ_CHARACTERS = 2_000
_MAX_VOCABULARY = 50_000
_WORD = r"(?u)\b[^\W\d_]{3,}\b"


def keywords(
    texts: list[str], domains: npt.NDArray[np.integer], n_domains: int, count: int
) -> list[list[str]]:
    """The ``count`` most telling words of each domain, best first.

    A word must occur in two documents of the sample (in one when the sample is tiny). A domain
    without documents in the sample gets no keywords. Ties are broken alphabetically.

    Args:
        texts: sampled documents.
        domains: integers ``[n]`` in [0, n_domains).
        n_domains: number of domains.
        count: keywords per domain.
    """
    if not texts:
        return [[] for _ in range(n_domains)]
    vectorizer = CountVectorizer(
        stop_words="english",
        token_pattern=_WORD,
        max_features=_MAX_VOCABULARY,
        min_df=2 if len(texts) >= 50 else 1,
        binary=True,  # one document that repeats a word does not name a domain
    )
    try:
        counts = vectorizer.fit_transform(text[:READ_CHARACTERS] for text in texts)
    except ValueError:  # "empty vocabulary": nothing but stop words, digits or symbols
        return [[] for _ in range(n_domains)]
    words = vectorizer.get_feature_names_out()
    frequency = np.zeros((n_domains, len(words)))
    for domain in range(n_domains):
        frequency[domain] = np.asarray(counts[domains == domain].sum(axis=0)).ravel()
    in_class = frequency / np.maximum(frequency.sum(axis=1, keepdims=True), 1)
    overall = frequency.sum(axis=0) / frequency.sum()
    weight = in_class * np.log(np.maximum(in_class, 1e-300) / overall)
    best = [np.lexsort((words, -row))[:count] for row in weight]
    return [
        [str(words[i]) for i in order if row[i] > 0]
        for order, row in zip(best, weight, strict=True)
    ]


def names(keyword_lists: list[list[str]]) -> list[str]:
    """A unique name for each domain: its first three keywords, numbered where they repeat."""
    result: list[str] = []
    for number, words in enumerate(keyword_lists):
        name = "-".join(words[:3]) or f"domain-{number}"
        unique, suffix = name, 2
        while unique in result:
            unique, suffix = f"{name}-{suffix}", suffix + 1
        result.append(unique)
    return result
