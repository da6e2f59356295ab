"""Finding duplicates: keys meet in a shuffle, links meet on one worker, groups keep their best.

A key that crosses is 12 bytes, hence 180 bytes a document with the defaults (its words and
FineWeb's 14 bands), in elements of one column of keys of up to 65,536 documents. All that follows
concerns only documents that are linked. The one worker where links meet holds one byte for every
document, and 80 bytes for each that is linked (``components.merge``).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Any, Literal

import apache_beam as beam
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mixcurate.errors import JobError
from mixcurate.io import partfiles
from mixcurate.io.workdir import Workdir
from mixcurate.kernels import components, dedup
from mixcurate.kernels.copies import hash_words
from mixcurate.kernels.hashing import uniform_keys
from mixcurate.transforms.keyfiles import INGEST, Earlier, KeyMaker, Place, extracted_path

#: A key as it crosses a shuffle, and a linked document as it goes back to its part.
_KEY = np.dtype([("key", "<u8"), ("document", "<u4")])
_LINKED = np.dtype([("document", "<u4"), ("group", "<u4"), ("kinds", "u1")])

Range = tuple[int, int, int]


@dataclasses.dataclass(frozen=True)
class Chunk:
    """Consecutive parts; the numbers of documents go through all parts, the own ones first."""

    first: int
    places: tuple[Place, ...]
    own: int  # documents of this run
    buckets: int

    @property
    def stop(self) -> int:
        """The number after that of its last document."""
        return self.first + sum(place.documents for place in self.places)


@dataclasses.dataclass(frozen=True)
class Drops:
    """Rows of one part to drop, the kinds of their links, and what names the survivors."""

    rows: list[int]
    kinds: list[int]
    survivors: list[str]


class CutChunks(beam.DoFn):
    """Number all documents and cut their parts into chunks."""

    def __init__(
        self, earlier: tuple[Earlier, ...], chunk_documents: int, bucket_documents: int
    ) -> None:
        self._earlier = earlier
        self._chunk_documents, self._bucket_documents = chunk_documents, bucket_documents

    def process(self, _: None, own: list[tuple[str, int]]) -> Iterator[tuple[int, Chunk]]:
        """Yield (number, chunk).

        Raises:
            JobError: more documents than numbers.
        """
        places = [Place(dedup.OWN, *part) for part in sorted(own)]
        places += [Place(n, *part) for n, found in enumerate(self._earlier) for part in found.parts]
        total = sum(place.documents for place in places)
        if total >= 1 << 32:
            raise JobError(
                f"ingest.dedup: {total:,} documents, but duplicates are found among at most "
                f"{(1 << 32) - 1:,}. Split the inputs into several runs; each can be deduplicated "
                "against the earlier ones."
            )
        documents = sum(count for _, count in own)
        buckets = max(1, -(-total // self._bucket_documents))
        first = number = 0
        waiting: list[Place] = []
        for place in places:
            waiting.append(place)
            size = sum(found.documents for found in waiting)
            if size >= self._chunk_documents or place is places[-1]:
                yield number, Chunk(first, tuple(waiting), documents, buckets)
                first, number, waiting = first + size, number + 1, []


class ReadKeys(beam.DoFn):
    """Emit the packed keys of a chunk, column by column, cut into buckets."""

    def __init__(self, maker: KeyMaker) -> None:
        self._maker = maker

    def process(
        self, element: tuple[int, Chunk]
    ) -> Iterator[tuple[tuple[int, int], tuple[int, bytes]]]:
        """Yield ((column, bucket), (own documents, records as bytes))."""
        _, chunk = element
        keys = np.concatenate([self._maker.read(place) for place in chunk.places])
        for column, (_, values) in enumerate(dedup.columns(keys)):
            rows = np.flatnonzero(values)
            packed = np.zeros(len(rows), _KEY)
            packed["key"], packed["document"] = values[rows], rows + chunk.first
            bucket = (packed["key"] >> np.uint64(32)) % np.uint64(chunk.buckets)
            for number in range(chunk.buckets):
                mine = packed if chunk.buckets == 1 else packed[bucket == number]
                if len(mine):
                    yield (column, number), (chunk.own, mine.tobytes())


class FindLinks(beam.DoFn):
    """Link the documents that share a key."""

    def __init__(self, maker: KeyMaker) -> None:
        self._kinds = [kind for kind, _ in dedup.columns(np.zeros(1, maker.kind))]

    def process(
        self, element: tuple[tuple[int, int], Iterable[tuple[int, bytes]]]
    ) -> Iterator[tuple[int, tuple[int, bytes]]]:
        """Yield (0, (kind, links as bytes)): all links meet."""
        (column, _), pieces = element
        found = list(pieces)
        packed = np.concatenate([np.frombuffer(data, _KEY) for _, data in found])
        links = components.star_links(packed["key"], packed["document"], found[0][0])
        if len(links):
            yield 0, (self._kinds[column], links.tobytes())


class FindGroups(beam.DoFn):
    """Turn all links into groups, and send each linked document back to its chunk."""

    def process(
        self, element: tuple[int, Iterable[tuple[int, bytes]]], chunks: list[Range]
    ) -> Iterator[tuple[int, bytes]]:
        """Yield (number of the chunk, ``_LINKED`` records as bytes)."""
        _, pieces = element
        kinds = np.zeros(max(stop for _, _, stop in chunks), np.uint8)

        def links() -> Iterator[npt.NDArray[np.uint64]]:
            for kind, data in pieces:
                piece = np.frombuffer(data, np.uint64)
                for end in components.ends(piece):
                    kinds[end] |= kind
                yield piece

        centres, others = components.ends(components.merge(links()))
        firsts = np.unique(centres)
        linked = np.zeros(len(firsts) + len(others), _LINKED)
        linked["document"] = np.concatenate([firsts, others])
        linked["group"] = np.concatenate([firsts, centres])
        linked["kinds"] = kinds[linked["document"]]
        linked = linked[np.argsort(linked["document"])]
        for number, first, stop in chunks:
            start, end = np.searchsorted(linked["document"], [first, stop])
            if start < end:
                yield number, linked[start:end].tobytes()


class Describe(beam.DoFn):
    """Fetch what the choice of a survivor needs, for the linked documents of a chunk."""

    def __init__(self, maker: KeyMaker, keep: Literal["longest", "quality"]) -> None:
        self._maker, self._keep = maker, keep

    def process(
        self, element: tuple[int, dict[str, list[Any]]]
    ) -> Iterator[tuple[int, tuple[str, bytes, list[str]]]]:
        """Yield (bucket of groups, (part, ``MEMBER`` records as bytes, ids))."""
        _, joined = element
        (chunk,), pieces = joined["chunk"], list(joined["linked"])
        if not pieces:
            return
        linked = np.frombuffer(b"".join(pieces), _LINKED)
        first = chunk.first
        for place in chunk.places:
            start, end = np.searchsorted(linked["document"], [first, first + place.documents])
            if start < end:
                members, ids = self._describe(place, linked[start:end], first)
                bucket = members["group"] % chunk.buckets
                for number in np.unique(bucket).tolist():
                    mine = bucket == number
                    chosen = ids.filter(pa.array(mine)).to_pylist()
                    yield number, (place.name, members[mine].tobytes(), chosen)
            first += place.documents

    def _describe(
        self, place: Place, linked: npt.NDArray[np.void], first: int
    ) -> tuple[npt.NDArray[np.void], pa.Array]:
        """``MEMBER`` records and ids of some documents of one part."""
        members = np.zeros(len(linked), dedup.MEMBER)
        members["group"], members["kinds"] = linked["group"], linked["kinds"]
        members["row"], members["origin"] = linked["document"] - first, place.origin
        rows = pa.array(members["row"])
        if place.origin != dedup.OWN:
            path = Workdir(self._maker.earlier[place.origin].root).part(INGEST, place.name)
            table = partfiles.read_table(path, ["id"]).take(rows)
            return members, table.column("id").combine_chunks()
        needed = ["id", "path", "position", "content_hash", *dedup.score_columns(self._keep)]
        path = extracted_path(self._maker.workdir, place.name)
        table = partfiles.read_table(path, needed).take(rows)
        members["score"] = dedup.scores(table, self._keep)
        members["content"] = hash_words(table.column("content_hash"))["high"]
        where = zip(*(table.column(name).to_pylist() for name in ("path", "position")), strict=True)
        members["place"] = uniform_keys(pa.array([f"{p}\0{n}" for p, n in where]), 0, "place")
        return members, table.column("id").combine_chunks()


class Choose(beam.DoFn):
    """Emit the rows of each own part that are not the survivor of their group."""

    def __init__(self, earlier: tuple[Earlier, ...]) -> None:
        self._earlier = earlier

    def process(
        self, element: tuple[int, Iterable[tuple[str, bytes, list[str]]]]
    ) -> Iterator[tuple[str, Drops]]:
        """Yield (part, its drops)."""
        _, found = element
        pieces = list(found)
        members = np.concatenate([np.frombuffer(data, dedup.MEMBER) for _, data, _ in pieces])
        ids = [document for _, _, some in pieces for document in some]
        best = dedup.survivors(members, pa.array(ids, pa.string()))
        start = 0
        for name, data, _ in pieces:
            stop = start + len(data) // dedup.MEMBER.itemsize
            own = members["origin"][start:stop] == dedup.OWN
            lost = start + np.flatnonzero(own & (best[start:stop] != np.arange(start, stop)))
            if len(lost):
                names = [
                    self._name(ids[row], members["origin"][row]) for row in best[lost].tolist()
                ]
                rows, kinds = members["row"][lost].tolist(), members["kinds"][lost].tolist()
                yield name, Drops(rows, kinds, names)
            start = stop

    def _name(self, document: str, origin: int) -> str:
        """Names a survivor to people."""
        return document if origin == dedup.OWN else f"{document} of {self._earlier[origin].shown}"


@dataclasses.dataclass(frozen=True)
class FindDuplicates:
    """The search from the names of parts to the rows they lose."""

    maker: KeyMaker
    keep: Literal["longest", "quality"]
    chunk_documents: int = 1 << 16
    bucket_documents: int = 1 << 22  # whose keys of a column are sorted at once: some 150 MB

    def build(self, pipeline: beam.Pipeline, parts: beam.PCollection) -> beam.PCollection:
        """Wire the search; (name, documents) of the parts in, (name, ``Drops``) out."""
        if not self.maker.any:
            return pipeline | "No drops" >> beam.Create([], reshuffle=False)
        cut = CutChunks(self.maker.earlier, self.chunk_documents, self.bucket_documents)
        chunks = (
            pipeline
            | "Once" >> beam.Create([None], reshuffle=False)
            | "Cut chunks" >> beam.ParDo(cut, beam.pvalue.AsList(parts))
            | "Spread chunks" >> beam.Reshuffle()
        )
        ranges = chunks | "Ranges" >> beam.Map(_range)
        linked = (
            chunks
            | "Read keys" >> beam.ParDo(ReadKeys(self.maker))
            | "Keys meet" >> beam.GroupByKey()
            | "Find links" >> beam.ParDo(FindLinks(self.maker))
            | "Links meet" >> beam.GroupByKey()
            | "Find groups" >> beam.ParDo(FindGroups(), beam.pvalue.AsList(ranges))
        )
        drops: beam.PCollection = (
            {"chunk": chunks, "linked": linked}
            | "Linked of a chunk" >> beam.CoGroupByKey()
            | "Describe" >> beam.ParDo(Describe(self.maker, self.keep))
            | "Groups meet" >> beam.GroupByKey()
            | "Choose" >> beam.ParDo(Choose(self.maker.earlier))
        )
        return drops


def _range(element: tuple[int, Chunk]) -> Range:
    """Number, first document and the one after the last."""
    number, chunk = element
    return number, chunk.first, chunk.stop
