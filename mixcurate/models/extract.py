"""Main text of web pages by trafilatura."""

from __future__ import annotations

import logging

import trafilatura
from trafilatura.settings import use_config

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
    page: bytes | str = payload
    if charset:
        try:
            page = payload.decode(charset)
        except (LookupError, ValueError):
            page = payload  # a wrong declaration: let the extractor sniff
    text = trafilatura.extract(
        page, url=url, include_comments=False, include_tables=True, config=_CONFIG
    )
    return text or None
