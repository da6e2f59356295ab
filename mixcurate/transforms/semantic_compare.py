"""Comparing the clusters of one bucket: what semantic deduplication drops, and what is kept."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mixcurate.io import exchange, storage
from mixcurate.io.workdir import Heartbeat, TaskResult, Workdir
from mixcurate.kernels import semantic
from mixcurate.kernels.clustering import SemanticDedupParams
from mixcurate.kernels.semantic_groups import divide
from mixcurate.transforms.semantic_exchange import exchange_path
from mixcurate.transforms.tasks import Task

COMPARE = "semantic_compare"

#: One dropped document of a part, and the one that is kept for it.
DROPPED = pa.schema(
    [
        pa.field("row", pa.int64(), nullable=False),
        pa.field("kept_id", pa.string(), nullable=False),
        pa.field("kept_part", pa.string(), nullable=False),
        pa.field("kept_row", pa.int64(), nullable=False),
        pa.field("cosine", pa.float64(), nullable=False),  # of the two, exact
    ]
)


def bucket_path(workdir: Workdir, bucket: str) -> str:
    """What one bucket drops: a record batch for each part that loses documents."""
    return workdir.path("_stages", COMPARE, "dropped", f"{bucket}.arrow")


class _Bucket:
    """The segments of one bucket, each sorted by group, as they are mapped."""

    def __init__(self, batches: list[pa.RecordBatch]) -> None:
        self._batches = batches
        self._groups = [batch.column("group").to_numpy() for batch in batches]
        self._vectors = [_matrix(batch.column("vector")) for batch in batches]

    @property
    def groups(self) -> list[int]:
        """Those that it holds."""
        found: list[int] = np.unique(np.concatenate(self._groups)).tolist()
        return found

    def group(self, number: int) -> tuple[pa.Table, semantic.Float32Array]:
        """The rows of a group with the number of their segment, and their unit vectors."""
        tables, vectors = [], []
        for segment, groups in enumerate(self._groups):
            start, stop = np.searchsorted(groups, [number, number + 1]).tolist()
            if start < stop:
                columns = self._batches[segment].slice(start, stop - start)
                table = pa.Table.from_batches([columns]).drop_columns(["group", "vector"])
                place = pa.array(np.full(stop - start, segment, np.int32))
                tables.append(table.append_column("segment", place))
                vectors.append(semantic.unit_grid(self._vectors[segment][start:stop]))
        return pa.concat_tables(tables).combine_chunks(), np.concatenate(vectors)


def _matrix(column: pa.FixedSizeListArray) -> npt.NDArray[np.floating]:
    values: npt.NDArray[np.floating] = column.flatten().to_numpy(zero_copy_only=True)
    return values.reshape(len(column), column.type.list_size)


@dataclasses.dataclass(frozen=True)
class CompareBucket:
    """Compare the documents of each group of a bucket, and write what is dropped by part."""

    workdir: Workdir
    params: SemanticDedupParams
    seed: int
    stage: str = COMPARE

    def run(self, task: Task, heartbeat: Heartbeat) -> TaskResult:
        """Write the drops of one bucket."""
        parts = [part for part, _ in task.payload["segments"]]
        segments = [(exchange_path(self.workdir, p), b) for p, b in task.payload["segments"]]
        dropped: list[pa.Table] = []
        with exchange.open_batches(segments) as batches:
            bucket = _Bucket(batches)
            for number in bucket.groups:
                rows, vectors = bucket.group(number)
                dropped += self._dropped(rows, vectors)
                heartbeat.beat(rows.num_rows, 0)
            documents = sum(batch.num_rows for batch in batches)
            path, losing = self._write(task.name, dropped, parts)
        n = sum(table.num_rows for table in dropped)
        return TaskResult(
            task=task.name,
            fingerprint=task.fingerprint,
            outputs=[self.workdir.output(path)],
            documents_in=documents,
            documents_out=documents - n,
            rejected={"semantic_duplicate": n} if n else {},
            details={"parts": losing},
        )

    def _dropped(self, rows: pa.Table, vectors: semantic.Float32Array) -> Iterator[pa.Table]:
        """The dropped rows of a group, and what is kept for them."""
        key, priority = (rows.column(name).to_numpy() for name in ("key", "priority"))
        # cuts leave a group larger than it should be by chance: up to twice that is let pass
        for piece in divide(vectors, key, 2 * self.params.max_group, self.seed):
            found = semantic.find_repeats(
                vectors[piece],
                priority[piece],
                key[piece],
                epsilon=self.params.epsilon,
                rule=self.params.rule,
            )
            if len(found.row):
                lost = rows.take(pa.array(piece[found.row])).select(["segment", "row"])
                kept = rows.take(pa.array(piece[found.kept]))
                yield pa.table(
                    {
                        "segment": lost.column("segment"),
                        "row": lost.column("row"),
                        "kept_id": kept.column("id"),
                        "kept_segment": kept.column("segment"),
                        "kept_row": kept.column("row"),
                        "cosine": found.cosine,
                    }
                )

    def _write(self, name: str, dropped: list[pa.Table], parts: list[str]) -> tuple[str, list[str]]:
        """Write drops, a batch for each part that has some; the path, and those parts."""
        path = bucket_path(self.workdir, name)
        losing: list[str] = []
        with storage.open_atomic(path) as stream, pa.ipc.new_file(stream, DROPPED) as writer:
            if dropped:
                table = pa.concat_tables(dropped).sort_by(
                    [("segment", "ascending"), ("row", "ascending")]
                )
                names = pa.array(parts)
                table = table.append_column(
                    "kept_part", names.take(table.column("kept_segment").combine_chunks())
                )
                segments = table.column("segment").to_numpy()
                numbers, starts = np.unique(segments, return_index=True)
                losing = [parts[number] for number in numbers.tolist()]
                rows = table.select(DROPPED.names).cast(DROPPED).combine_chunks()
                for start, stop in zip(starts, [*starts[1:], len(segments)], strict=True):
                    for batch in rows.slice(start, stop - start).to_batches():
                        writer.write_batch(batch)
        return path, losing
