from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from resiliparse.parse.html import HTMLTree

from mixcurate.models.extract_lines import WEIGHTS, Lines, features, main_lines

HTML = """<html><body>
<ul><li><a href="/">Home</a></li><li>Item <a href="/b">with link</a></li></ul>
<h2>A heading &amp; more</h2><p>A paragraph of <b>text</b> with <a href="/c">one link</a>.</p>
<pre>def f():
    return 1 &lt; 2</pre>
</body></html>"""


def lines_of(html: str) -> Lines:
    return Lines(HTMLTree.parse(html), main=False)


def test_lines_have_kinds_and_links() -> None:
    lines = lines_of(HTML)
    found = dict(zip(lines.texts, zip(lines.kinds, lines.links, strict=True), strict=True))
    assert found["Home"] == ("l", 4)
    assert found["Item with link"] == ("l", 9)
    assert found["A heading & more"] == ("h", 0)
    assert found["A paragraph of text with one link."] == ("p", 8)
    assert "    return 1 < 2" in found


def oracle(lines: Lines, main: list[str]) -> list[list[int]]:
    """The features one line at a time, as they are described."""
    edges = [4, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 1024]
    n, left, in_main = len(lines.texts), Counter(main), []
    for text in lines.texts:
        in_main.append(int(left[text] > 0))
        left[text] -= in_main[-1]
    size = [len(text) * (3 if "字" in text else 1) for text in lines.texts]
    length = [sum(edge < s for edge in edges) for s in size]
    link = [16 * k // len(text) for k, text in zip(lines.links, lines.texts, strict=True)]
    ratio = 16 * sum(s for s, m in zip(size, in_main, strict=True) if m) // sum(size)
    long = [i for i in range(n) if length[i] >= 10 and link[i] < 5]
    main_long = [i for i in long if in_main[i]]
    edges_many = [1, 2, 3, 5, 8, 12, 20, 40]

    def mean(values: list[int], i: int, reach: int) -> int:
        around = values[max(0, i - reach) : i + reach + 1]
        return 16 * sum(around) // len(around)

    rows = []
    for i, kind in enumerate(lines.kinds):
        outside = not main_long or i < main_long[0] or i > main_long[-1]
        row = [16 * in_main[i], 16 * (kind == "h"), 16 * i // n, in_main[i] * length[i]]
        row += [in_main[i] * ratio, ratio, 16 * (ratio < 3), mean(length, i, 4) // 16]
        row += [mean(link, i, 12) // 16, mean([16 * m for m in in_main], i, 12) // 16]
        row += [16 * outside, (kind == "l") * length[i], 16 * (kind == "l") * in_main[i]]
        row += [(kind == "p") * length[i], 2 * sum(e <= len(long) for e in edges_many)]
        rows.append([*row, length[i - 1] if i else 0])
    return rows


@st.composite
def some_lines(draw: st.DrawFn) -> tuple[Lines, list[str]]:
    lines = lines_of("")
    sizes = draw(st.lists(st.sampled_from([1, 4, 5, 31, 40, 129, 300, 2_000]), min_size=1))
    lines.texts = [draw(st.sampled_from("ab字")) * size for size in sizes]
    lines.kinds = [draw(st.sampled_from("hplo")) for _ in sizes]
    lines.links = [draw(st.integers(0, size)) for size in sizes]
    return lines, draw(st.lists(st.sampled_from(lines.texts)))


@given(some_lines())
@settings(max_examples=60, deadline=None)
def test_features_equal_a_reading_by_hand(drawn: tuple[Lines, list[str]]) -> None:
    lines, main = drawn
    found = features(lines, main)
    assert found.dtype == np.int64
    assert found.shape == (len(lines.texts), len(WEIGHTS))
    assert found.tolist() == oracle(lines, main)


def test_sections_that_the_rules_drop_come_back_and_link_lists_go() -> None:
    text = "Some long sentence of an article that goes on and on, as such sentences do. " * 3
    links = "".join(f'<li><a href="/{i}">Another story {i}</a></li>' for i in range(30))
    html = f"<body><div>{f'<p>{text}</p>' * 6}</div><div><ul>{links}</ul></div></body>"
    found = main_lines(HTMLTree.parse(html))
    assert found.count(text.strip()) == 6
    assert "Another story 20" not in found


def test_a_page_without_lines_is_empty() -> None:
    assert main_lines(HTMLTree.parse("<html></html>")) == ""
