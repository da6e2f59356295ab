"""Every count of the score stage against brute force, for ``benchmarks.score --equality``."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import yaml
import zstandard
from safetensors.numpy import save_file

from mixcurate.models.embedded import encoder_folder
from tests.pipelines.brute_force_samplemix import brute_force, read_workdir, settings_of

TOPICS = Path("../shared/data/topics")
TEXTS = [TOPICS / "20newsgroups.jsonl.zst", TOPICS / "stackoverflow_titles.jsonl.zst"]

#: Settings of ``score.weight``, and the share of the pool's tokens that is the budget.
WEIGHTS: list[tuple[dict[str, Any], float | None]] = [
    ({}, None),
    ({}, 0.2),
    ({}, 3.3),
    ({"alpha": 0}, 0.7),
    ({"alpha": 1}, 0.7),
    ({"tau": 0.01}, 0.7),
    ({"max_epochs": 1.5, "tau": 0.05}, 1.2),
    ({"exact": "tokens"}, 0.7),
    ({"exact": "tokens", "max_epochs": 2, "within": "domain"}, 0.9),
    ({"method": "soft_cap"}, 1.7),
    ({"method": "soft_cap", "exact": "tokens", "penalty": 2}, 0.6),
    ({"method": "gumbel"}, 2.4),
    ({"method": "gumbel", "exact": "tokens"}, 0.4),
    ({"normalise": "rank"}, 0.7),
    ({"normalise": "rank", "within": "domain"}, 1.7),
]

#: A copy whose expected number is nearer than this to another rounding may come out otherwise.
NEAR = 1e-6


def write_texts(path: Path, files: list[Path], documents: int) -> None:
    """Real texts, repeated with some words changed until there are enough."""
    texts = []
    for file in files:
        with zstandard.open(file, "rb") as stream:
            texts += [orjson.loads(line)["text"][:2_000] for line in io.BufferedReader(stream)]
    random = np.random.default_rng(1)
    with path.open("wb") as out:
        for number in range(documents):
            words = texts[number % len(texts)].split(" ")
            if number >= len(texts):
                others = texts[int(random.integers(len(texts)))].split(" ")
                place = int(random.integers(len(words)))
                words[place : place + 4] = others[:8]
            out.write(orjson.dumps({"text": " ".join(words)}) + b"\n")


def write_model(folder: Path) -> None:
    """A static model of arbitrary word vectors, rare words heavier: it needs no download."""
    folder.mkdir()
    words, random = 30_522, np.random.default_rng(6)
    tensors = {
        "embeddings": random.standard_normal((words, 128), np.float32),
        "weights": np.log1p(np.arange(words)) ** 2,
    }
    save_file(tensors, folder / "model.safetensors")
    shutil.copy(Path(encoder_folder()) / "tokenizer.json", folder)
    (folder / "config.json").write_text('{"model_type": "model2vec", "normalize": true}')


def mixcurate(*args: str | Path) -> None:
    """Run a command."""
    command = [sys.executable, "-m", "pipelines.cli", *map(str, args)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{command} failed:\n{done.stdout}{done.stderr[-4_000:]}")


def compare_counts(folder: Path, files: list[Path], documents: int) -> bool:
    """A row for each setting of the weights; whether all is as it should be."""
    folder.mkdir(parents=True, exist_ok=True)
    write_texts(folder / "in.jsonl", files, documents)
    write_model(folder / "model")
    recipes, good = [], True
    for workers in (1, 2):
        recipes.append(folder / f"recipe-{workers}.yaml")
        recipe = {
            "name": "equality",
            "workdir": f"work-{workers}",
            "inputs": [{"path": "in.jsonl"}],
            "ingest": {"filters": "none", "dedup": None, "part_documents": 2_000},
            "embed": {"model": str(folder / "model"), "backend": "static", "max_tokens": 512},
            "cluster": {"k": 100, "prune": None, "prototypes": 0.1, "merge": {"domains": 8}},
        }
        recipes[-1].write_text(yaml.safe_dump(recipe))
        mixcurate("run", recipes[-1], "--until", "score", "--quiet", *beam(workers))
    print("| weights | budget / pool | documents | in the pool | copies | differ | beyond rounding "
          "| nearest call | 1 = 2 workers |")  # fmt: skip
    print("|---|---|---|---|---|---|---|---|---|", flush=True)
    tokens = json.loads((folder / "work-1/assignments/_SUCCESS").read_text())["tokens"]
    for weight, share in WEIGHTS:
        budget = None if share is None else int(share * tokens)
        sets = [f"score.weight.{key}={value}" for key, value in weight.items()]
        sets += [f"mixture.budget_tokens={budget or 'null'}"]
        options = [part for setting in sets for part in ("--set", setting)]
        for workers, path in zip((1, 2), recipes, strict=True):
            mixcurate("score", path, "--quiet", *options, *beam(workers))
        work = read_workdir(folder / "work-1")
        expected = brute_force(work, settings_of(weight, budget=budget, seed=17))
        differ = work.scores.column("copies").to_numpy() != expected.copies
        wrong = int((differ & (expected.doubt > NEAR)).sum())
        same = tables(folder / "work-1") == tables(folder / "work-2")
        good = good and wrong == 0 and same
        print(
            f"| {weight or 'defaults'} | {share or 1} | {len(differ):,} | {work.pool.sum():,} | "
            f"{expected.copies.sum():,} | {differ.sum()} | {wrong} | {expected.doubt.min():.0e} | "
            f"{'yes' if same else 'NO'} |",
            flush=True,
        )
    return good


def beam(workers: int) -> list[str]:
    """Options of Beam for so many processes."""
    if workers == 1:
        return ["--", "--direct_num_workers=1"]
    return ["--", "--direct_running_mode=multi_processing", f"--direct_num_workers={workers}"]


def tables(work: Path) -> dict[str, bytes]:
    """The stage's tables by name."""
    steps = ("scores", "_stages/score", "_stages/diversity", "_stages/quality")
    paths = [path for step in steps for path in sorted((work / step).rglob("*")) if path.is_file()]
    return {
        str(path.relative_to(work)): path.read_bytes()
        for path in paths
        if path.name != "_SUCCESS" and "tasks" not in path.parts
    }
