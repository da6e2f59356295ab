"""What a page says about itself: its title, and the licence that it declares."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import orjson
from resiliparse.parse.html import HTMLTree

#: Without one of these, in any case, a page declares no licence.
_HINTS = ("license", "licence", "creativecommons.org")
_COMMONS = re.compile(r"^(https?:)?//(www\.)?creativecommons\.org/(licenses|publicdomain)/", re.I)
_NAMES = {"license", "licence", "dcterms.license", "dc.license", "dc.rights.license"}
_RELATED = "a[rel~=license], link[rel~=license], area[rel~=license]"
_DECLARED = "meta[name], meta[property], [itemprop=license], [property='dct:license']"
_LINKED_DATA = "script[type='application/ld+json']"
#: Things on a page whose licence is not the page's.
_PARTS = {"ImageObject", "VideoObject", "AudioObject", "MediaObject", "SoftwareSourceCode"}
_LONGEST = 500
_LONGEST_DATA = 1 << 20
_LINKS = 5_000


def title_of(tree: HTMLTree) -> str | None:
    """The content of ``title``, on one line."""
    title = " ".join((tree.title or "").split())[:_LONGEST]
    return title or None


def licence_of(tree: HTMLTree, html: str) -> str | None:
    """The address or name of the licence, as the page writes it, uninterpreted.

    In this order: a link with ``rel=license``; ``license`` of the page in schema.org's terms
    (JSON-LD, microdata) or Dublin Core's (``meta``); a link to a Creative Commons licence.
    """
    lower = html.lower()
    if tree.document is None or not any(hint in lower for hint in _HINTS):
        return None
    for value in _declared(tree.document):
        if isinstance(value, str) and (cleaned := value.strip()):
            return cleaned[:_LONGEST]
    return None


def _declared(document: Any) -> Iterator[object]:
    for node in document.query_selector_all(_RELATED):
        yield node.getattr("href")
    for node in document.query_selector_all(_LINKED_DATA):
        if "icense" in (text := node.text) and len(text) <= _LONGEST_DATA:
            yield from _in_linked_data(text)
    for node in document.query_selector_all(_DECLARED):
        name = node.getattr("name") or node.getattr("property") or node.getattr("itemprop") or ""
        if name.lower() in _NAMES or name == "dct:license":
            yield node.getattr("content") or node.getattr("href") or node.getattr("resource")
    for count, node in enumerate(document.query_selector_all("a[href*='creativecommons.org/']")):
        href = node.getattr("href")
        if count < _LINKS and href and _COMMONS.match(href.strip()):
            yield href


def _in_linked_data(text: str) -> Iterator[object]:
    """``license`` of the things that JSON-LD tells of, not of their parts."""
    try:
        data = orjson.loads(text)
    except orjson.JSONDecodeError:
        return
    for thing in data if isinstance(data, list) else [data]:
        graph = thing.get("@graph") if isinstance(thing, dict) else None
        for each in [thing, *(graph if isinstance(graph, list) else [])]:
            if isinstance(each, dict) and str(each.get("@type")) not in _PARTS:
                value = each.get("license")
                value = value[0] if isinstance(value, list) and value else value
                if isinstance(value, dict):
                    value = value.get("@id") or value.get("url") or value.get("name")
                yield value
