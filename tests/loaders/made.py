"""A small corpus for loaders, and its documents in order as pyarrow reads them."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from mixcurate.io import storage
from tests.corpora import build

Document = dict[str, Any]


class Made:
    """A corpus and the oracle: its documents as a plain list."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.documents: list[Document] = []
        for shard in storage.read_json(f"{path}/manifest.json")["shards"]:
            if shard["format"] == "arrow":
                data = Path(path, shard["path"]).read_bytes()
                self.documents += pa.ipc.open_stream(data).read_all().to_pylist()

    @property
    def keys(self) -> list[str]:
        return keys(self.documents)


def keys(documents: Iterable[Document]) -> list[str]:
    """Names of documents: a copy is one of its own."""
    return [f"{document['id']}.{document['copy']}" for document in documents]


def first(documents: Iterable[Document], count: int) -> list[str]:
    return keys(itertools.islice(documents, count))


def make(folder: str, n_shards: int = 7) -> Made:
    """72 documents of three domains and two sources, in ``n_shards`` shards."""
    return Made(build(folder, kinds=("arrow",), n_shards=n_shards).corpus)


def edit(path: str, **values: list[Any]) -> None:
    """Give every shard of the manifest one of ``values``, in order."""
    manifest = storage.read_json(f"{path}/manifest.json")
    for name, column in values.items():
        for shard, value in zip(manifest["shards"], column, strict=True):
            shard[name] = value
    storage.write_json(f"{path}/manifest.json", manifest)


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return make(str(tmp_path_factory.mktemp("loaders")))
