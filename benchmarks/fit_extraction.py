"""Learn the weights of the line classifier of main text, and say how good they are elsewhere.

    python -m benchmarks.fit_extraction WARC TRUTH.jsonl[.zst] [--folds 10]

TRUTH has the reviewed main text of each page. A line is main text if most of its runs of four
words are in that text; a page weighs nearly the same whatever its length. Printed are the weights
as ``mixcurate.models.extract_lines`` holds them, and the mean F1 of words when they are learnt on
other sites than those that they are tried on.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import numpy.typing as npt
from resiliparse.parse.html import HTMLTree
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold

from benchmarks.extraction import Page, read_pages, scores, words
from mixcurate.models.extract_encoding import decode
from mixcurate.models.extract_lines import INTERCEPT, WEIGHTS, Lines, features

RUN = 4
SHORT = 15  # characters below which a line must be in the text as a whole
ONE = 1024  # of the integer weights


class Labelled:
    """The lines of a page, with their features, labels and weight."""

    def __init__(self, page: Page) -> None:
        tree = HTMLTree.parse(decode(page.payload, page.charset))
        lines = Lines(tree, main=False)
        self.texts, self.truth = lines.texts, page.truth["text"]
        self.site = urlsplit(page.url).netloc
        self.features = (
            features(lines, Lines(tree, main=True).texts)
            if lines.texts
            else np.zeros((0, len(WEIGHTS)), np.int64)
        )
        wanted = f" {' '.join(words(self.truth))} "
        self.main = np.array([self._share(text, wanted) for text in self.texts]) > 0.5
        sizes = np.array([len(text.split()) for text in self.texts], float)
        self.weight = (1 + sizes) / (50 + sizes.sum())

    @staticmethod
    def _share(text: str, wanted: str) -> float:
        found = words(text)
        plain = " ".join(found)
        if not found or f" {plain} " in wanted:
            return float(bool(found))
        if len(plain) <= SHORT:
            return 0.0
        runs = [found[i : i + RUN] for i in range(max(1, len(found) - RUN + 1))]
        return float(np.mean([" ".join(run) in wanted for run in runs]))

    def f1(self, weights: npt.NDArray[np.int64], intercept: int) -> float:
        kept = self.features @ weights > -intercept
        text = "\n".join(text for text, keep in zip(self.texts, kept, strict=True) if keep)
        return scores(text, self.truth)[0]


def fit(pages: list[Labelled]) -> tuple[npt.NDArray[np.int64], int]:
    """Integer weights and intercept."""
    columns = np.vstack([page.features for page in pages])
    spread = columns.std(axis=0) + 1e-9
    model = LogisticRegression(C=1.0, max_iter=1000).fit(
        columns / spread,
        np.concatenate([page.main for page in pages]),
        sample_weight=1000 * np.concatenate([page.weight for page in pages]),
    )
    weights = np.round(model.coef_[0] / spread * ONE).astype(np.int64)
    return weights, round(float(model.intercept_[0]) * ONE)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("warc", type=Path)
    parser.add_argument("truth", type=Path)
    parser.add_argument("--folds", type=int, default=10)
    args = parser.parse_args()
    pages = [Labelled(page) for page in read_pages(args.warc, args.truth)]
    weights, intercept = fit(pages)
    print(f"weights {weights.tolist()}, intercept {intercept}")
    print(f"in use  {WEIGHTS.tolist()}, intercept {INTERCEPT}")
    others = []
    folds = GroupKFold(args.folds).split(pages, groups=[page.site for page in pages])
    for learnt, tried in folds:
        found = fit([pages[i] for i in learnt])
        others += [pages[i].f1(*found) for i in tried]
    same = np.mean([page.f1(weights, intercept) for page in pages])
    print(f"{len(pages)} pages, F1 {same:.3f}; on sites that were not learnt {np.mean(others):.3f}")


if __name__ == "__main__":
    main()
