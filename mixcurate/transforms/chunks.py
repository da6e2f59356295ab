"""Consecutive parts as one piece of work: all documents get a number, the own ones first."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import apache_beam as beam

from mixcurate.errors import JobError
from mixcurate.kernels import dedup
from mixcurate.transforms.keyfiles import Earlier, Place

#: Chunks of a large run grow instead: each bucket reads a piece of every chunk.
_MOST_CHUNKS = 1_000

#: Number of a chunk, its first document and the one after its last.
Span = tuple[int, int, int]


@dataclasses.dataclass(frozen=True)
class Chunk:
    """Consecutive parts; the numbers of documents go through all parts, the own ones first."""

    first: int
    places: tuple[Place, ...]
    buckets: int

    @property
    def stop(self) -> int:
        """The number after that of its last document."""
        return self.first + sum(place.documents for place in self.places)


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
                f"{(1 << 32) - 1:,}, those of `against` included. Split the inputs into several "
                "runs."
            )
        least = max(self._chunk_documents, total // _MOST_CHUNKS)
        buckets = max(1, -(-total // self._bucket_documents))
        first = number = size = 0
        waiting: list[Place] = []
        for place in places:
            waiting.append(place)
            size += place.documents
            if size >= least or place is places[-1]:
                yield number, Chunk(first, tuple(waiting), buckets)
                first, number, size, waiting = first + size, number + 1, 0, []


def span_of(element: tuple[int, Chunk]) -> Span:
    """Number, first document and the one after the last."""
    number, chunk = element
    return number, chunk.first, chunk.stop
