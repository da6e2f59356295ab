"""Arrow IPC streams in the layout of Hugging Face ``datasets``.

``load_from_disk`` reads the root or one split, ``load_dataset`` the root by its README.
"""

# ruff: noqa: ARG001 - every format has the same functions

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import IO, Any

import pyarrow as pa

from mixcurate.errors import CorpusError
from mixcurate.io.shard_formats.base import ShardWriter, TokenOptions, entries, json_file
from mixcurate.tables import CORPUS

NAME = "arrow"

#: Arrow's names of types that ``datasets`` calls otherwise.
_DTYPES = {"float": "float32"}


class _Writer:
    def __init__(self, writer: pa.RecordBatchWriter) -> None:
        self._writer = writer

    def write(self, batch: pa.RecordBatch) -> None:
        self._writer.write_batch(batch)


def shard_paths(split: str, shard: int, n_shards: int) -> list[str]:
    """One stream a shard, in a folder for each split."""
    return [f"{split}/data-{shard:05d}-of-{n_shards:05d}.arrow"]


@contextlib.contextmanager
def open_writer(
    streams: list[IO[bytes]], shard: int, tokens: TokenOptions | None
) -> Iterator[ShardWriter]:
    """Each batch that is written stays a batch of the file: readers map them whole."""
    with pa.ipc.new_stream(streams[0], CORPUS) as writer:
        yield _Writer(writer)


def read_rows(streams: list[IO[bytes]]) -> Iterator[pa.RecordBatch]:
    """Every column of the corpus.

    Raises:
        CorpusError: it is no Arrow stream, or has another schema.
    """
    try:
        with pa.ipc.open_stream(streams[0]) as reader:
            if not reader.schema.equals(CORPUS):
                names = ", ".join(f"{field.name} ({field.type})" for field in reader.schema)
                raise CorpusError(f"another schema: {names}")
            for batch in reader:
                batch.validate()
                yield batch
    except (pa.ArrowException, OSError, ValueError) as error:
        raise CorpusError(str(error)) from error


def files_beside(split: str, manifest: dict[str, Any]) -> dict[str, bytes]:
    """``state.json`` with all keys that ``load_from_disk`` requires, and the features."""
    shards = entries(manifest, NAME, split)
    if not shards:
        return {}
    state = {
        "_data_files": [{"filename": s["path"].removeprefix(f"{split}/")} for s in shards],
        "_fingerprint": manifest["recipe_fingerprint"],
        "_format_columns": None,
        "_format_kwargs": {},
        "_format_type": None,
        "_output_all_columns": False,
        "_split": split,
    }
    features = {
        field.name: {"dtype": _DTYPES.get(str(field.type), str(field.type)), "_type": "Value"}
        for field in CORPUS
    }
    splits = [name for name in ("train", "holdout") if entries(manifest, NAME, name)]
    return {
        f"{split}/state.json": json_file(state),
        f"{split}/dataset_info.json": json_file({"features": features}),
        "dataset_dict.json": json_file({"splits": splits}),
    }
