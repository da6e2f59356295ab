"""What tests of the reuse of vectors share: hand-made workdirs with parts that are embedded."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from mixcurate.io import partfiles, storage
from mixcurate.io.embeddings import EmbeddingsWriter
from mixcurate.io.workdir import Part, TaskResult, Workdir
from mixcurate.kernels.copies import hash_words
from mixcurate.kernels.hashing import content_hashes
from mixcurate.recipe import Recipe
from mixcurate.transforms.reuse import gather, hashes_path
from mixcurate.transforms.runner import BeamArgs
from pipelines import reuse
from pipelines.job import Job
from pipelines.progress import Reporter

MODEL = "weights-1 fp32 256"


def job(folder: str, *others: str, dedup: object = None) -> Job:
    recipe = Recipe.model_validate(
        {
            "name": "small",
            "workdir": "own",
            "inputs": [{"path": "in", "source": "x"}],
            "ingest": {"dedup": dedup},
            "embed": {"reuse": list(others)},
        }
    )
    workdir = Workdir(storage.join(folder, "own"))
    args = BeamArgs("FnApiRunner", (), 1, None)
    return Job(recipe, folder, workdir, args, Reporter(quiet=True))


def vector(text: str) -> list[float]:
    return [float(len(text)), float(sum(text.encode()) % 512)]


def hashes(texts: list[str]) -> pa.Array:
    return content_hashes(pa.array(texts, pa.large_string()))


def ingest(workdir: Workdir, parts: dict[str, list[str]]) -> list[Part]:
    """Documents as far as reuse looks at them."""
    for name, texts in parts.items():
        table = pa.table({"content_hash": hashes(texts)})
        partfiles.write_table(workdir.part("ingest", name), table)
    return [
        Part(name, len(texts), 0, "digest of " + " ".join(texts)) for name, texts in parts.items()
    ]


def embed(
    workdir: Workdir, name: str, texts: list[str], mark: str = "", identity: str = MODEL
) -> TaskResult:
    """Commit an embedded part."""
    path = workdir.part("embed", name)
    with EmbeddingsWriter(path, 2) as writer:
        writer.write(np.array([vector(text) for text in texts], np.float32))
    hashed = hashes_path(workdir.root, name)
    partfiles.write_array(hashed, hash_words(hashes(texts)))
    result = TaskResult(
        task=name,
        fingerprint=mark or f"fingerprint-{name}",
        outputs=[workdir.output(path), workdir.output(hashed)],
        documents_in=len(texts),
        documents_out=len(texts),
        details={"encoder": identity, "model": f"a model with {identity}", "dimension": 2},
    )
    workdir.commit("embed", result)
    return result


def other(root: str, parts: dict[str, list[str]], identity: str = MODEL) -> Workdir:
    workdir = Workdir(root)
    storage.write_bytes(workdir.path("recipe.yaml"), b"")
    for name, texts in parts.items():
        embed(workdir, name, texts, identity=identity)
    return workdir


def change(workdir: Workdir, result: TaskResult, **details: Any) -> None:
    """Commit a part again with other details; None takes one away."""
    changed = {name: v for name, v in (result.details | details).items() if v is not None}
    workdir.commit("embed", dataclasses.replace(result, details=changed))


def without_pipelines(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(*_: object, **__: object) -> None:
        raise AssertionError("a pipeline is run")

    monkeypatch.setattr(Job, "run_pipeline", run)


class Killed(BaseException):
    """Stands for the end of the process."""


def texts_of(origin: reuse.Origin | None, known: list[str]) -> list[list[str]]:
    """The texts whose hashes and vectors an origin holds, per part."""
    assert origin is not None
    by_hash = {
        tuple(h): text for h, text in zip(hash_words(hashes(known)).tolist(), known, strict=True)
    }
    found = []
    for part in range(len(origin.parts)):
        texts = [by_hash[tuple(h)] for h in partfiles.read_array(origin.hashes_path(part)).tolist()]
        vectors = reuse_rows(origin, part, len(texts))
        assert vectors == [vector(text) for text in texts]
        found.append(texts)
    return found


def reuse_rows(origin: reuse.Origin, part: int, count: int) -> list[list[float]]:
    out = np.zeros((count, 2), np.float32)
    copies = np.array(
        [(0, row, 0, part, row) for row in range(count)],
        [(n, "<u4") for n in ("part", "row", "origin", "source_part", "source_row")],
    )
    gather(copies, [origin], out)
    rows: list[list[float]] = out.tolist()
    return rows
