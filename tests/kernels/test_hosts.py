from __future__ import annotations

from urllib.parse import urlsplit

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mixcurate.kernels import hosts

LABEL = st.text("abcdefghijklmnopqrstuvwxyz0123456789-", min_size=1, max_size=8)
HOST = st.lists(LABEL, min_size=1, max_size=4).map(".".join)


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://www.Example.com:8080/a?b", "example.com"),
        ("http://user:pw@x.org./", "x.org"),
        ("ftp://[::1]:80/", "[::1]"),
        ("example.com/path", "example.com"),
        ("//cdn.x.io/a", "cdn.x.io"),
        ("http://bücher.de/ü", "xn--bcher-kva.de"),
        ("https://a.b#x@c.d/e", "a.b"),
        ("/path only", None),
        ("", None),
        (None, None),
    ],
)
def test_hosts_of_urls(url: str | None, host: str | None) -> None:
    assert hosts.hosts_of(pa.array([url], pa.string())).to_pylist() == [host]


@given(
    HOST, st.sampled_from(["http", "https", "ftp"]), st.integers(0, 65_535), st.text(max_size=20)
)
@settings(max_examples=100, deadline=None)
def test_hosts_are_those_that_python_finds(host: str, scheme: str, port: int, rest: str) -> None:
    url = f"{scheme}://{host.upper()}:{port}/{rest}"
    expected = urlsplit(url).hostname.removeprefix("www.").strip(".")
    assert hosts.hosts_of(pa.array([url])).to_pylist() == [expected]


@given(st.lists(st.text(max_size=30), max_size=20))
@settings(max_examples=100, deadline=None)
def test_any_text_has_some_host_or_none(texts: list[str]) -> None:
    found = hosts.hosts_of(pa.array(texts, pa.string())).to_pylist()
    assert len(found) == len(texts)
    assert all(one != "" for one in found)


def test_reversed_names_are_recognised_and_turned() -> None:
    turned = pa.array(["com.example", "org.wikipedia.en", "io.github.x", "com.example.www"])
    plain = pa.array(["example.com", "en.wikipedia.org", "x.github.io"])
    assert hosts.look_reversed(turned)
    assert not hosts.look_reversed(plain)
    assert not hosts.look_reversed(pa.array(["localhost", "intranet"]))
    assert hosts.normal_hosts(turned, is_reversed=True).to_pylist() == [
        *plain.to_pylist(),
        "example.com",
    ]


@given(st.lists(HOST, max_size=12), st.lists(HOST | st.none(), max_size=20), st.booleans())
@settings(max_examples=100, deadline=None)
def test_scores_are_those_of_a_dictionary(
    names: list[str], asked: list[str | None], with_parents: bool
) -> None:
    table = {one: float(place + 1) for place, one in enumerate(dict.fromkeys(names))}
    keys = hosts.host_keys(pa.array(list(table), pa.string()))
    order = np.argsort(keys)
    scores = np.array(list(table.values()))[order]

    def plain(one: str | None) -> float:
        while one:
            if one in table:
                return table[one]
            one = one.partition(".")[2]
            if not with_parents or "." not in one:
                return 0.0
        return 0.0

    asked = [*asked, *(f"a.b.{one}" for one in names)]
    found = hosts.scores_of(
        pa.array(asked, pa.string()), keys[order], scores, with_parents=with_parents
    )
    assert found.tolist() == [plain(one) for one in asked]
