"""Vectors that exist already: where each content was embedded before, and how they are fetched.

Only content hashes meet in a shuffle. What is found is written per part, as the rows to copy and
the place of each; the vectors themselves are read straight from the files that hold them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import apache_beam as beam
import numpy as np
import numpy.typing as npt

from mixcurate.io import partfiles, storage
from mixcurate.io.embeddings import read_rows
from mixcurate.io.workdir import Workdir
from mixcurate.kernels import copies as kernel
from mixcurate.transforms.tasks import create

#: Number of the own run among the origins.
OWN = 0

#: Parts that cross the shuffle as one element: many buckets cut a single part too fine.
_GROUP = 16

#: Hashes that meet in one place: some 200 MB while they are sorted.
_BUCKET_DOCUMENTS = 1_000_000


def hashes_path(root: str, part: str) -> str:
    """Where the workdir at ``root`` keeps the content hashes of an embedded part (``HASH`` [n])."""
    return storage.join(hashes_folder(root), f"part-{part}.npy")


def hashes_folder(root: str) -> str:
    """Folder of the content hashes of embedded parts."""
    return storage.join(root, "_stages", "embed", "hashes")


def computed_path(workdir: Workdir, part: str) -> str:
    """Where the first pass leaves a part that still waits for vectors of other own parts."""
    return storage.join(computed_folder(workdir), f"part-{part}.arrow")


def computed_folder(workdir: Workdir) -> str:
    """Folder of parts that wait for vectors of other own parts."""
    return workdir.path("_stages", "embed", "computed")


def copies_folder(workdir: Workdir) -> str:
    """Folder of what ``FindCopies`` finds, a file for each part that has copies."""
    return workdir.path("_stages", "embed", "copies")


def found_path(workdir: Workdir) -> str:
    """What ``FindCopies`` writes last: its mark, the order of the own parts, counts per part."""
    return workdir.path("_stages", "embed", "copies.json")


def _copies_path(workdir: Workdir, part: str) -> str:
    return storage.join(copies_folder(workdir), f"part-{part}.npy")


@dataclasses.dataclass(frozen=True)
class Origin:
    """A place that holds vectors: the own run, another workdir, or what was set aside.

    Parts go by their number in ``parts``; ``seal`` changes with what the parts hold.
    """

    vectors: str  # folder of part-*.arrow
    hashes: str  # folder of part-*.npy; the own run reads its documents instead
    parts: tuple[str, ...]
    documents: int
    seal: str
    computed: str = ""  # folder of the vectors of parts that wait
    waiting: frozenset[str] = frozenset()

    def vectors_path(self, part: int) -> str:
        """The file that holds the vectors of part number ``part``."""
        name = self.parts[part]
        folder = self.computed if name in self.waiting else self.vectors
        return storage.join(folder, f"part-{name}.arrow")

    def hashes_path(self, part: int) -> str:
        """The file that holds the content hashes of part number ``part``."""
        return storage.join(self.hashes, f"part-{self.parts[part]}.npy")


class ReadHashes(beam.DoFn):
    """Emit the packed hashes of each group of parts, cut into buckets; text stays on disk."""

    def __init__(self, workdir: Workdir, origins: Sequence[Origin], buckets: int) -> None:
        self._workdir, self._origins, self._buckets = workdir, tuple(origins), buckets

    def process(self, element: tuple[int, int]) -> Iterator[tuple[int, bytes]]:
        """Yield (bucket, ``OCCURRENCE`` records as bytes) of (origin number, group of parts)."""
        origin, group = element
        numbers = range(group * _GROUP, len(self._origins[origin].parts))[:_GROUP]
        found = np.concatenate([self._read(origin, part) for part in numbers])
        for bucket, piece in _cut(found, found["high"] % np.uint64(self._buckets)):
            yield bucket, piece.tobytes()

    def _read(self, origin: int, part: int) -> kernel.OccurrenceArray:
        """``OCCURRENCE`` records of one part."""
        source = self._origins[origin]
        if origin == OWN:
            path = self._workdir.part("ingest", source.parts[part])
            hashes = kernel.hash_words(
                partfiles.read_table(path, ["content_hash"]).column("content_hash")
            )
        else:
            hashes = partfiles.read_array(source.hashes_path(part))
        found = np.zeros(len(hashes), kernel.OCCURRENCE)
        found["high"], found["low"] = hashes["high"], hashes["low"]
        found["origin"], found["part"], found["row"] = origin, part, np.arange(len(hashes))
        return found


class FindInBucket(beam.DoFn):
    """Emit, per group of own parts, the rows whose content occurs at a better place."""

    def process(self, element: tuple[int, Iterable[bytes]]) -> Iterator[tuple[int, bytes]]:
        """Yield (group of parts, ``COPY`` records as bytes)."""
        _, pieces = element
        packed = np.frombuffer(b"".join(pieces), kernel.OCCURRENCE)
        copies = kernel.find_copies(packed, OWN)
        for group, piece in _cut(copies, copies["part"] // _GROUP):
            yield group, piece.tobytes()


class WriteCopies(beam.DoFn):
    """Write the copies of each part that has any, sorted by row."""

    def __init__(self, workdir: Workdir, parts: Sequence[str]) -> None:
        self._workdir, self._parts = workdir, tuple(parts)

    def process(self, element: tuple[int, Iterable[bytes]]) -> Iterator[tuple[str, dict[str, int]]]:
        """Yield (part, how many of its rows are copied from where)."""
        _, pieces = element
        copies = np.frombuffer(b"".join(pieces), kernel.COPY)
        copies = copies[np.argsort(copies["row"])]
        for number, mine in _cut(copies, copies["part"]):
            name = self._parts[number]
            partfiles.write_array(_copies_path(self._workdir, name), mine)
            sources = by_source(mine)
            yield name, {field: len(getattr(sources, field)) for field in Sources._fields}


@dataclasses.dataclass(frozen=True)
class FindCopies:
    """Find every document of the own run whose content is embedded, or will be, elsewhere.

    ``origins[OWN]`` is the own run. Among its parts an earlier one is the better source.
    """

    workdir: Workdir
    origins: Sequence[Origin]
    mark: str

    def build(self, pipeline: beam.Pipeline) -> None:
        """Wire the search into ``pipeline``: only hashes and places of rows cross a shuffle."""
        groups = [
            (number, group)
            for number, origin in enumerate(self.origins)
            for group in range(-(-len(origin.parts) // _GROUP))
        ]
        documents = sum(origin.documents for origin in self.origins)
        buckets = max(1, min(1024, documents // _BUCKET_DOCUMENTS))
        parts = self.origins[OWN].parts
        written = (
            create(pipeline, "Groups", groups)
            | "Read hashes" >> beam.ParDo(ReadHashes(self.workdir, self.origins, buckets))
            | "Meet" >> beam.GroupByKey()
            | "Find copies" >> beam.ParDo(FindInBucket())
            | "By part" >> beam.GroupByKey()
            | "Write copies" >> beam.ParDo(WriteCopies(self.workdir, parts))
        )
        _ = (
            written
            | "Counts" >> beam.combiners.ToList()
            | "Commit" >> beam.Map(_commit, found_path(self.workdir), self.mark, parts)
        )


def _commit(
    counts: list[tuple[str, dict[str, int]]], path: str, mark: str, parts: Sequence[str]
) -> None:
    """Make the copies count; the order of the parts is what their numbers mean."""
    storage.write_json(path, {"mark": mark, "parts": list(parts), "counts": dict(counts)})


def read_copies(workdir: Workdir, part: str) -> kernel.CopyArray:
    """The rows of an own part that are copied: ``COPY`` records ``[m]`` sorted by row."""
    path = _copies_path(workdir, part)
    if not storage.exists(path):
        return np.zeros(0, kernel.COPY)
    copies: kernel.CopyArray = partfiles.read_array(path)
    return copies


class Sources(NamedTuple):
    """The copies of one part, told apart by when they can be filled."""

    others: kernel.CopyArray  # from other origins: at once
    within: kernel.CopyArray  # from the part itself: when its own rows are computed
    later: kernel.CopyArray  # from other own parts: when all of those are computed


def by_source(copies: kernel.CopyArray) -> Sources:
    """Tell the copies of one part apart by when they can be filled."""
    own = copies["origin"] == OWN
    within = own & (copies["source_part"] == copies["part"])
    return Sources(copies[~own], copies[within], copies[own & ~within])


def gather(
    copies: kernel.CopyArray, origins: Sequence[Origin], out: npt.NDArray[np.float32]
) -> None:
    """Fill the copied rows of one part's vectors, reading each source file once.

    Args:
        copies: ``COPY`` records of one part; not those from the part itself.
        origins: what their numbers mean, the own run first.
        out: float32 ``[n, d]``; row ``copies["row"]`` is overwritten, the others are left.

    Raises:
        InputError: a file that held vectors when the copies were found is gone or broken.
    """
    origin = copies["origin"].astype(np.uint64)
    for _, piece in _cut(copies, origin << np.uint64(32) | copies["source_part"]):
        path = origins[int(piece["origin"][0])].vectors_path(int(piece["source_part"][0]))
        out[piece["row"]] = read_rows(path, piece["source_row"].astype(np.intp))


def _cut(
    records: npt.NDArray[np.void], key: npt.NDArray[Any]
) -> Iterator[tuple[int, npt.NDArray[np.void]]]:
    """Cut records by their key, in its order; equal keys keep their order."""
    order = np.argsort(key, kind="stable")
    keys, starts = np.unique(key[order], return_index=True)
    yield from zip(keys.tolist(), np.split(records[order], starts[1:]), strict=False)
