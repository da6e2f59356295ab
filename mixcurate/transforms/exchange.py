"""The exchange: each part's drawn documents, written contiguous by output shard."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator

import apache_beam as beam
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mixcurate.io import exchange, partfiles
from mixcurate.io.workdir import Heartbeat, TaskResult, Workdir
from mixcurate.kernels import shards
from mixcurate.transforms.select import selection_path
from mixcurate.transforms.tasks import Task

EXCHANGE = "exchange"


def exchange_path(workdir: Workdir, part: str) -> str:
    """The exchange file of one part."""
    return workdir.path("_stages", EXCHANGE, "files", f"part-{part}.arrow")


def _shuffle_keys(workdir: Workdir, part: str) -> npt.NDArray[np.uint64]:
    table = partfiles.read_table(selection_path(workdir, part), ["shuffle"])
    keys: npt.NDArray[np.uint64] = table.column("shuffle").to_numpy()
    return keys


class KeyHistogram(beam.CombineFn):
    """Copies per leading bits of the shuffle key over all parts: int64 ``[65536]``."""

    def __init__(self, workdir: Workdir) -> None:
        self._workdir = workdir

    def create_accumulator(self) -> npt.NDArray[np.int64]:
        """No copies yet."""
        return shards.key_histogram(np.zeros(0, np.uint64))

    def add_input(self, total: npt.NDArray[np.int64], part: str) -> npt.NDArray[np.int64]:
        """Count one part."""
        return total + shards.key_histogram(_shuffle_keys(self._workdir, part))

    def merge_accumulators(self, totals: Iterable[npt.NDArray[np.int64]]) -> npt.NDArray[np.int64]:
        """Add counts."""
        total: npt.NDArray[np.int64] = np.sum(list(totals), axis=0)
        return total

    def extract_output(self, total: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """The counts."""
        return total


class BoundaryKeys(beam.DoFn):
    """The keys of one part that lie in the bins where shards meet."""

    def __init__(self, workdir: Workdir, n_shards: int) -> None:
        self._workdir, self._n_shards = workdir, n_shards

    def process(self, part: str, counts: npt.NDArray[np.int64]) -> Iterator[tuple[int, bytes]]:
        """Yield (0, keys as bytes)."""
        bins, _ = _boundary_bins(counts, self._n_shards)
        keys = shards.keys_in_bins(_shuffle_keys(self._workdir, part), bins)
        yield 0, keys.tobytes()


class FindBoundaries(beam.DoFn):
    """The smallest shuffle key of each shard after the first."""

    def __init__(self, n_shards: int) -> None:
        self._n_shards = n_shards

    def process(
        self, element: tuple[int, Iterable[bytes]], counts: npt.NDArray[np.int64]
    ) -> Iterator[list[int]]:
        """Yield the keys."""
        found = np.concatenate([np.frombuffer(piece, np.uint64) for piece in element[1]])
        bins, ranks = _boundary_bins(counts, self._n_shards)
        yield shards.boundaries(found, bins, ranks).tolist()


def _boundary_bins(
    counts: npt.NDArray[np.int64], n_shards: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    return shards.boundary_bins(counts, shards.first_ranks(int(counts.sum()), n_shards))


@dataclasses.dataclass(frozen=True)
class ExchangePart:
    """Read one part's drawn documents and write them contiguous by output shard."""

    workdir: Workdir
    n_shards: int
    stage: str = EXCHANGE

    def run(self, task: Task, heartbeat: Heartbeat) -> TaskResult:
        """Write the part's exchange file."""
        selection = partfiles.read_table(selection_path(self.workdir, task.name))
        rows = selection.column("row").to_numpy()
        limits = np.array(task.payload["boundaries"], np.uint64)
        shard = shards.shard_of(selection.column("shuffle").to_numpy(), limits)
        table = self._rows(task.name, selection)
        path = exchange_path(self.workdir, task.name)
        counts = exchange.write_exchange(path, table, shard, self.n_shards)
        tokens = int(np.sum(table.column("n_tokens").to_numpy(), dtype=np.int64))
        heartbeat.beat(len(rows), tokens)
        return TaskResult(
            task=task.name,
            fingerprint=task.fingerprint,
            outputs=[self.workdir.output(path)],
            documents_in=len(rows),
            documents_out=len(rows),
            tokens=tokens,
            details={"counts": counts},
        )

    def _rows(self, part: str, selection: pa.Table) -> pa.Table:
        """The corpus rows of a part's drawn copies."""
        rows = selection.column("row")
        columns = ["id", "text", "source", "url", "language", "licence", "n_tokens"]
        documents = partfiles.read_table(self.workdir.part("ingest", part), columns).take(rows)
        scores = partfiles.read_table(
            self.workdir.part("score", part), ["quality", "diversity"]
        ).take(rows)
        assigned = partfiles.read_table(self.workdir.part("cluster", part), ["domain"])
        domain = assigned.column("domain").take(rows)
        names = partfiles.read_table(self.workdir.path("domains.parquet"), ["name"])
        made = {
            "domain": domain,
            "domain_name": names.column("name").take(domain),
            "quality": scores.column("quality"),
            "diversity": scores.column("diversity"),
            "copy": selection.column("copy"),
            "shuffle": selection.column("shuffle"),
        }
        arrays = [
            made[field.name] if field.name in made else documents.column(field.name)
            for field in exchange.EXCHANGE
        ]
        return pa.Table.from_arrays(arrays, schema=exchange.EXCHANGE)


def with_boundaries(task: Task, boundaries: list[int]) -> Task:
    """The task with the shuffle keys at which shards begin."""
    return dataclasses.replace(task, payload={"boundaries": boundaries})
