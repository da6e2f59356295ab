"""How good quality heads are on labels that people gave, and what they cost.

    python -m benchmarks.quality_heads [--data FOLDER] [--sets NAME ...] [--seeds 5]
        [--methods NAME ...] [--cache FOLDER]

Each method is fitted on four fifths of a set and measured on the rest, at the seeds 0, 1, ...;
documents of one group (the versions of an article, equal texts) are on one side. Printed are mean ±
standard deviation over the seeds of MAE, MSE, accuracy, share within one point, Spearman's rank
correlation, AUC, and CPU seconds of a fit and a prediction on one thread. All that a method chooses
(the penalty, above all) it chooses on its four fifths, by cross-validation.

The heads read vectors of the embedded encoder, which are kept in ``--cache``; what they are
compared with: the mean label; the length of a text; our four heuristics, their mean and a ridge
regression on them; a ridge regression on all signals, on TF-IDF of words and pairs of words, and on
the same vectors (scikit-learn's RidgeCV). A second table is the learning curve of the head on
vectors and signals.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import orjson
import pyarrow as pa
import xxhash
import zstandard
from scipy.stats import spearmanr
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LinearRegression, RidgeCV
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from mixcurate.kernels import heads, quality, signals
from mixcurate.kernels.head_signals import Signals
from mixcurate.kernels.heads import HeadDimension

HELD_OUT = 0.2
#: Documents of the learning curve.
COUNTS = (50, 100, 200, 400, 800)
#: Most documents of a set, those with the smallest hash of their text.
MOST = 1_500
#: The slowest method, measured at fewer seeds.
HIDDEN, HIDDEN_SEEDS = "vectors, head of 32 hidden units (2 seeds)", 2
#: What people get by default.
BOTH = "vectors and signals, head"
ALPHAS = np.logspace(-2, 5, 15)


class Labelled(NamedTuple):
    """One set of documents with one label each."""

    texts: list[str]
    labels: np.ndarray
    """float64 ``[n]``."""
    groups: list[str]
    dimension: HeadDimension
    vectors: np.ndarray
    """float32 ``[n, 384]``."""
    raw: np.ndarray
    """Signals, float32 ``[n, 26]``."""
    signals: np.ndarray
    """float64 ``[n, 26]``, counts as their logarithms."""
    heuristics: np.ndarray
    """float64 ``[n, 4]``."""


SETS: dict[str, tuple[str, str]] = {
    "useful": ("quality/dclm_human.jsonl.zst", "a page is of use for training: no, yes"),
    "reading_level": ("quality/onestopenglish.jsonl.zst", "elementary, intermediate, advanced"),
    "clean": ("quality/turku_line_quality.jsonl.zst", "share of lines that are clean"),
    "informational": ("multilang/web_registers_fr_sv.jsonl.zst", "register of a page: other, IN"),
}


def read_rows(path: Path) -> list[dict]:
    with path.open("rb") as packed, zstandard.ZstdDecompressor().stream_reader(packed) as plain:
        return [orjson.loads(line) for line in plain.read().split(b"\n") if line.strip()]


def labels_of(name: str, rows: list[dict]) -> tuple[np.ndarray, list[str], HeadDimension]:
    """Label, group and dimension of the documents of a set."""
    texts = [xxhash.xxh3_128_hexdigest(text_of(row).encode()) for row in rows]
    if name == "reading_level":
        points = {"elementary": 0, "intermediate": 1, "advanced": 2}
        groups = [row["article"] for row in rows]
        return np.array([points[r["label"]] for r in rows]), groups, HeadDimension(name, 0, 2)
    if name == "informational":
        labels = [row["label"] == "IN" for row in rows]
    else:
        labels = [row["label"] for row in rows]
    return np.array(labels), texts, HeadDimension(name, 0, 1)


def text_of(row: dict) -> str:
    """Less a first line that is the label, as the intermediate texts of OneStopEnglish have."""
    text = row["text"] if "text" in row else "\n".join(row["lines"])
    first, _, rest = text.lstrip().partition("\n")
    return rest if first.strip().lower() == row["label"] else text


def encoded(texts: list[str], kept: Path) -> np.ndarray:
    """Vectors of the embedded encoder, by torch in fp32: the same on most machines."""
    from mixcurate.models.encoders import EmbedParams, EncodeStats
    from mixcurate.models.resolve import load, resolve

    if not kept.exists():
        params = EmbedParams(backend="torch", precision="fp32", device="cpu")
        encoder = load(resolve(params), 2)
        started = time.process_time()
        batches = [texts[i : i + encoder.window] for i in range(0, len(texts), encoder.window)]
        vectors = np.concatenate(list(encoder.encode(batches, EncodeStats())))
        taken = (time.process_time() - started) / len(texts)
        print(f"{kept.stem}: {1e3 * taken:.0f} ms of CPU to embed a document", flush=True)
        kept.parent.mkdir(parents=True, exist_ok=True)
        np.save(kept, vectors)
    return np.load(kept)


def prepare(name: str, data: Path, cache: Path) -> Labelled:
    path = data / SETS[name][0]
    rows = read_rows(path)
    rows = sorted(rows, key=lambda row: xxhash.xxh3_64_intdigest(text_of(row).encode()))[:MOST]
    texts = [text_of(row) for row in rows]
    labels, groups, dimension = labels_of(name, rows)
    languages = pa.array([row.get("lang", "en") for row in rows])
    found = signals.text_signals(pa.array(texts, pa.large_string()), languages)
    columns = {one: found.column(one).to_numpy() for one in signals.SIGNALS}
    dimensions = quality.heuristic_quality(columns)
    raw = np.stack(list(columns.values()), axis=1)
    wide = raw.astype(np.float64)
    wide = np.where(wide > 10, np.log(np.maximum(wide, 1)) + 9, wide)  # of counts
    return Labelled(
        texts,
        labels.astype(np.float64),
        groups,
        dimension,
        encoded(texts, cache / f"{name}-{xxhash.xxh3_64_hexdigest(''.join(texts).encode())}.npy"),
        raw,
        wide,
        np.stack(list(dimensions.values()), axis=1).astype(np.float64),
    )


#: The labels that a method predicts for documents ``test`` after it was fitted on ``train``, and
#: the whole points that it decides on, or None to round.
Method = Callable[[Labelled, np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray | None]]


def mean(given: Labelled, train: np.ndarray, test: np.ndarray) -> tuple[np.ndarray, None]:
    return np.full(len(test), given.labels[train].mean()), None


def linear(model: object, features: np.ndarray | list[str]) -> Method:
    """A regression of scikit-learn on some features."""

    def predicted(given: Labelled, train: np.ndarray, test: np.ndarray) -> tuple[np.ndarray, None]:
        if isinstance(features, list):
            parts = [[features[i] for i in rows] for rows in (train, test)]
        else:
            parts = [features[train], features[test]]
        return model.fit(parts[0], given.labels[train]).predict(parts[1]), None  # type: ignore[attr-defined]

    return predicted


def head(reads: str = "vectors", hidden: int | None = None) -> Method:
    """A quality head on vectors, signals, or both; all that it chooses it chooses by itself."""

    def predicted(
        given: Labelled, train: np.ndarray, test: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        shown = beside = None
        if reads != "vectors":
            names = tuple(signals.SIGNALS)
            shown, beside = Signals(names, given.raw[train], reads == "signals"), given.raw[test]
        labels = given.labels[train][:, None]
        found = heads.fit(
            given.vectors[train], labels, [given.dimension], signals=shown, hidden=hidden
        )
        rows = given.vectors[test]
        return heads.predict(found, rows, beside)[:, 0], heads.decide(found, rows, beside)[:, 0]

    return predicted


def methods(given: Labelled) -> dict[str, Method]:
    """All methods on a set."""
    ridge = make_pipeline(StandardScaler(), RidgeCV(ALPHAS))
    words = TfidfVectorizer(sublinear_tf=True, min_df=2, ngram_range=(1, 2), max_features=50_000)
    length = given.signals[:, [list(signals.SIGNALS).index("n_words")]]
    return {
        "the mean label": mean,
        "number of words": linear(LinearRegression(), length),
        "heuristics, their mean": linear(
            LinearRegression(), given.heuristics.mean(axis=1)[:, None]
        ),
        "heuristics, ridge": linear(ridge, given.heuristics),
        "all signals, ridge": linear(ridge, given.signals),
        "TF-IDF, ridge": linear(make_pipeline(words, RidgeCV(ALPHAS)), given.texts),
        "vectors, ridge": linear(ridge, given.vectors),
        "vectors, head": head(),
        HIDDEN: head(hidden=32),
        "signals, head": head("signals"),
        BOTH: head("both"),
    }


def held_out(groups: list[str], seed: int) -> np.ndarray:
    """Whether each document is held out, by the hash of its group: bool ``[n]``."""
    keys = [xxhash.xxh3_64_intdigest(group.encode(), seed) for group in groups]
    return np.array(keys, np.float64) < HELD_OUT * 2.0**64


def scores(
    labels: np.ndarray, predicted: np.ndarray, decided: np.ndarray | None, dimension: HeadDimension
) -> list[float]:
    """MAE, MSE, accuracy, within one, Spearman, AUC; NaN for what a set does not have."""
    predicted = np.clip(predicted, dimension.least, dimension.most)
    decided = np.floor(predicted + 0.5) if decided is None else decided
    off = np.abs(decided - np.floor(labels + 0.5))
    flat = np.ptp(predicted) == 0
    binary = dimension.thresholds == 1
    return [
        float(np.abs(predicted - labels).mean()),
        float(((predicted - labels) ** 2).mean()),
        float((off == 0).mean()),
        np.nan if binary else float((off <= 1).mean()),
        np.nan if flat else float(spearmanr(predicted, labels).statistic),
        float(roc_auc_score(labels >= 0.5, predicted)) if binary else np.nan,
    ]


def compare(name: str, given: Labelled, seeds: int, wanted: list[str]) -> None:
    """Print the rows of a set."""
    found: dict[str, list[list[float]]] = {}
    for seed in range(seeds):
        out = held_out(given.groups, seed)
        train, test = np.flatnonzero(~out), np.flatnonzero(out)
        for method, predict in methods(given).items():
            if (wanted and method not in wanted) or (method == HIDDEN and seed >= HIDDEN_SEEDS):
                continue
            with threadpool_limits(1):
                started = time.process_time()
                result = predict(given, train, test)
                taken = time.process_time() - started
            row = scores(given.labels[test], *result, given.dimension)
            found.setdefault(method, []).append([*row, taken])
    figures = {method: np.array(rows) for method, rows in found.items()}
    for method, rows in figures.items():
        cells = [
            "–"
            if np.isnan(rows[:, c]).any()
            else f"{rows[:, c].mean():.3f} ± {rows[:, c].std():.3f}"
            for c in range(6)
        ]
        print(f"| {name} | {method} | {' | '.join(cells)} | {rows[:, 6].mean():.2f} |", flush=True)


def learning_curve(name: str, given: Labelled, seeds: int) -> None:
    """Print what a head is worth by the number of labels, of whole groups, it is fitted on."""
    cells = []
    for count in COUNTS:
        found = []
        for seed in range(seeds):
            out = held_out(given.groups, seed)
            train, test = np.flatnonzero(~out), np.flatnonzero(out)
            if len(train) < count:
                break
            order = [
                xxhash.xxh3_64_intdigest(given.groups[row].encode(), seed + 1_000) for row in train
            ]
            few = train[np.argsort(np.array(order, np.uint64), kind="stable")[:count]]
            with threadpool_limits(1):
                result = head("both")(given, few, test)
                found.append(scores(given.labels[test], *result, given.dimension))
        # columns of MSE and Spearman; the first as a share of the labels' variance
        share = [1 - row[1] / given.labels.var() for row in found]
        rank = [row[4] for row in found]
        cells.append(f"{np.mean(rank):.2f} ({np.mean(share):.0%})" if found else "–")
    print(f"| {name} | {' | '.join(cells)} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--sets", nargs="*", default=list(SETS), choices=list(SETS))
    parser.add_argument("--methods", nargs="*", default=[], help="only these rows")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument(
        "--cache", type=Path, default=Path(tempfile.gettempdir()) / "mixcurate-quality-heads"
    )
    args = parser.parse_args()
    sets = {name: prepare(name, args.data, args.cache) for name in args.sets}
    for name, given in sets.items():
        n_groups = len(set(given.groups))
        print(f"{name}: {SETS[name][1]}; {len(given.texts):,} documents, {n_groups:,} groups")
    print("\n| label | method | MAE | MSE | accuracy | within 1 | Spearman | AUC | CPU s |")
    print("|---|---|---:|---:|---:|---:|---:|---:|---:|")
    for name, given in sets.items():
        compare(name, given, args.seeds, args.methods)
    print("\nSpearman (variance explained) of the head, by labels that it was fitted on:\n")
    print(f"| label | {' | '.join(f'{count:,}' for count in COUNTS)} |")
    print("|---|" + "---:|" * len(COUNTS))
    for name, given in sets.items():
        learning_curve(name, given, args.seeds)


if __name__ == "__main__":
    main()
