"""Prototypes: the distance below which the asked-for share of documents lies, exactly.

Two narrow passes over the parts: a histogram, then the documents of the one bin in which the share
ends. What crosses a shuffle are bins and the candidates of that bin.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator

import apache_beam as beam
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mixcurate.io import partfiles, storage
from mixcurate.io.workdir import Workdir
from mixcurate.kernels import hashing, prototypes
from mixcurate.transforms.cluster import assigned_path
from mixcurate.transforms.cluster_files import CLUSTER
from mixcurate.transforms.semantic import read_drops
from mixcurate.transforms.tasks import create


def limit_path(workdir: Workdir) -> str:
    """The last document that is dropped."""
    return workdir.path("_stages", CLUSTER, "prototypes.json")


def prototype_keys(ids: pa.Array, seed: int) -> hashing.UInt64Array:
    """What settles ties of distance: uint64 ``[n]``."""
    return hashing.uniform_keys(ids, seed, "prototypes")


@dataclasses.dataclass(frozen=True)
class Pool:
    """Which documents can be prototypes: those of kept clusters that are no duplicates.

    Attributes:
        kept: bool ``[k]``.
        dedup: whether semantic duplicates were looked for.
    """

    workdir: Workdir
    kept: npt.NDArray[np.bool_]
    seed: int
    dedup: bool

    def read(self, part: str) -> tuple[npt.NDArray[np.float32], hashing.UInt64Array]:
        """Distance, NaN where a document is not in the pool, and key of a part's documents."""
        assigned = partfiles.read_table(assigned_path(self.workdir, part))
        cluster = assigned.column("cluster").to_numpy()
        inside = (cluster >= 0) & self.kept[cluster]
        if self.dedup:
            inside[read_drops(self.workdir, part)[0]] = False
        distance = np.where(inside, assigned.column("distance").to_numpy(), np.nan)
        ids = partfiles.read_table(self.workdir.part("ingest", part), ["id"]).column("id")
        return distance.astype(np.float32), prototype_keys(ids.combine_chunks(), self.seed)


class Histogram(beam.DoFn):
    """Documents of a part by bin of distance."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    def process(self, part: str) -> Iterator[bytes]:
        """Yield ``BIN`` records as bytes."""
        yield prototypes.histogram(self._pool.read(part)[0]).tobytes()


def merge_bins(pieces: Iterable[bytes]) -> bytes:
    """One histogram of many."""
    found = [np.frombuffer(piece, prototypes.BIN) for piece in pieces]
    return prototypes.merge_histograms(found).tobytes()


class Candidates(beam.DoFn):
    """The documents of a part in the bin in which the share ends."""

    def __init__(self, pool: Pool, share: float) -> None:
        self._pool, self._share = pool, share

    def process(self, part: str, bins: bytes) -> Iterator[tuple[int, bytes]]:
        """Yield (0, ``CANDIDATE`` records as bytes): they meet in one place."""
        found = prototypes.boundary(np.frombuffer(bins, prototypes.BIN), self._share)
        yield 0, prototypes.candidates(*self._pool.read(part), found).tobytes()


class WriteLimit(beam.DoFn):
    """Find the last document that is dropped, and leave it in a file."""

    def __init__(self, workdir: Workdir, share: float) -> None:
        self._workdir, self._share = workdir, share

    def process(self, element: tuple[int, Iterable[bytes]], bins: bytes) -> Iterator[str]:
        """Yield the file's path."""
        found = prototypes.boundary(np.frombuffer(bins, prototypes.BIN), self._share)
        pieces = [np.frombuffer(piece, prototypes.CANDIDATE) for piece in element[1]]
        storage.write_json(
            limit_path(self._workdir), dataclasses.asdict(prototypes.limit(pieces, found))
        )
        yield limit_path(self._workdir)


@dataclasses.dataclass(frozen=True)
class FindPrototypes:
    """Both passes as one pipeline."""

    pool: Pool
    parts: list[str]
    share: float

    def build(self, pipeline: beam.Pipeline) -> None:
        """Wire them into ``pipeline``."""
        parts = create(pipeline, "Parts", self.parts)
        bins = (
            parts
            | "Histogram" >> beam.ParDo(Histogram(self.pool))
            | "Merge" >> beam.CombineGlobally(merge_bins)
        )
        side = beam.pvalue.AsSingleton(bins)
        _ = (
            parts
            | "Candidates" >> beam.ParDo(Candidates(self.pool, self.share), side)
            | "Candidates meet" >> beam.GroupByKey()
            | "Limit" >> beam.ParDo(WriteLimit(self.pool.workdir, self.share), side)
        )
