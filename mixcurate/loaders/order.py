"""The order of the documents of a split, as arithmetic: document number p is row i of shard s.

Epoch 0 has the order of the shards, in which documents were shuffled when they were written. Later
epochs have the shards of each phase in an order of their own. Nothing here is stateful: it is a
function of (seed, epoch), the same on any machine.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from mixcurate.kernels.hashing import subseed

Int64Array = npt.NDArray[np.int64]

#: Epochs whose order of shards is kept: with weights, domains can be in different ones.
_EPOCHS = 16


class ShardRows(NamedTuple):
    """Rows of one shard that follow each other in the order."""

    shard: int
    first: int
    """Row of the shard."""
    p: int
    """Its number in the order."""
    length: int


def permutation(count: int, seed: int) -> Int64Array:
    """A permutation of ``range(count)``, int64 ``[count]``: a function of the seed alone.

    Sorted by SplitMix64 of seed and number (Steele, Lea and Flood, OOPSLA 2014, figure 15); numpy's
    own generators may change with its version.
    """
    step = np.uint64(0x9E3779B97F4A7C15)
    keys = np.uint64(seed % (1 << 64)) + np.arange(1, count + 1, dtype=np.uint64) * step
    keys = (keys ^ (keys >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    keys = (keys ^ (keys >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    keys ^= keys >> np.uint64(31)
    order: Int64Array = np.argsort(keys, kind="stable").astype(np.int64)
    return order


@dataclasses.dataclass(frozen=True)
class Order:
    """Documents of all epochs, numbered: epoch e has ``e * n_documents`` and what follows.

    Attributes:
        counts: documents of each shard.
        phases: phase of each shard; shards of a phase are neighbours.
        seed: of the run.
        shuffle_shards: whether epochs after the first have an order of shards of their own.
        lanes: runs of neighbouring documents of a phase that are read in turn. With as many lanes
            as ranks, or a multiple, each rank reads shards of its own.
    """

    counts: tuple[int, ...]
    phases: tuple[str, ...]
    seed: int
    shuffle_shards: bool = True
    lanes: int = 1
    _epochs: dict[int, tuple[Int64Array, Int64Array]] = dataclasses.field(
        default_factory=dict, compare=False, repr=False
    )

    @functools.cached_property
    def n_documents(self) -> int:
        """Documents of one epoch."""
        return sum(self.counts)

    @functools.cached_property
    def _phase_bounds(self) -> tuple[Int64Array, Int64Array]:
        """First shard, and first document, of each phase, and their ends."""
        ends = [i for i in range(1, len(self.phases)) if self.phases[i] != self.phases[i - 1]]
        shards = np.array([0, *ends, len(self.phases)], np.int64)
        starts = np.concatenate([[0], np.cumsum(np.array(self.counts, np.int64))])
        return shards, starts[shards]

    def shards(self, epoch: int) -> tuple[Int64Array, Int64Array]:
        """Shards in the order of an epoch, int64 ``[s]``; where each starts, int64 ``[s + 1]``."""
        if epoch not in self._epochs:
            while len(self._epochs) >= _EPOCHS:
                self._epochs.pop(next(iter(self._epochs)))
            self._epochs[epoch] = self._shards(epoch)
        return self._epochs[epoch]

    def _shards(self, epoch: int) -> tuple[Int64Array, Int64Array]:
        bounds = self._phase_bounds[0].tolist()
        order = np.arange(len(self.counts), dtype=np.int64)
        if epoch and self.shuffle_shards:
            parts = [
                first + permutation(end - first, subseed(self.seed, f"shards {epoch} {first}"))
                for first, end in zip(bounds[:-1], bounds[1:], strict=True)
            ]
            order = np.concatenate(parts)
        counts = np.array(self.counts, np.int64)[order]
        return order, np.concatenate([[0], np.cumsum(counts)])

    def in_lanes(self, v: Int64Array) -> Int64Array:
        """Documents in the order in which lanes take turns: ``p`` of each place, int64 ``[n]``."""
        if self.lanes == 1:
            return v
        epoch, q = np.divmod(v, self.n_documents)
        bounds = self._phase_bounds[1]
        phase = np.searchsorted(bounds, q, side="right") - 1
        within = q - bounds[phase]
        length = (bounds[phase + 1] - bounds[phase]) // self.lanes
        laned = (within % self.lanes) * length + within // self.lanes
        p: Int64Array = np.where(within < length * self.lanes, laned, within)  # the rest, in order
        return epoch * self.n_documents + bounds[phase] + p

    def locate(self, p: Int64Array) -> tuple[Int64Array, Int64Array]:
        """Shard and row of each document, int64 ``[n]`` each."""
        epochs, q = np.divmod(p, self.n_documents)
        shard, row = np.empty_like(p), np.empty_like(p)
        for epoch in np.unique(epochs).tolist():
            order, starts = self.shards(epoch)
            mine = epochs == epoch
            place = np.searchsorted(starts, q[mine], side="right") - 1
            shard[mine], row[mine] = order[place], q[mine] - starts[place]
        return shard, row

    def rest_of_shard(self, p: int) -> ShardRows:
        """The rows from document ``p`` to the end of its shard."""
        epoch, q = divmod(p, self.n_documents)
        order, starts = self.shards(epoch)
        place = int(np.searchsorted(starts, q, side="right")) - 1
        first = q - int(starts[place])
        return ShardRows(int(order[place]), first, p, int(starts[place + 1]) - q)
