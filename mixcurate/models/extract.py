"""Main text of web pages by trafilatura."""

from __future__ import annotations

import codecs
import dataclasses
import logging

import trafilatura
from trafilatura.settings import use_config

#: Python's codecs of domain names take quadratic time; no page is written in them.
_CODECS_OF_NAMES = frozenset({"idna", "punycode"})

_CONFIG = use_config()
_CONFIG.set("DEFAULT", "EXTRACTION_TIMEOUT", "0")  # its alarm signal only works in a main thread
logging.getLogger("trafilatura").setLevel(logging.CRITICAL)
logging.getLogger("htmldate").setLevel(logging.CRITICAL)


@dataclasses.dataclass(frozen=True)
class Page:
    """What an extractor found on a page."""

    text: str
    """The main text, never empty."""
    title: str | None = None
    """The page's title, if it has one."""
    licence: str | None = None
    """The licence that the page itself declares, as it writes it: an address or a name."""


def main_text(payload: bytes, charset: str | None, url: str | None) -> Page | None:
    """The main text of an HTML page without navigation, boilerplate and comments.

    Args:
        payload: the page's bytes.
        charset: encoding of the HTTP header, if it named one; otherwise it is sniffed.
        url: the page's address.

    Returns:
        What the page holds, or None when it has no main text.
    """
    text = trafilatura.extract(
        _decoded(payload, charset),
        url=url,
        include_comments=False,
        include_tables=True,
        config=_CONFIG,
    )
    return Page(text) if text else None


def _decoded(payload: bytes, charset: str | None) -> bytes | str:
    """The page in the encoding that was declared; as it is where that is missing or wrong."""
    try:
        if charset and codecs.lookup(charset).name not in _CODECS_OF_NAMES:
            return payload.decode(charset)
    except (LookupError, ValueError):
        pass  # a wrong declaration: let the extractor sniff
    return payload
