from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mixcurate.kernels.urls import normal_url

SAME = "example.org/a/B?a=1&b=x%C3%A9"


@pytest.mark.parametrize(
    "url",
    [
        "https://example.org/a/B?a=1&b=x%C3%A9",
        "http://example.org/a/B?a=1&b=x%C3%A9",
        "HTTPS://WWW.Example.ORG/a/B?a=1&b=x%C3%A9",
        " https://example.org:443/a/B?a=1&b=x%C3%A9\n",
        "http://example.org:80/a/B?a=1&b=x%c3%a9",
        "https://example.org./a/B/?b=x%C3%A9&a=1",
        "https://example.org/a/B?&a=1&&b=x%C3%A9#part",
        "https://example.org/a/B?utm_source=n&a=1&UTM_id=3&b=x%C3%A9&gclid=9&fbclid=",
        "example.org/a/B?a=1&b=x%C3%A9",
    ],
)
def test_what_does_not_name_the_page_does_not_count(url):
    assert normal_url(url) == SAME


@pytest.mark.parametrize(
    "url",
    [
        "https://example.org/a/b?a=1&b=x%C3%A9",
        "https://example.com/a/B?a=1&b=x%C3%A9",
        "https://m.example.org/a/B?a=1&b=x%C3%A9",
        "https://example.org:8080/a/B?a=1&b=x%C3%A9",
        "https://example.org/a/B?a=1",
        "https://example.org/a/B?a=1&b=x%C3%A9&source=rss",
        "https://example.org/a/B?a=1&b=x%C3%A9#!/page/2",
        "ftp://example.org/a/B?a=1&b=x%C3%A9",
        "https://example.org/a/B/c?a=1&b=x%C3%A9",
    ],
)
def test_what_may_name_another_page_counts(url):
    assert normal_url(url) != SAME


@pytest.mark.parametrize(
    "url", ["http://[::1", "https://example.org:port/", "not a url", "", "mailto:me", "http://"]
)
def test_what_is_no_url_raises_nothing(url):
    assert isinstance(normal_url(url), str)


def test_the_root_is_one_page():
    assert (
        normal_url("https://example.org/") == normal_url("http://www.example.org") == "example.org"
    )


@given(st.text(max_size=40), st.text(max_size=10))
@example(" ", "")
@example("a /", "b &")
def test_the_normal_form_is_normal(path, query):
    once = normal_url(f"https://Example.org/{path}?{query}")
    assert normal_url(once) == once or "?" in path or "#" in path or "%" in once
    assert isinstance(normal_url(path), str)
