"""Who reads what: one sequence of documents dealt to any number of ranks and their workers.

All of it is arithmetic on numbers of documents. ``v`` counts the documents of the one sequence that
all ranks share, from its beginning. A division begins at some ``base``; documents from there on
that were seen before (by another division) are left out, and what remains is numbered by ``u``. Of
these, rank r of W reads u = r, r + W, ..., whichever worker of it does.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from mixcurate.errors import InputError

Int64Array = npt.NDArray[np.int64]


@dataclasses.dataclass(frozen=True)
class Division:
    """The part of one worker of one rank.

    Attributes:
        rank: number of the rank, below ``world_size``.
        world_size: ranks that share the sequence.
        worker: number of the worker within its rank, below ``workers``.
        workers: workers that share the documents of a rank.
        chunk: documents that a worker takes in a row before it is the next worker's turn: a batch
            of the trainer, so that batches are the same for any number of workers.

    Raises:
        InputError: a number that is out of its range.
    """

    rank: int = 0
    world_size: int = 1
    worker: int = 0
    workers: int = 1
    chunk: int = 1

    def __post_init__(self) -> None:
        for name, value, count in (
            ("rank", self.rank, self.world_size),
            ("worker", self.worker, self.workers),
        ):
            whole = "world_size" if name == "rank" else "workers"
            if not 0 <= value < count:
                raise InputError(
                    f"{name} {value} with {whole} {count}: {name}s go from 0 to {whole} - 1"
                )
        if self.chunk < 1:
            raise InputError(f"chunk {self.chunk}: it is a number of documents, at least 1")

    def owned(self, u: Int64Array) -> npt.NDArray[np.bool_]:
        """Which documents are this worker's: bool ``[n]`` for ``u`` int64 ``[n]``."""
        turn = u // self.world_size // self.chunk
        mine: npt.NDArray[np.bool_] = (u % self.world_size == self.rank) & (
            turn % self.workers == self.worker
        )
        return mine & (u >= 0)

    def nth(self, taken: int) -> int:
        """``u`` of this worker's document number ``taken``, from 0."""
        turn, within = divmod(taken, self.chunk)
        return self.rank + self.world_size * (
            (turn * self.workers + self.worker) * self.chunk + within
        )

    def shape(self) -> tuple[int, int, int]:
        """What all workers of all ranks have in common."""
        return self.world_size, self.workers, self.chunk


@dataclasses.dataclass(frozen=True)
class Start:
    """Where a division begins.

    Attributes:
        base: first ``v`` that may still be read.
        seen: ``v`` of documents after it that were read before, ascending, int64 ``[s]``.
    """

    base: int
    seen: Int64Array

    def numbers(self, v: Int64Array) -> Int64Array:
        """``u`` of each ``v``, int64 ``[n]``; -1 where it was seen before."""
        before = np.searchsorted(self.seen, v)
        u: Int64Array = v - self.base - before
        if len(self.seen):
            u[self.seen[np.minimum(before, len(self.seen) - 1)] == v] = -1
        u[v < self.base] = -1
        return u

    def positions(self, u: Int64Array) -> Int64Array:
        """``v`` of each ``u``, int64 ``[n]``; undoes ``numbers``."""
        gaps = self.seen - self.base - np.arange(len(self.seen))  # unseen ones before each
        v: Int64Array = u + self.base + np.searchsorted(gaps, u, side="right")
        return v

    def later(self, u: int) -> Start:
        """The start from document ``u`` on, when all before it have been read."""
        base = int(self.positions(np.array([u]))[0])
        return Start(base, self.seen[self.seen >= base])


def merge_states(states: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """One state of all ranks and workers, which any other number of them can go on from.

    It is exact however far apart they are: no document that one of them has read is read again, and
    none is lost. It holds the numbers of those that were read ahead of the slowest.

    Args:
        states: one ``state_dict`` of each worker of each rank, in any order.

    Raises:
        InputError: one is missing or there twice, or they are not of one run.
    """
    if not states:
        raise InputError("no states to merge")
    divisions = [Division(**state["division"]) for state in states]
    expected = divisions[0].world_size * divisions[0].workers
    if len(set(divisions)) != len(states) or len(states) != expected:
        places = sorted((d.rank, d.worker) for d in divisions)
        raise InputError(
            f"expected {expected} states, one for each of {divisions[0].workers} workers of "
            f"{divisions[0].world_size} ranks; got (rank, worker) {places}"
        )
    first = states[0]
    for state, division in zip(states, divisions, strict=True):
        shared = ("order", "base", "seen", "n_changes")
        other = [name for name in shared if state[name] != first[name]]
        if other or division.shape() != divisions[0].shape():
            raise InputError(
                f"the states of rank {divisions[0].rank} and rank {division.rank} are not of one "
                f"run: they differ in {', '.join(other) or 'the number of ranks or workers'}"
            )
    start = Start(first["base"], np.array(first["seen"], np.int64))
    reached = [d.nth(state["taken"]) for d, state in zip(divisions, states, strict=True)]
    slowest = min(reached)
    between = np.arange(slowest, max(reached), dtype=np.int64)
    ahead = np.zeros(len(between), bool)
    for division, end in zip(divisions, reached, strict=True):
        ahead |= division.owned(between) & (between < end)
    after = start.later(slowest)
    seen = np.union1d(after.seen, start.positions(between[ahead]))
    earliest = min(states, key=lambda state: int(state["place"]["v"]))
    merged = dataclasses.asdict(Division())
    new = {"division": merged, "base": after.base, "seen": seen.tolist(), "taken": 0}
    return earliest | new | {"ended": all(state["ended"] for state in states)}
