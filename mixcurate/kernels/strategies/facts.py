"""What strategies are given and what they give: the same for all of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from mixcurate.kernels.mixture import MixtureParams

Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]
Int64Array = npt.NDArray[np.int64]


@dataclasses.dataclass(frozen=True)
class Facts:
    """What is known of the units that share a budget, one entry per unit.

    Attributes:
        names: for messages, and for shares that come by name.
        documents: int64 ``[n]`` that can be drawn.
        tokens: int64 ``[n]``, theirs.
        budget: tokens to be shared.
        max_epochs: most that a unit may be repeated.
        weighted_tokens: float64 ``[n]``, sum of sampling weight (expected copies) x tokens.
        quality: float64 ``[n]``, mean quality in [0, 1]; zero where there is no document.
        centroids: float32 ``[n, d]``, unit vectors; of a domain the mean of its clusters'.
        entropies: float64 ``[n]`` in nats, of the kind that was asked for.
        given: shares by the names of a file.
        target_vectors: float32 ``[m, d]``, unit vectors of the texts that the corpus shall be like.
        target_documents: float64 ``[n]``, how many of them are nearest to each unit.

    What a strategy does not need may be None.
    """

    names: list[str]
    documents: Int64Array
    tokens: Int64Array
    budget: int
    max_epochs: float
    weighted_tokens: Float64Array | None = None
    quality: Float64Array | None = None
    centroids: Float32Array | None = None
    entropies: Float64Array | None = None
    given: dict[str, float] | None = None
    target_vectors: Float32Array | None = None
    target_documents: Float64Array | None = None


@dataclasses.dataclass(frozen=True)
class Shares:
    """What a strategy gives.

    Attributes:
        shares: float64 ``[n]``, non-negative, sum to one; zero where a unit has no tokens.
        notes: what was done that the user should know, a sentence each.
    """

    shares: Float64Array
    notes: list[str] = dataclasses.field(default_factory=list)


Strategy = Callable[[Facts, MixtureParams], Shares]
