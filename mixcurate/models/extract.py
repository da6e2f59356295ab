"""Main text of web pages by trafilatura."""

from __future__ import annotations

import codecs
import logging

import trafilatura
from trafilatura.settings import use_config

#: Python's codecs of domain names take quadratic time; no page is written in them.
_CODECS_OF_NAMES = frozenset({"idna", "punycode"})

_CONFIG = use_config()
_CONFIG.set("DEFAULT", "EXTRACTION_TIMEOUT", "0")  # its alarm signal only works in a main thread
logging.getLogger("trafilatura").setLevel(logging.CRITICAL)
logging.getLogger("htmldate").setLevel(logging.CRITICAL)


def main_text(payload: bytes, charset: str | None, url: str | None) -> str | None:
    """The main text of an HTML page without navigation, boilerplate and comments.

    Args:
        payload: the page's bytes.
        charset: encoding of the HTTP header, if it named one; otherwise it is sniffed.
        url: the page's address.

    Returns:
        The text, or None when the page has none.
    """
    text = trafilatura.extract(
        _decoded(payload, charset),
        url=url,
        include_comments=False,
        include_tables=True,
        config=_CONFIG,
    )
    return text or None


def _decoded(payload: bytes, charset: str | None) -> bytes | str:
    """The page in the encoding that was declared; as it is where that is missing or wrong."""
    try:
        if charset and codecs.lookup(charset).name not in _CODECS_OF_NAMES:
            return payload.decode(charset)
    except (LookupError, ValueError):
        pass  # a wrong declaration: let the extractor sniff
    return payload
