"""Peak memory of each stage with much text in the input.

    python -m benchmarks.memory [--gigabytes 5] [--folder runs/benchmark-memory]

Each stage runs as a process of its own; its peak is the largest sum over that process and its
workers of their proportional set size (resident memory, where a page that several processes share
counts once), sampled five times a second. The model's own memory is measured by loading it alone,
and taken off the embed stage.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import time
from pathlib import Path

import psutil
import yaml

from benchmarks.synthetic import write_jsonl

STAGES = ("ingest", "embed", "cluster", "score", "plan", "materialize")
WORDS = 8_000  # some 50 KB a document
LOAD_MODEL = (
    "from mixcurate.models.encoders import EmbedParams\n"
    "from mixcurate.models.resolve import load, resolve\n"
    "load(resolve(EmbedParams()), 2)\n"
)


def peak_of(command: list[str]) -> tuple[float, float, float]:
    """Run a command: peak of the whole tree and of its largest process in MB, and seconds."""
    started = time.perf_counter()
    process = psutil.Popen(command, stdout=subprocess.DEVNULL)
    tree = largest = 0
    while process.poll() is None:
        sizes = [0]
        for member in [process, *process.children(recursive=True)]:
            try:
                sizes.append(member.memory_full_info().pss)
            except psutil.Error:
                continue
        tree, largest = max(tree, sum(sizes)), max(largest, *sizes)
        time.sleep(0.2)
    if process.returncode:
        raise SystemExit(f"{command} failed with {process.returncode}")
    return tree / 1e6, largest / 1e6, time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gigabytes", type=float, default=5.0)
    parser.add_argument("--folder", type=Path, default=Path("runs/benchmark-memory"))
    parser.add_argument("--stages", nargs="*", default=STAGES)
    args = parser.parse_args()
    source = args.folder / "input"
    if not source.exists():
        write_jsonl(source, int(args.gigabytes * 1e9), WORDS, files=10)
    recipe = args.folder / "recipe.yaml"
    recipe.write_text(
        yaml.safe_dump(
            {
                "name": "memory",
                "workdir": "work",
                "inputs": [{"path": "input/*.jsonl"}],
                "embed": {"max_tokens": 8},
                "cluster": {"k": 200, "prune": None},
            }
        )
    )
    model, _, _ = peak_of([sys.executable, "-c", LOAD_MODEL])
    print(f"{platform.processor() or platform.machine()}: model and its libraries {model:,.0f} MB")
    print(f"{'stage':<12} {'tree MB':>9} {'largest MB':>11} {'seconds':>8}  share of 1,500 MB")
    for stage in args.stages:
        command = [sys.executable, "-m", "pipelines.cli", stage, str(recipe), "--quiet"]
        tree, largest, seconds = peak_of(command)
        over = tree - (model if stage == "embed" else 0)
        print(f"{stage:<12} {tree:9,.0f} {largest:11,.0f} {seconds:8.1f}  {over / 1500:.2f}")
    text_bytes = sum(
        json.loads(p.read_text())["details"].get("text_bytes", 0)
        for p in (args.folder / "work/documents").glob("_SUCCESS")
    )
    print(f"text in the input: {text_bytes / 1e9:.2f} GB")


if __name__ == "__main__":
    main()
