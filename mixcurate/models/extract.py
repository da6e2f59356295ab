"""Main text of web pages, by one of several extractors.

``auto`` classifies the lines that resiliparse finds (``extract_lines``); it has the best F1 and
costs little more than the cheapest. ``resiliparse`` is its rules alone. ``trafilatura`` keeps less
boilerplate and loses more text, at four to five times the cost; ``trafilatura_fast`` leaves out its
fallbacks. All read the page by the same rules for encodings, and at most ``MAX_CHARACTERS`` of it,
so that the time for a page is bounded.
"""

from __future__ import annotations

import dataclasses
import functools
import logging
import re
from collections.abc import Callable
from typing import Literal

import trafilatura
from resiliparse.extract.html2text import extract_plain_text
from resiliparse.parse.html import HTMLTree
from trafilatura.settings import use_config

from mixcurate.models.extract_about import licence_of, title_of
from mixcurate.models.extract_encoding import decode
from mixcurate.models.extract_lines import main_lines

#: Extractors by name; the default is ``auto``.
ExtractorName = Literal["auto", "resiliparse", "trafilatura", "trafilatura_fast"]

#: What is read of a page.
MAX_CHARACTERS = 4 << 20

#: What trafilatura reads: it takes more than linear time.
MAX_TRAFILATURA = 1 << 20

#: Sum of the depths of all elements beyond which a page is refused: extractors climb from elements
#: to the root, which takes about a second for 5 million. A page of 3,000 elements has some 50,000.
MAX_NESTING = 5_000_000

#: Attributes of one element from which a page is refused: parsers compare each with all before it.
MAX_ATTRIBUTES = 2_000
_MANY_ATTRIBUTES = re.compile(
    r"<[a-zA-Z][^\s/>]*+"
    r"(?:[\s/]++[^\s=>/\"'][^\s=>/]*+"
    r"(?:\s*+=\s*+(?:\"[^\"]*+\"|'[^']*+'|[^\s>\"'][^\s>]*+))?+)"
    f"{{{MAX_ATTRIBUTES}}}"
)

_TAG = re.compile(r"<(/?)([a-z][a-z0-9]*)", re.I)
#: Elements that need no end tag, or that end each other: they do not nest.
_FLAT = frozenset(("a", "area", "base", "body", "br", "col", "dd", "dt", "embed", "head", "hr"))
_FLAT |= {"html", "img", "input", "li", "link", "meta", "nobr", "option", "p", "param", "path"}
_FLAT |= {"rect", "source", "tbody", "td", "tfoot", "th", "thead", "tr", "track", "use", "wbr"}

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


Extractor = Callable[[bytes, str | None, str | None], Page | None]


@functools.cache
def extractor(name: ExtractorName) -> Extractor:
    """The extractor of that name: a function of bytes, charset of the HTTP header, and address."""
    return functools.partial(_extract, _TEXT[name])


def main_text(payload: bytes, charset: str | None, url: str | None) -> Page | None:
    """The main text of an HTML page without navigation and boilerplate, as ``auto`` finds it.

    Args:
        payload: the page's bytes.
        charset: encoding of the HTTP header, if it named one.
        url: the page's address.

    Returns:
        What the page holds, or None when it has no main text.

    Raises:
        ValueError: the page's elements are nested so deeply, or one has so many attributes, that
            it would take too long.
    """
    return extractor("auto")(payload, charset, url)


def _extract(
    text_of: Callable[[HTMLTree, str, str | None], str],
    payload: bytes,
    charset: str | None,
    url: str | None,
) -> Page | None:
    html = decode(payload[: 4 * MAX_CHARACTERS], charset)[:MAX_CHARACTERS]
    _check_nesting(html)
    if _MANY_ATTRIBUTES.search(html):
        raise ValueError(f"an element has {MAX_ATTRIBUTES:,} attributes or more")
    tree = HTMLTree.parse(html)
    if tree.body is None:
        return None
    text = text_of(tree, html, url).strip()
    if not text:
        return None
    return Page(text, title_of(tree), licence_of(tree, html))


def _check_nesting(html: str) -> None:
    """Refuse a page whose elements are nested so deeply that they take minutes."""
    if html.count("<") ** 2 <= 2 * MAX_NESTING:
        return
    depth = work = 0
    for end, name in _TAG.findall(html):
        if name.lower() not in _FLAT:
            depth = max(0, depth - 1) if end else depth + 1
        work += 0 if end else depth
    if work > MAX_NESTING:
        raise ValueError(f"elements are nested too deeply: their depths sum up to {work:,}")


def _resiliparse(tree: HTMLTree, html: str, url: str | None) -> str:  # noqa: ARG001
    return str(extract_plain_text(tree, main_content=True, alt_texts=False))


def _lines(tree: HTMLTree, html: str, url: str | None) -> str:  # noqa: ARG001
    return main_lines(tree)


def _trafilatura(tree: HTMLTree, html: str, url: str | None, *, fast: bool) -> str:  # noqa: ARG001
    text = trafilatura.extract(
        html[:MAX_TRAFILATURA],
        url=url,
        fast=fast,
        include_comments=False,
        include_tables=True,
        config=_CONFIG,
    )
    return text or ""


_TEXT: dict[str, Callable[[HTMLTree, str, str | None], str]] = {
    "auto": _lines,
    "resiliparse": _resiliparse,
    "trafilatura": functools.partial(_trafilatura, fast=False),
    "trafilatura_fast": functools.partial(_trafilatura, fast=True),
}
