"""Embeddings of a finished stage as Parquet that other programs read, each with its document's id.

The workdir's own files are Arrow, aligned with ``documents/`` by row: right for memory maps, but
Spark, cuDF and the like read Parquet, and join by a column.
"""

from __future__ import annotations

import fnmatch

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mixcurate.errors import InputError, OutputError, RequestError
from mixcurate.io import partfiles, storage
from mixcurate.io.embeddings import Floats, embeddings_info, iter_embeddings
from mixcurate.io.workdir import Workdir
from mixcurate.tables import export_schema

_OURS = "part-*.parquet"


def export_embeddings(root: str, out: str) -> int:
    """Write ``OUT/part-*.parquet``: id and float32 vector of each document that was embedded.

    One file a part, a row group a record batch, each file whole or not there. Files of an earlier
    export are replaced.

    Args:
        root: the workdir.
        out: folder to write to; made when it is not there.

    Returns:
        The number of rows written.

    Raises:
        RequestError: no workdir, or ``embed`` has not finished for its documents as they are.
        OutputError: ``out`` cannot be written, or holds files that are no such export.
    """
    workdir = Workdir.open(root)
    parts = _finished_parts(workdir)
    storage.require_writable(out)
    older = _older_export(out)
    for name in older:  # all of them first: an interrupted export is never part old, part new
        storage.remove(storage.join(out, name))
    for part in parts:
        _export_part(workdir, part, storage.join(out, f"part-{part}.parquet"))
    return sum(parts.values())


def _finished_parts(workdir: Workdir) -> dict[str, int]:
    """Names of the parts with their rows, which their documents and vectors both have."""
    root = workdir.root
    if not storage.exists(workdir.path("recipe.yaml")):
        raise RequestError(f"{root} is no workdir: it has no recipe.yaml that a run has left")
    ingested, embedded = workdir.success("ingest"), workdir.success("embed")
    if ingested is None or embedded is None:
        raise RequestError(
            f"stage 'embed' has not finished in {root}; run it first: mixcurate embed RECIPE"
        )
    if ingested.rows != embedded.rows:
        raise RequestError(
            f"the embeddings in {root} are of other documents than it has now; run the stage "
            f"again: mixcurate embed RECIPE"
        )
    return embedded.rows


def _older_export(out: str) -> list[str]:
    """Names of what an earlier export has left in ``out``, whole or not.

    Raises:
        OutputError: there is anything else, which is not ours to mix with or to remove.
    """
    names = storage.list_names(out)
    foreign = [name for name in names if not _is_export(storage.join(out, name), name)]
    if foreign:
        shown = ", ".join(foreign[:3]) + (", …" if len(foreign) > 3 else "")
        raise OutputError(
            f"{out} holds what no export of embeddings has written ({shown}); choose another "
            f"folder or empty it"
        )
    return names


def _is_export(path: str, name: str) -> bool:
    """By name and by columns: documents, scores and files of other programs have such names too."""
    if fnmatch.fnmatchcase(name, f".tmp-{_OURS}.*"):
        return True
    if not fnmatch.fnmatchcase(name, _OURS):
        return False
    try:
        with storage.open_read(path) as stream:
            schema = pq.read_schema(stream)
    except (pa.ArrowException, OSError):
        return False
    vector = schema.types[-1] if schema.types else pa.null()
    return pa.types.is_fixed_size_list(vector) and bool(
        schema.equals(export_schema(vector.list_size))
    )


def _export_part(workdir: Workdir, part: str, path: str) -> None:
    """Write one file; holds the part's ids and one batch of its vectors."""
    source = workdir.part("embed", part)
    rows, dimension, _ = embeddings_info(source)
    ids = partfiles.read_table(workdir.part("ingest", part), ["id"]).column("id").combine_chunks()
    if len(ids) != rows:
        raise InputError(f"{source} has {rows:,} rows for {len(ids):,} documents; run embed again")
    schema = export_schema(dimension)
    done = 0
    with (
        storage.open_atomic(path) as stream,
        # no dictionary: ids and vectors do not repeat; and no byte-stream split, which would be
        # smaller but which not every version of Spark and cuDF decodes
        pq.ParquetWriter(stream, schema, compression="zstd", use_dictionary=False) as writer,
    ):
        for vectors in iter_embeddings(source):
            column = _column(vectors, schema.field("embedding").type)
            batch = [ids.slice(done, len(vectors)), column]
            writer.write_batch(pa.RecordBatch.from_arrays(batch, schema=schema))
            done += len(vectors)


def _column(vectors: Floats, kind: pa.DataType) -> pa.Array:
    flat = np.ascontiguousarray(vectors, np.float32).reshape(-1)
    return pa.FixedSizeListArray.from_arrays(pa.array(flat, pa.float32()), type=kind)
