"""Shares of units for a corpus that is to be like a small set of texts.

- importance: documents of the pool with weights p(unit | target) / p(unit | pool), as DSIR (arXiv
  2302.03169, section 3) resamples them; our features are units in place of hashed n-grams. A unit
  then has the share of target texts that are nearest to it.
- transport: the target's mass is carried to the units at the least cost, 1 - cosine to a centroid,
  with an entropy term towards the natural shares, and no unit takes more than it can give. A text
  between two units counts for both, and what a full unit cannot give comes from its neighbours.
- rds: documents are chosen one by one (RDS+, arXiv 2503.01807), so shares are natural.

The first two are mixed with the natural shares (``smoothing``): no part of the pool is shut out.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mixcurate.errors import PlanError
from mixcurate.kernels.mixture import MixtureParams, TargetParams
from mixcurate.kernels.semantic import unit_grid
from mixcurate.kernels.strategies.facts import Facts, Float64Array, Shares
from mixcurate.kernels.transport import transport

#: Pairs of a text and a unit whose costs are held: 64 MB. More texts are merged first.
_PAIRS = 1 << 23

#: Texts whose nearest units are looked for at once.
_ROWS = 4_096


def shares(facts: Facts, params: MixtureParams) -> Shares:
    """As the method says.

    Raises:
        PlanError: no target text is near to any unit that has documents.
    """
    target = params.target
    natural = facts.tokens / facts.tokens.sum()
    if target.method == "rds":
        return Shares(natural)
    if target.method == "transport":
        return _transported(facts, natural, target)
    assert facts.target_documents is not None
    counted = np.where(facts.tokens > 0, facts.target_documents, 0.0)
    if not counted.sum() > 0:
        raise PlanError(
            "mixture.target: no text is nearest to a unit that has documents; use method: "
            "transport, which goes to the next nearest"
        )
    left = int(facts.target_documents.sum() - counted.sum())
    notes = [f"target: {left:,} texts are nearest to a unit without documents; left out"]
    found = _smoothed(counted / counted.sum(), natural, target)
    return Shares(found, notes * bool(left))


def _smoothed(found: Float64Array, natural: Float64Array, target: TargetParams) -> Float64Array:
    return (1 - target.smoothing) * found + target.smoothing * natural


def _transported(facts: Facts, natural: Float64Array, target: TargetParams) -> Shares:
    """Shares by transport; limits leave room for what smoothing adds."""
    assert facts.centroids is not None
    assert facts.target_vectors is not None
    have = np.flatnonzero(facts.tokens > 0)
    prior, smoothing = natural[have], target.smoothing
    limit = facts.tokens[have] * facts.max_epochs / facts.budget
    notes = []
    if smoothing == 1 or limit.sum() <= 1:  # all of everything: shares say no more
        room = np.full(len(have), np.inf)
    else:
        room = np.maximum(limit - smoothing * prior, 0.0) / (1 - smoothing)
    vectors, mass = merged(facts.target_vectors, facts.centroids[have])
    cost = 1 - vectors @ unit_grid(facts.centroids[have]).astype(np.float64).T
    epsilon = target.regularisation * max(float(mass @ cost.mean(axis=1)), 1e-6)
    done = transport(cost, mass, prior, room, epsilon=epsilon)
    if done.excess > 1e-6:
        notes.append(
            f"target: transport ended after {done.rounds:,} rounds with a unit {done.excess:.2g} "
            "of the corpus above what it can give; a greater regularisation ends sooner"
        )
    full = int((done.arrives >= room * (1 - 1e-6)).sum())
    if full:
        notes.append(f"target: {full:,} units give all they have; the rest is from the next ones")
    steady = np.rint(done.arrives * 2.0**40)  # the last digits are the processor's
    found = np.zeros(len(natural))
    found[have] = steady / steady.sum()
    return Shares(_smoothed(found, natural, target), notes)


def merged(
    vectors: npt.NDArray[np.float32], units: npt.NDArray[np.float32], pairs: int = _PAIRS
) -> tuple[Float64Array, Float64Array]:
    """Texts as sources of transport; too many are merged where their two nearest units agree.

    A cost is linear in the text's vector, so that of the mean vector is the mean of the costs.

    Args:
        vectors: float32 ``[m, d]``, unit vectors.
        units: float32 ``[n, d]``, unit vectors.
        pairs: most of m x n that is not merged.

    Returns:
        float64 ``[s, d]`` and the mass of each, float64 ``[s]``, which adds up to one.
    """
    rows = unit_grid(vectors).astype(np.float64)
    if len(rows) * len(units) <= pairs:
        return rows, np.full(len(rows), 1 / len(rows))
    grid = unit_grid(units).astype(np.float64).T
    place = np.empty((len(rows), 2), np.int64)
    for start in range(0, len(rows), _ROWS):
        near = np.argsort(-(rows[start : start + _ROWS] @ grid), axis=1, kind="stable")
        place[start : start + _ROWS] = near[:, [0, -1 if len(units) == 1 else 1]]
    key = place[:, 0] * len(units) + place[:, 1]
    if len(np.unique(key)) * len(units) > pairs:
        key = place[:, 0]
    _, group, counts = np.unique(key, return_inverse=True, return_counts=True)
    order = np.argsort(group, kind="stable")
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    sums: Float64Array = np.add.reduceat(rows[order], starts, axis=0)
    return sums / counts[:, None], counts / len(rows)
