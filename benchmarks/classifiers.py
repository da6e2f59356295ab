"""Documents per second of both kinds of classifier against the plain loops that people write.

    python -m benchmarks.classifiers [FILE.jsonl[.zst] ...] [--documents 64] [--rounds 3]

All run on the same documents in turn, in one process, on one thread. The transformer is the
embedded encoder (6 layers of 384) with a random linear head, against
``transformers.pipeline("text-classification")`` with its default arguments and with batches of 32.
The fastText model has random vectors of 100 numbers, bigrams in 2 million buckets and the words of
the texts, against ``model.predict`` in a loop. The time is the processor's, ratios are taken round
by round. Beside them: what padding changes of a score, and how many texts are read once more.
"""

from __future__ import annotations

import argparse
import collections
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.encoders import DEFAULT, read_texts
from mixcurate.models import text_classifier, transformers_classifier
from mixcurate.models.embedded import encoder_folder
from mixcurate.models.text_classifiers import ClassifyStats, TextClassifier
from mixcurate.params import ClassifierParams
from tests.models.fasttext_files import EOS, FastTextFile

RANGE = (-2.0, 2.0)


def write_transformer(folder: Path) -> str:
    """The embedded encoder as a sequence classifier with one output."""
    import torch
    import transformers

    torch.manual_seed(1)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(
        encoder_folder(), num_labels=1
    )
    model.classifier.weight.data.normal_(0, 0.2)
    model.save_pretrained(folder)
    transformers.AutoTokenizer.from_pretrained(encoder_folder()).save_pretrained(folder)
    return str(folder)


def score(classifier: TextClassifier, texts: list[str], stats: ClassifyStats) -> np.ndarray:
    windows = [texts[i : i + classifier.window] for i in range(0, len(texts), classifier.window)]
    return np.concatenate(list(classifier.score(windows, stats)))


def transformer_runs(folder: str, args: argparse.Namespace) -> dict[str, Callable[..., Any]]:
    import transformers

    params = ClassifierParams(name="edu", model=folder, range=RANGE, device="cpu")
    classifier = text_classifier.load(text_classifier.resolve(params), 1)
    library = transformers.pipeline("text-classification", folder, device="cpu")
    options = {"truncation": True, "max_length": 512, "function_to_apply": "none"}

    def plain(texts: list[str], **more: int) -> np.ndarray:
        return np.array([found["score"] for found in library(texts, **options, **more)])

    args.noise = classifier
    return {
        "mixcurate": lambda texts: score(classifier, texts, ClassifyStats()),
        "pipeline": plain,
        "pipeline, batches of 32": lambda texts: plain(texts, batch_size=32),
    }


def fasttext_runs(path: Path, texts: list[str]) -> dict[str, Callable[..., Any]]:
    import fasttext

    counts = collections.Counter(word for text in texts for word in text.split())
    words = [EOS, *(word for word, _ in counts.most_common(200_000))]
    FastTextFile(words=words, buckets=2_000_000, dim=100).write(path)
    params = ClassifierParams(name="hq", model=str(path), label="hq")
    classifier = text_classifier.load(text_classifier.resolve(params), 1)
    print(f"fastText file of {path.stat().st_size / 1e6:,.0f} MB: {classifier.load_seconds:.1f} s")
    library = fasttext.load_model(str(path))

    def plain(texts: list[str]) -> np.ndarray:
        found = []
        for text in texts:
            labels, values = library.predict(" ".join(text.strip().splitlines()), k=2)
            found.append(values[labels.index("__label__hq")])
        return np.array(found)

    return {
        "mixcurate": lambda texts: score(classifier, texts, ClassifyStats()),
        "predict in a loop": plain,
    }


def compare(what: str, runs: dict[str, Callable[..., Any]], texts: list[str], rounds: int) -> None:
    """Print a table: each run's documents per CPU second and by how much the first is faster."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    results: dict[str, np.ndarray] = {}
    for turn in range(rounds + 1):
        for name, run in runs.items():
            started = time.process_time()
            results[name] = run(texts if turn else texts[:4])  # the first turn warms up
            if turn:
                seconds[name].append(time.process_time() - started)
    ours = next(iter(runs))
    print(f"\n{what}: {len(texts)} documents, {rounds} rounds, one thread\n")
    print("| | documents per CPU second | mixcurate is faster by | greatest difference |")
    print("|---|---|---|---|")
    for name, times in seconds.items():
        ratio = statistics.median(b / a for a, b in zip(seconds[ours], times, strict=True))
        rate = len(texts) / statistics.median(times)
        change = float(np.abs(np.clip(results[name], *RANGE) - results[ours]).max())
        print(f"| {name} | {rate:,.1f} | {ratio:.2f} | {change:.1e} |")


def noise(classifier: Any, texts: list[str]) -> None:
    """What padding changes, in shares of the range, beside the margin that allows for it."""
    lanes = classifier._lanes
    sequences = lanes.tokenizer.tokenize(texts)
    batched = classifier._shares(lanes.submit(sequences, lambda *_: None)().vectors)
    alone = classifier._shares(lanes.alone(sequences, np.arange(len(texts))))
    stats = ClassifyStats()
    score(classifier, texts, stats)
    print(
        f"\nPadding changes at most {np.abs(batched - alone).max():.1e} of the range "
        f"(margin {transformers_classifier._MARGIN:.1e}); {stats.read_again} of {len(texts)} "
        f"texts were read again"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="*", type=Path, default=[Path(DEFAULT)])
    parser.add_argument("--documents", type=int, default=64)
    parser.add_argument("--fasttext-documents", type=int, default=4_000)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        many = read_texts(args.files, args.fasttext_documents)
        compare("fastText", fasttext_runs(Path(folder) / "m.bin", many), many, args.rounds)
        texts = many[: args.documents]
        runs = transformer_runs(write_transformer(Path(folder) / "m"), args)
        compare("transformers", runs, texts, args.rounds)
        noise(args.noise, texts)


if __name__ == "__main__":
    main()
