"""Gather the rows of one shard from the exchange and write them in every format."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
from collections.abc import Callable, Iterator
from typing import IO, Any, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import xxhash

from mixcurate.io import exchange, storage
from mixcurate.io.hashing_stream import HashingStream
from mixcurate.io.shard_formats.base import TokenOptions
from mixcurate.io.shard_formats.table import FORMATS
from mixcurate.io.workdir import Heartbeat, Output, TaskResult, Workdir
from mixcurate.tables import CORPUS
from mixcurate.transforms.exchange import exchange_path
from mixcurate.transforms.tasks import Task

MATERIALIZE = "materialize"

#: What documents and tokens of a shard are added up by.
_GROUPS = ("domain", "source", "licence")


def _hashing(stream: IO[bytes]) -> HashingStream:
    return HashingStream(stream, hashlib.sha256(), xxhash.xxh64())


def _describe(path: str, stream: HashingStream) -> dict[str, Any]:
    """What the manifest says of a file."""
    sha256, xxh64 = stream.digests
    return {"path": path, "bytes": stream.size, "sha256": sha256, "xxh64": xxh64}


@dataclasses.dataclass(frozen=True)
class WriteShard:
    """Gather one shard's rows from the exchange, order them by hash, write every format.

    The payload of a task: ``split``, ``phase``, ``shard`` (its number in the split), ``n_shards``
    (of the split), ``segments`` (part, extent in the part's exchange file).

    Attributes:
        workdir: where the exchange is.
        corpus: folder of the corpus.
        formats: names of ``FORMATS``.
        mark: fingerprint of the stage.
        tokens: makes the tokenizer where it is used, for formats of tokens.
        stage: the stage of the tasks.
    """

    workdir: Workdir
    corpus: str
    formats: tuple[str, ...]
    mark: str
    tokens: Callable[[], TokenOptions] | None = None
    stage: str = MATERIALIZE

    def run(self, task: Task, heartbeat: Heartbeat) -> TaskResult:
        """Write one shard."""
        segments = [(exchange_path(self.workdir, p), b) for p, b in task.payload["segments"]]
        with exchange.open_segments(segments) as batches:
            table = pa.Table.from_batches(batches).combine_chunks()
            n_rows = table.num_rows
            # stable, and segments come by part and row: equal keys have a fixed order too
            order = np.argsort(table.column("shuffle").to_numpy(), kind="stable")
            files, outputs = self._write(task.payload, table.select(CORPUS.names), order)
            tokens = table.column("n_tokens").to_numpy().astype(np.int64)
            sums = _sums(table, tokens)
        heartbeat.beat(n_rows, int(tokens.sum()))
        return TaskResult(
            task=task.name,
            fingerprint=task.fingerprint,
            outputs=outputs,
            documents_in=sum(batch.num_rows for batch in batches),
            documents_out=n_rows,
            tokens=int(tokens.sum()),
            details={"files": files, "mark": self.mark, "corpus": self.corpus, **sums},
        )

    def _write(
        self, payload: dict[str, Any], rows: pa.Table, order: npt.NDArray[np.intp]
    ) -> tuple[list[dict[str, Any]], list[Output]]:
        """Write the rows once for each format, in pieces; hash what is written."""
        number: int = payload["shard"]
        place = {key: payload[key] for key in ("split", "phase", "shard")}
        paths = [
            FORMATS[name].shard_paths(payload["split"], number, payload["n_shards"])
            for name in self.formats
        ]
        tokens = self.tokens() if self.tokens else None
        with self._open(paths) as streams, contextlib.ExitStack() as stack:
            writers = [
                stack.enter_context(
                    FORMATS[name].open_writer([cast("IO[bytes]", s) for s in mine], number, tokens)
                )
                for name, mine in zip(self.formats, streams, strict=True)
            ]
            for batch in exchange.gather(rows, order):  # of as many rows as a reader maps at once
                for writer in writers:
                    writer.write(batch)
        files: list[dict[str, Any]] = []
        outputs: list[Output] = []
        for name, mine, hashed in zip(self.formats, paths, streams, strict=True):
            first, *also = [_describe(path, s) for path, s in zip(mine, hashed, strict=True)]
            files.append({"format": name} | place | first | {"also": also})
            outputs += [self._output(file) for file in (first, *also)]
        return files, outputs

    @contextlib.contextmanager
    def _open(self, paths: list[list[str]]) -> Iterator[list[list[HashingStream]]]:
        """A stream for each file; all of them appear, or none."""
        full = [[storage.join(self.corpus, path) for path in mine] for mine in paths]
        try:
            with contextlib.ExitStack() as stack:
                yield [
                    [_hashing(stack.enter_context(storage.open_atomic(p))) for p in mine]
                    for mine in full
                ]
        except BaseException:
            for path in (path for mine in full for path in mine):
                storage.remove(path)
            raise

    def _output(self, file: dict[str, Any]) -> Output:
        full = storage.join(self.corpus, file["path"])
        inside = full.startswith(self.workdir.root.rstrip("/") + "/")
        relative = full.removeprefix(self.workdir.root).lstrip("/")
        return Output(relative if inside else full, file["bytes"], f"sha256:{file['sha256']}")


def _sums(rows: pa.Table, tokens: npt.NDArray[np.int64]) -> dict[str, dict[str, list[int]]]:
    """Per domain, source and licence: copies, tokens, tokens of first copies."""
    first = rows.column("copy").to_numpy() == 0
    result: dict[str, dict[str, list[int]]] = {}
    for by in _GROUPS:
        found: dict[str, list[int]] = {}
        values = rows.column(by).combine_chunks().dictionary_encode(null_encoding="encode")
        codes = values.indices.to_numpy(zero_copy_only=False)
        for code, value in enumerate(values.dictionary.to_pylist()):
            mine = codes == code
            found["unknown" if value is None else str(value)] = [
                int(mine.sum()),
                int(tokens[mine].sum()),
                int(tokens[mine & first].sum()),
            ]
        result[by] = found
    return result
