"""Finding duplicates: keys meet in buckets, links meet on one worker, groups keep their best.

Keys and links go through files, for a runner may hold in memory what it shuffles, several times:
12 bytes for each key on disk, hence 180 bytes a document with the defaults (its words and FineWeb's
14 bands). What crosses a shuffle is where they are, and some 80 bytes for each linked document.
A bucket of keys is some 150 MB while it is sorted; the one worker where links meet holds one byte
for every document and 80 bytes for each that is linked (``components.merge``).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Any, Literal

import apache_beam as beam
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mixcurate.io import partfiles, storage
from mixcurate.io.workdir import Workdir
from mixcurate.kernels import components, dedup
from mixcurate.kernels.copies import hash_words
from mixcurate.kernels.hashing import uniform_keys
from mixcurate.transforms.chunks import Chunk, CutChunks, Span, span_of
from mixcurate.transforms.keyfiles import (
    INGEST,
    Earlier,
    KeyMaker,
    Place,
    chunk_path,
    extracted_path,
    links_path,
)

#: A key as it crosses a shuffle, and a linked document as it goes back to its part.
_KEY = np.dtype([("key", "<u8"), ("document", "<u4")])
_LINKED = np.dtype([("document", "<u4"), ("group", "<u4"), ("kinds", "u1")])


@dataclasses.dataclass(frozen=True)
class Drops:
    """Rows of one part to drop, the kinds of their links, and what names the survivors."""

    rows: list[int]
    kinds: list[int]
    survivors: list[str]


class SpreadKeys(beam.DoFn):
    """Write the keys of a chunk, column by column, cut into buckets; emit where each is."""

    def __init__(self, maker: KeyMaker) -> None:
        self._maker = maker

    def process(
        self, element: tuple[int, Chunk]
    ) -> Iterator[tuple[tuple[int, int], tuple[int, int, int]]]:
        """Yield ((column, bucket), (chunk, first byte, byte after the last))."""
        number, chunk = element
        keys = np.concatenate([self._maker.read(place) for place in chunk.places])
        start = 0
        with storage.open_atomic(chunk_path(self._maker.workdir, number)) as stream:
            for column, (_, values) in enumerate(dedup.columns(keys)):
                rows = np.flatnonzero(values)
                packed = np.zeros(len(rows), _KEY)
                packed["key"], packed["document"] = values[rows], rows + chunk.first
                bucket = (packed["key"] >> np.uint64(32)) % np.uint64(chunk.buckets)
                order = np.argsort(bucket, kind="stable")
                stream.write(packed[order].tobytes())
                for found, count in zip(*np.unique(bucket, return_counts=True), strict=True):
                    stop = start + int(count) * _KEY.itemsize
                    yield (column, int(found)), (number, start, stop)
                    start = stop


class FindLinks(beam.DoFn):
    """Link the documents that share a key of one bucket."""

    def __init__(self, maker: KeyMaker) -> None:
        self._workdir = maker.workdir

    def process(
        self, element: tuple[tuple[int, int], Iterable[tuple[int, int, int]]], own: int
    ) -> Iterator[tuple[int, tuple[int, int]]]:
        """Yield (0, (column, bucket)) if that has any links: all meet."""
        (column, bucket), pieces = element
        packed = np.concatenate([self._read(*piece) for piece in sorted(pieces)])
        links = components.star_links(packed["key"], packed["document"], own)
        if len(links):
            partfiles.write_array(links_path(self._workdir, column, bucket), links)
            yield 0, (column, bucket)

    def _read(self, chunk: int, start: int, stop: int) -> npt.NDArray[np.void]:
        files, path = storage.filesystem(chunk_path(self._workdir, chunk))
        return np.frombuffer(files.cat_file(path, start=start, end=stop), _KEY)


class FindGroups(beam.DoFn):
    """Turn all links into groups, and send each linked document back to its chunk."""

    def __init__(self, maker: KeyMaker) -> None:
        self._workdir = maker.workdir
        self._kinds = [kind for kind, _ in dedup.columns(np.zeros(1, maker.kind))]

    def process(
        self, element: tuple[int, Iterable[tuple[int, int]]], chunks: list[Span]
    ) -> Iterator[tuple[int, bytes]]:
        """Yield (number of the chunk, ``_LINKED`` records as bytes)."""
        _, found = element
        kinds = np.zeros(max(stop for _, _, stop in chunks), np.uint8)

        def links() -> Iterator[npt.NDArray[np.uint64]]:
            for column, bucket in sorted(found):
                piece = partfiles.read_array(links_path(self._workdir, column, bucket))
                for end in components.ends(piece):
                    kinds[end] |= self._kinds[column]
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
    ) -> Iterator[tuple[int, tuple[str, bytes, bytes]]]:
        """Yield (bucket of groups, (part, ``MEMBER`` records as bytes, ids as an IPC stream))."""
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
                    chosen = _pack(ids.filter(pa.array(mine)))
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
        self, element: tuple[int, Iterable[tuple[str, bytes, bytes]]]
    ) -> Iterator[tuple[str, Drops]]:
        """Yield (part, its drops)."""
        _, found = element
        pieces = list(found)
        members = np.concatenate([np.frombuffer(data, dedup.MEMBER) for _, data, _ in pieces])
        ids = pa.concat_arrays([_unpack(some) for _, _, some in pieces])
        best = dedup.survivors(members, ids)
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
        own = parts | "Own documents" >> beam.Values() | beam.CombineGlobally(sum)
        ranges = chunks | "Ranges" >> beam.Map(span_of)
        linked = (
            chunks
            | "Spread keys" >> beam.ParDo(SpreadKeys(self.maker))
            | "Keys meet" >> beam.GroupByKey()
            | "Find links" >> beam.ParDo(FindLinks(self.maker), beam.pvalue.AsSingleton(own))
            | "Links meet" >> beam.GroupByKey()
            | "Find groups" >> beam.ParDo(FindGroups(self.maker), beam.pvalue.AsList(ranges))
        )
        drops: beam.PCollection = (
            {"chunk": chunks, "linked": linked}
            | "Linked of a chunk" >> beam.CoGroupByKey()
            | "Describe" >> beam.ParDo(Describe(self.maker, self.keep))
            | "Groups meet" >> beam.GroupByKey()
            | "Choose" >> beam.ParDo(Choose(self.maker.earlier))
        )
        return drops


def _pack(ids: pa.Array) -> bytes:
    """Ids as bytes that a shuffle takes as they are."""
    sink = pa.BufferOutputStream()
    batch = pa.record_batch([ids.cast(pa.large_string())], names=["id"])
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    data: bytes = sink.getvalue().to_pybytes()
    return data


def _unpack(data: bytes) -> pa.Array:
    """Ids from such bytes: large_string ``[n]``."""
    return pa.ipc.open_stream(data).read_all().column("id").combine_chunks()
