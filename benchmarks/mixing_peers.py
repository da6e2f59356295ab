"""What other tools do to mix the same documents; run by benchmarks.mixing in their environments.

    python mixing_peers.py datasets|data_juicer|threshold REQUEST.json

The request names each source's file, its share of tokens, its tokens and documents, the output, and
how many processes datasets has (null: none but this).
Prints the seconds that the work took without the start of the interpreter and its imports.
"""

from __future__ import annotations

import json
import random
import sys
import time
from pathlib import Path


def probabilities(sources: list[dict]) -> list[float]:
    """Of documents, so that tokens come out as asked on average: share / mean tokens."""
    rates = [s["share"] / (s["tokens"] / s["documents"]) for s in sources]
    return [rate / sum(rates) for rate in rates]


def run_datasets(request: dict) -> float:
    """Hugging Face: JSON Lines to a dataset, interleave, save to disk."""
    import datasets

    started = time.perf_counter()
    parts = [
        datasets.load_dataset(
            "json",
            data_files=s["path"],
            split="train",
            cache_dir=request["cache"],
            num_proc=request["processes"],
        )
        for s in request["sources"]
    ]
    mixed = datasets.interleave_datasets(
        parts, probabilities=probabilities(request["sources"]), seed=17
    )
    mixed = mixed.select(range(min(request["documents"], len(mixed))))
    mixed.save_to_disk(request["output"], num_proc=request["processes"])
    return time.perf_counter() - started


def run_data_juicer(request: dict) -> float:
    """Data-Juicer: the classes of tools/postprocess/data_mixture.py.

    The tool itself does not hand its --max_samples on in 1.6.1, so that it would not mix at all.
    """
    from types import SimpleNamespace

    from data_juicer.core.data.dataset_builder import DatasetBuilder
    from data_juicer.core.exporter import Exporter

    started = time.perf_counter()
    configs = [
        {"type": "local", "path": source["path"], "weight": weight}
        for source, weight in zip(
            request["sources"], probabilities(request["sources"]), strict=True
        )
    ]
    asked = {"configs": configs, "max_sample_num": request["documents"]}
    dataset = DatasetBuilder(SimpleNamespace(dataset=asked)).load_dataset(num_proc=1)
    Path(request["output"]).mkdir(parents=True, exist_ok=True)
    path = f"{request['output']}/mixed.jsonl"
    Exporter(export_path=path, export_shard_size=0, num_proc=1, export_stats=False).export(dataset)
    return time.perf_counter() - started


def run_threshold(request: dict) -> float:
    """A plain script: a random number for each document, kept below its source's threshold."""
    import zstandard

    started, pick = time.perf_counter(), random.Random(17)
    Path(request["output"]).mkdir(parents=True, exist_ok=True)
    compressor = zstandard.ZstdCompressor(level=3)
    with (
        open(f"{request['output']}/mixed.jsonl.zst", "wb") as target,
        compressor.stream_writer(target) as out,
    ):
        for source in request["sources"]:
            threshold = source["share"] * request["budget"] / source["tokens"]
            with open(source["path"], "rb") as lines:
                for line in lines:
                    document = json.loads(line)
                    if pick.random() < threshold:
                        out.write(json.dumps(document).encode() + b"\n")
    return time.perf_counter() - started


RUN = {"datasets": run_datasets, "data_juicer": run_data_juicer, "threshold": run_threshold}

if __name__ == "__main__":
    print(json.dumps({"seconds": RUN[sys.argv[1]](json.loads(Path(sys.argv[2]).read_text()))}))
