"""The lineage of a corpus: its files are whole, and row i of a file is row i of its shard."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mixcurate.io import lineage, storage, verify_files
from mixcurate.io.corpus import MANIFEST
from mixcurate.io.shard_content import Content, hash_columns
from mixcurate.io.verify_numbers import Contents


def check(corpus: str, manifest: dict[str, Any], contents: Contents) -> list[str]:
    """Files that are missing, changed, unknown, or of other documents.

    Args:
        corpus: its folder.
        manifest: its manifest.
        contents: what was read of its shards.
    """
    listed = manifest["lineage"]
    wanted = [lineage.lineage_path(number) for number in range(len(listed))]
    problems = []
    for entry, path in zip(listed, wanted, strict=True):
        if entry["path"] != path:  # and nothing else that a manifest names is opened
            problems.append(f"{MANIFEST}: expected the lineage {path}, found {entry['path']!r}")
        elif changed := verify_files.check_file(corpus, entry):
            problems.append(changed)
        else:
            mine = [
                contents[shard["path"]]
                for shard in manifest["shards"]
                if (shard["split"], shard["shard"]) == (entry["split"], entry["shard"])
                and shard["path"] in contents
            ]
            problems += _check_rows(storage.join(corpus, path), path, mine)
    for name in storage.list_names(storage.join(corpus, lineage.FOLDER)):
        path = f"{lineage.FOLDER}/{name}"
        if path not in wanted:
            problems.append(f"{path} is not in {MANIFEST}, expected no such file")
    return problems


def _check_rows(full: str, path: str, contents: list[Content]) -> list[str]:
    """Whether the lineage has the ids, copies and sources of the shard, in its order."""
    try:
        with storage.open_read(full) as stream, pq.ParquetFile(stream) as file:
            if not file.schema_arrow.equals(lineage.LINEAGE):
                return [f"{path}: expected the columns {', '.join(lineage.LINEAGE.names)}"]
            batches = file.iter_batches(columns=["id", "copy", "source"], use_threads=False)
            found = hash_columns(batches)
    except (pa.ArrowException, OSError, ValueError) as error:
        return [f"{path}: expected a Parquet file, found {error}"]
    for content in contents:
        for name in set(found) & set(content.columns):
            if found[name] != content.columns[name]:
                return [f"{path}: expected the documents of its shard, found another {name!r}"]
    return []
