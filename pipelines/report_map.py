"""``map.parquet``: places, beginnings and domains of some documents, for the report's map."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from mixcurate.io import partfiles, storage
from mixcurate.io.workdir import Workdir
from mixcurate.kernels.nearest import normalise
from mixcurate.kernels.projection import project
from mixcurate.transforms.cluster_files import fit_note_path, map_path
from mixcurate.transforms.quality_columns import read_overall
from mixcurate.transforms.sample import read_sample, rows_path

#: Characters of a text that are kept.
_CHARACTERS = 400

#: Parts read at once: of a sample nearly every row is in a part of its own, and opening one takes
#: longer than reading it.
_THREADS = 8

MAP = pa.schema(
    [
        pa.field("x", pa.float32(), nullable=False),  # -1 to 1
        pa.field("y", pa.float32(), nullable=False),
        pa.field("id", pa.string(), nullable=False),
        pa.field("domain", pa.int32(), nullable=False),  # -1: the document is not in the pool
        pa.field("excerpt", pa.string(), nullable=False),
        pa.field("url", pa.string()),
        pa.field("source", pa.string(), nullable=False),
        pa.field("language", pa.string(), nullable=False),
        pa.field("quality", pa.float32(), nullable=False),
    ]
)


def write_map(workdir: Workdir, *, documents: int, seed: int) -> None:
    """Lay the first documents of the fit's sample out in two dimensions; write ``map.parquet``.

    The sample is in the order of a hash, so that its beginning is a sample too. Rows of the table
    are in that order. Memory goes with ``documents``, not with the corpus.

    Args:
        workdir: of a job whose documents are sampled and assigned to domains.
        documents: so many are drawn, or as many as the sample has.
        seed: of the layout.
    """
    rows = _first_rows(rows_path(workdir), documents)
    vectors = read_sample(workdir, documents)
    if storage.read_json(fit_note_path(workdir))["metric"] == "cosine":
        vectors = normalise(vectors)
    places = project(vectors, seed)
    part, row = rows.column("part").to_numpy(), rows.column("row").to_numpy()
    names = sorted(set(part.tolist()))
    with ThreadPoolExecutor(_THREADS) as pool:
        wanted = [np.sort(row[part == name]) for name in names]
        tables = list(pool.map(partial(_read, workdir), names, wanted))
    found = pa.concat_tables(tables) if tables else _EMPTY
    order = np.empty(len(row), np.int64)
    order[np.lexsort((row, part))] = np.arange(len(row))
    found = found.take(pa.array(order))
    found = found.append_column("x", pa.array(places[:, 0]))
    found = found.append_column("y", pa.array(places[:, 1]))
    partfiles.write_table(map_path(workdir), found.select(MAP.names).cast(MAP))


_EMPTY = pa.schema([field for field in MAP if field.name not in ("x", "y")]).empty_table()


def _first_rows(path: str, count: int) -> pa.Table:
    """The first rows of a table."""
    found: list[pa.RecordBatch] = []
    for batch in partfiles.iter_batches(path, ["part", "row"]):
        found.append(batch)
        if sum(piece.num_rows for piece in found) >= count:
            break
    schema = pa.schema([("part", pa.string()), ("row", pa.int64())])
    return pa.Table.from_batches([piece.cast(schema) for piece in found], schema).slice(0, count)


def _read(workdir: Workdir, part: str, rows: npt.NDArray[np.int64]) -> pa.Table:
    """What is shown of some documents of a part; ``rows`` rise."""
    path = workdir.part("ingest", part)
    columns = ["id", "text", "url", "source", "language"]
    pieces: list[pa.Table] = []
    start = 0
    for batch in partfiles.iter_batches(path, columns):
        mine = rows[(rows >= start) & (rows < start + batch.num_rows)] - start
        pieces.append(pa.Table.from_batches([batch.take(pa.array(mine))]))
        start += batch.num_rows
        if len(rows) == 0 or rows[-1] < start:
            break
    table = pa.concat_tables(pieces)
    starts = pc.utf8_slice_codeunits(table.column("text"), 0, _CHARACTERS)
    assigned = partfiles.read_table(workdir.part("cluster", part), ["domain"])
    overall = read_overall(workdir, part)
    added: dict[str, Any] = {
        "excerpt": starts.cast(pa.string()),
        "domain": assigned.column("domain").take(pa.array(rows)),
        "quality": pa.array(overall[rows]),
    }
    for name, values in added.items():
        table = table.append_column(name, values)
    return table.select(_EMPTY.column_names).cast(_EMPTY.schema)
