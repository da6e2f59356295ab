"""Text moved from the workdir into Arrow shards, per second and core.

    python -m benchmarks.materialize [--gigabytes 1] [--rounds 3]

The plan and materialize pipelines run on one core over documents made for this purpose, whose
clusters and scores are synthetic. The limit they are compared with, alternating in the same run,
is a streaming copy of the resulting shards with the sha256 that the manifest needs.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import tempfile
import time
from pathlib import Path

import yaml

from benchmarks.synthetic import write_jsonl
from mixcurate.io.storage import read_json
from pipelines import materialize as materialize_stage
from pipelines.start import run_stages, start_job

LEAN = {"filters": None, "part_documents": 10_000, "part_bytes": "64MB"}


def prepare(folder: Path, total: int) -> Path:
    """Ingest, embed (8 tokens a document), cluster and score the text once."""
    write_jsonl(folder / "input", total, words=700, files=4)
    recipe = folder / "recipe.yaml"
    recipe.write_text(
        yaml.safe_dump(
            {
                "name": "materialize",
                "workdir": "work",
                "inputs": [{"path": "input/*.jsonl"}],
                "ingest": LEAN,
                "embed": {"max_tokens": 4},
                "cluster": {"k": 100, "prune": None},
            }
        )
    )
    job = start_job(str(recipe), [], [], quiet=True)
    run_stages(job, ("ingest", "embed", "cluster", "score"), as_json=False)
    return recipe


def materialize(recipe: Path) -> tuple[float, int]:
    """Plan and materialize afresh on one core: seconds of materialize, and bytes of text."""
    work = recipe.parent / "work"
    for stale in ("corpus", "_stages/plan", "_stages/select", "_stages/materialize"):
        shutil.rmtree(work / stale, ignore_errors=True)
    job = start_job(str(recipe), [], ["--direct_num_workers=1"], quiet=True)
    run_stages(job, ("plan",), as_json=True)
    started = time.perf_counter()
    materialize_stage.run(job)
    seconds = time.perf_counter() - started
    return seconds, read_json(str(work / "plan.json"))["bytes"]


def copy(recipe: Path) -> float:
    """Copy the shards once, hashing them: seconds."""
    shards = sorted((recipe.parent / "work/corpus/train").glob("*.arrow"))
    target = recipe.parent / "copy"
    target.mkdir(exist_ok=True)
    started = time.perf_counter()
    for shard in shards:
        digest = hashlib.sha256()
        with shard.open("rb") as source, (target / shard.name).open("wb") as out:
            while chunk := source.read(1 << 20):
                digest.update(chunk)
                out.write(chunk)
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gigabytes", type=float, default=1.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--recipe", type=Path, help="use this finished job instead of a new one")
    args = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with tempfile.TemporaryDirectory(dir="runs") as folder:
        recipe = args.recipe or prepare(Path(folder).resolve(), int(args.gigabytes * 1e9))
        for number in range(args.rounds):
            seconds, n_bytes = materialize(recipe)
            copied = copy(recipe)
            print(
                f"round {number + 1}: {n_bytes / 1e6:,.0f} MB of text, materialize "
                f"{n_bytes / 1e6 / seconds:,.0f} MB/s on one core; copy with sha256 "
                f"{n_bytes / 1e6 / copied:,.0f} MB/s; ratio {copied / seconds:.2f}"
            )


if __name__ == "__main__":
    main()
