"""Which documents are drawn, and how often: exact token targets without a random state.

Copy j = 1, 2, ... of a document with weight w and uniform hash v in [0, 1) gets the key
(j - v) / w, or what another rule makes of these (``allocation``). All copies with a key up to a
threshold s are drawn; a document then comes floor(s * w) times, and once more with chance
s * w - floor(s * w). With equal weights the first copies of all documents have keys in (0, 1], the
second in (1, 2], ...: whole epochs, each in an order of its own (``epochs``), then a uniform part
of the next one. The threshold of a cell is the smallest key at which its tokens reach the target,
so that a cell is never below it and above by less than one document.

A schedule of phases has several targets per cell, each the sum of those before and its own; a phase
takes the copies between the threshold before and its own. So a document comes a second time in a
later phase only when all of its cell have come once.

To find thresholds without sorting the pool: positive floats sort like their bits, so one pass makes
a histogram over the leading bits, and a second one sorts the few bins that targets fall in.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

from mixcurate.errors import PlanError
from mixcurate.kernels.allocation import CopyRule
from mixcurate.kernels.epochs import epoch_keys, prefer
from mixcurate.kernels.hashing import UInt64Array

Float64Array = npt.NDArray[np.float64]
Int64Array = npt.NDArray[np.int64]
Records = npt.NDArray[np.void]

#: One bin of a cell's histogram: the leading bits of its keys, and how many tokens they hold.
BIN = np.dtype([("cell", "<i4"), ("bin", "<u8"), ("tokens", "<i8")])

#: A bin that a threshold may lie in, and the tokens in all bins of its cell before it.
WANTED = np.dtype([("cell", "<i4"), ("bin", "<u8"), ("before", "<i8")])

#: One copy of a document in such a bin.
CANDIDATE = np.dtype([("cell", "<i4"), ("key", "<f8"), ("tie", "<u8"), ("tokens", "<i8")])

_EXPONENT_BITS = 12  # sign and exponent of a float64

#: Bins of all cells' histograms together, of which each may come in some ten octaves.
_MOST_BINS = 1 << 20


@dataclasses.dataclass(frozen=True)
class Pool:
    """What the draw needs to know of one part's documents, row by row.

    Attributes:
        cell: int32 ``[n]``; -1 for documents that cannot be drawn.
        tokens: int64 ``[n]``.
        weight: float64 ``[n]``; of zero no copy is drawn, unless the rule only orders by weight.
        key: uint64 ``[n]``, uniform.
        rule: how weights become copies.
        factor: float64 ``[n]`` of ``prefer``; None for one.
        fresh: whether each epoch has an order of its own. Where weights decide about copies it has
            not, since the score stage rounds them by the same keys.
    """

    cell: npt.NDArray[np.int32]
    tokens: Int64Array
    weight: Float64Array
    key: UInt64Array
    rule: CopyRule = CopyRule()
    factor: Float64Array | None = None
    fresh: bool = False


@dataclasses.dataclass(frozen=True)
class Thresholds:
    """The last copy that is drawn of each cell by each phase; a key of zero draws nothing.

    Attributes:
        key: float64 ``[n, phases]``, rising along a row.
        tie: uint64 ``[n, phases]``, the hash that settles between equal keys.
        over: int64 ``[n, phases]``, tokens to cut from that copy; zero unless targets are met to
            the token.
    """

    key: Float64Array
    tie: UInt64Array
    over: Int64Array


def mantissa_bits(documents: int, cells: int = 1) -> int:
    """Leading mantissa bits of a histogram bin, so that a bin holds some 20,000 documents.

    With many cells there are fewer, so that the histogram stays small: the documents of all cells'
    bins come together, and a cell's bin holds fewer of them the more cells there are.
    """
    wanted = int(np.clip(np.ceil(np.log2(max(documents, 1) / 20_000)), 8, 16))
    possible = int(np.floor(np.log2(_MOST_BINS / max(cells, 1)))) if cells < _MOST_BINS else 0
    return max(3, min(wanted, possible))


def copies(
    pool: Pool, most: Float64Array, max_copies: int
) -> Iterator[tuple[npt.NDArray[np.intp], Float64Array, UInt64Array]]:
    """For j = 1, 2, ...: rows whose copy j has a key up to ``most[cell]``, these keys, and ties.

    The tie is the hash that the key is made of, and settles between equal keys.
    """
    ordered_only = pool.rule.method == "top"
    rows = np.flatnonzero((pool.cell >= 0) & (ordered_only | (pool.weight > 0)))
    for j in range(1, max_copies + 1):
        ties = epoch_keys(pool.key[rows], j) if pool.fresh else pool.key[rows]
        if pool.factor is not None:
            ties = prefer(ties, pool.factor[rows])
        keys, possible = pool.rule.keys_of_copies(pool.weight[rows], ties, j)
        drawn = possible & (keys <= most[pool.cell[rows]])
        rows, keys = rows[drawn], keys[drawn]
        if len(rows) == 0:
            return
        yield rows, keys, ties[drawn]


def _bins(keys: Float64Array, bits: int) -> UInt64Array:
    return keys.view(np.uint64) >> np.uint64(64 - _EXPONENT_BITS - bits)


def histogram(pool: Pool, *, most: Float64Array, max_copies: int, bits: int) -> Records:
    """Tokens per (cell, leading bits of the key): ``BIN`` records, sorted.

    Args:
        pool: one part.
        most: float64 ``[n_cells]``, keys above are not needed.
        max_copies: copies per document at most.
        bits: leading mantissa bits.
    """
    pieces = [np.zeros(0, BIN)]
    for rows, keys, _ in copies(pool, most, max_copies):
        piece = np.zeros(len(rows), BIN)
        piece["cell"], piece["tokens"] = pool.cell[rows], pool.tokens[rows]
        piece["bin"] = _bins(keys, bits)
        pieces.append(merge_histograms([piece]))
    return merge_histograms(pieces)


def merge_histograms(histograms: list[Records]) -> Records:
    """One histogram of many, in any order of merging."""
    records = np.concatenate(histograms)
    order = np.argsort(_places(records), kind="stable")
    records = records[order]
    if len(records) == 0:
        return records
    starts = np.flatnonzero(np.diff(_places(records), prepend=-1))
    merged = records[starts].copy()
    merged["tokens"] = np.add.reduceat(records["tokens"], starts)
    return merged


def _places(records: Records) -> Int64Array:
    """Cell and bin as one number; a bin has at most 28 bits."""
    places: Int64Array = records["cell"].astype(np.int64) << 32 | records["bin"].astype(np.int64)
    return places


def _number(cell: int) -> str:
    return f"cell {cell}"


def wanted_bins(
    bins: Records,
    goals: Int64Array,
    *,
    slack: Int64Array | None = None,
    label: Callable[[int], str] = _number,
) -> Records:
    """The bins that thresholds may lie in: ``WANTED`` records, sorted.

    Args:
        bins: the histogram of the whole pool.
        goals: int64 ``[n_cells, phases]``, tokens by the end of each phase, rising.
        slack: int64 ``[n_cells]``, by how much a goal may move with each phase before it, for
            targets that are met to the token; None for not at all.
        label: of a cell, for the message.

    Raises:
        PlanError: a cell's copies do not reach its goal.
    """
    n_cells, phases = goals.shape
    until = np.concatenate([[0], np.cumsum(bins["tokens"])])
    edges = np.searchsorted(bins["cell"], np.arange(n_cells + 1))
    base, total = until[edges[:-1]], until[edges[1:]] - until[edges[:-1]]
    short = np.flatnonzero(goals[:, -1] > total)
    if len(short):
        cell = int(short[0])
        raise PlanError(
            f"{label(cell)}: the weights and max_epochs allow {total[cell]:,} tokens, fewer "
            f"than its target {goals[cell, -1]:,}; raise max_epochs or lower budget_tokens"
        )
    steps = np.zeros(len(bins) + 1, np.int64)
    for phase in range(phases):
        low = goals[:, phase]
        high = low if slack is None else np.minimum(low + phase * slack, total)
        active = low > 0
        first = np.searchsorted(until[1:], (base + low)[active])
        last = np.searchsorted(until[1:], (base + high)[active])
        np.add.at(steps, first, 1)
        np.add.at(steps, last + 1, -1)
    chosen = np.flatnonzero(np.cumsum(steps[:-1]) > 0)
    found = np.zeros(len(chosen), WANTED)
    found["cell"], found["bin"] = bins["cell"][chosen], bins["bin"][chosen]
    found["before"] = until[chosen] - base[found["cell"]]
    return found


def candidates(
    pool: Pool, wanted: Records, *, most: Float64Array, max_copies: int, bits: int
) -> Records:
    """The copies that lie in one of the wanted bins: ``CANDIDATE`` records."""
    places = _places(wanted)
    pieces = [np.zeros(0, CANDIDATE)]
    if len(places) == 0:
        return pieces[0]
    for rows, keys, ties in copies(pool, most, max_copies):
        mine = pool.cell[rows].astype(np.int64) << 32 | _bins(keys, bits).astype(np.int64)
        found = np.minimum(np.searchsorted(places, mine), len(places) - 1)
        inside = places[found] == mine
        piece = np.zeros(int(inside.sum()), CANDIDATE)
        picked = rows[inside]
        piece["cell"], piece["tokens"] = pool.cell[picked], pool.tokens[picked]
        piece["key"], piece["tie"] = keys[inside], ties[inside]
        pieces.append(piece)
    return np.concatenate(pieces)


def thresholds(
    wanted: Records, found: Records, goals: Int64Array, *, bits: int, exact: bool = False
) -> Thresholds:
    """The thresholds: of each cell and phase the first copy at which its tokens reach the goal.

    Args:
        wanted: from ``wanted_bins``.
        found: the candidates of all parts, in any order.
        goals: int64 ``[n_cells, phases]``.
        bits: of the bins.
        exact: whether the last copy is cut, so that targets are met to the token. What is cut from
            it is lost, and the goals of later phases move on by as much.
    """
    n_cells = len(goals)
    ordered = found[np.lexsort((found["tie"], found["key"], found["cell"]))]
    mine = ordered["cell"].astype(np.int64) << 32 | _bins(ordered["key"], bits).astype(np.int64)
    place = np.searchsorted(_places(wanted), mine)
    until = np.cumsum(ordered["tokens"])
    starts = np.flatnonzero(np.diff(place, prepend=-1))
    before_bin = np.zeros(len(wanted), np.int64)
    before_bin[place[starts]] = until[starts] - ordered["tokens"][starts]
    reached = wanted["before"][place] + until - before_bin[place]
    # so that they rise over all cells, what a cell reaches begins after the one before
    largest = np.zeros(n_cells, np.int64)
    np.maximum.at(largest, ordered["cell"], reached)
    base = np.cumsum(largest + 1) - (largest + 1)
    rising = reached + base[ordered["cell"]]
    result = Thresholds(
        np.zeros(goals.shape), np.zeros(goals.shape, np.uint64), np.zeros(goals.shape, np.int64)
    )
    lost = np.zeros(n_cells, np.int64)
    for phase in range(goals.shape[1]):
        cells = np.flatnonzero(goals[:, phase] > 0)
        goal = np.minimum(goals[cells, phase] + lost[cells], largest[cells])
        last = np.searchsorted(rising, base[cells] + goal)
        result.key[cells, phase] = ordered["key"][last]
        result.tie[cells, phase] = ordered["tie"][last]
        if exact:
            result.over[cells, phase] = reached[last] - goal
            lost[cells] += result.over[cells, phase]
    return result


@dataclasses.dataclass(frozen=True)
class Drawn:
    """The copies that are drawn of a part, by row, then copy.

    Attributes:
        row: int32 ``[m]``.
        copy: int32 ``[m]``, 0 for a document's first.
        phase: uint8 ``[m]``.
        keep: int32 ``[m]``, tokens of a copy that is cut; -1 for a whole one.
    """

    row: npt.NDArray[np.int32]
    copy: npt.NDArray[np.int32]
    phase: npt.NDArray[np.uint8]
    keep: npt.NDArray[np.int32]


def drawn(pool: Pool, limits: Thresholds, max_copies: int) -> Drawn:
    """The copies up to the thresholds, and the phase of each."""
    phases = limits.key.shape[1]
    pieces = [(np.zeros(0, np.int64),) * 4]
    for copy, (rows, keys, ties) in enumerate(copies(pool, limits.key[:, -1], max_copies)):
        cell = pool.cell[rows]
        phase = np.zeros(len(rows), np.int64)
        for end in range(phases):
            key, tie = limits.key[cell, end], limits.tie[cell, end]
            phase += (keys > key) | ((keys == key) & (ties > tie))
        inside = np.flatnonzero(phase < phases)
        row, place = rows[inside], (cell[inside], phase[inside])
        last = (keys[inside] == limits.key[place]) & (ties[inside] == limits.tie[place])
        cut = last & (limits.over[place] > 0)
        keep = np.where(cut, pool.tokens[row] - limits.over[place], -1)
        pieces.append((row, np.full(len(row), copy), place[1], keep))
    row, number, phase, keep = (np.concatenate(column) for column in zip(*pieces, strict=True))
    order = np.lexsort((number, row))
    return Drawn(
        row[order].astype(np.int32),
        number[order].astype(np.int32),
        phase[order].astype(np.uint8),
        keep[order].astype(np.int32),
    )
