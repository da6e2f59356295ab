"""Documents of several groups in proportion to weights, counted in tokens.

Each group is a queue in its own order. A document's turn is at the time at which, at the group's
rate, half of its tokens are due: (tokens of the group before it + half of its own) / weight. The
sequence is all documents sorted by that time, as in fair queueing (Goyal, Vin and Cheng,
"Start-time Fair Queuing", SIGCOMM 1996, section 2, with the middle of a packet in place of its
start). At any time each group is within half a document of what it is due; so of T tokens, a group
with share w has w T, within half a document of its own and w times half a document of every group.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

Int64Array = npt.NDArray[np.int64]
Float64Array = npt.NDArray[np.float64]

#: Next documents of a group at or after ``p``: their numbers and tokens, and where to ask next;
#: None instead of a place when there are no more.
Fetch = Callable[[int, int], tuple[Int64Array, Int64Array, int | None]]


@dataclasses.dataclass(frozen=True)
class BlendState:
    """Where a blend stands: a few numbers per group, and no data.

    Attributes:
        weights: share of tokens that each group is to have, float ``[g]``; 0 pauses it.
        cursors: first document that each group has not used, int ``[g]``.
        tokens: taken from each group under these weights, int ``[g]``.
        surplus: tokens that each group had above its share when these weights began, float ``[g]``.
    """

    weights: list[float]
    cursors: list[int]
    tokens: list[int]
    surplus: list[float]

    @classmethod
    def beginning(cls, weights: list[float], p: int) -> BlendState:
        """All groups begin at document ``p``."""
        n = len(weights)
        return cls(weights, [p] * n, [0] * n, [0.0] * n)

    def reweighed(self, weights: list[float]) -> BlendState:
        """The same place under other weights; what a group has above its share stays known."""
        total = sum(self.tokens)
        scale = sum(self.weights) or 1.0
        surplus = [
            before + tokens - total * weight / scale
            for before, tokens, weight in zip(self.surplus, self.tokens, self.weights, strict=True)
        ]
        return BlendState(weights, self.cursors, [0] * len(weights), surplus)

    def as_json(self) -> dict[str, Any]:
        """Plain lists of numbers."""
        return dataclasses.asdict(self)


@dataclasses.dataclass
class _Queue:
    """Documents of one group that were fetched and have no turn yet."""

    p: Int64Array
    tokens: Int64Array
    times: Float64Array
    fetched: int  # tokens up to the last of them, under these weights
    ask: int | None


@dataclasses.dataclass
class _Ready:
    """Documents in their final order."""

    p: Int64Array
    group: Int64Array
    tokens: Int64Array


_NOTHING = np.zeros(0, np.int64)


class Blend:
    """Deals documents in the order above; memory is bounded by a shard's numbers per group."""

    def __init__(self, state: BlendState, fetch: Fetch) -> None:
        self._fetch = fetch
        self._weights = np.array(state.weights) / (sum(state.weights) or 1.0)
        self._original = state
        self._cursors = np.array(state.cursors, np.int64)
        self._tokens = np.array(state.tokens, np.int64)
        self._queues = {
            group: _Queue(_NOTHING, _NOTHING, np.zeros(0), state.tokens[group], cursor)
            for group, cursor in enumerate(state.cursors)
            if state.weights[group] > 0
        }
        self._ready = _Ready(_NOTHING, _NOTHING, _NOTHING)

    def state(self) -> BlendState:
        """What goes on from here in the same way."""
        numbers = {"cursors": self._cursors.tolist(), "tokens": self._tokens.tolist()}
        return dataclasses.replace(self._original, **numbers)

    def take(self, count: int) -> Int64Array:
        """The next ``count`` documents, int64; fewer at the end of all groups."""
        parts, missing = [_NOTHING], count
        while missing:
            if not len(self._ready.p):
                self._merge()
                if not len(self._ready.p):
                    break
            ready = self._ready
            taken = ready.p[:missing]
            group = ready.group[:missing]
            np.add.at(self._tokens, group, ready.tokens[:missing])
            np.maximum.at(self._cursors, group, taken + 1)
            self._ready = _Ready(ready.p[missing:], ready.group[missing:], ready.tokens[missing:])
            parts.append(taken)
            missing -= len(taken)
        return np.concatenate(parts)

    def _merge(self) -> None:
        """Order all documents up to the time at which the first queue is no longer known."""
        for group, queue in self._queues.items():
            self._refill(group, queue)
        known = [queue.times[-1] for queue in self._queues.values() if queue.ask is not None]
        horizon = min(known, default=np.inf)
        parts = []
        for group, queue in self._queues.items():
            n = int(np.searchsorted(queue.times, horizon, side="right"))
            if n:
                parts.append((queue.times[:n], queue.p[:n], queue.tokens[:n], np.full(n, group)))
                queue.times, queue.p = queue.times[n:], queue.p[n:]
                queue.tokens = queue.tokens[n:]
        if parts:
            times, p, tokens, groups = (np.concatenate(list(c)) for c in zip(*parts, strict=True))
            order = np.lexsort((groups, times))
            self._ready = _Ready(p[order], groups[order], tokens[order])

    def _refill(self, group: int, queue: _Queue) -> None:
        while not len(queue.p) and queue.ask is not None:
            queue.p, tokens, queue.ask = self._fetch(group, queue.ask)
            queue.tokens = np.maximum(tokens, 1)  # else time would stand still
            ends = queue.fetched + np.cumsum(queue.tokens)
            due = self._original.surplus[group] + ends - queue.tokens / 2
            queue.times = due / self._weights[group]
            queue.fetched = int(ends[-1]) if len(ends) else queue.fetched
