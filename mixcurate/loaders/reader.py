"""A finished corpus as an iterator of documents, for one of any number of ranks."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mixcurate.errors import InputError, nearest
from mixcurate.loaders.division import Division, Start
from mixcurate.loaders.order import Order
from mixcurate.loaders.sequence import BlockSequence, Place
from mixcurate.loaders.shards import CorpusShards
from mixcurate.loaders.states import Weights, check_state, group_shares
from mixcurate.tables import CORPUS

Int64Array = npt.NDArray[np.int64]

_VERSION = 1

#: Documents that are read at once.
_PIECE = 256


@dataclasses.dataclass(eq=False)
class CorpusReader:
    """Reads the Arrow shards of a corpus as one of ``world_size`` ranks.

    All ranks share one sequence of documents, a function of corpus, options and weights; rank r
    reads every ``world_size``-th of it. So the ranks' parts are disjoint, together they are all,
    their sizes differ by at most one, and the first n documents that all ranks read together are
    the same ones whatever the number of ranks.

    Iterating goes on from where it was. After the last document of an epoch the iteration ends,
    and the next one reads the next epoch; with ``repeat`` it does not end.

    Raises:
        CorpusError: there is no manifest, there are no Arrow shards, or, later, a shard is damaged.
        InputError: an option cannot be; the message says which, and what could.
    """

    path: str
    """Folder or URL of the corpus."""
    split: str = "train"
    """`train` or `holdout`."""
    phase: str | None = None
    """Read one phase of a staged mixture alone; null reads all, one after another."""
    rank: int = 0
    """Number of this rank."""
    world_size: int = 1
    """Ranks that share the corpus."""
    seed: int = 0
    """Of the order of shards in later epochs, and of shuffling."""
    shuffle_buffer: int = 0
    """Documents in a block whose order is random. The corpus is shuffled already; a block gives
    each epoch an order of its own within shards too. 0 keeps the order of the shards."""
    shuffle_shards: bool = True
    """Epochs after the first have the shards of each phase in another order."""
    lanes: int = 1
    """Runs of neighbouring shards that are read in turn; a multiple of `world_size` lets each rank
    read shards of its own, which spares network; not together with weights."""
    weights: Weights | None = None
    """As in `set_weights`, from the beginning."""
    by: Literal["domain", "source"] = "domain"
    """What weights are given to."""
    columns: list[str] | None = None
    """Columns to read; null reads all."""
    repeat: bool = False
    """Go on with the next epoch without an end."""
    equal: bool = False
    """Leave out the last documents of an epoch that not every rank can have one of; `left_out`
    tells how many."""
    worker: int = 0
    """Number of this worker within its rank."""
    workers: int = 1
    """Workers that share the documents of a rank."""
    chunk: int = 1
    """Documents that a worker takes in a row, such as a batch."""
    cache: str | None = None
    """Folder for shards of a remote corpus, which processes of one machine may share and which is
    kept; null takes a temporary one of its own, of at most `cached_shards`."""
    cached_shards: int = 8
    """Shards of a remote corpus that are open, and with a temporary cache are kept, at once."""

    def __post_init__(self) -> None:
        self._division = Division(self.rank, self.world_size, self.worker, self.workers, self.chunk)
        for name, least in (("shuffle_buffer", 0), ("lanes", 1), ("cached_shards", 1)):
            if getattr(self, name) < least:
                raise InputError(f"{name} {getattr(self, name)}: it is at least {least}")
        self._columns = CORPUS.names if self.columns is None else list(self.columns)
        for column in self._columns:
            if column not in CORPUS.names:
                raise InputError(f"no column {column!r}: {nearest(column, CORPUS.names)}")
        self._shards = CorpusShards(
            self.path, self.split, self.phase, self.cache, self.cached_shards
        )
        self._groups = self._shards.groups(self.by)
        self._order = Order(
            self._shards.counts, self._shards.phases, self.seed, self.shuffle_shards, self.lanes
        )
        self._sequence = BlockSequence(
            self._shards, self._order, self._groups, window=self.shuffle_buffer, repeat=self.repeat
        )
        self._start = Start(0, np.zeros(0, np.int64))
        self._block = self._sequence.place  # where the block begins that is being read
        self._own: Int64Array | None = None  # documents of the block for this worker
        self._first = 0  # number of the first of them, as ``_taken`` counts
        self._taken, self._ended = 0, False
        self._edition = 0  # changes when what was read ahead no longer holds
        self._changes: list[tuple[int, list[float]]] = []  # of weights, still to come
        self._n_changes = 0
        if self.weights is not None:
            self.set_weights(self.weights, at=0)

    @property
    def n_documents(self) -> int:
        """Documents of one epoch of the corpus, of all ranks together."""
        return self._order.n_documents

    @property
    def left_out(self) -> int:
        """Documents of an epoch that no rank reads, because of ``equal``."""
        end = self._sequence.end()
        if not self.equal or end is None:
            return 0
        return int(self._start.numbers(np.array([end]))[0]) % self.world_size

    @property
    def position(self) -> int:
        """Documents of the sequence that have been read when all ranks are where this one is.

        Raises:
            InputError: this reader is one of several workers: none of them knows of the others.
        """
        return self.position_after(0)

    def position_after(self, documents: int) -> int:
        """The position once every rank has read so many documents more.

        Raises:
            InputError: as ``position``.
        """
        if self.workers > 1:
            raise InputError("a worker does not know its rank's position; merge_states tells it")
        return self._v((self._taken + documents) * self.world_size)

    def group_names(self) -> list[tuple[str, str | int]]:
        """Domains with their numbers, or sources: what ``set_weights`` knows, and how else."""
        return list(zip(self._groups.names, self._groups.values, strict=True))

    def with_division(self, division: Division) -> CorpusReader:
        """The same reader, at the beginning, for another rank or worker."""
        return dataclasses.replace(self, **dataclasses.asdict(division))

    def set_weights(self, weights: Weights, at: int | None = None) -> None:
        """Change how much of each domain (or source) comes, while reading.

        A factor multiplies what the group has in the corpus: 2 makes its share of tokens twice as
        large against the others, 0 pauses it; groups that are not named have 1. Each group goes on
        where it was. Every rank must make the same change at the same position. With a
        ``shuffle_buffer`` it holds from the first block that begins there or later.

        Args:
            weights: factors, by name, or by number of a domain.
            at: position from which they hold; null: now.

        Raises:
            InputError: an unknown name, a factor that is negative or not a number, none above zero,
                a position that has been passed, or an option that excludes weights.
        """
        if self.lanes > 1:
            raise InputError("weights need one order of all documents: leave 'lanes' at 1")
        if self.equal and not self.repeat:
            raise InputError("with weights, 'equal' needs 'repeat': where an epoch ends is unknown")
        shares = group_shares(self._groups, self.by, weights)
        wanted = self.position if at is None else at
        cuts = [v for v, _ in self._changes]
        v = self._sequence.boundary(self._block, wanted, cuts)
        reached = self._v(self._division.nth(self._taken - 1)) + 1 if self._taken else 0
        if v < max(reached, self._start.base, self._block.v):
            raise InputError(f"weights from position {wanted} on: it has been passed")
        self._changes = sorted([*self._changes, (v, shares)], key=lambda change: change[0])
        self._n_changes += 1
        self._forget()

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Documents as dicts of Python values, from where the reader is.

        Raises:
            CorpusError: a shard is damaged.
        """
        self._begin()
        while (batch := self._read(_PIECE)) is not None:
            edition = self._edition
            values = [column.to_pylist() for column in batch.columns]
            for row in zip(*values, strict=True):
                self._taken += 1
                yield dict(zip(self._columns, row, strict=True))
                if self._edition != edition:
                    break

    def iter_batches(self, rows: int = 1_024) -> Iterator[pa.RecordBatch]:
        """The same documents as Arrow batches of up to ``rows``, without a copy where possible.

        Raises:
            CorpusError: a shard is damaged.
        """
        self._begin()
        while (batch := self._read(rows)) is not None:
            self._taken += batch.num_rows
            yield batch

    def set_epoch(self, epoch: int) -> None:
        """Read this epoch next; nothing happens while the reader is in it already.

        Raises:
            InputError: the epoch is negative, or epochs have no ends because of ``repeat``.
        """
        if epoch < 0 or self.repeat:
            raise InputError(f"epoch {epoch}: it is 0 or more, and needs a reader without 'repeat'")
        if self._ended or self._block.epoch != epoch:
            self._begin_epoch(epoch)

    def skip(self, documents: int) -> None:
        """Go on as if this rank had read so many documents more of this epoch; no text is read."""
        self._begin()
        self._taken += documents
        self._forget()
        self._fill()

    def state_dict(self) -> dict[str, Any]:
        """Where the reader is, as JSON can hold it: numbers of documents, no data."""
        return {
            "version": _VERSION,
            "order": self._identity(),
            "division": dataclasses.asdict(self._division),
            "base": self._start.base,
            "seen": self._start.seen.tolist(),
            "taken": self._taken,
            "ended": self._ended,
            "place": self._block.as_json(),
            "changes": [[v, shares] for v, shares in self._changes],
            "n_changes": self._n_changes,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state: the next document is the one that would have come.

        The state may be of another rank, or of another number of ranks, that had read as many
        documents as every other; else of ``merge_states``, which asks for no such thing.

        Raises:
            InputError: the state is of another corpus or of other options, or of one of several
                workers while there are now another number of them.
        """
        check_state(state, _VERSION, self._identity())
        theirs = Division(**state["division"])
        start, taken = Start(state["base"], np.array(state["seen"], np.int64)), state["taken"]
        if theirs.shape() != self._division.shape():
            if theirs.workers > 1 and taken:
                raise InputError(
                    f"the state is of one of {theirs.workers} workers, here are {self.workers} of "
                    f"'chunk' {self.chunk}: bring the states of all workers of all ranks together "
                    "with merge_states"
                )
            start, taken = start.later(taken * theirs.world_size), 0
        self._start, self._taken, self._ended = start, taken, state["ended"]
        self._block = Place.from_json(state["place"])
        self._changes = [(v, shares) for v, shares in state["changes"]]
        self._n_changes = state["n_changes"]
        self._forget()

    def _identity(self) -> dict[str, Any]:
        """What the sequence of documents depends on, but for weights."""
        names = ("split", "phase", "seed", "shuffle_buffer", "shuffle_shards", "lanes", "by")
        options = {name: getattr(self, name) for name in (*names, "repeat", "equal")}
        return {"corpus": self._shards.content()} | options

    def _v(self, u: int) -> int:
        return int(self._start.positions(np.array([u], np.int64))[0])

    def _forget(self) -> None:
        """What was read ahead no longer holds: deal the block again when it is needed."""
        self._own, self._edition = None, self._edition + 1

    def _begin(self) -> None:
        if self._ended:
            self._begin_epoch(self._block.epoch + 1)

    def _begin_epoch(self, epoch: int) -> None:
        self._sequence.go_to(self._block)
        self._sequence.begin_epoch(epoch)
        self._block = self._sequence.place
        self._start = Start(self._block.v, np.zeros(0, np.int64))
        self._taken, self._ended = 0, False
        self._forget()

    def _read(self, count: int) -> pa.RecordBatch | None:
        """The next documents of this worker, at most ``count``; None at the end."""
        if not self._fill() or self._own is None:
            return None
        at = self._taken - self._first
        return self._shards.read(*self._order.locate(self._own[at : at + count]), self._columns)

    def _fill(self) -> bool:
        """Find the block of the next document; False when there is none."""
        if self._own is None:
            self._sequence.go_to(self._block)
            self._deal()
        while not self._ended and (
            self._own is None or self._taken - self._first >= len(self._own)
        ):
            self._deal()
        return not self._ended

    def _deal(self) -> None:
        """Deal the next block, and keep what is this worker's and was not read."""
        sequence = self._sequence
        while self._changes and self._changes[0][0] <= sequence.place.v:
            sequence.reweigh(self._changes.pop(0)[1])
        self._block, end = sequence.place, sequence.end()
        found = sequence.take(sequence.size(self._changes[0][0] if self._changes else None))
        self._ended = not len(found)
        u = self._start.numbers(self._block.v + np.arange(len(found), dtype=np.int64))
        mine = self._division.owned(u) & (u >= self._division.nth(self._taken))
        if self.equal and end is not None:
            rounds = int(self._start.numbers(np.array([end]))[0]) // self.world_size
            mine &= u < rounds * self.world_size
        self._own, self._first = found[mine], self._taken
