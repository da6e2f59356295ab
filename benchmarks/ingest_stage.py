"""The ingest stage on web archives against its own extractor in a plain loop, and on two workers.

    python -m benchmarks.ingest_stage FILE.warc.gz ... [--copies 4] [--rounds 3]

The loop frames the records with fastwarc and calls the extractor on each page; the stage does all
of ingest through Beam: framing, extraction, language, signals, rules, duplicates, tokens, tables.
They take turns on one core and are compared by CPU time; then the stage runs with two workers on
two cores, by the clock. The goals are 0.90 of the loop's pages per second and core, and 1.8 times
the pages with the second worker. ``--one-worker`` leaves the second part out.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import tempfile
import time
from pathlib import Path

import psutil
import yaml
from fastwarc.warc import ArchiveIterator, WarcRecordType

from mixcurate.models.extract import extractor
from pipelines.start import run_stages, start_job

#: Two workers are measured on a longer input, so that their start weighs as in a real run.
LONGER = 4


def write_job(folder: Path, files: list[Path], copies: int, name: str) -> Path:
    source = folder / "input"
    source.mkdir(parents=True)
    for copy in range(copies):
        for file in files:
            shutil.copyfile(file, source / f"{copy:03d}-{file.name}")
    recipe = {
        "name": "ingest-stage",
        "workdir": "work",
        "inputs": [{"path": "input/*"}],
        # every copy is kept until the end, so that all the work of a first file is done for each
        "ingest": {"languages": [], "extractor": name},
    }
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe))
    return path


def loop(folder: Path, name: str) -> tuple[int, float]:
    """Pages and CPU seconds of the extractor in a plain loop."""
    extract = extractor(name)
    pages = 0
    started = time.process_time()
    for path in sorted((folder / "input").iterdir()):
        with path.open("rb") as stream:
            for record in ArchiveIterator(stream, record_types=WarcRecordType.response):
                url = record.headers.get("WARC-Target-URI")
                extract(record.reader.read(), record.http_charset, url)
                pages += 1
    return pages, time.process_time() - started


def stage(recipe: Path, workers: int) -> tuple[float, float]:
    """Seconds of the stage from nothing, by the clock and of this process's CPU time."""
    shutil.rmtree(recipe.parent / "work", ignore_errors=True)
    mode = "multi_processing" if workers > 1 else "in_memory"
    beam = [f"--direct_running_mode={mode}", f"--direct_num_workers={workers}"]
    started, used = time.perf_counter(), time.process_time()
    run_stages(start_job(str(recipe), (), beam, quiet=True), ("ingest",), as_json=True)
    return time.perf_counter() - started, time.process_time() - used


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--copies", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--extractor", default="auto")
    parser.add_argument("--one-worker", action="store_true")
    args = parser.parse_args()
    cores = sorted(psutil.Process().cpu_affinity())
    with tempfile.TemporaryDirectory() as folder:
        recipe = write_job(Path(folder, "one"), args.files, args.copies, args.extractor)
        os.sched_setaffinity(0, cores[:1])
        stage(recipe, 1)  # what is loaded once is loaded
        ratios = []
        for number in range(args.rounds):
            _, staged = stage(recipe, 1)
            pages, bare = loop(recipe.parent, args.extractor)
            ratios.append(bare / staged)
            print(
                f"  round {number + 1}: stage {pages / staged:.1f} pages a CPU-second, "
                f"loop {pages / bare:.1f}, ratio {bare / staged:.3f}"
            )
        print(f"1 worker: {statistics.median(ratios):.3f} of the plain loop (median)")
        if args.one_worker or len(cores) < 2:
            return
        long = write_job(Path(folder, "two"), args.files, args.copies * LONGER, args.extractor)
        gains = []
        for number in range(args.rounds):
            os.sched_setaffinity(0, cores[:1])
            one, _ = stage(long, 1)
            os.sched_setaffinity(0, cores)
            two, _ = stage(long, 2)
            gains.append(one / two)
            print(f"  round {number + 1}: 1 worker {one:.1f} s, 2 workers {two:.1f} s")
        print(f"2 workers: {statistics.median(gains):.2f} times one (median)")


if __name__ == "__main__":
    main()
