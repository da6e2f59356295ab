"""Ways to damage a finished corpus, so that only what is meant to be wrong is wrong."""

from __future__ import annotations

import contextlib
import hashlib
import io
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa

from mixcurate.io import storage
from mixcurate.io.corpus import OWNER, beside
from mixcurate.io.shard_formats.table import FORMATS
from mixcurate.io.verify import verify_corpus
from tests.made_corpus import describe


def edit_manifest(corpus: str, edit: Callable[[dict[str, Any]], None]) -> None:
    """Change the manifest, and what follows from it: the index files and the card."""
    manifest = storage.read_json(f"{corpus}/manifest.json")
    edit(manifest)
    storage.write_json(f"{corpus}/manifest.json", manifest)
    owner = storage.read_json(f"{corpus}/{OWNER}")
    data = storage.read_bytes(f"{corpus}/manifest.json")
    owner["manifest_sha256"] = hashlib.sha256(data).hexdigest()
    storage.write_json(f"{corpus}/{OWNER}", owner)
    with contextlib.suppress(KeyError):  # of a manifest that lacks something
        for path, content in beside(manifest).items():
            storage.write_bytes(f"{corpus}/{path}", content)


def reseal(corpus: str, path: str) -> None:
    """Make the manifest agree with the new bytes of a file, so that only its content is wrong."""

    def edit(manifest: dict[str, Any]) -> None:
        files = [file for shard in manifest["shards"] for file in (shard, *shard["also"])]
        file = next(f for f in (*files, *manifest["lineage"]) if f["path"] == path)
        file.update(describe(f"{corpus}/{path}"))

    edit_manifest(corpus, edit)


def rewrite_tar(
    corpus: str, path: str, edit: Callable[[list[tuple[str, bytes]]], list[tuple[str, bytes]]]
) -> None:
    """Write a tar with other members."""
    with tarfile.open(f"{corpus}/{path}") as archive:
        members = [(m.name, archive.extractfile(m).read()) for m in archive]  # type: ignore[union-attr]
    with tarfile.open(f"{corpus}/{path}", "w") as archive:
        for name, data in edit(members):
            header = tarfile.TarInfo(name)
            header.size = len(data)
            archive.addfile(header, io.BytesIO(data))
    reseal(corpus, path)


def rewrite_arrow(corpus: str, path: str, edit: Callable[[pa.Table], pa.Table]) -> None:
    """Write an Arrow shard with other rows or columns."""
    with pa.OSFile(f"{corpus}/{path}") as stream:
        table = edit(pa.ipc.open_stream(stream).read_all())
    with pa.OSFile(f"{corpus}/{path}", "wb") as out, pa.ipc.new_stream(out, table.schema) as w:
        w.write_table(table)
    reseal(corpus, path)


def rewrite_rows(
    corpus: str, name: str, place: tuple[str, int, int], edit: Callable[[pa.Table], pa.Table]
) -> str:
    """Write a shard (split, number, shards of the split) of any format with other rows."""
    split, shard, n_shards = place
    (path,) = FORMATS[name].shard_paths(split, shard, n_shards)
    full = Path(corpus, path)
    with full.open("rb") as stream:
        table = edit(pa.Table.from_batches(FORMATS[name].read_rows([stream])))
    with full.open("wb") as out, FORMATS[name].open_writer([out], shard, None) as writer:
        for batch in table.combine_chunks().to_batches():
            writer.write(batch)
    reseal(corpus, path)
    return path


def only(corpus: str, *words: str) -> None:
    """There is a problem with all of these words, and every problem is a sentence of its own."""
    problems = verify_corpus(corpus)
    assert any(all(word in problem for word in words) for problem in problems), problems
    assert all("\n" not in problem for problem in problems)
