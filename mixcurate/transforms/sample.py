"""A sample of the corpus by hash, gathered in one place: k-means is fitted on it, and more.

Each stage that needs one has its own, under its own name.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import apache_beam as beam
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mixcurate.io import embeddings, partfiles, storage
from mixcurate.io.workdir import Workdir
from mixcurate.kernels import hashing
from mixcurate.kernels.nearest import usable
from mixcurate.tables import SAMPLE

#: The stage whose sample is meant unless another is named.
_CLUSTER = "cluster"


def vectors_path(workdir: Workdir, stage: str = _CLUSTER) -> str:
    """The sample's vectors as the encoder gave them, float32 ``[m, d]`` in the order of a hash."""
    return workdir.path("_stages", stage, "sample.npy")


def rows_path(workdir: Workdir, stage: str = _CLUSTER) -> str:
    """Which documents the sample's vectors are of."""
    return workdir.path("_stages", stage, "sample.parquet")


def _picked(workdir: Workdir, stage: str, part: str, suffix: str) -> str:
    return workdir.path("_stages", stage, "picked", f"{part}.{suffix}")


class SamplePart(beam.DoFn):
    """Pick a part's rows by hash and leave them in files; emit the part's name."""

    def __init__(
        self,
        workdir: Workdir,
        seed: int,
        share: float,
        stage: str = _CLUSTER,
        *,
        pool: bool = False,
    ) -> None:
        """``pool`` picks among documents that have a domain alone."""
        self._workdir, self._seed, self._share = workdir, seed, share
        self._stage, self._pool = stage, pool

    def process(self, part: str) -> Iterator[tuple[int, str]]:
        """Yield (0, part): all samples meet in one task."""
        path = self._workdir.part("ingest", part)
        ids = partfiles.read_table(path, ["id"]).column("id").combine_chunks()
        keys = hashing.uniform_keys(ids, self._seed, f"{self._stage} sample")
        picked = hashing.unit_interval(keys) < self._share
        if self._pool:
            assigned = partfiles.read_table(self._workdir.part(_CLUSTER, part), ["domain"])
            picked &= assigned.column("domain").to_numpy() >= 0
        rows = np.flatnonzero(picked)
        vectors = embeddings.read_rows(self._workdir.part("embed", part), rows)
        good = usable(vectors)
        rows = rows[good]
        table = pa.table({"key": keys[rows], "row": rows, "id": ids.take(pa.array(rows))})
        partfiles.write_table(_picked(self._workdir, self._stage, part, "parquet"), table)
        partfiles.write_array(_picked(self._workdir, self._stage, part, "npy"), vectors[good])
        yield 0, part


def read_sample(workdir: Workdir, documents: int) -> npt.NDArray[np.float32]:
    """The first vectors of the sample, or all it has; the rest is not read: float32 ``[n, d]``."""
    with storage.open_read(vectors_path(workdir)) as stream:
        np.lib.format.read_magic(stream)
        shape, _, kind = np.lib.format.read_array_header_1_0(stream)
        rows = min(documents, shape[0])
        data = stream.read(rows * shape[1] * kind.itemsize)
    return np.frombuffer(data, kind).reshape(rows, shape[1]).astype(np.float32)


def gather_sample(
    workdir: Workdir, parts: Iterable[str], stage: str = _CLUSTER
) -> npt.NDArray[np.float32]:
    """Join what the parts have picked, in the order of its hash, and keep it; the vectors.

    Vectors are read into their places one part at a time: the sample is held once.
    """
    names = sorted(parts)
    tables = [partfiles.read_table(_picked(workdir, stage, part, "parquet")) for part in names]
    picked = pa.concat_tables(
        [table.append_column("part", pa.repeat(part, table.num_rows)) for part, table in
         zip(names, tables, strict=True)]
    )  # fmt: skip
    order = np.lexsort((picked.column("id").to_numpy(), picked.column("key").to_numpy()))
    place = np.empty(len(order), np.intp)
    place[order] = np.arange(len(order))
    sample: npt.NDArray[np.float32] | None = None
    start = 0
    for part in names:
        vectors = partfiles.read_array(_picked(workdir, stage, part, "npy"))
        if sample is None:
            sample = np.empty((len(order), vectors.shape[1]), np.float32)
        sample[place[start : start + len(vectors)]] = vectors
        start += len(vectors)
    if sample is None:
        raise ValueError("there are no parts")
    rows = picked.take(pa.array(order)).select(SAMPLE.names).cast(SAMPLE)
    partfiles.write_table(rows_path(workdir, stage), rows)
    partfiles.write_array(vectors_path(workdir, stage), sample)
    for part in names:
        storage.remove(_picked(workdir, stage, part, "parquet"))
        storage.remove(_picked(workdir, stage, part, "npy"))
    return sample
