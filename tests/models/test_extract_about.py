from __future__ import annotations

import pytest
from resiliparse.parse.html import HTMLTree

from mixcurate.models.extract_about import licence_of, title_of

BY = "https://creativecommons.org/licenses/by/4.0/"
OTHER = "https://example.org/licence"


def licence(html: str) -> str | None:
    return licence_of(HTMLTree.parse(html), html)


@pytest.mark.parametrize(
    "html",
    [
        f'<a rel="license" href="{BY}">CC BY</a>',
        f'<a rel="nofollow license" href=" {BY} ">CC BY</a>',
        f'<head><link rel=license href="{BY}"></head>',
        f'<script type="application/ld+json">{{"@type":"WebPage","license":"{BY}"}}</script>',
        f'<script type="application/ld+json">[{{"license":["{BY}"]}}]</script>',
        '<script type="application/ld+json">{"@graph":[{"@type":"ImageObject","license":"x"},'
        f'{{"@type":"Article","license":{{"@type":"CreativeWork","url":"{BY}"}}}}]}}</script>',
        f'<meta name="dcterms.license" content="{BY}">',
        f'<meta name="DCTERMS.License" content="{BY}">',
        f'<meta itemprop="license" content="{BY}">',
        f'<link itemprop="license" href="{BY}">',
        f'<p>Text is under <a href="{BY}">a licence</a>.</p>',
        f'<a href="{OTHER}">see</a><a rel="license" href="{BY}">CC</a>',
        f'<a href="{BY}nd">an image</a><a rel="license" href="{BY}">CC</a>',
    ],
)
def test_a_declared_licence_is_found(html: str) -> None:
    assert licence(html) == BY


@pytest.mark.parametrize(
    "html",
    [
        "",
        "<p>licence</p>",
        '<a rel="license">no address</a>',
        '<a href="https://creativecommons.org/about/">what they do</a>',
        '<a href="https://example.org/?u=creativecommons.org/licenses/by/4.0/">share</a>',
        '<script type="application/ld+json">{"license": </script>',
        '<script type="application/ld+json">{"@type":"ImageObject","license":"x"}</script>',
        '<script type="application/ld+json">{"license":7}</script>',
    ],
)
def test_what_declares_no_licence_gives_none(html: str) -> None:
    assert licence(html) is None


def test_a_licence_may_be_a_name_and_is_cut() -> None:
    assert licence('<meta name="license" content="CC0">') == "CC0"
    assert len(licence(f'<meta name="license" content="{"x" * 5_000}">') or "") == 500


@pytest.mark.parametrize(
    ("html", "title"),
    [
        ("<title> A \n title </title>", "A title"),
        ("<title></title>", None),
        ("<p>none</p>", None),
        ("<title>Caf&eacute;</title>", "Café"),
    ],
)
def test_the_title(html: str, title: str | None) -> None:
    assert title_of(HTMLTree.parse(html)) == title
