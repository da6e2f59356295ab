"""The main text of a page by a linear classifier of its lines.

resiliparse gives the page's lines twice in a few milliseconds: all of them, and those that its
rules take for main content. A logistic regression on sixteen features of a line and of those around
it then decides for each line. It repairs what the rules do wrong in both directions: whole
sections that they drop, and links, teasers and forms that they keep.

The weights were learnt on the 520 pages of the WCXB development set (M. Foley, CC BY 4.0), with
lines labelled by the reviewed texts. In ten-fold cross-validation by site the mean F1 of words is
.877 (precision .868, recall .923), where resiliparse's rules alone come to .838 in 0.6 of the time
and trafilatura 2.3 to .857 in 4.5 times it, measured in turn. On 110 pages of other sites, mostly
German, it keeps 98.5 % of the snippets that belong to the text (trafilatura 94.5 %) and 22 % of
those that do not (the rules 32 %, trafilatura 10 %).
"""

from __future__ import annotations

import html
import re
from collections import Counter

import numpy as np
import numpy.typing as npt
from resiliparse.extract.html2text import extract_plain_text
from resiliparse.parse.html import HTMLTree

_Ints = npt.NDArray[np.int64]

_TAG = re.compile(r"<(/?[a-z][a-z0-9]*)[^<>]*>")
_IDEOGRAPH = re.compile("[\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff]")
_HEADINGS = {"h1", "h2", "h3", "h4", "h5", "h6"}
#: Never main text; found by their markup alone.
_SKIPPED = ["#respond", "[class*=comment-form]", "[id*=cookie]", "[class*=cookie]"]
_SKIPPED += ["[id*=consent]", "[class*=consent]"]

#: Edges of the classes of line lengths, in characters.
_EDGES = np.array([4, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 1024])
_LONG = 10  # class from which a line is a paragraph: 128 characters
_COUNTS = np.array([1, 2, 3, 5, 8, 12, 20, 40])
_NEAR, _FAR = 4, 12  # lines on either side that a mean is taken over

#: Weight of each feature in 1/1024, in the order of ``features``; all are integers, so that no
#: machine rounds differently. ``benchmarks/fit_extraction.py`` learns them.
WEIGHTS: _Ints = np.array([-42, 55, -60, 119, 94, -95, 34, 211, -85, 67, -75, 64, 120, 82, -93, 29])
INTERCEPT = 736


class Lines:
    """Lines of a page: their text, what kind of element they are, and how much of them is links."""

    def __init__(self, tree: HTMLTree, *, main: bool) -> None:
        self.texts: list[str] = []
        self.kinds: list[str] = []
        """``h`` heading, ``p`` paragraph, ``l`` list item, ``o`` other."""
        self.links: list[int] = []
        """Characters of link text."""
        self._parse(
            extract_plain_text(
                tree,
                main_content=main,
                preserve_formatting="minimal_html",
                links=True,
                alt_texts=False,
                skip_elements=_SKIPPED,
            )
        )

    def _parse(self, markup: str) -> None:
        parts = _TAG.split(markup)
        line: list[str] = []
        kind, linked, in_link, in_pre = "o", 0, False, False
        for text, tag in zip(parts[::2], [*parts[1::2], ""], strict=True):
            first, *others = html.unescape(text).split("\n")
            line.append(first)
            linked += len(first.strip()) if in_link else 0
            for other in others:
                self._add("".join(line), kind, linked, pre=in_pre)
                line, kind = [other], "o"
                linked = len(other.strip()) if in_link else 0
            if tag in ("a", "/a"):
                in_link = tag == "a"
            elif tag == "pre":
                in_pre = True
            elif tag == "/pre":
                self._add("".join(line), kind, linked, pre=True)
                line, kind, linked, in_pre = [], "o", 0, False
            elif tag in ("p", "li"):
                kind = "p" if tag == "p" else "l"
            elif tag in _HEADINGS:
                kind = "h"
        self._add("".join(line), kind, linked, pre=in_pre)

    def _add(self, text: str, kind: str, linked: int, *, pre: bool) -> None:
        if stripped := text.strip():
            self.texts.append(text.rstrip() if pre else stripped)
            self.kinds.append(kind)
            self.links.append(min(linked, len(stripped)))


def main_lines(tree: HTMLTree) -> str:
    """The lines of a page that belong to its main text; empty where none does."""
    lines = Lines(tree, main=False)
    if not lines.texts:
        return ""
    kept = features(lines, Lines(tree, main=True).texts) @ WEIGHTS > -INTERCEPT
    shown = zip(lines.texts, lines.kinds, kept, strict=True)
    return "\n".join(f"- {text}" if kind == "l" else text for text, kind, keep in shown if keep)


def features(lines: Lines, main: list[str]) -> _Ints:
    """Features (lines, 16) of ``lines``, ``main`` being those that rules take for main content."""
    count = len(lines.texts)
    characters = np.array([_size(text) for text in lines.texts])
    length = np.searchsorted(_EDGES, characters)
    link = 16 * np.array(lines.links) // np.array([len(text) for text in lines.texts])
    in_main = _found(lines.texts, main)
    heading, paragraph, item = (np.array([k == x for k in lines.kinds], np.int64) for x in "hpl")
    ratio = int(16 * (in_main * characters).sum() // characters.sum())
    long = (length >= _LONG) & (link < 5)
    places = np.flatnonzero(long & (in_main > 0))
    first, last = (places[0], places[-1]) if len(places) else (count, -1)
    index = np.arange(count)
    constant = np.ones(count, np.int64)
    columns = [
        16 * in_main,
        16 * heading,
        16 * index // count,
        in_main * length,
        in_main * ratio,
        constant * ratio,
        constant * (16 if ratio < 3 else 0),  # the rules found next to nothing
        _mean(length, _NEAR) // 16,
        _mean(link, _FAR) // 16,
        _mean(16 * in_main, _FAR) // 16,
        16 * ((index < first) | (index > last)),  # before the first main paragraph, or after all
        item * length,
        16 * item * in_main,
        paragraph * length,
        constant * 2 * int(np.searchsorted(_COUNTS, long.sum(), side="right")),
        np.concatenate([[0], length[:-1]]),
    ]
    return np.stack(columns, axis=1).astype(np.int64)


def _size(text: str) -> int:
    """Characters as in alphabetic scripts: an ideograph says as much as three letters."""
    return len(text) if text.isascii() else len(text) + 2 * len(_IDEOGRAPH.findall(text))


def _found(texts: list[str], main: list[str]) -> _Ints:
    """1 for each line that is among ``main``, as often as it is there, the first ones first."""
    left = Counter(main)
    found = np.zeros(len(texts), np.int64)
    for index, text in enumerate(texts):
        if left[text] > 0:
            left[text] -= 1
            found[index] = 1
    return found


def _mean(values: _Ints, reach: int) -> _Ints:
    """16 times the mean of each line and the ``reach`` lines on either side."""
    sums = np.concatenate([[0], np.cumsum(values)])
    index = np.arange(len(values))
    upper, lower = np.minimum(len(values), index + reach + 1), np.maximum(0, index - reach)
    means: _Ints = 16 * (sums[upper] - sums[lower]) // (upper - lower)
    return means
