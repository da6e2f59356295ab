"""What a fit takes of memory, and how large its sample may be."""

from __future__ import annotations

from mixcurate.errors import RecipeError
from mixcurate.kernels.kmeans import Levels

#: Copies of the sample at once: the input, the caller's while it brings it into order, and the
#: fit's own, of rows without zero or around their mean, or of the rows of one coarse cluster.
_COPIES = 3

#: Bytes a row beside its vector: clusters, distances and orders, some of them 8 bytes.
_ROW = 96

#: Copies of the centroids: as they are, as an index, as sums, as halves and parts.
_CENTROIDS = 8

#: Bytes of similarities in matrix multiplications, and what the allocator keeps.
_FIXED = 128_000_000

#: Documents of a cluster below which its centroid says little.
_FEWEST = 8


def memory_of_fit(n_sample: int, d: int, k: int, levels: Levels = "auto") -> int:
    """Upper estimate of the bytes that ``kmeans.fit`` holds at once, its input included.

    Args:
        n_sample: rows of the sample.
        d: dimension of the vectors.
        k: number of clusters.
        levels: levels of the fit; two hold the first centroids of all children as well.

    Returns:
        Bytes, beside those of the interpreter and its libraries.
    """
    centroids = _CENTROIDS + (levels != 1)
    return n_sample * (_COPIES * 4 * d + _ROW) + centroids * 4 * d * k + _FIXED


def sample_size(k: int, per_cluster: int, documents: int, d: int, memory: int) -> int:
    """Documents that a fit is trained on, so many that it keeps to ``memory`` bytes.

    Args:
        k: number of clusters.
        per_cluster: documents wanted for each.
        documents: number of documents there are.
        d: dimension of the vectors.
        memory: bytes.

    Returns:
        At most ``k * per_cluster`` and ``documents``.

    Raises:
        RecipeError: not even eight documents a cluster fit.
    """
    wanted = min(k * per_cluster, documents)
    least = min(_FEWEST * k, wanted)
    row = memory_of_fit(1, d, k) - memory_of_fit(0, d, k)
    rows = (memory - memory_of_fit(0, d, k)) // row
    if rows < least:
        needed = memory_of_fit(least, d, k)
        raise RecipeError(
            [
                f"cluster.memory: {memory:,} bytes do not hold {least:,} vectors of {d:,} numbers, "
                f"{_FEWEST} for each of {k:,} clusters; it takes {needed:,}: raise cluster.memory "
                f"or lower cluster.k"
            ]
        )
    return min(wanted, rows)
