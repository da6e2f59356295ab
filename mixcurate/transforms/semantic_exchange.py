"""The vectors of a part, gathered by the clusters that are compared: what semantic dedup moves.

As in the exchange of a corpus, each part writes one Arrow file whose record batches are contiguous
by bucket, a range of clusters; text does not move.
"""

from __future__ import annotations

import dataclasses
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mixcurate.io import embeddings, partfiles, storage
from mixcurate.io.workdir import Heartbeat, TaskResult, Workdir
from mixcurate.kernels import hashing, semantic, semantic_groups
from mixcurate.kernels.clustering import SemanticDedupParams
from mixcurate.transforms.cluster import assigned_path
from mixcurate.transforms.quality_columns import read_overall
from mixcurate.transforms.tasks import Task

EXCHANGE = "semantic_exchange"


def exchange_path(workdir: Workdir, part: str) -> str:
    """The vectors of one part, by bucket."""
    return workdir.path("_stages", EXCHANGE, "files", f"part-{part}.arrow")


def exchange_schema(dimension: int, kind: pa.DataType) -> pa.Schema:
    """Schema of such a file; within a batch, rows are sorted by group."""
    return pa.schema(
        [
            pa.field("group", pa.int64(), nullable=False),
            pa.field("key", pa.uint64(), nullable=False),  # hash of the id: settles ties
            pa.field("priority", pa.float64(), nullable=False),  # the largest survives
            pa.field("row", pa.int64(), nullable=False),
            pa.field("id", pa.string(), nullable=False),
            pa.field("vector", pa.list_(kind, dimension), nullable=False),
        ]
    )


@dataclasses.dataclass(frozen=True)
class ExchangePart:
    """Write the vectors of one part's documents that are compared, contiguous by bucket.

    Attributes:
        kept: whether a cluster is compared, bool ``[k]``.
        documents: of each cluster, int64 ``[k]``.
        bucket_documents: of a bucket; see ``plan_groups``.
    """

    workdir: Workdir
    params: SemanticDedupParams
    seed: int
    metric: Literal["cosine", "euclidean"]
    kept: npt.NDArray[np.bool_]
    documents: npt.NDArray[np.int64]
    bucket_documents: int
    stage: str = EXCHANGE

    @property
    def groups(self) -> semantic_groups.Groups:
        """What is compared with what, from the sizes of the clusters."""
        return semantic_groups.plan_groups(
            self.documents,
            self.kept,
            max_group=self.params.max_group,
            bucket_documents=self.bucket_documents,
        )

    def run(self, task: Task, heartbeat: Heartbeat) -> TaskResult:
        """Write the part's exchange file."""
        groups = self.groups
        table = self._rows(task.name, groups)
        buckets = groups.bucket[table.column("group").to_numpy()]
        path = exchange_path(self.workdir, task.name)
        numbers, starts = np.unique(buckets, return_index=True)
        with storage.open_atomic(path) as stream, pa.ipc.new_file(stream, table.schema) as writer:
            for start, stop in zip(starts, [*starts[1:], len(buckets)], strict=False):
                for batch in table.slice(start, stop - start).to_batches():
                    writer.write_batch(batch)
        heartbeat.beat(table.num_rows, 0)
        return TaskResult(
            task=task.name,
            fingerprint=task.fingerprint,
            outputs=[self.workdir.output(path)],
            documents_in=table.num_rows,
            documents_out=table.num_rows,
            details={"buckets": numbers.tolist()},
        )

    def _rows(self, part: str, groups: semantic_groups.Groups) -> pa.Table:
        """The rows of the part that are compared, sorted by group, in one chunk."""
        assigned = partfiles.read_table(assigned_path(self.workdir, part), ["cluster"])
        cluster = assigned.column("cluster").to_numpy()
        ids = partfiles.read_table(self.workdir.part("ingest", part), ["id"]).column("id")
        key = hashing.uniform_keys(ids.combine_chunks(), self.seed, "semantic order")
        score = self._scores(part)
        centroids = partfiles.read_array(self.workdir.centroids)
        pieces, first = [], 0
        for batch in embeddings.iter_embeddings(self.workdir.part("embed", part)):
            mine = cluster[first : first + len(batch)]
            group = semantic_groups.groups_of(batch, mine, centroids, groups, self.seed)
            local = np.flatnonzero(group >= 0)
            rows, vectors = local + first, batch[local]
            if score is None:
                priority = self._distances(vectors, centroids, mine[local])
            else:
                priority = score[rows]
            flat = pa.array(vectors.reshape(-1))
            schema = exchange_schema(batch.shape[1], flat.type)
            columns = [
                pa.array(group[local]),
                pa.array(key[rows]),
                pa.array(priority),
                pa.array(rows),
                ids.take(pa.array(rows)).combine_chunks(),
                pa.FixedSizeListArray.from_arrays(flat, type=schema.field("vector").type),
            ]
            pieces.append(pa.Table.from_arrays(columns, schema=schema))
            first += len(batch)
        table = pa.concat_tables(pieces)
        order = np.argsort(table.column("group").to_numpy(), kind="stable")
        return table.take(pa.array(order)).combine_chunks()

    def _scores(self, part: str) -> npt.NDArray[np.float64] | None:
        """Quality of each document, if that decides."""
        if self.params.keep != "quality":
            return None
        return read_overall(self.workdir, part).astype(np.float64)

    def _distances(
        self,
        vectors: npt.NDArray[np.floating],
        centroids: npt.NDArray[np.float32],
        cluster: npt.NDArray[np.int32],
    ) -> npt.NDArray[np.float64]:
        """Distances from the centroid, or nearness. Those that clusters were assigned by are not
        taken: copies of one vector must have one distance to the last bit.
        """
        far = semantic.squared_distances(vectors, centroids, cluster, self.metric)
        return far if self.params.keep == "farthest" else -far
