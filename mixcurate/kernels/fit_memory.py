"""What a fit takes of memory, and how large its sample may be."""

from __future__ import annotations

from mixcurate.kernels.kmeans import Levels


def memory_of_fit(n_sample: int, d: int, k: int, levels: Levels = "auto") -> int:
    """Upper estimate of the bytes that ``kmeans.fit`` holds at once, its input included."""
    raise NotImplementedError


def sample_size(k: int, per_cluster: int, documents: int, d: int, memory: int) -> int:
    """Documents that a fit is trained on, so many that it keeps to ``memory`` bytes.

    Raises:
        RecipeError: not even eight documents a cluster fit.
    """
    raise NotImplementedError
