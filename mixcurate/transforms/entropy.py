"""Entropies of cells: a sample of equal size from each, over all parts, and what it measures.

Texts are cut into pieces, so that a cell of few long documents is sampled as evenly as one of many
short ones; embeddings go document by document. Either way a sample is the smallest hashes of its
cell, so that neither the parts nor their order matter, and its size does not grow with the pool.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator

import apache_beam as beam
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from mixcurate.io import embeddings, partfiles, storage
from mixcurate.io.workdir import Workdir
from mixcurate.kernels import entropy
from mixcurate.kernels.entropy import EntropyKind
from mixcurate.kernels.hash_sample import HashSample, piece_keys, smallest
from mixcurate.kernels.hashing import uniform_keys, unit_interval
from mixcurate.models.tokenizer import token_counter
from mixcurate.transforms.cells import CellsOf
from mixcurate.transforms.tasks import create

Int32Array = npt.NDArray[np.int32]
UInt64Array = npt.NDArray[np.uint64]

#: Characters of a piece of text. Its ends cost a pair of tokens, and split one at most.
PIECE = 4_096

#: Documents whose texts are in memory at once.
_ROWS = 500

#: Pieces that are looked at for each one that is kept: so that hashes which fall badly, or texts
#: of many characters a token, leave enough.
_SLACK = 1.5


@dataclasses.dataclass(frozen=True)
class EntropyPlan:
    """What is sampled and measured.

    Attributes:
        kind: ``shannon``, ``joint``, ``conditional`` or ``von_neumann``.
        cells: of the documents.
        available: of each cell its tokens, or its documents for ``von_neumann``.
        size: how many of these to sample in each cell.
        tokenizer: ``embedded`` or a path.
        seed: of the recipe.
    """

    kind: EntropyKind
    cells: CellsOf
    available: tuple[int, ...]
    size: int
    tokenizer: str
    seed: int

    @property
    def shares(self) -> npt.NDArray[np.float64]:
        """How likely a piece of each cell is looked at; the sample is cut out of these."""
        wanted = _SLACK * self.size / np.maximum(np.array(self.available, np.float64), 1)
        shares: npt.NDArray[np.float64] = np.minimum(wanted, 1.0)
        return shares


def entropy_path(workdir: Workdir) -> str:
    """The entropies: ``{"cells": {number: [nats, sampled]}}``."""
    return workdir.path("_stages", "plan", "entropy.json")


class SampleTexts(beam.DoFn):
    """The tokens of a sample of a part's texts, by cell."""

    def __init__(self, workdir: Workdir, plan: EntropyPlan) -> None:
        self._workdir, self._plan = workdir, plan

    def process(self, part: str) -> Iterator[tuple[int, bytes]]:
        """Yield (cell, sample as bytes)."""
        plan, path = self._plan, self._workdir.part("ingest", part)
        cell = plan.cells.read(self._workdir, part)
        ids = partfiles.read_table(path, ["id"]).column("id").combine_chunks()
        keys = uniform_keys(ids, plan.seed, "entropy")
        found: dict[int, list[HashSample]] = {}
        row = 0
        for batch in partfiles.iter_batches(path, ["text"], _ROWS):
            here = slice(row, row + batch.num_rows)
            row += batch.num_rows
            for number, sample in self._sample(batch.column(0), cell[here], keys[here]):
                held = found.setdefault(number, [])
                held.append(sample)
                if sum(len(one.words) for one in held) > 2 * plan.size:
                    found[number] = [smallest(held, plan.size)]
        for number, held in found.items():
            yield number, smallest(held, plan.size).to_bytes()

    def _sample(
        self, text: pa.Array, cell: Int32Array, keys: UInt64Array
    ) -> Iterator[tuple[int, HashSample]]:
        """Pieces of some documents that are looked at."""
        plan = self._plan
        pieces = -(-pc.utf8_length(text).to_numpy(zero_copy_only=False).astype(np.int64) // PIECE)
        pieces[cell < 0] = 0
        rows = np.repeat(np.arange(len(cell)), pieces)
        numbers = np.arange(len(rows)) - np.repeat(np.cumsum(pieces) - pieces, pieces)
        piece = piece_keys(keys[rows], numbers)
        chosen = np.flatnonzero(unit_interval(piece) < plan.shares[cell[rows]])
        if len(chosen) == 0:
            return
        whole = {row: text[row].as_py() for row in np.unique(rows[chosen]).tolist()}
        places = zip(rows[chosen].tolist(), numbers[chosen].tolist(), strict=True)
        texts = [whole[row][number * PIECE :][:PIECE] for row, number in places]
        tokens = token_counter(plan.tokenizer, 1).encode(texts)
        for number in np.unique(cell[rows[chosen]]).tolist():
            mine = np.flatnonzero(cell[rows[chosen]] == number)
            held = [tokens[index] for index in mine.tolist()]
            lengths = np.array([len(one) for one in held], np.int64)
            yield number, HashSample(piece[chosen[mine]], lengths, np.concatenate(held))


class SampleVectors(beam.DoFn):
    """A sample of a part's embeddings, by cell."""

    def __init__(self, workdir: Workdir, plan: EntropyPlan) -> None:
        self._workdir, self._plan = workdir, plan

    def process(self, part: str) -> Iterator[tuple[int, bytes]]:
        """Yield (cell, sample as bytes): the words are the bits of float32."""
        plan, workdir = self._plan, self._workdir
        cell = plan.cells.read(workdir, part)
        table = partfiles.read_table(workdir.part("ingest", part), ["id"])
        keys = uniform_keys(table.column("id").combine_chunks(), plan.seed, "entropy")
        chosen = (cell >= 0) & (unit_interval(keys) < plan.shares[cell])
        for number in np.unique(cell[chosen]).tolist():
            rows = np.flatnonzero(chosen & (cell == number))
            rows = rows[np.argsort(keys[rows], kind="stable")[: plan.size]]
            rows = np.sort(rows)
            vectors = embeddings.read_rows(workdir.part("embed", part), rows)
            words = np.ascontiguousarray(vectors, "<f4").view("<u4")
            lengths = np.full(len(rows), words.shape[1], np.int64)
            sample = HashSample(keys[rows], lengths, words.ravel())
            yield number, smallest([sample], plan.size * words.shape[1]).to_bytes()


class KeepSmallest(beam.CombineFn):
    """The sample of a cell of those of parts."""

    def __init__(self, size: int, vectors: bool) -> None:
        self._size, self._vectors = size, vectors

    def create_accumulator(self) -> bytes:
        """Nothing yet."""
        return b""

    def add_input(self, total: bytes, piece: bytes) -> bytes:
        """Add one part."""
        return self.merge_accumulators([total, piece])

    def merge_accumulators(self, totals: Iterable[bytes]) -> bytes:
        """Add partial results."""
        samples = [HashSample.from_bytes(one) for one in totals if one]
        if not samples:
            return b""
        width = int(samples[0].lengths[0]) if self._vectors else 1
        return smallest(samples, self._size * width).to_bytes()

    def extract_output(self, total: bytes) -> bytes:
        """The sample."""
        return total


def measure(element: tuple[int, bytes], kind: EntropyKind, size: int) -> tuple[int, list[float]]:
    """(cell, [entropy in nats, tokens or documents it was found from])."""
    number, data = element
    sample = HashSample.from_bytes(data)
    if kind == "von_neumann":
        vectors = sample.words.view(np.float32).reshape(len(sample.keys), -1)
        return number, [entropy.von_neumann(vectors), len(vectors)]
    pieces = sample.items(size)
    found = entropy.token_entropy(pieces, kind)
    return number, [found, sum(len(piece) for piece in pieces)]


def write_entropies(found: dict[int, list[float]], workdir: Workdir, mark: str) -> None:
    """Leave them in a file, with what they were made of."""
    value = {"mark": mark, "cells": {str(number): pair for number, pair in found.items()}}
    storage.write_json(entropy_path(workdir), value)


@dataclasses.dataclass(frozen=True)
class Entropies:
    """The pass as one pipeline; it leaves ``entropy_path``."""

    workdir: Workdir
    plan: EntropyPlan
    parts: list[str]
    mark: str

    def build(self, pipeline: beam.Pipeline) -> None:
        """Wire the pass into ``pipeline``."""
        plan, vectors = self.plan, self.plan.kind == "von_neumann"
        sample = SampleVectors if vectors else SampleTexts
        _ = (
            create(pipeline, "Parts", self.parts)
            | "Sample" >> beam.ParDo(sample(self.workdir, plan))
            | "Keep" >> beam.CombinePerKey(KeepSmallest(plan.size, vectors))
            | "Measure" >> beam.Map(measure, plan.kind, plan.size)
            | "Meet" >> beam.combiners.ToDict()
            | "Write" >> beam.Map(write_entropies, self.workdir, self.mark)
        )
