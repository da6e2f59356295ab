"""MB of text per CPU second into shards of tokens, against the tokenizer alone and datatrove.

    OMP_NUM_THREADS=1 python -m benchmarks.tokens [FILE.jsonl[.zst] ...] [--datatrove-python PY]

All work on the same texts in turn, with one thread: the tokenizer's own batch call, whose result is
thrown away (the limit); each format of tokens, a document a sequence and packed; all three formats
at once; and datatrove's steps, which write the same files, where an interpreter that has it is
named. The tokenizers are the embedded one and a byte-level BPE of 32,000 tokens that is trained on
the texts. Without files, the texts are those of Python's language reference, over and over.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa

os.environ["RAYON_NUM_THREADS"] = "1"

from benchmarks.rows import texts_of
from mixcurate.io.corpus import TokenParams
from mixcurate.io.shard_formats.table import FORMATS
from mixcurate.models.embedded import tekken
from mixcurate.tables import CORPUS
from mixcurate.transforms.tokens import token_options

KINDS = ("megatron", "nanotron", "litdata_tokens")
BATCH = 1_000


def cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def read_texts(paths: list[Path], megabytes: float) -> list[str]:
    """Texts of all files, from the beginning again when they end, as many as asked for."""
    texts = texts_of(paths)
    if not texts:
        from tests.documents import real_documents

        texts = [document["text"] for document in real_documents(370)]
    picked: list[str] = []
    size = 0
    while size < megabytes * 1e6:
        picked.append(texts[len(picked) % len(texts)])
        size += len(picked[-1].encode())
    return picked


def train(texts: list[str], path: str) -> None:
    """A byte-level BPE, as a tokenizer.json."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=32_000,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=[AddedToken("</s>", special=True)],
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.save(path)


def batches(texts: list[str]) -> list[pa.RecordBatch]:
    rows = [
        {
            "id": f"{i:032x}",
            "text": text,
            "source": "s",
            "language": "en",
            "domain": i % 20,
            "domain_name": "d",
            "quality": 0.5,
            "diversity": 0.5,
            "copy": 0,
            "n_tokens": 1,
        }
        for i, text in enumerate(texts)
    ]
    return pa.Table.from_pylist(rows, CORPUS).to_batches(max_chunksize=BATCH)


def write(
    rows: list[pa.RecordBatch], folder: str, kinds: tuple[str, ...], name: str, length: int | None
) -> None:
    """One shard in each of ``kinds``."""
    options = token_options(TokenParams(sequence_length=length), name, 1)
    with contextlib.ExitStack() as stack:
        writers = []
        for kind in kinds:
            streams = []
            for path in FORMATS[kind].shard_paths("train", 0, 1):
                Path(folder, path).parent.mkdir(parents=True, exist_ok=True)
                streams.append(stack.enter_context(Path(folder, path).open("wb")))
            writers.append(stack.enter_context(FORMATS[kind].open_writer(streams, 0, options)))
        for batch in rows:
            for writer in writers:
                writer.write(batch)


def limit(texts: list[str], name: str) -> None:
    """What the tokenizer takes by itself."""
    if name == "embedded":
        for start in range(0, len(texts), BATCH):
            tekken().encode_ordinary_batch(texts[start : start + BATCH], num_threads=1)
        return
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(name)
    for start in range(0, len(texts), BATCH):
        tokenizer.encode_batch_fast(texts[start : start + BATCH], add_special_tokens=False)


def contenders(
    texts: list[str], name: str, folder: str, args: argparse.Namespace
) -> dict[str, Callable[[], float]]:
    """Functions that return the CPU seconds they took."""
    rows = batches(texts)

    def timed(work: Callable[[], None]) -> Callable[[], float]:
        def run() -> float:
            started = cpu()
            work()
            return cpu() - started

        return run

    found = {"tokenizer alone": timed(lambda: limit(texts, name))}
    for kind in KINDS:
        found[kind] = timed(lambda kind=kind: write(rows, folder, (kind,), name, None))
    for kind in KINDS:
        label = f"{kind}, packed to {args.sequence_length}"
        found[label] = timed(
            lambda kind=kind: write(rows, folder, (kind,), name, args.sequence_length)
        )
    found["all three, packed"] = timed(
        lambda: write(rows, folder, KINDS, name, args.sequence_length)
    )
    if args.datatrove_python and name != "embedded":
        Path(folder, "texts.json").write_text(json.dumps(texts))
        for kind in ("ds", "megatron"):
            found[f"datatrove {kind}"] = lambda kind=kind: peer(args, name, folder, kind)
    return found


def peer(args: argparse.Namespace, name: str, folder: str, kind: str) -> float:
    script = str(Path(__file__).with_name("tokens_peer.py"))
    command = [args.datatrove_python, script, name, f"{folder}/texts.json", f"{folder}/peer", kind]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--megabytes", type=float, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sequence-length", type=int, default=4_096)
    parser.add_argument("--datatrove-python", help="an interpreter that has datatrove")
    args = parser.parse_args()
    texts = read_texts(args.files, args.megabytes)
    size = sum(len(text.encode()) for text in texts) / 1e6
    print(
        f"{len(texts):,} documents, {size:.1f} MB; one thread, CPU seconds, {args.rounds} rounds\n"
    )
    if not args.datatrove_python:
        print("datatrove is left out: no --datatrove-python\n")
    print(
        "| tokenizer | what | MB/s and core | of the tokenizer alone (range) |\n|---|---|---|---|"
    )
    with tempfile.TemporaryDirectory() as folder:
        trained = f"{folder}/tokenizer.json"
        train(texts, trained)
        for label, name in (("embedded", "embedded"), ("BPE 32k", trained)):
            runs = contenders(texts, name, folder, args)
            for run in list(runs.values())[:2]:
                run()  # caches and files that are loaded once
            seconds: dict[str, list[float]] = {what: [] for what in runs}
            for _ in range(args.rounds):
                for what, run in runs.items():
                    seconds[what].append(run())
            alone = seconds["tokenizer alone"]
            for what, taken in seconds.items():
                ratios = [a / b for a, b in zip(alone, taken, strict=True)]
                print(
                    f"| {label} | {what} | {size / statistics.median(taken):.2f} | "
                    f"{statistics.median(ratios):.0%} ({min(ratios):.0%} to {max(ratios):.0%}) |"
                )
            sys.stdout.flush()


if __name__ == "__main__":
    main()
