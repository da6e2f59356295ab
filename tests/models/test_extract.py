from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mixcurate.models import extract as module
from mixcurate.models.extract import ExtractorName, Page, extractor
from mixcurate.models.extract import main_text as extract

NAMES = get_args(ExtractorName)


def main_text(payload: bytes, charset: str | None, url: str | None) -> str | None:
    page = extract(payload, charset, url)
    return page.text if page else None


ARTICLE = (
    "The old bridge over the river was closed on Monday, because its pillars have to be renewed. "
    "Engineers expect that the work takes two years, and costs twelve million euros."
)
SECOND = (
    "Until then, cars take the detour through the village, where people fear noise and dust. "
    "Cyclists may use the footbridge that was built in the summer."
)
PAGE = f"""<!DOCTYPE html>
<html lang="en"><head><title>Bridge closed</title><script>var tracker = 1;</script>
<style>p {{ color: red }}</style></head>
<body>
<nav><ul><li><a href="/">Home</a></li><li><a href="/imprint">Imprint navigation</a></li></ul></nav>
<main><article><h1>Bridge closed for two years</h1>
<p>{ARTICLE}</p><p>{SECOND}</p>
<table><tr><td>Length</td><td>312 metres</td></tr></table></article></main>
<div id="comments"><h3>Comments</h3><p class="comment">First comment by a reader here!</p></div>
<footer><p>Copyright notice, cookie settings, all rights reserved.</p></footer>
</body></html>"""
GERMAN = (
    "<html><body><article><p>Die Brücke über den Fluß wird für zwei Jahre gesperrt, weil die "
    "Pfeiler erneuert werden müssen.</p><p>Bis dahin fährt der Verkehr über die Dörfer in der "
    "Nähe, und die Anwohner befürchten Lärm.</p></article></body></html>"
)


@pytest.mark.parametrize("name", NAMES)
def test_the_article_stays_and_the_boilerplate_goes(name):
    page = extractor(name)(PAGE.encode(), "utf-8", "https://example.org/bridge")
    assert page is not None
    assert page.title == "Bridge closed"
    assert page.licence is None
    text = page.text
    assert ARTICLE in text
    assert SECOND in text
    assert "312 metres" in text
    for boilerplate in ("Imprint", "tracker", "color", "Copyright", "<p>"):
        assert boilerplate not in text


@pytest.mark.parametrize("charset", ["latin-1", "ISO-8859-1", "cp1252"])
def test_the_declared_charset_is_used(charset):
    text = main_text(GERMAN.encode(charset), charset, None)
    assert text is not None
    assert "Brücke über den Fluß" in text


@pytest.mark.parametrize("charset", [None, ""])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "cp1252"])
def test_without_a_charset_it_is_sniffed(encoding, charset):
    text = main_text(GERMAN.encode(encoding), charset, None)
    assert text is not None
    assert "Brücke über den Fluß" in text


@pytest.mark.parametrize(
    "charset",
    [
        "ascii",
        "utf-16",
        "no-such-charset",
        "with\0nul",
        "hex",
        "undefined",
        "\ud800",
        "punycode",
        "IDNA",
        "x" * 10_000,
    ],
)
def test_a_wrong_charset_is_as_good_as_none(charset):
    payload = GERMAN.encode()
    payload += b" " * (len(payload) % 2 == 0)  # of odd length, so that UTF-16 cannot be right
    text = main_text(payload, charset, None)
    assert text is not None
    assert "Brücke über den Fluß" in text


def test_a_codec_of_quadratic_time_is_not_used():
    slow = b"<html><body><p>" + b"ba-" * 1_000_000 + b"</p></body></html>"
    text = main_text(slow, "punycode", None)
    assert text is not None
    assert text.startswith("ba-")


@pytest.mark.parametrize(
    "page",
    [
        b"",
        b"   \n",
        b"<html></html>",
        b"<html><head><title>Only a title</title></head><body></body></html>",
        b"\x00\x01\x02\x03",
        b"<!-- a comment -->",
    ],
)
def test_a_page_without_text_is_none(page):
    assert main_text(page, None, None) is None
    assert main_text(page, "utf-8", "https://example.org/") is None


@given(st.binary(max_size=300), st.sampled_from([None, "utf-8", "latin-1", "utf-7", "shift_jis"]))
@settings(max_examples=50, deadline=None)
def test_garbage_in_a_page_gives_text_or_none(garbage, charset):
    page = b"<html><body><p>" + garbage + b"</p></body></html>"
    text = main_text(page, charset, None)
    assert text is None or text.strip()


def test_the_same_page_gives_the_same_text_again():
    first = main_text(PAGE.encode(), None, None)
    assert [main_text(PAGE.encode(), None, None) for _ in range(3)] == [first] * 3


def test_the_default_is_auto_and_extractors_are_made_once():
    assert extract(PAGE.encode(), None, None) == extractor("auto")(PAGE.encode(), None, None)
    assert extractor("auto") is extractor("auto")
    assert isinstance(extract(PAGE.encode(), None, None), Page)


HOSTILE = {
    "divs": "<div>" * 100_000 + "text" + "</div>" * 100_000,
    "paragraphs": "<div><p>some words of text here.</p>" * 20_000,
    "lists": "<ul><li>" * 30_000 + "text",
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("page", HOSTILE)
def test_elements_nested_too_deeply_are_refused(name, page):
    with pytest.raises(ValueError, match="nested too deeply"):
        extractor(name)(HOSTILE[page].encode(), None, None)


@pytest.mark.parametrize(
    "page",
    [
        "<p>" + "<" * 100_000,
        f'<p title="{"x" * 2_000_000}">word',
        "<a href=x>" * 20_000 + "word",
        "<p>&amp;" * 20_000,
        "<p>one</p>" * 20_000,
    ],
)
def test_odd_pages_end(page):
    for name in ("auto", "resiliparse"):
        extractor(name)(page.encode(), None, None)


def test_no_more_of_a_page_is_read_than_the_limit(monkeypatch):
    monkeypatch.setattr(module, "MAX_CHARACTERS", 600)
    page = ("<p>" + ARTICLE + "</p>").encode() * 100
    text = main_text(page, None, None)
    assert text is None or len(text) < 600


@pytest.mark.parametrize("many", [2_000, 100_000])
def test_an_element_of_many_attributes_is_refused_before_it_is_parsed(many):
    attributes = b" ".join(b"a%d='<>'" % number for number in range(many))
    with pytest.raises(ValueError, match="2,000 attributes or more"):
        main_text(b"<div " + attributes + b">" + PAGE.encode(), None, None)


def test_an_element_of_fewer_attributes_is_not():
    attributes = b" ".join(b"a%d" % number for number in range(1_999))
    assert main_text(b"<p " + attributes + b">x</p>" + PAGE.encode(), None, None) is not None
