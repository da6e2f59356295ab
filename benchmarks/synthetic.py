"""Text of any amount that looks like a crawl to every stage: words of the English language
reference that Python carries, drawn with their own frequencies, each document different."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from pydoc_data.topics import topics

import numpy as np
import orjson


def documents(count: int, words: int, seed: int = 1) -> Iterator[str]:
    """``count`` texts of some ``words`` words in lines of a sentence."""
    found = Counter(re.findall(r"[A-Za-z]{2,}", " ".join(topics.values())))
    stop_words = ["the", "be", "to", "of", "and", "that", "have", "with"]
    vocabulary = np.array([*found, *stop_words], object)
    weights = np.array([*found.values(), *([max(found.values())] * 8)], float)
    cumulative = np.cumsum(weights / weights.sum())
    rng = np.random.default_rng(seed)
    for _ in range(count):
        n = int(words * rng.uniform(0.5, 1.5))
        picked = vocabulary[np.searchsorted(cumulative, rng.random(n))]
        yield "\n".join(" ".join(picked[start : start + 17]) + "." for start in range(0, n, 17))


def write_jsonl(folder: Path, total_bytes: int, words: int, files: int) -> int:
    """Write about ``total_bytes`` of text as JSON lines into files; the number of documents."""
    folder.mkdir(parents=True, exist_ok=True)
    count = 0
    for number in range(files):
        written = 0
        with (folder / f"{number:03d}.jsonl").open("wb") as out:
            for text in documents(1 << 40, words, seed=number):
                out.write(orjson.dumps({"text": text}) + b"\n")
                written += len(text)
                count += 1
                if written >= total_bytes // files:
                    break
    return count
