"""Sequences of one length for training, each from documents of one domain.

When sequences are packed from a stream of mixed documents, a long document fills many of them and
a short one shares its own with strangers, and the mixture no longer holds for what is trained on
(torchtitan issue 2385). So documents are packed inside their domain and the sequences are mixed.

The method is concatenation and chunking: the documents of a domain one after another, cut wherever
a sequence ends. Best-fit packing (Ding et al., arXiv 2404.10830) cuts fewer documents, but pads,
and moves documents away from their order; here every token is in just one sequence and none is
padding. What is left of each domain, less than a sequence, is joined with what is left of the
others, in the order of domains, and chunked the same way. So of a shard fewer sequences than there
are domains hold more than one domain, and only the last one may be shorter.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from mixcurate.kernels.splitmix import GOLDEN, mix

Int64Array = npt.NDArray[np.int64]


@dataclasses.dataclass(frozen=True)
class Packing:
    """Sequences as runs of pieces of documents, in the order in which they are to be written.

    Attributes:
        documents: int64 ``[p]``, the document that a piece is of.
        starts: int64 ``[p]``, its first token in the document.
        lengths: int64 ``[p]``, its tokens, at least one.
        bounds: int64 ``[s + 1]``; sequence i has the pieces ``bounds[i]`` to ``bounds[i + 1] - 1``.
    """

    documents: Int64Array
    starts: Int64Array
    lengths: Int64Array
    bounds: Int64Array


def pack(
    lengths: Int64Array, domains: npt.NDArray[np.int32], sequence_length: int, shard: int
) -> Packing:
    """Pack the documents of a shard; O(n log n), memory for the pieces only.

    The sequences are in the order of a hash of (shard, number of the sequence), so that the mixture
    holds throughout the shard; one that is shorter than the others comes last.

    Args:
        lengths: int64 ``[n]``, tokens of each document, with those put before and after it.
        domains: int32 ``[n]``.
        sequence_length: tokens of a sequence, at least 1.
        shard: number of the shard, at least 0.

    Returns:
        The pieces of all sequences.
    """
    by_domain = np.argsort(domains, kind="stable")
    ends = np.cumsum(lengths[by_domain])
    if len(ends) == 0 or ends[-1] == 0:
        none = np.zeros(0, np.int64)
        return Packing(none, none, none, bounds=np.zeros(1, np.int64))
    last = np.append(np.diff(domains[by_domain]) != 0, True)
    tails = _tails(np.append(0, ends[last]), sequence_length)
    cuts = np.unique(np.concatenate([[0], ends, tails.cuts(sequence_length)]))
    starts, sizes = cuts[:-1], np.diff(cuts)
    place = tails.moved(starts)
    sequence = place // sequence_length
    row = np.searchsorted(ends, starts, "right")
    order = np.lexsort((place, _ranks(int(ends[-1]), sequence_length, shard)[sequence]))
    first = np.flatnonzero(np.diff(sequence[order], prepend=-1))
    return Packing(
        documents=by_domain[row][order],
        starts=(starts - (ends - lengths[by_domain])[row])[order],
        lengths=sizes[order],
        bounds=np.append(first, len(order)),
    )


@dataclasses.dataclass(frozen=True)
class _Tails:
    """Two orders of all tokens: domain after domain, and with what is left of each at the end.

    Attributes:
        starts: int64 ``[d]``, where a domain's tokens start in the first order ...
        heads: int64 ``[d]``, ... and the part of them that fills whole sequences.
        tails: int64 ``[d]``, the rest.
    """

    starts: Int64Array
    heads: Int64Array
    tails: Int64Array

    def cuts(self, sequence_length: int) -> Int64Array:
        """Where sequences start, and where what is left of a domain does, in the first order."""
        whole = self.heads // sequence_length
        number = np.arange(whole.sum()) - np.repeat(np.cumsum(whole) - whole, whole)
        in_heads = np.repeat(self.starts, whole) + number * sequence_length
        before = np.cumsum(self.tails) - self.tails
        in_tails = np.arange(0, self.tails.sum(), sequence_length)
        domain = np.searchsorted(before, in_tails, "right") - 1
        in_tails += (self.starts + self.heads - before)[domain]
        found: Int64Array = np.concatenate([in_heads, self.starts + self.heads, in_tails])
        return found

    def moved(self, tokens: Int64Array) -> Int64Array:
        """Places in the second order of tokens at places in the first."""
        domain = np.searchsorted(self.starts, tokens, "right") - 1
        in_tail = tokens - (self.starts + self.heads)[domain]
        tails_before = np.cumsum(self.tails) - self.tails
        head = tokens - tails_before[domain]
        moved: Int64Array = np.where(
            in_tail < 0, head, self.heads.sum() + tails_before[domain] + in_tail
        )
        return moved


def _tails(bounds: Int64Array, sequence_length: int) -> _Tails:
    """Of domains with the tokens between ``bounds``; those without any are left out."""
    sizes = np.diff(bounds)
    starts, sizes = bounds[:-1][sizes > 0], sizes[sizes > 0]
    tails = sizes % sequence_length
    return _Tails(starts, sizes - tails, tails)


def _ranks(tokens: int, sequence_length: int, shard: int) -> Int64Array:
    """Where each sequence is written: by hash, but one that is shorter last."""
    whole = tokens // sequence_length
    keys = np.arange(1, whole + 1, dtype=np.uint64)
    keys += np.uint64(shard << 32)
    keys *= GOLDEN
    mix(keys)
    ranks = np.empty(-(-tokens // sequence_length), np.int64)
    ranks[np.argsort(keys, kind="stable")] = np.arange(whole)
    ranks[whole:] = whole
    return ranks
