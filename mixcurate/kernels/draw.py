"""Which documents are drawn, and how often: exact token targets without a random state.

Copy j = 1, 2, ... of a document with weight w and uniform hash v in [0, 1) gets the key
(j - v) / w, or what another rule makes of these (``allocation``). All copies with a key up to a
threshold s are drawn; a document then comes floor(s * w) times, and once more with chance
s * w - floor(s * w). With equal weights the first copies of all documents have keys in (0, 1], the
second in (1, 2], ...: whole epochs, then a uniform part of the next one. The threshold of a domain
is the smallest key at which its tokens reach the target, so that a domain is never below it and
above by less than one document.

To find it without sorting the pool: positive floats sort like their bits, so one pass makes a
histogram over the leading bits, and a second one sorts the single bin that the target falls in.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from mixcurate.errors import PlanError
from mixcurate.kernels.allocation import CopyRule
from mixcurate.kernels.hashing import UInt64Array, unit_interval

Float64Array = npt.NDArray[np.float64]
Int64Array = npt.NDArray[np.int64]

#: One bin of a domain's histogram: the leading bits of its keys, and how many tokens they hold.
BIN = np.dtype([("domain", "<i4"), ("bin", "<u8"), ("tokens", "<i8")])

#: One copy of a document in the bin that holds the threshold.
CANDIDATE = np.dtype([("domain", "<i4"), ("key", "<f8"), ("tie", "<u8"), ("tokens", "<i8")])

_EXPONENT_BITS = 12  # sign and exponent of a float64


@dataclasses.dataclass(frozen=True)
class Pool:
    """What the draw needs to know of one part's documents, row by row.

    Documents that cannot be drawn have domain -1.
    """

    domain: npt.NDArray[np.int32]
    tokens: Int64Array
    weight: Float64Array
    key: UInt64Array
    rule: CopyRule = CopyRule()


def prefer(keys: UInt64Array, factors: Float64Array) -> UInt64Array:
    """Keys with which some documents come earlier in each epoch than others.

    In place of v stands v ** (1 / f), and the largest come first: sampling without replacement with
    probabilities proportional to f (Efraimidis and Spirakis 2006, doi:10.1016/j.ipl.2005.11.003).
    Whole epochs stay whole: no document comes a second time before all of its domain have
    come once.

    Args:
        keys: uint64 ``[n]``, uniform.
        factors: float64 ``[n]``, positive; with 1 a key stays as it is.

    Returns:
        uint64 ``[n]``; of a changed key 48 bits count, so that no processor's last digit does.
    """
    moved = np.floor(unit_interval(keys) ** (1.0 / factors) * 2.0**48)
    shifted = np.minimum(moved, 2.0**48 - 1).astype(np.uint64) << np.uint64(16)
    return np.where(factors == 1.0, keys, shifted)


@dataclasses.dataclass(frozen=True)
class Threshold:
    """The last copy that is drawn of a domain: its key, and the hash that breaks a tie."""

    key: float
    tie: int


#: Draws nothing: every key is positive.
NOTHING = Threshold(0.0, 0)


def mantissa_bits(documents: int) -> int:
    """Leading mantissa bits of a histogram bin, so that a bin holds some 20,000 documents."""
    return int(np.clip(np.ceil(np.log2(max(documents, 1) / 20_000)), 8, 16))


def _copies(
    pool: Pool, most: Float64Array, max_copies: int
) -> Iterator[tuple[npt.NDArray[np.intp], Float64Array]]:
    """For j = 1, 2, ...: the rows whose copy j has a key up to ``most[domain]``, and those keys."""
    rows = np.flatnonzero((pool.domain >= 0) & (pool.weight > 0))
    for j in range(1, max_copies + 1):
        keys, possible = pool.rule.keys_of_copies(pool.weight[rows], pool.key[rows], j)
        drawn = possible & (keys <= most[pool.domain[rows]])
        rows, keys = rows[drawn], keys[drawn]
        if len(rows) == 0:
            return
        yield rows, keys


def _bins(keys: Float64Array, bits: int) -> UInt64Array:
    return keys.view(np.uint64) >> np.uint64(64 - _EXPONENT_BITS - bits)


def histogram(
    pool: Pool, *, most: Float64Array, max_copies: int, bits: int
) -> npt.NDArray[np.void]:
    """Tokens per (domain, leading bits of the key): ``BIN`` records, sorted.

    Args:
        pool: one part.
        most: float64 ``[n_domains]``, keys above are not needed.
        max_copies: copies per document at most.
        bits: leading mantissa bits.
    """
    pieces = [np.zeros(0, BIN)]
    for rows, keys in _copies(pool, most, max_copies):
        piece = np.zeros(len(rows), BIN)
        piece["domain"], piece["tokens"] = pool.domain[rows], pool.tokens[rows]
        piece["bin"] = _bins(keys, bits)
        pieces.append(piece)
    return merge_histograms(pieces)


def merge_histograms(histograms: list[npt.NDArray[np.void]]) -> npt.NDArray[np.void]:
    """One histogram of many, in any order of merging."""
    records = np.concatenate(histograms)
    order = np.lexsort((records["bin"], records["domain"]))
    records = records[order]
    if len(records) == 0:
        return records
    fresh = np.ones(len(records), bool)
    fresh[1:] = (records["bin"][1:] != records["bin"][:-1]) | (
        records["domain"][1:] != records["domain"][:-1]
    )
    starts = np.flatnonzero(fresh)
    merged = records[starts].copy()
    merged["tokens"] = np.add.reduceat(records["tokens"], starts)
    return merged


@dataclasses.dataclass(frozen=True)
class Boundary:
    """The bin a domain's target falls in, and the tokens in all bins before it."""

    bin: int
    tokens_before: int


def boundaries(bins: npt.NDArray[np.void], targets: Int64Array) -> dict[int, Boundary]:
    """The boundary of each domain with a positive target.

    Raises:
        PlanError: a domain's copies do not reach its target.
    """
    found: dict[int, Boundary] = {}
    for domain, target in enumerate(targets.tolist()):
        if target <= 0:
            continue
        mine = bins[bins["domain"] == domain]
        total = np.cumsum(mine["tokens"])
        index = int(np.searchsorted(total, target))
        if index == len(total):
            reached = int(total[-1]) if len(total) else 0
            raise PlanError(
                f"domain {domain}: the weights and max_epochs allow {reached:,} tokens, fewer "
                f"than its target {target:,}; raise max_epochs or lower budget_tokens"
            )
        found[domain] = Boundary(int(mine["bin"][index]), int(total[index] - mine["tokens"][index]))
    return found


def candidates(
    pool: Pool,
    bounds: dict[int, Boundary],
    *,
    most: Float64Array,
    max_copies: int,
    bits: int,
) -> npt.NDArray[np.void]:
    """The copies that lie in their domain's boundary bin: ``CANDIDATE`` records."""
    wanted = np.full(len(most), np.iinfo(np.uint64).max, np.uint64)
    for domain, boundary in bounds.items():
        wanted[domain] = boundary.bin
    pieces = [np.zeros(0, CANDIDATE)]
    for rows, keys in _copies(pool, most, max_copies):
        inside = _bins(keys, bits) == wanted[pool.domain[rows]]
        piece = np.zeros(int(inside.sum()), CANDIDATE)
        picked = rows[inside]
        piece["domain"], piece["tokens"] = pool.domain[picked], pool.tokens[picked]
        piece["key"], piece["tie"] = keys[inside], pool.key[picked]
        pieces.append(piece)
    return np.concatenate(pieces)


def thresholds(
    bounds: dict[int, Boundary], found: npt.NDArray[np.void], targets: Int64Array
) -> list[Threshold]:
    """The threshold of each domain: the first copy at which its tokens reach the target."""
    result = [NOTHING] * len(targets)
    for domain, boundary in bounds.items():
        mine = found[found["domain"] == domain]
        mine = mine[np.lexsort((mine["tie"], mine["key"]))]
        total = boundary.tokens_before + np.cumsum(mine["tokens"])
        last = mine[int(np.searchsorted(total, targets[domain]))]
        result[domain] = Threshold(float(last["key"]), int(last["tie"]))
    return result


def drawn(
    pool: Pool, limits: list[Threshold], max_copies: int
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """The copies that are drawn.

    Returns:
        row int32 ``[m]`` and copy int32 ``[m]`` (0 for a document's first), by row, then copy.
    """
    most = np.array([limit.key for limit in limits])
    ties = np.array([limit.tie for limit in limits], np.uint64)
    pieces = [(np.zeros(0, np.int32), np.zeros(0, np.int32))]
    for copy, (rows, keys) in enumerate(_copies(pool, most, max_copies)):
        domain = pool.domain[rows]
        inside = (keys < most[domain]) | (pool.key[rows] <= ties[domain])
        picked = rows[inside].astype(np.int32)
        pieces.append((picked, np.full(len(picked), copy, np.int32)))
    row = np.concatenate([piece[0] for piece in pieces])
    copy_number = np.concatenate([piece[1] for piece in pieces])
    order = np.lexsort((copy_number, row))
    return row[order], copy_number[order]
