"""The one sequence of documents that all ranks share, in blocks, with a place that JSON can hold.

Without weights it is the order of the shards; with weights it is blended anew. A block is a run of
the sequence whose documents may be shuffled among each other. Where blocks begin is the same on
every rank, so that the sequence does not depend on how many ranks there are.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt

from mixcurate.errors import CorpusError
from mixcurate.kernels.hashing import subseed
from mixcurate.loaders.blend import Blend, BlendState
from mixcurate.loaders.order import Order, permutation
from mixcurate.loaders.shards import CorpusShards, Groups

Int64Array = npt.NDArray[np.int64]

#: Documents of a block that is not shuffled: large enough that what a block costs does not count.
_BLOCK = 8_192


@dataclasses.dataclass(frozen=True)
class Place:
    """The beginning of a block.

    Attributes:
        v: documents of the sequence before it; an epoch begins where that many are before it in
            the order of the shards.
        p: number of the next document in the order of the shards, where nothing is blended.
        epoch: that is being read; counted only where each epoch ends.
        blend: where each group stands, once there are weights.
    """

    v: int
    p: int
    epoch: int
    blend: BlendState | None

    def as_json(self) -> dict[str, Any]:
        """What ``from_json`` takes."""
        blend = None if self.blend is None else self.blend.as_json()
        return {"v": self.v, "p": self.p, "epoch": self.epoch, "blend": blend}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Place:
        """Undoes ``as_json``."""
        blend = None if value["blend"] is None else BlendState(**value["blend"])
        return cls(value["v"], value["p"], value["epoch"], blend)


class BlockSequence:
    """Deals blocks of document numbers from a place on.

    Attributes:
        place: where the next block begins.
    """

    def __init__(
        self, shards: CorpusShards, order: Order, groups: Groups, *, window: int, repeat: bool
    ) -> None:
        self._shards, self._order, self._groups = shards, order, groups
        self._window, self._repeat = window, repeat
        self._size = window or min(_BLOCK, order.n_documents)
        self._blend: Blend | None = None
        self.place = Place(0, 0, 0, None)

    def go_to(self, place: Place) -> None:
        """Deal from another place."""
        self.place = place
        self._blend = None if place.blend is None else Blend(place.blend, self._fetch)

    def reweigh(self, shares: list[float]) -> None:
        """Blend from here on, each group to have its share of tokens, float ``[g]``."""
        place = self.place
        if place.blend is None:
            blend = BlendState.beginning(shares, place.p)
        else:
            blend = place.blend.reweighed(shares)
        self.go_to(dataclasses.replace(place, blend=blend))

    def begin_epoch(self, epoch: int) -> None:
        """Begin an epoch: the same documents in the same order, whatever was read before."""
        p = epoch * self._order.n_documents
        blend = self.place.blend
        if blend is not None:
            blend = BlendState.beginning(blend.weights, p)
        self.go_to(Place(p, p, epoch, blend))

    def size(self, until: int | None, place: Place | None = None) -> int:
        """Documents of the block that begins at a place (null: the next one), at most.

        Args:
            until: ``v`` before which it must end, or None.
            place: where it begins.
        """
        place = place or self.place
        size = self._size
        if place.blend is None:
            n = self._order.n_documents
            size = min(size, n - place.p % n, size if self._repeat else self._end(place) - place.p)
        return size if until is None else min(size, until - place.v)

    def boundary(self, place: Place, v: int, cuts: list[int]) -> int:
        """The first beginning of a block at or after ``v``, when blocks begin at a place and at
        ``cuts``; with no shuffling any document can begin a block."""
        if not self._window:
            return v
        while place.v < v:
            until = min((cut for cut in cuts if cut > place.v), default=None)
            size = self.size(until, place)
            if size <= 0:  # the epoch ends first
                return place.v
            place = dataclasses.replace(place, v=place.v + size, p=place.p + size)
        return place.v

    def take(self, size: int) -> Int64Array:
        """The next block of ``size`` documents: their numbers ``p``, int64; fewer at the end."""
        place = self.place
        if self._blend is None:
            found = self._order.in_lanes(np.arange(place.p, place.p + size, dtype=np.int64))
            self.place = dataclasses.replace(place, v=place.v + size, p=place.p + size)
        else:
            found = self._blend.take(size)
            self.place = dataclasses.replace(
                place, v=place.v + len(found), blend=self._blend.state()
            )
        if self._window:
            found = found[permutation(len(found), subseed(self._order.seed, f"block {place.v}"))]
        return found

    def end(self) -> int | None:
        """``v`` at which the epoch ends; None where that is not known beforehand."""
        place = self.place
        if self._repeat or place.blend is not None:
            return None
        return place.v + self._end(place) - place.p

    def _end(self, place: Place) -> int:
        """The document before which an epoch ends."""
        return (place.epoch + 1) * self._order.n_documents

    def _fetch(self, group: int, p: int) -> tuple[Int64Array, Int64Array, int | None]:
        """The documents of a group in the next shard that has any."""
        end, asked = None if self._repeat else self._end(self.place), p
        while end is None or p < end:
            rest = self._order.rest_of_shard(p)
            groups, tokens = self._shards.numbers(rest.shard, self._groups)
            found = np.flatnonzero(groups[rest.first :] == group)
            p = rest.p + rest.length
            if len(found):
                following = None if end is not None and p >= end else p
                return rest.p + found, tokens[rest.first :][found].astype(np.int64), following
            if p - asked > 2 * self._order.n_documents:
                name = self._groups.names[group]
                raise CorpusError(f"no shard has a document of {self._groups.column} {name!r}")
        return np.zeros(0, np.int64), np.zeros(0, np.int64), None
