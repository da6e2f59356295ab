"""What a run costs beside the model: the share of its wall time that is not the forward pass.

    python -m benchmarks.overhead [--recipe configs/quickstart.yaml] [--rounds 2]

A fresh workdir each round; the forward pass is the time that the embed stage spends with the model
running, as its tasks report it. The goal is at most 20 % at 4,000 documents on 2 cores.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recipe", default="configs/quickstart.yaml")
    parser.add_argument("--rounds", type=int, default=2)
    args = parser.parse_args()
    for number in range(args.rounds):
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, "-m", "pipelines.cli", "run", args.recipe, "--json"]
            started = time.perf_counter()
            done = subprocess.run(
                [*command, "--quiet", "--set", f"workdir={folder}/work"],
                capture_output=True,
                check=True,
                text=True,
            )
            wall = time.perf_counter() - started
            stages = json.loads(done.stdout)["stages"]
            metrics = json.loads(Path(folder, "work/metrics.json").read_text())
        forward = stages["embed"]["details"]["forward_seconds"]
        walls = {name: numbers["wall_seconds"] for name, numbers in metrics.items()}
        print(
            f"round {number + 1}: {stages['ingest']['documents_in']:,} documents, wall "
            f"{wall:.1f} s, forward {forward:.1f} s, the rest {wall - forward:.1f} s = "
            f"{(wall - forward) / wall:.1%} of the run"
        )
        parts = [f"{name} {seconds:.1f}" for name, seconds in walls.items()]
        print("  wall seconds by stage: " + ", ".join(parts))
        print(f"  start-up and report: {wall - sum(walls.values()):.1f} s")


if __name__ == "__main__":
    main()
