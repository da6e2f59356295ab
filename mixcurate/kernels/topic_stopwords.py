"""Words that name no topic, by language.

The eight function words that tell running text are too few here: beside English documents, the
thirtieth function word of French would name the French domain. Most languages have the list of
stopwords-iso (MIT). For others jusText carries the frequent words of Wikipedias in the order of
their frequency (BSD-2-Clause; Pomikálek 2011), of which the first hundred are function words for
the most part. English has scikit-learn's list, for that of stopwords-iso holds a thousand words
more, topics among them.
"""

from __future__ import annotations

import functools
import pkgutil
from collections.abc import Iterable

import polars as pl

from mixcurate.kernels.stopwords import STOP_WORDS

_FIRST = 100

#: Lists of jusText for languages that stopwords-iso lacks.
_JUSTEXT = {
    "an": "Aragonese",
    "az": "Azerbaijani",
    "be": "Belarusian",
    "bs": "Bosnian",
    "cy": "Welsh",
    "fy": "West_Frisian",
    "ht": "Haitian",
    "is": "Icelandic",
    "jv": "Javanese",
    "ka": "Georgian",
    "kk": "Kazakh",
    "kn": "Kannada",
    "ky": "Kyrgyz",
    "lb": "Luxembourgish",
    "mk": "Macedonian",
    "ml": "Malayalam",
    "mt": "Maltese",
    "nb": "Norwegian_Bokmal",
    "ne": "Nepali",
    "nn": "Norwegian_Nynorsk",
    "oc": "Occitan",
    "pa": "Western_Panjabi",
    "qu": "Quechua",
    "sq": "Albanian",
    "sr": "Serbian",
    "ta": "Tamil",
    "te": "Telugu",
    "tk": "Turkmen",
    "uz": "Uzbek",
    "vo": "Volapuk",
    "wa": "Walloon",
}


def stop_words(languages: Iterable[str]) -> pl.DataFrame:
    """Stop words of some languages: columns ``language`` and ``term``, in NFKC and lower case.

    Args:
        languages: ISO 639-1 codes; one that is not known has no stop words.
    """
    known = sorted({language for language in languages if language})
    pairs = [(language, word) for language in known for word in sorted(_words(language))]
    frame = pl.DataFrame(pairs, {"language": pl.String, "term": pl.String}, orient="row")
    return frame.with_columns(pl.col("term").str.normalize("NFKC").str.to_lowercase()).unique()


@functools.cache
def _words(language: str) -> frozenset[str]:
    import stopwordsiso  # here, and scikit-learn's below: every command would wait for them
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

    words = set(STOP_WORDS.get(language, ()))
    if language == "en":
        words |= ENGLISH_STOP_WORDS
    elif stopwordsiso.has_lang(language):
        words |= stopwordsiso.stopwords(language)
    elif language in _JUSTEXT:
        data = pkgutil.get_data("justext", f"stoplists/{_JUSTEXT[language]}.txt") or b""
        words |= {word.strip(".,;:!?\"'()[]»«।") for word in data.decode().split()[:_FIRST]}
    return frozenset(words)
