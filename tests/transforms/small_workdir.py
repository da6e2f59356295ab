"""A workdir with documents and vectors made up on the spot, for the transforms that read both."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa

from mixcurate.io import partfiles, storage
from mixcurate.io.workdir import Heartbeat, Workdir
from mixcurate.kernels import quality
from mixcurate.tables import ASSIGNED, embeddings_schema
from mixcurate.transforms.quality import QualityPart
from mixcurate.transforms.quality_columns import write_dimensions
from mixcurate.transforms.tasks import Task


def write_documents(workdir: Workdir, part: str, n: int, seed: int = 0) -> pa.Table:
    """The narrow columns of a part's documents."""
    random = np.random.default_rng([seed, *part.encode()])
    signals = {
        f"signal_{name}": random.random(n).astype(np.float32) * (500 if name == "n_words" else 1)
        for name in quality.INPUTS
    }
    table = pa.table(
        {
            "id": [f"{part}-{row:04d}" for row in range(n)],
            "text": [f"text {row} of {part}" for row in range(n)],
            "url": pa.nulls(n, pa.string()),
            "source": ["web"] * n,
            "path": [f"{part}.jsonl"] * n,
            "position": np.arange(n),
            "language": random.choice(["en", "sv"], n).tolist(),
            "n_tokens": random.integers(1, 100, n).astype(np.int32),
            "n_bytes": random.integers(1, 400, n),
            "metadata": [json.dumps({"edu score": row % 5, "text": "x"}) for row in range(n)],
            **signals,
        }
    )
    partfiles.write_table(workdir.part("ingest", part), table)
    judge(workdir, part)
    return table


def judge(workdir: Workdir, part: str) -> None:
    """The quality columns of a part's documents, by their signals."""
    write_dimensions(workdir, quality.HEURISTICS)
    work = QualityPart(workdir, quality.HEURISTICS, (), "fail")
    work.run(Task(part, ""), Heartbeat(workdir, work.stage, part))


def write_vectors(workdir: Workdir, part: str, vectors: np.ndarray) -> None:
    """The part's embeddings, as another tool may have left them: our own writer checks them."""
    schema = embeddings_schema(vectors.shape[1], "float32")
    numbers = pa.array(vectors.astype(np.float32).ravel())
    column = pa.FixedSizeListArray.from_arrays(numbers, type=schema.field(0).type)
    with (
        storage.open_atomic(workdir.part("embed", part)) as stream,
        pa.ipc.new_file(stream, schema) as writer,
    ):
        writer.write_batch(pa.RecordBatch.from_arrays([column], schema=schema))


def write_assigned(workdir: Workdir, path: str, cluster: list[int], distance: list[float]) -> None:
    """Nearest clusters of a part."""
    none = pa.array([-1] * len(cluster), pa.int32())
    arrays = [pa.array(cluster, pa.int32()), pa.array(distance, pa.float32()), none]
    partfiles.write_table(path, pa.Table.from_arrays(arrays, schema=ASSIGNED))
