"""Gather the rows of one shard from the exchange and write them in every format."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
from typing import IO, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mixcurate.io import exchange, formats, storage
from mixcurate.io.workdir import Heartbeat, Output, TaskResult, Workdir
from mixcurate.transforms.exchange import exchange_path
from mixcurate.transforms.tasks import Task

MATERIALIZE = "materialize"

#: Rows of a record batch in a shard; readers map whole batches.
_BATCH_ROWS = 1_000


class _HashingStream:
    """Passes bytes on and hashes them on the way, so that a shard is never read again."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._sha256 = hashlib.sha256()
        self.size = 0

    def write(self, data: Any) -> int:
        """Write and hash."""
        self._sha256.update(data)
        view = memoryview(data)
        self.size += view.nbytes
        return self._stream.write(data)

    def flush(self) -> None:
        """Flush the stream below."""
        self._stream.flush()

    @property
    def closed(self) -> bool:
        """Whether the stream below is closed."""
        return self._stream.closed

    def hexdigest(self) -> str:
        """sha256 of everything written."""
        return self._sha256.hexdigest()


@dataclasses.dataclass(frozen=True)
class WriteShard:
    """Gather one shard's rows from the exchange, order them by hash, write every format."""

    workdir: Workdir
    corpus: str
    formats: tuple[str, ...]
    n_shards: int
    mark: str
    stage: str = MATERIALIZE

    def run(self, task: Task, heartbeat: Heartbeat) -> TaskResult:
        """Write one shard."""
        number: int = task.payload["shard"]
        segments = [(exchange_path(self.workdir, p), b) for p, b in task.payload["segments"]]
        with exchange.open_segments(segments) as batches:
            table = pa.Table.from_batches(batches).combine_chunks()
        # stable, and segments come by part and row: equal keys have a fixed order too
        order = np.argsort(table.column("shuffle").to_numpy(), kind="stable")
        rows = table.drop_columns(["shuffle"])
        files, outputs = self._write(number, rows, order)
        tokens = rows.column("n_tokens").to_numpy().astype(np.int64)
        heartbeat.beat(len(order), int(tokens.sum()))
        return TaskResult(
            task=task.name,
            fingerprint=task.fingerprint,
            outputs=outputs,
            documents_in=sum(batch.num_rows for batch in batches),
            documents_out=len(order),
            tokens=int(tokens.sum()),
            details={
                "files": files,
                "mark": self.mark,
                "corpus": self.corpus,
                **_shares(rows, tokens),
            },
        )

    def _write(
        self, number: int, rows: pa.Table, order: npt.NDArray[np.intp]
    ) -> tuple[list[dict[str, Any]], list[Output]]:
        """Write the rows once for each format, in pieces; hash what is written."""
        files: list[dict[str, Any]] = []
        outputs: list[Output] = []
        paths = [formats.shard_path(name, number, self.n_shards) for name in self.formats]
        with contextlib.ExitStack() as stack:
            streams = [
                _HashingStream(
                    stack.enter_context(storage.open_atomic(storage.join(self.corpus, path)))
                )
                for path in paths
            ]
            with contextlib.ExitStack() as open_writers:
                writers = [
                    open_writers.enter_context(formats.shard_writer(name, stream, number))  # type: ignore[arg-type]
                    for name, stream in zip(self.formats, streams, strict=True)
                ]
                for start in range(0, len(order), _BATCH_ROWS):
                    piece = rows.take(pa.array(order[start : start + _BATCH_ROWS]))
                    for batch in piece.combine_chunks().to_batches():
                        for writer in writers:
                            writer.write(batch)
        for name, path, stream in zip(self.formats, paths, streams, strict=True):
            digest = stream.hexdigest()
            files.append({"format": name, "path": path, "bytes": stream.size, "sha256": digest})
            full = storage.join(self.corpus, path)
            relative = full.removeprefix(self.workdir.root).lstrip("/")
            inside = full.startswith(self.workdir.root.rstrip("/") + "/")
            outputs.append(Output(relative if inside else full, stream.size, f"sha256:{digest}"))
        return files, outputs


def _shares(rows: pa.Table, tokens: npt.NDArray[np.int64]) -> dict[str, dict[str, list[int]]]:
    """Per domain, source and licence: copies, tokens, tokens of first copies."""
    first = rows.column("copy").to_numpy() == 0
    result: dict[str, dict[str, list[int]]] = {}
    for by in ("domain", "source", "licence"):
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
