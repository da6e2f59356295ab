"""Gather the rows of one shard from the exchange and write them in every format."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
from collections.abc import Callable, Iterator
from typing import IO, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import xxhash

from mixcurate.io import exchange, storage
from mixcurate.io.hashing_stream import HashingStream, buffered
from mixcurate.io.shard_formats.base import TokenOptions
from mixcurate.io.shard_formats.table import FORMATS
from mixcurate.io.workdir import Heartbeat, Output, TaskResult, Workdir
from mixcurate.tables import CORPUS
from mixcurate.transforms.exchange import exchange_path
from mixcurate.transforms.lineage import TRACED, write_lineage
from mixcurate.transforms.tasks import Task

MATERIALIZE = "materialize"


@dataclasses.dataclass(frozen=True)
class _Stream:
    """A file that is being written: what writers write to, and what hashes it on the way."""

    buffer: IO[bytes]
    hashing: HashingStream

    def describe(self, path: str) -> dict[str, Any]:
        """What the manifest says of the file, once it is closed."""
        sha256, xxh64 = self.hashing.digests
        return {"path": path, "bytes": self.hashing.size, "sha256": sha256, "xxh64": xxh64}


@contextlib.contextmanager
def _hashing(path: str) -> Iterator[_Stream]:
    with storage.open_atomic(path) as stream:
        hashing = HashingStream(stream, hashlib.sha256(), xxhash.xxh64())
        with buffered(hashing) as buffer:
            yield _Stream(buffer, hashing)


@dataclasses.dataclass(frozen=True)
class WriteShard:
    """Gather one shard's rows from the exchange, order them by hash, write every format.

    The lineage of the rows is written beside them; all is committed together. The payload of a
    task: ``split``, ``phase``, ``shard`` (its number in the split), ``n_shards`` (of the split),
    ``part`` (its number over all splits), ``segments`` (exchange task, extent in its file).

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
        """Write one shard.

        Raises:
            JobError: the disk is full.
        """
        segments = [(exchange_path(self.workdir, p), at) for p, at in task.payload["segments"]]
        with storage.tells_full_disk(self.corpus, sum(length for _, (_, length) in segments)):
            with exchange.open_segments(segments) as batches:
                (rows,) = pa.Table.from_batches(batches).combine_chunks().to_batches()
            # stable, and segments come by part and row: equal keys have a fixed order too
            order = np.argsort(rows.column("shuffle").to_numpy(), kind="stable")
            files, outputs = self._write(task.payload, rows.select(CORPUS.names), order)
            narrow = rows.select(TRACED).take(pa.array(order))
            traced, told = write_lineage(self.corpus, task.payload, narrow)
        tokens = int(narrow.column("n_tokens").to_numpy().sum(dtype=np.int64))
        heartbeat.beat(rows.num_rows, tokens)
        place = {key: task.payload[key] for key in ("split", "phase", "part")}
        told |= {"files": files, "mark": self.mark, "corpus": self.corpus} | place
        return TaskResult(
            task=task.name,
            fingerprint=task.fingerprint,
            outputs=[*outputs, self._output(traced)],
            documents_in=sum(batch.num_rows for batch in batches),
            documents_out=rows.num_rows,
            tokens=tokens,
            details=told,
        )

    def _write(
        self, payload: dict[str, Any], rows: pa.RecordBatch, order: npt.NDArray[np.intp]
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
                    FORMATS[name].open_writer([s.buffer for s in mine], number, tokens)
                )
                for name, mine in zip(self.formats, streams, strict=True)
            ]
            for batch in exchange.gather(rows, order):  # of as many rows as a reader maps at once
                for writer in writers:
                    writer.write(batch)
        files: list[dict[str, Any]] = []
        outputs: list[Output] = []
        for name, mine, hashed in zip(self.formats, paths, streams, strict=True):
            first, *also = [s.describe(path) for path, s in zip(mine, hashed, strict=True)]
            files.append({"format": name} | place | first | {"also": also})
            outputs += [self._output(file) for file in (first, *also)]
        return files, outputs

    @contextlib.contextmanager
    def _open(self, paths: list[list[str]]) -> Iterator[list[list[_Stream]]]:
        """A stream for each file; all of them appear, or none."""
        full = [[storage.join(self.corpus, path) for path in mine] for mine in paths]
        try:
            with contextlib.ExitStack() as stack:
                yield [[stack.enter_context(_hashing(path)) for path in mine] for mine in full]
        except BaseException:
            for path in (path for mine in full for path in mine):
                storage.remove(path)
            raise

    def _output(self, file: dict[str, Any]) -> Output:
        full = storage.join(self.corpus, file["path"])
        inside = full.startswith(self.workdir.root.rstrip("/") + "/")
        relative = full.removeprefix(self.workdir.root).lstrip("/")
        return Output(relative if inside else full, file["bytes"], f"sha256:{file['sha256']}")
