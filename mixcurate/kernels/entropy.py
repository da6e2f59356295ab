"""How varied texts are: the entropies of their tokens and of their embeddings (BiMix).

BiMix (arXiv 2405.14908, section on entropy proxies) measures a domain without any training: by the
Shannon entropy of its tokens, the joint entropy of pairs of neighbours, the conditional entropy of
a token given the one before it, or the von Neumann entropy of its embeddings. All are in nats here.

The entropy of counts falls short of that of the language, the more so the smaller the sample: of
pairs, a million tokens have half a nat more than a quarter of them. So texts are only comparable
at equal numbers of tokens, which is how they are sampled (``sample_size``).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

from mixcurate.kernels.semantic import unit_grid

Float64Array = npt.NDArray[np.float64]
Int64Array = npt.NDArray[np.int64]
UInt32Array = npt.NDArray[np.uint32]

TokenKind = Literal["shannon", "joint", "conditional"]
EntropyKind = TokenKind | Literal["von_neumann"]

#: Tokens of a unit below which its entropy is too low to be compared with that of others.
LEAST_TOKENS = 1 << 17

#: Tokens of a unit, and of all together, that are looked at, at most.
MOST_TOKENS = 1 << 20
ALL_TOKENS = 1 << 26

#: The same in embeddings of documents.
LEAST_VECTORS, MOST_VECTORS, ALL_VECTORS = 1 << 10, 1 << 13, 1 << 22

#: Coordinates of unit vectors are multiples of 1 / this when they are multiplied: 15 bits.
_GRID = 1 << 15

#: Rows whose products add up below 2 ** 53, so that float64 holds them exactly.
_EXACT_ROWS = 1 << 20

#: Decimals of an entropy of embeddings: what is below differs between versions of LAPACK.
_DECIMALS = 9


def sample_size(available: Int64Array, *, vectors: bool) -> int:
    """How much to look at in each unit: as much as the smallest one has, within bounds.

    Args:
        available: int64 ``[n]``, tokens or documents of each unit.
        vectors: whether these are documents, for their embeddings.

    Returns:
        Tokens or documents; a unit that has less is looked at whole.
    """
    least, most, total = (
        (LEAST_VECTORS, MOST_VECTORS, ALL_VECTORS)
        if vectors
        else (LEAST_TOKENS, MOST_TOKENS, ALL_TOKENS)
    )
    present = available[available > 0]
    if len(present) == 0:
        return least
    return max(min(int(present.min()), most, total // len(present)), least)


def token_entropy(pieces: Sequence[UInt32Array], kind: TokenKind) -> float:
    """Entropy of the tokens of texts, or of the pairs of neighbours inside each.

    Args:
        pieces: ids of each text, uint32 ``[t]``.
        kind: ``shannon``: H(X); ``joint``: H(X, Y) of a token X and the next one, Y;
            ``conditional``: H(Y | X) = H(X, Y) - H(X) with X over the firsts of pairs.

    Returns:
        Nats; 0 for nothing at all.
    """
    if kind == "shannon":
        return entropy_of_counts(_counts(np.concatenate([*pieces, np.zeros(0, np.uint32)])))
    pairs = [
        (ids[:-1].astype(np.uint64) << np.uint64(32)) | ids[1:].astype(np.uint64) for ids in pieces
    ]
    keys = np.concatenate([*pairs, np.zeros(0, np.uint64)])
    joint = entropy_of_counts(_counts(keys))
    if kind == "joint":
        return joint
    return joint - entropy_of_counts(_counts(keys >> np.uint64(32)))


def _counts(keys: npt.NDArray[np.unsignedinteger]) -> Int64Array:
    counts: Int64Array = np.unique(keys, return_counts=True)[1].astype(np.int64)
    return counts


def entropy_of_counts(counts: Int64Array) -> float:
    """-sum p log p for what occurs so often, in nats.

    Equal counts are taken together and the rest is summed exactly, so that the order of counts
    does not matter.

    Args:
        counts: int64 ``[n]``, positive.
    """
    total = int(counts.sum())
    if total == 0:
        return 0.0
    sizes, how_many = np.unique(counts, return_counts=True)
    each = zip(sizes.tolist(), how_many.tolist(), strict=True)
    return math.log(total) - math.fsum(n * size * math.log(size) for size, n in each) / total


def von_neumann(vectors: npt.NDArray[np.floating]) -> float:
    """-Tr(rho log rho) of the Gram matrix of vectors at length 1, scaled to trace 1.

    Its eigenvalues besides zeros are those of the d x d second moment, which is added up in
    integers: the order of the vectors does not matter. At most log d, and log n.

    Args:
        vectors: float ``[n, d]``, of any length; a row that is not finite counts for nothing.

    Returns:
        Nats, to 9 decimals; 0 for no vector.
    """
    moment = np.zeros((vectors.shape[1], vectors.shape[1]), np.int64)
    finite = vectors[np.isfinite(vectors).all(axis=1)]
    for start in range(0, len(finite), _EXACT_ROWS):
        rows = unit_grid(finite[start : start + _EXACT_ROWS]).astype(np.float64)
        grid = np.rint(rows * _GRID)
        moment += (grid.T @ grid).astype(np.int64)
    trace = int(np.trace(moment))
    if trace == 0:
        return 0.0
    values = np.linalg.eigvalsh(moment / trace)
    positive = values[values > 0]
    return round(max(-float((positive * np.log(positive)).sum()), 0.0), _DECIMALS)
