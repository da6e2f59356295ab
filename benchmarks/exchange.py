"""Drawn documents to Arrow shards: the exchange and the writing of shards, without Beam.

    python -m benchmarks.exchange [--megabytes 1000] [--parts 16] [--shards 16] [--rounds 3]

Of made-up documents in parts, everything is drawn once and goes through the exchange into shards
with the global mix, with hashes and lineage. The peer is ``datasets``: the same rows, already apart
as an Arrow data set for each domain, through ``interleave_datasets`` with the domains' shares and
``save_to_disk``. The limit is a copy of the shards, with and without the sha256 that the manifest
needs. All alternate in one process on one core; CPU seconds are counted.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks.synthetic import documents
from mixcurate.io import partfiles
from mixcurate.io.workdir import Heartbeat, Workdir
from mixcurate.kernels import hashing, shards
from mixcurate.kernels.shards import ShardRange
from mixcurate.tables import CORPUS, documents_schema
from mixcurate.transforms.exchange import ExchangeParts, groups
from mixcurate.transforms.materialize import PlanShard, _segments
from mixcurate.transforms.select import selection_path
from mixcurate.transforms.tasks import Task
from mixcurate.transforms.write_shard import WriteShard

DOMAINS = 24


def prepare(workdir: Workdir, n_bytes: int, n_parts: int) -> dict[str, int]:
    """Parts of documents with domains, scores and a selection of all of them: bytes of text."""
    rng = np.random.default_rng(3)
    made: dict[str, int] = {}
    for number in range(n_parts):
        name = f"{number:05d}"
        texts, size = [], 0
        for text in documents(1 << 40, 700, seed=number):
            texts.append(text)
            size += len(text)
            if size >= n_bytes // n_parts:
                break
        made[name] = size
        n = len(texts)
        ids = hashing.document_ids("web", f"in/{number}.jsonl", np.arange(n))
        columns: dict[str, Any] = {
            "id": ids,
            "text": pa.array(texts, pa.large_string()),
            "source": ["web"] * n,
            "url": [f"https://example.org/{number}/{i}" for i in range(n)],
            "path": [f"in/{number}.jsonl"] * n,
            "position": np.cumsum([len(text) for text in texts]),
            "language": ["en"] * n,
            "licence": ["CC-BY-4.0"] * n,
            "n_tokens": np.array([len(text) // 5 for text in texts], np.int32),
            "language_score": np.ones(n, np.float32),
            "n_bytes": [len(text) for text in texts],
            "content_hash": pa.array([b"0" * 16] * n, pa.binary(16)),
            "metadata": pa.nulls(n, pa.string()),
        }
        schema = documents_schema([])
        arrays = [pa.array(columns[field.name], field.type) for field in schema]
        partfiles.write_table(workdir.part("ingest", name), pa.table(arrays, schema=schema))
        domain = pa.array((rng.random(n) ** 2 * DOMAINS).astype(np.int32))
        partfiles.write_table(workdir.part("cluster", name), pa.table({"domain": domain}))
        scores = {key: np.full(n, 0.5, np.float32) for key in ("quality", "diversity")}
        partfiles.write_table(workdir.part("score", name), pa.table(scores))
        selection = {
            "row": np.arange(n, dtype=np.int32),
            "copy": np.zeros(n, np.int32),
            "range": np.zeros(n, np.uint8),
            "shuffle": hashing.uniform_keys(ids, 7, "shuffle copy 0"),
            "keep_tokens": pa.nulls(n, pa.int32()),
            "domain": domain,
            "cell": domain,
        }
        partfiles.write_batch(selection_path(workdir, name), pa.record_batch(selection))
    return made


def exchange_and_write(
    workdir: Workdir, corpus: str, parts: dict[str, int], n_shards: int
) -> list[int]:
    """Both halves of the stage, task by task; bytes of the lineage and rows."""
    ranges = (ShardRange("train", "main", n_shards),)
    keys = [
        partfiles.read_batch(selection_path(workdir, name)).column("shuffle").to_numpy()
        for name in parts
    ]
    histogram = np.sum([shards.key_histogram(part) for part in keys], axis=0)
    ranks = shards.first_ranks(int(histogram.sum()), n_shards)
    bins, places = shards.boundary_bins(histogram, ranks)
    found = np.concatenate([shards.keys_in_bins(part, bins) for part in keys])
    limits = {0: shards.boundaries(found, bins, places).tolist()}
    work = ExchangeParts(workdir, ranges, tuple(f"domain {i}" for i in range(DOMAINS)))
    by_shard: dict[int, list[Any]] = {}
    for group in groups(parts, n_shards):
        task = Task(group[0], "f", {"parts": group, "limits": limits})
        result = work.run(task, Heartbeat(workdir, "x", task.name))
        for number, segment in _segments(result):
            by_shard.setdefault(number, []).append(segment)
    plan = PlanShard("mark", tuple(shards.places(ranges)))
    write = WriteShard(workdir, corpus, ("arrow",), "mark")
    totals = [0, 0]
    for number, segments in sorted(by_shard.items()):
        task = plan((number, segments))
        result = write.run(task, Heartbeat(workdir, "y", task.name))
        totals[0] += result.details["lineage"]["bytes"]
        totals[1] += result.details["lineage"]["rows"]
    return totals


def apart(corpus: str, folder: Path) -> None:
    """The rows by domain, each domain a data set: what the peer starts from."""
    from datasets import Dataset

    files = sorted(Path(corpus, "train").glob("*.arrow"))
    table = pa.concat_tables([pa.ipc.open_stream(file.read_bytes()).read_all() for file in files])
    domain = table.column("domain").to_numpy()
    for number in range(DOMAINS):
        mine = table.take(pa.array(np.flatnonzero(domain == number)))
        Dataset(mine.cast(CORPUS)).save_to_disk(str(folder / f"{number:02d}"))


def interleave(folder: Path, target: Path, n_shards: int) -> None:
    """The peer: every row once, domains in the proportion of their rows."""
    from datasets import interleave_datasets, load_from_disk

    sets = [load_from_disk(str(path)) for path in sorted(folder.iterdir())]
    total = sum(map(len, sets))
    mixed = interleave_datasets(
        sets,
        probabilities=[len(one) / total for one in sets],
        seed=7,
        stopping_strategy="all_exhausted_without_replacement",
    )
    mixed.save_to_disk(str(target), num_shards=n_shards)


def copy(corpus: str, target: Path, *, hashed: bool) -> None:
    """The limit: read and write the shards once."""
    target.mkdir()
    for shard in sorted(Path(corpus, "train").glob("*.arrow")):
        digest = hashlib.sha256()
        with shard.open("rb") as source, (target / shard.name).open("wb") as out:
            while chunk := source.read(1 << 20):
                if hashed:
                    digest.update(chunk)
                out.write(chunk)


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Wall and CPU seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, default=1_000)
    parser.add_argument("--parts", type=int, default=16)
    parser.add_argument("--shards", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", help="where to work; a temporary folder otherwise")
    args = parser.parse_args()
    os.environ["HF_DATASETS_DISABLE_PROGRESS_BARS"] = "1"
    pa.set_cpu_count(1)
    with tempfile.TemporaryDirectory(dir=args.folder) as name:
        folder = Path(name)
        workdir, corpus = Workdir(str(folder / "work")), str(folder / "corpus")
        parts = prepare(workdir, args.megabytes * 1_000_000, args.parts)
        traced, rows = exchange_and_write(workdir, corpus, parts, args.shards)
        print(
            f"{sum(parts.values()) / 1e6:,.0f} MB of text, {rows:,} documents, {args.parts} parts,"
        )
        print(f"{args.shards} shards; lineage {traced / rows:.1f} bytes a document\n")
        apart(corpus, folder / "apart")
        works: dict[str, Callable[[], object]] = {
            "exchange and Arrow shards": lambda: exchange_and_write(
                workdir, corpus, parts, args.shards
            ),
            "datasets: interleave, save_to_disk": lambda: interleave(
                folder / "apart", folder / "peer", args.shards
            ),
            "copy with sha256": lambda: copy(corpus, folder / "copy", hashed=True),
            "copy": lambda: copy(corpus, folder / "copy", hashed=False),
        }
        best = dict.fromkeys(works, (float("inf"), float("inf")))
        for _ in range(args.rounds):
            for title, work in works.items():
                for stale in ("peer", "copy"):
                    with contextlib.suppress(FileNotFoundError):
                        shutil.rmtree(folder / stale)
                best[title] = min(best[title], timed(work))
        print("| | seconds | CPU seconds | MB/s of CPU time | times |\n|---|---:|---:|---:|---:|")
        ours = best["exchange and Arrow shards"][1]
        for title, (wall, cpu) in best.items():
            rate = sum(parts.values()) / 1e6 / cpu
            print(f"| {title} | {wall:.2f} | {cpu:.2f} | {rate:,.0f} | {cpu / ours:.2f} |")


if __name__ == "__main__":
    main()
