"""How long a user waits for an answer that needs no work.

    python -m benchmarks.startup [--rounds 7]

`mixcurate --help` and `import mixcurate`, alternating with a bare interpreter; then the seconds of
processor time until a job is checked and its stage is loaded, beside those of Beam alone, which is
the limit; then one pipeline without work in this process and in two worker processes.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

COMMANDS = {
    "bare interpreter": [sys.executable, "-c", "pass"],
    "import mixcurate": [sys.executable, "-c", "import mixcurate"],
    "mixcurate --help": [sys.executable, "-m", "pipelines.cli", "--help"],
}
RECIPE = "name: x\nworkdir: work\ninputs: [{path: a.jsonl}]\n"
BEAM = "import apache_beam.runners.portability.fn_api_runner"
CHECKED = "from pipelines.start import start_job; start_job(sys.argv[1], [], []); import pipelines."
STAGES = ("plan", "materialize", "cluster")
EMPTY = """
import apache_beam as beam
from mixcurate.transforms.runner import make_pipeline, parse_beam_args
import sys, time
args = parse_beam_args(sys.argv[1:])
started = time.perf_counter()
pipeline = make_pipeline(args, job_name="empty", work_seconds=0)
_ = pipeline | beam.Create([1, 2]) | beam.Reshuffle() | beam.Map(str)
pipeline.run().wait_until_finish()
print(time.perf_counter() - started)
"""


def seconds(command: list[str]) -> float:
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def processor_seconds(code: str, recipe: str) -> float:
    """Of a process that runs the code."""
    code = f"import sys, time; {code}; print(time.process_time())"
    command = [sys.executable, "-c", code, recipe]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(done.stdout.split()[-1])


def checked_jobs(rounds: int) -> None:
    """What a command does before its stage works."""
    codes = {"Beam alone": BEAM} | {f"checked job, {stage}": CHECKED + stage for stage in STAGES}
    times: dict[str, list[float]] = {name: [] for name in codes}
    with tempfile.TemporaryDirectory() as folder:
        recipe = Path(folder, "recipe.yaml")
        recipe.write_text(RECIPE)
        Path(folder, "a.jsonl").write_text('{"text": "one"}\n')
        for _ in range(rounds):
            for name, code in codes.items():
                times[name].append(processor_seconds(code, str(recipe)))
    limit = min(times["Beam alone"])
    for name, found in times.items():
        best = min(found)
        print(f"{name:<24} best {best:.2f} s of processor time, {best / limit:.2f} of Beam's")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    args = parser.parse_args()
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(args.rounds):
        for name, command in COMMANDS.items():
            times[name].append(seconds(command))
    for name, found in times.items():
        print(f"{name:<20} median {statistics.median(found):.3f} s, best {min(found):.3f} s")
    checked_jobs(args.rounds)
    two = ["--direct_running_mode=multi_processing", "--direct_num_workers=2"]
    for label, options in (("in this process", []), ("two processes", two)):
        command = [sys.executable, "-c", EMPTY, *options]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        print(f"empty pipeline, {label}: {float(done.stdout.split()[-1]):.2f} s")


if __name__ == "__main__":
    main()
