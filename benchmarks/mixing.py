"""The same documents mixed to the same shares of tokens, against three other ways.

    python -m benchmarks.mixing [FILE.jsonl.zst ...] [--megabytes 200] [--peer PY] [--rounds 2]
                                [--workers 2]

Two sources whose documents have 120 and 900 tokens on average, half of the tokens from each. Ours
reads a prepared workdir (Parquet) and writes Arrow with hashes and lineage; it plans, materializes
and reports, as ``mixcurate run`` goes on from score. The
others read JSON Lines, one file a source: datasets.interleave_datasets and save_to_disk (Arrow);
Data-Juicer's mixture (JSON Lines; ``--peer`` is a Python that has py-data-juicer); and a plain
script with a random number and a threshold (JSON Lines, zstd). datasets and Data-Juicer get
probabilities of documents that are right on average. All in turn; with ``--workers 2`` ours has two
workers, and datasets runs a second time with two processes where it takes a number of them. Seconds
are with the start of the interpreter and, in brackets, without; memory is the process tree's, files
that are mapped included.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import psutil
import pyarrow as pa
import yaml
import zstandard

from benchmarks import rows
from mixcurate.io import partfiles, storage
from mixcurate.io.workdir import Part, Success, Workdir
from mixcurate.kernels import quality
from mixcurate.kernels.hashing import content_hashes, document_ids
from mixcurate.tables import ASSIGNMENTS, DOMAINS, documents_schema, scores_schema

MEANS = {"short": 480, "long": 3_600}  # bytes: some 120 and 900 tokens
PART = 10_000


def prepare(folder: Path, files: list[Path], n_bytes: int) -> dict[str, Any]:
    """The pool, twice the output: a workdir up to score, and a JSON Lines file a source."""
    lines, workdir = rows.sentences(files), Workdir(str(folder / "work"))
    parts, sources = [], []
    for number, (source, mean) in enumerate(MEANS.items()):
        tokens = documents = 0
        with (folder / f"{source}.jsonl").open("wb") as out:
            for texts in _chunks(rows.texts(lines, n_bytes, mean, number)):
                name = f"{source}-{len(parts):05d}"
                counts = _part(workdir, name, source, number, texts, documents)
                for text, n in zip(texts, counts.tolist(), strict=True):
                    out.write(orjson.dumps({"text": text, "source": source, "n_tokens": n}) + b"\n")
                tokens, documents = tokens + int(counts.sum()), documents + len(texts)
                parts.append(Part(name, len(texts), int(counts.sum()), name))
        path = str(folder / f"{source}.jsonl")
        sources.append({"name": source, "path": path, "tokens": tokens, "documents": documents})
    _finish(workdir, parts)
    budget = sum(source["tokens"] for source in sources) // 2
    for source in sources:
        source["share"] = 0.5
    mean = [0.5 * budget / (s["tokens"] / s["documents"]) for s in sources]
    targets = {s["name"]: {"proportion": 0.5} for s in sources}
    mixture = {"strategy": "explicit", "by": "source", "budget_tokens": budget, "targets": targets}
    recipe = {"name": "mixing", "workdir": "work", "inputs": [{"path": "*.jsonl"}]}
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe | {"mixture": mixture}))
    return {"sources": sources, "budget": budget, "documents": round(sum(mean))}


def _chunks(texts: Iterator[str]) -> Iterator[list[str]]:
    chunk: list[str] = []
    for text in texts:
        chunk.append(text)
        if len(chunk) == PART:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _part(
    workdir: Workdir, name: str, source: str, domain: int, texts: list[str], first: int
) -> np.ndarray:
    """One part of documents, assignments and scores; tokens are a quarter of the bytes."""
    n, text = len(texts), pa.array(texts, pa.large_string())
    n_bytes = np.array([len(t.encode()) for t in texts])
    tokens = np.maximum(1, n_bytes // 4).astype(np.int32)
    positions = np.arange(first, first + n)
    columns = {
        "id": document_ids(source, source, positions),
        "text": text,
        "url": [None] * n,
        "source": [source] * n,
        "path": [source] * n,
        "position": positions,
        "language": ["en"] * n,
        "language_score": np.full(n, 0.9),
        "n_tokens": tokens,
        "n_bytes": n_bytes,
        "licence": [None] * n,
        "content_hash": content_hashes(text),
        "metadata": [None] * n,
    }
    partfiles.write_table(workdir.part("ingest", name), _table(columns, documents_schema([])))
    distance = np.linspace(0.2, 0.9, n)
    assigned = {"cluster": [domain] * n, "distance": distance, "domain": [domain] * n}
    partfiles.write_table(workdir.part("cluster", name), _table(assigned, ASSIGNMENTS))
    schema = scores_schema(list(quality.DIMENSIONS))
    partfiles.write_table(
        workdir.part("score", name), _table({c: np.ones(n) for c in schema.names}, schema)
    )
    return tokens


def _table(columns: dict[str, Any], schema: pa.Schema) -> pa.Table:
    kinds = {field.name: field.type for field in schema}
    arrays = {
        name: values.cast(kinds[name])
        if isinstance(values, pa.Array)
        else pa.array(values).cast(kinds[name])
        for name, values in columns.items()
    }
    return pa.Table.from_arrays([arrays[name] for name in schema.names], schema=schema)


def _finish(workdir: Workdir, parts: list[Part]) -> None:
    """What the earlier stages would say."""
    domains = [
        {"domain": number, "domain_id": f"{number:032x}", "name": name, "keywords": [name]}
        | {"n_clusters": 1, "n_documents": 1, "n_tokens": 1, "mean_quality": 1.0}
        | {"mean_distance": 0.5, "std_distance": 0.1, "distance_p99": 0.9, "coherence": 0.5}
        | {"nearest": []}
        for number, name in enumerate(MEANS)
    ]
    partfiles.write_table(workdir.path("domains.parquet"), pa.Table.from_pylist(domains, DOMAINS))
    n_clusters = len(MEANS)
    clusters = {
        "cluster": pa.array(range(n_clusters), pa.int32()),
        "n_documents": [1] * n_clusters,
        "n_tokens": [1] * n_clusters,
        "mean_quality": [1.0] * n_clusters,
        "languages": pa.array([[("en", 1)]] * n_clusters, pa.map_(pa.string(), pa.int64())),
        "sources": pa.array([[("web", 1)]] * n_clusters, pa.map_(pa.string(), pa.int64())),
        "kept": [True] * n_clusters,
        "drop_reason": pa.nulls(n_clusters, pa.string()),
        "drop_detail": pa.nulls(n_clusters, pa.string()),
        "domain": pa.array(range(n_clusters), pa.int32()),
    } | {
        name: [0.5] * n_clusters
        for name in ("mean_distance", "std_distance", "distance_p99", "separation")
    }
    partfiles.write_table(workdir.path("clusters.parquet"), pa.table(clusters))
    digests = {"domains.parquet": storage.digest(workdir.path("domains.parquet"))}
    details = {"encoder": {"model": "none", "weights": "none"}, "inputs": [], "digests": digests}
    n, tokens = sum(part.documents for part in parts), sum(part.tokens for part in parts)
    for stage in ("ingest", "embed", "cluster", "score"):
        workdir.write_success(
            stage, Success(f"{stage:0>32}", parts, n, n, tokens, {}, 1.0, details)
        )


def run_tree(command: list[str]) -> tuple[float, float, float, str]:
    """Run a command: seconds, CPU seconds and peak MB of its tree, and its last line."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started, peak = time.perf_counter(), 0
    with tempfile.TemporaryFile() as out:
        process = psutil.Popen(command, stdout=out, stderr=out)
        while process.poll() is None:
            sizes = []
            for member in [process, *process.children(recursive=True)]:
                try:
                    sizes.append(member.memory_info().rss)
                except psutil.Error:
                    continue
            peak = max(peak, sum(sizes))
            time.sleep(0.05)
        seconds = time.perf_counter() - started
        out.seek(0)
        said = out.read().decode().strip().splitlines()
    if process.returncode:
        tail = "\n".join(said[-5:])
        raise RuntimeError(f"{command[1:3]} failed with {process.returncode}:\n{tail}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return seconds, cpu, peak / 1e6, next(line for line in reversed(said) if line[:1] == "{")


def ours(recipe: str, workers: int) -> None:
    """In a process of its own: plan and materialize."""
    from pipelines.start import run_stages, start_job

    started = time.perf_counter()
    job = start_job(recipe, [], [f"--direct_num_workers={workers}"], quiet=True)
    run_stages(job, ("plan", "materialize"), as_json=True)
    print(json.dumps({"seconds": time.perf_counter() - started}))


def outcome(folder: Path) -> dict[str, list[int]]:
    """Documents and tokens of each source in an output."""
    found = {name: [0, 0] for name in MEANS}
    for path in sorted(folder.rglob("*")):
        if path.suffix == ".arrow":
            batches = pa.ipc.open_stream(pa.memory_map(str(path)))
            table = pa.Table.from_batches(list(batches)).select(["source", "n_tokens"])
            rows_ = zip(*(column.to_pylist() for column in table.columns), strict=True)
        elif ".jsonl" in path.name:
            stream = path.open("rb")
            if path.suffix == ".zst":
                stream = zstandard.ZstdDecompressor().stream_reader(stream)
            lines = stream.read().splitlines()
            rows_ = ((d["source"], d["n_tokens"]) for d in map(orjson.loads, lines))
        else:
            continue
        for source, tokens in rows_:
            found[source][0] += 1
            found[source][1] += tokens
    return found


def show(
    label: str, runs: list[tuple[float, ...]], found: dict[str, list[int]], best: float
) -> str:
    """A row of the table; the error is the largest of any source's."""
    total = sum(tokens for _, tokens in found.values())
    error, source = max((abs(t - total / 2), s) for s, (_, t) in found.items())
    in_documents = error / (found[source][1] / max(found[source][0], 1))
    seconds, inner, cpu, peak = (statistics.median(column) for column in zip(*runs, strict=True))
    return (
        f"| {label} | {sum(n for n, _ in found.values()):,} | {error:,.0f} | "
        f"{error / (total / 2):.3%} | {in_documents:,.1f} | {seconds:.1f} ({inner:.1f}) | "
        f"{cpu:.1f} | {peak:,.0f} | {best / seconds:.2f} |"
    )


def commands_of(folder: Path, workers: int, peer: str | None) -> dict[str, list[str]]:
    """The command of each row of the table."""
    script, asked = str(Path(__file__).with_name("mixing_peers.py")), str(folder / "request.json")
    mine = [sys.executable, "-m", "benchmarks.mixing", "--ours", str(folder / "recipe.yaml")]
    commands = {
        "mixcurate": [*mine, f"--workers={workers}"],
        "datasets": [sys.executable, script, "datasets", asked],
        "a random number and a threshold": [sys.executable, script, "threshold", asked],
    }
    if workers > 1:
        label = f"datasets, {workers} processes"
        commands = {**commands, label: commands["datasets"]}
    if peer:
        commands["Data-Juicer"] = [peer, script, "data_juicer", asked]
    return commands


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--megabytes", type=float, default=200, help="text in the output")
    parser.add_argument("--peer", help="a Python with py-data-juicer")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--ours", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.ours:
        ours(args.ours, args.workers)
        return
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        request = prepare(folder, args.files, int(args.megabytes * 1e6))
        commands = commands_of(folder, args.workers, args.peer)
        runs: dict[str, list[tuple[float, ...]]] = {}
        results: dict[str, dict[str, list[int]]] = {}
        for _ in range(args.rounds):
            for stale in ("corpus", "_stages"):
                shutil.rmtree(folder / "work" / stale, ignore_errors=True)
            for label, command in commands.items():
                output = folder / "out" / label
                is_ours = label.startswith("mixcurate")
                wanted = request | {"output": str(output), "cache": str(output / "cache")}
                wanted["processes"] = args.workers if "processes" in label else None
                (folder / "request.json").write_text(json.dumps(wanted))
                try:
                    seconds, cpu, peak, said = run_tree(command)
                except RuntimeError as error:
                    print(f"{label}: {error}", file=sys.stderr)
                    continue
                runs.setdefault(label, []).append((seconds, json.loads(said)["seconds"], cpu, peak))
                shutil.rmtree(output / "cache", ignore_errors=True)
                results[label] = outcome(folder / "work/corpus/train" if is_ours else output)
                shutil.rmtree(output, ignore_errors=True)
    best = min(statistics.median(run[0] for run in runs[x]) for x in runs if "mixc" not in x)
    print(
        "| tool | documents | error, tokens | of the share | in documents | seconds (warm) "
        "| CPU s | peak MB | x fastest other |\n|---|---|---|---|---|---|---|---|---|"
    )
    for label, mine in runs.items():
        print(show(label, mine, results[label], best))


if __name__ == "__main__":
    main()
