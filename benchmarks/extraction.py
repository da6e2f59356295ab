"""Quality of main text and CPU time of extractors on pages whose main text is known.

    python -m benchmarks.extraction WARC TRUTH.jsonl[.zst] [--extractors auto trafilatura ...]

F1 is of the multiset of lower-case words (``\\w+``) of a page against its reviewed text, averaged
over pages; `must` is the share of snippets of the text that were found, `not` of those of the
boilerplate. All extractors take each page in turn, and CPU time is of the process, decoding and
parsing included. Peers that are not installed are left out: `readability` (readability-lxml,
Apache-2.0), `justext` (BSD), `boilerpy3` (Apache-2.0). `reader` is ``read_warc`` with the first
extractor against the same extractor in a plain loop over the same payloads.
"""

from __future__ import annotations

import argparse
import collections
import dataclasses
import importlib.util
import io
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args

import numpy as np
import orjson
import zstandard
from fastwarc.warc import ArchiveIterator

from mixcurate.io.warc import read_warc
from mixcurate.models.extract import ExtractorName, extractor
from mixcurate.models.extract_encoding import decode

Run = Callable[[bytes, str | None, str | None], str]
WORDS = re.compile(r"\w+")


@dataclasses.dataclass
class Page:
    url: str
    payload: bytes
    charset: str | None
    truth: dict[str, Any]


def read_pages(warc: Path, truth: Path) -> list[Page]:
    data = truth.read_bytes()
    if truth.suffix == ".zst":
        data = zstandard.ZstdDecompressor().stream_reader(data).read()
    rows = {row["url"].strip(): row for row in map(orjson.loads, data.splitlines())}
    pages = []
    for record in ArchiveIterator(warc.open("rb"), parse_http=True):
        url = (record.headers.get("WARC-Target-URI") or "").strip()
        if url in rows:
            pages.append(Page(url, record.reader.read(), record.http_charset, rows[url]))
    return pages


def peers() -> Iterator[tuple[str, Run]]:
    """Other libraries on the decoded page."""
    if importlib.util.find_spec("readability"):
        from readability import Document
        from resiliparse.extract.html2text import extract_plain_text

        yield (
            "readability",
            lambda b, c, _: extract_plain_text(Document(decode(b, c)).summary(), alt_texts=False),
        )
    if importlib.util.find_spec("justext"):
        import justext

        words = justext.get_stoplist("English")
        yield (
            "justext",
            lambda b, c, _: "\n".join(
                p.text for p in justext.justext(decode(b, c), words) if not p.is_boilerplate
            ),
        )
    if importlib.util.find_spec("boilerpy3"):
        from boilerpy3.extractors import DefaultExtractor

        boiler = DefaultExtractor(raise_on_failure=False)
        yield "boilerpy3", lambda b, c, _: boiler.get_content(decode(b, c))


def named(name: ExtractorName) -> Run:
    def run(payload: bytes, charset: str | None, url: str | None) -> str:
        page = extractor(name)(payload, charset, url)
        return page.text if page else ""

    return run


def words(text: str) -> list[str]:
    return WORDS.findall(text.lower())


def scores(text: str, truth: str) -> tuple[float, float, float]:
    """F1, precision and recall of the words."""
    found, wanted = collections.Counter(words(text)), collections.Counter(words(truth))
    both = (found & wanted).total()
    if not both:
        return (0.0,) * 3 if found or wanted else (1.0,) * 3
    return 2 * both / (found.total() + wanted.total()), both / found.total(), both / wanted.total()


def report(name: str, pages: list[Page], texts: list[str], seconds: list[float]) -> None:
    milliseconds = 1e3 * np.array(seconds)
    line = f"{name:<17}"
    if "text" in pages[0].truth:
        rows = [scores(t, page.truth["text"]) for t, page in zip(texts, pages, strict=True)]
        line += " F1 {:.3f}  precision {:.3f}  recall {:.3f} ".format(*np.mean(rows, axis=0))
    for kind in ("must", "must_not"):
        found = [
            " ".join(words(snippet)) in " ".join(words(text))
            for text, page in zip(texts, pages, strict=True)
            for snippet in page.truth.get(kind, [])
        ]
        line += f" {kind.removeprefix('must_')} {np.mean(found):.3f} "
    print(f"{line} CPU-ms {milliseconds.mean():.1f}, p95 {np.percentile(milliseconds, 95):.1f}")
    labels = [page.truth.get("label") for page in pages]
    if labels[0]:
        by_type: dict[str, list[float]] = {}
        for row, label in zip(rows, labels, strict=True):
            by_type.setdefault(label, []).append(row[0])
        means = [f"{label} {np.mean(found):.3f}" for label, found in by_type.items()]
        print(f"{'':<17}   by type: {', '.join(means)}")


def reader_against_loop(warc: Path, name: ExtractorName, rounds: int = 5) -> None:
    """Pages per second of the reader as a share of those of the extractor alone."""
    data, extract = warc.read_bytes(), extractor(name)
    payloads: list[tuple[bytes, str | None, str | None]] = []

    def remember(payload: bytes, charset: str | None, url: str | None) -> None:
        payloads.append((payload, charset, url))

    for _ in read_warc(io.BytesIO(data), extract=remember):
        pass
    ratios = []
    for _ in range(rounds):
        start = time.process_time()
        for page in payloads:
            extract(*page)
        middle = time.process_time()
        for _ in read_warc(io.BytesIO(data), extract=extract):
            pass
        ratios.append((middle - start) / (time.process_time() - middle))
    print(f"reader with {name}: {np.median(ratios):.1%} of the pages/s of a plain loop", end="")
    print(f" ({min(ratios):.1%} to {max(ratios):.1%}), {len(payloads)} pages")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("warc", type=Path)
    parser.add_argument("truth", type=Path)
    parser.add_argument("--extractors", nargs="*")
    args = parser.parse_args()
    runs = {name: named(name) for name in get_args(ExtractorName)} | dict(peers())
    if args.extractors:
        runs = {name: runs[name] for name in args.extractors}
    pages = read_pages(args.warc, args.truth)
    texts: dict[str, list[str]] = {name: [] for name in runs}
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for run in runs.values():  # what is loaded at the first call
        run(pages[0].payload, pages[0].charset, pages[0].url)
    for page in pages:
        for name, run in runs.items():
            started = time.process_time()
            try:
                text = run(page.payload, page.charset, page.url)
            except Exception as error:  # noqa: BLE001 - a peer's failure is its result
                print(f"{name} failed on {page.url}: {type(error).__name__}")
                text = ""
            seconds[name].append(time.process_time() - started)
            texts[name].append(text)
    print(f"{len(pages)} pages, {sum(len(page.payload) for page in pages) / 1e6:.1f} MB")
    for name in runs:
        report(name, pages, texts[name], seconds[name])
    reader_against_loop(args.warc, next(n for n in get_args(ExtractorName) if n in runs))


if __name__ == "__main__":
    main()
