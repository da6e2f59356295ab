"""The score stage: its speed against reading and one sgemm, and every count against brute force.

    python -m benchmarks.score [--documents 1_000_000] [--part 20_000] [--folder FOLDER]
    python -m benchmarks.score --equality 50_000 [--texts FILE.jsonl.zst ...]

The first makes a workdir of documents without texts and clustered vectors of 384 float16, and
measures the steps of the stage, each in a process of its own on one thread: quality (a linear head
of the seven dimensions of SampleMix), diversity in the clusters of the cluster stage, weigh. The
limit, in turns with them, is to read the same bytes and multiply the vectors with one matrix of the
head's shape. Peaks of memory at a quarter, a half and all of the documents should be the same.

The second takes real texts, repeated with small changes, through ``mixcurate run --until score`` in
one process and in two, and compares each document's copies with the reference of the tests, for
each method of weighing. A copy may differ only if its expected number is within 1e-6 of the one
where the coin falls over: the reference rounds otherwise.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from benchmarks.score_counts import TEXTS, compare_counts
from mixcurate.io import embeddings, partfiles, storage
from mixcurate.io.head_file import HeadFile, write_head_file
from mixcurate.io.workdir import Part, Success, Workdir
from mixcurate.kernels import kmeans, quality
from mixcurate.params import RUBRIC
from pipelines import score
from pipelines.diversity import run_diversity
from pipelines.quality import run_quality
from pipelines.start import start_job

DIMENSION, CLUSTERS, DOMAINS = 384, 1_000, 20
ENCODER = {"name": "synthetic", "dimension": DIMENSION}
STEPS = {
    "quality": ["quality"],
    "diversity": ["diversity"],
    "weigh": ["scores", "score"],
    "limit": [],
    "quality with heuristics": ["quality"],
    "diversity, own clusters": ["diversity"],
}


def make_workdir(folder: Path, documents: int, part: int) -> Path:
    """A workdir whose stages up to cluster have ended, and its recipe."""
    folder.mkdir(parents=True)
    (folder / "in.jsonl").write_text("")
    work = Workdir(str(folder / "work"))
    centres = np.random.default_rng(3).standard_normal((CLUSTERS, DIMENSION), np.float32)
    names = [f"{number:05d}" for number in range(-(-documents // part))]
    pool = tokens = 0
    for number, name in enumerate(names):
        rows = min(part, documents - number * part)
        found = write_part(work, name, centres, rows, number)
        pool, tokens = pool + found[0], tokens + found[1]
    partfiles.write_array(work.centroids, kmeans.normalise(centres))
    domains = pa.table({"domain": pa.array(range(DOMAINS), pa.int32())})
    partfiles.write_table(work.path("domains.parquet"), domains)
    storage.write_json(work.path("_stages/cluster/fit.json"), {"metric": "cosine"})
    parts = [Part(name, min(part, documents - i * part), 0, name) for i, name in enumerate(names)]
    details = {
        "ingest": {},
        "embed": {"encoder": ENCODER},
        "cluster": {"digests": {"domains.parquet": ""}, "k": CLUSTERS, "clusters_kept": CLUSTERS},
    }
    for stage, about in details.items():
        left = pool if stage == "cluster" else documents
        gone = {"low_quality_cluster": documents - left} if left < documents else {}
        success = Success("", parts, documents, left, tokens, gone, 0.0, about)
        work.write_success(stage, success)
    write_head(str(folder / "head.safetensors"))
    recipe = folder / "recipe.yaml"
    text = {"name": "score", "workdir": "work", "inputs": [{"path": "in.jsonl"}]}
    recipe.write_text(yaml.safe_dump(text))
    return recipe


def write_part(
    work: Workdir, name: str, centres: np.ndarray, rows: int, seed: int
) -> tuple[int, int]:
    """Documents, vectors and clusters of one part; its documents and tokens in the pool."""
    random = np.random.default_rng([11, seed])
    cluster = (CLUSTERS * random.random(rows) ** 2).astype(np.int32)
    noise = random.standard_normal((rows, DIMENSION), np.float32)
    noise *= random.uniform(0.3, 1.2, CLUSTERS).astype(np.float32)[cluster, None]
    vectors = kmeans.normalise(centres[cluster] + noise).astype(np.float16)
    with embeddings.EmbeddingsWriter(work.part("embed", name), DIMENSION) as writer:
        writer.write(vectors)
    cosine = np.einsum("ij,ij->i", vectors, kmeans.normalise(centres)[cluster], dtype=np.float32)
    domain = np.where(random.random(rows) < 0.95, cluster % DOMAINS, -1).astype(np.int32)
    distance = np.sqrt(np.maximum(2 - 2 * cosine, 0))
    assigned = pa.table({"cluster": cluster, "distance": distance, "domain": domain})
    partfiles.write_table(work.part("cluster", name), assigned)
    tokens = np.minimum(random.lognormal(6, 1, rows), 1e6).astype(np.int32) + 1
    signals = {
        f"signal_{signal}": (random.random(rows) * (500 if signal == "n_words" else 1)).astype("f4")
        for signal in quality.INPUTS
    }
    documents = {
        "id": [f"{number:032x}" for number in random.integers(0, 1 << 62, rows).tolist()],
        "source": random.choice(["web", "books", "code"], rows, p=[0.8, 0.15, 0.05]).tolist(),
        "n_tokens": tokens,
        **signals,
    }
    partfiles.write_table(work.part("ingest", name), pa.table(documents))
    return int((domain >= 0).sum()), int(tokens[domain >= 0].sum())


def write_head(path: str) -> None:
    """A linear head of the rubric's seven dimensions, of arbitrary weights."""
    random = np.random.default_rng(5)
    dimensions = tuple((name, 0.0, float(asked.most)) for name, asked in RUBRIC.items())
    outputs = sum(int(most) for _, _, most in dimensions)
    weight = random.standard_normal((DIMENSION, outputs), np.float32)
    layers = ((weight, np.zeros(outputs, np.float32)),)
    mean, scale = np.zeros(DIMENSION, np.float32), np.ones(DIMENSION, np.float32)
    write_head_file(path, HeadFile(dimensions, layers, mean, scale, ENCODER, {}, {}))


def run_step(step: str, recipe: Path) -> dict[str, float]:
    """Run one step afresh in this process: wall and CPU seconds, and peak memory in MB."""
    heuristics = "true" if step.endswith("heuristics") else "false"
    k = "sqrt" if step.endswith("clusters") else "cluster"
    sets = [
        "score.quality.heads=[head.safetensors]",
        f"score.quality.heuristics={heuristics}",
        f"score.diversity.k={k}",
    ]
    job = start_job(str(recipe), sets, ["--direct_num_workers=1"], quiet=True)
    for name in STEPS[step]:
        shutil.rmtree(job.workdir.path(name if name == "scores" else f"_stages/{name}"), True)
    actions: dict[str, Callable[[], object]] = {
        "quality": functools.partial(run_quality, job),
        "diversity": functools.partial(run_diversity, job),
        "weigh": functools.partial(score.run, job),
        "limit": functools.partial(read_and_multiply, job.workdir),
    }
    action = actions[step.split(maxsplit=1)[0].strip(",")]
    before = peak_memory()
    cpu, wall = time.process_time(), time.perf_counter()
    action()
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    return {"cpu": cpu, "wall": wall, "peak": peak_memory(), "before": before}


def peak_memory() -> float:
    """Peak resident memory of this program in MB; getrusage would count what started it, too."""
    with open("/proc/self/status") as status:
        line = next(line for line in status if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def read_and_multiply(work: Workdir) -> float:
    """What no implementation can do without: the bytes, and a product with the head's matrix."""
    weight = np.ones((DIMENSION, sum(asked.most for asked in RUBRIC.values())), np.float32)
    total = 0.0
    for name in sorted(part.name for part in work.success("ingest").parts):  # type: ignore[union-attr]
        pq.read_table(work.part("ingest", name), columns=["id", "source", "n_tokens"])
        pq.read_table(work.part("cluster", name))
        for vectors in embeddings.iter_embeddings(work.part("embed", name)):
            total += float((vectors.astype(np.float32) @ weight)[0, 0])
    return total


def measured(step: str, recipe: Path) -> dict[str, float]:
    """The same in a process of its own, on one thread."""
    threads = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL")}
    command = [sys.executable, "-m", "benchmarks.score", "--step", step, "--folder"]
    done = subprocess.run(
        [*command, str(recipe)],
        check=False,
        env=os.environ | threads,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise SystemExit(f"{step} failed:\n{done.stderr[-4_000:]}")
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def compare_speed(folder: Path, documents: int, part: int, own: bool) -> None:
    """Rows for a quarter, a half and all of the documents; then what a further document costs."""
    print(f"{documents:,} documents in parts of {part:,}, {DIMENSION} numbers, one thread\n")
    print("| documents | step | CPU s | wall s | documents/CPU s | limit / CPU | peak MB | grew |")
    print("|---|---|---|---|---|---|---|---|", flush=True)
    steps = [step for step in STEPS if own or step != "diversity, own clusters"]
    cost: dict[str, list[float]] = {}
    sizes = [documents // 4, documents // 2, documents]
    for size in sizes:
        recipe = folder / str(size) / "recipe.yaml"
        if not recipe.exists():
            make_workdir(recipe.parent, size, part)
        found = {step: measured(step, recipe) for step in ["quality with heuristics", *steps[:4]]}
        if own:
            found[steps[-1]] = measured(steps[-1], recipe)
        both = {key: found["quality"][key] + found["weigh"][key] for key in ("cpu", "wall")}
        peaks = {
            key: max(found[s][key] for s in ("quality", "weigh")) for key in ("peak", "before")
        }
        found = {"quality and weigh": both | peaks} | found
        for step, row in found.items():
            cost.setdefault(step, []).append(row["cpu"])
            print(
                f"| {size:,} | {step} | {row['cpu']:.2f} | {row['wall']:.2f} | "
                f"{size / row['cpu']:,.0f} | {found['limit']['cpu'] / row['cpu']:.2f} | "
                f"{row['peak']:,.0f} | {row['peak'] - row['before']:,.0f} |",
                flush=True,
            )
    print("\n| step | documents/s of CPU, start-up left out | share of the limit |\n|---|---|---|")
    slope = {step: (s[-1] - s[0]) / (sizes[-1] - sizes[0]) for step, s in cost.items()}
    for step, seconds in slope.items():
        print(f"| {step} | {1 / seconds:,.0f} | {slope['limit'] / seconds:.2f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--documents", type=int, default=1_000_000)
    parser.add_argument("--part", type=int, default=20_000)
    parser.add_argument("--own-clusters", action="store_true", help="also score.diversity.k: sqrt")
    parser.add_argument("--equality", type=int, help="compare the counts of so many documents")
    parser.add_argument("--texts", type=Path, nargs="*", default=TEXTS)
    parser.add_argument("--folder", type=Path, help="where workdirs are made, and kept")
    parser.add_argument("--step", choices=STEPS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.step:
        print(json.dumps(run_step(args.step, args.folder)), flush=True)
        os._exit(0)  # a thread that Beam or Arrow has left may abort an ordinary exit
    with tempfile.TemporaryDirectory() as temporary:
        folder = (args.folder or Path(temporary)).resolve()
        if args.equality is None:
            compare_speed(folder, args.documents, args.part, args.own_clusters)
        elif not compare_counts(folder, args.texts, args.equality):
            raise SystemExit("not all counts are those of the reference")


if __name__ == "__main__":
    main()
