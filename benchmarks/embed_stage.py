"""The embed stage end to end against a bare loop over the same documents, and its memory.

    python -m benchmarks.embed_stage [FILE.jsonl[.zst] ...] [--documents 600] [--rounds 4]

The stage reads parts, embeds and writes them through Beam; the loop only calls the encoder, loaded
once for both. They take turns, with 1 and with 2 workers; the goal is a ratio of at least 0.92.
``--memory`` runs the stage as a process of its own over the same text in small parts and in one
large part, and compares the peaks.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

import orjson
import yaml

from benchmarks.encoders import DEFAULT, embed, read_texts
from benchmarks.memory import peak_of
from mixcurate.transforms.embed import shared_encoder
from pipelines import embed as embed_stage
from pipelines.start import run_stages, start_job

KEEP_ALL = {"languages": [], "filters": None, "part_documents": 250}


def write_job(folder: Path, texts: list[str], **ingest: object) -> Path:
    (folder / "in.jsonl").write_bytes(b"\n".join(orjson.dumps({"text": text}) for text in texts))
    recipe = {
        "name": "embed-stage",
        "workdir": "work",
        "inputs": [{"path": "in.jsonl"}],
        "ingest": KEEP_ALL | ingest,
    }
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe))
    return path


def compare(folder: Path, texts: list[str], workers: int, rounds: int) -> None:
    recipe = write_job(folder, texts)
    job = start_job(str(recipe), (), [f"--direct_num_workers={workers}"], quiet=True)
    run_stages(job, ("ingest",), as_json=True)
    encoder = shared_encoder(embed_stage.encoder_spec(job), job.threads(0))
    embed(encoder, texts[:32])
    ratios = []
    for number in range(rounds):
        shutil.rmtree(folder / "work/embeddings", ignore_errors=True)
        shutil.rmtree(folder / "work/_stages/embed", ignore_errors=True)
        started = time.perf_counter()
        success = embed_stage.run(job)
        staged = time.perf_counter() - started
        started = time.perf_counter()
        embed(encoder, texts)
        bare = time.perf_counter() - started
        ratios.append(bare / staged)
        waited = success.details["wait_seconds"]
        print(
            f"  round {number + 1}: stage {staged:.1f} s (device waits {waited:.1f} s), "
            f"loop {bare:.1f} s, ratio {bare / staged:.3f}"
        )
    print(f"{workers} workers: {statistics.median(ratios):.3f} of the bare loop (median)")


def compare_memory(folder: Path, texts: list[str]) -> None:
    for part_documents in (250, len(texts)):
        shutil.rmtree(folder / "work", ignore_errors=True)
        recipe = write_job(folder, texts, part_documents=part_documents, part_bytes="4GB")
        command = [sys.executable, "-m", "pipelines.cli"]
        peak_of([*command, "ingest", str(recipe), "--quiet"])
        small = ["--set", "embed.max_tokens=8"]
        tree, _, seconds = peak_of([*command, "embed", str(recipe), "--quiet", *small])
        print(f"parts of {part_documents:,} documents: peak {tree:,.0f} MB in {seconds:.0f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="*", type=Path, default=[Path(DEFAULT)])
    parser.add_argument("--documents", type=int, default=600)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--memory", action="store_true")
    args = parser.parse_args()
    texts = read_texts(args.files, args.documents)
    with tempfile.TemporaryDirectory() as folder:
        if args.memory:
            size = sum(map(len, texts)) / 1e6
            print(f"{len(texts):,} documents, {size:.0f} MB of text")
            compare_memory(Path(folder), texts)
            return
        for workers in (1, 2):
            workdir = Path(folder, str(workers))
            workdir.mkdir()
            compare(workdir, texts, workers, args.rounds)


if __name__ == "__main__":
    main()
