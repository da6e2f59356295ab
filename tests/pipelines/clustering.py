"""What tests of the cluster stage share: running it, and reading what it left."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from mixcurate.io import partfiles
from mixcurate.io.embeddings import read_embeddings
from mixcurate.io.workdir import Workdir
from mixcurate.tables import embeddings_schema
from tests.pipelines.conftest import invoke


def cluster(recipe: Path, *settings: str) -> str:
    """Run the stage; what it says."""
    sets = [part for setting in settings for part in ("--set", setting)]
    result = invoke("cluster", recipe, *sets)
    assert result.exit_code == 0, result.output
    return result.output


def table(recipe: Path, name: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = partfiles.read_table(
        str(recipe.parent / "work" / f"{name}.parquet")
    ).to_pylist()
    return rows


def parts(recipe: Path, folder: str) -> pa.Table:
    paths = sorted((recipe.parent / "work" / folder).glob("part-*.parquet"))
    return pa.concat_tables([partfiles.read_table(str(path)) for path in paths])


def rejected(recipe: Path) -> dict[str, int]:
    success = Workdir(str(recipe.parent / "work")).success("cluster")
    assert success is not None
    return success.rejected


def replace_vectors(recipe: Path, change: Any) -> None:
    """Put other vectors in the place of the embeddings, as a foreign tool may have left them."""
    for path in sorted((recipe.parent / "work" / "embeddings").glob("part-*.arrow")):
        vectors = change(np.array(read_embeddings(str(path)), np.float32))
        schema = embeddings_schema(vectors.shape[1], "float32")
        column = pa.FixedSizeListArray.from_arrays(
            pa.array(vectors.ravel()), type=schema.field(0).type
        )
        with pa.OSFile(str(path), "wb") as stream, pa.ipc.new_file(stream, schema) as writer:
            writer.write_batch(pa.RecordBatch.from_arrays([column], schema=schema))
