"""Shares that another tool has found (RegMix, olmix, DoReMi, or a Megatron blend)."""

from __future__ import annotations

import numpy as np

from mixcurate.errors import PlanError
from mixcurate.kernels.mixture import MixtureParams
from mixcurate.kernels.strategies.facts import Facts, Shares
from mixcurate.kernels.strategies.names import by_unit

#: A sum of weights that is this near to 1 needs no note.
_ROUNDING = 1e-6

#: Names that a note or a message lists.
_MOST_NAMES = 10


def shares(facts: Facts, params: MixtureParams) -> Shares:
    """The file's; a unit that it does not name gets nothing, and a note says so.

    Raises:
        PlanError: the file names what is no unit, or gives a share to a unit without tokens
            (unless ``on_short`` lets the others have it), or all it names have no tokens.
    """
    assert facts.given is not None
    found = by_unit(facts.given, facts.names, "mixture.file")
    given = np.zeros(len(facts.names))
    given[list(found)] = list(found.values())
    notes = []
    total = sum(facts.given.values())
    if abs(total - 1) > _ROUNDING:
        notes.append(f"mixture.file: the weights add up to {total:.6g}; they were scaled to 1")
    missing = [name for unit, name in enumerate(facts.names) if unit not in found]
    if missing:
        notes.append(f"mixture.file: without a share, so left out: {_listed(missing)}")
    empty = np.flatnonzero((facts.tokens == 0) & (given > 0)).tolist()
    if empty:
        listed = _listed([facts.names[unit] for unit in empty])
        if params.on_short == "fail":
            raise PlanError(
                f"mixture.file: no documents are left for {listed}; take it out of the file or set "
                f"on_short: renormalize"
            )
        notes.append(f"mixture.file: no documents, so the others have its share: {listed}")
        given[empty] = 0
    if not given.any():
        raise PlanError("mixture.file: it gives no share to any unit that has documents")
    return Shares(given / given.sum(), notes)


def _listed(names: list[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:_MOST_NAMES])
    more = len(names) - _MOST_NAMES
    return f"{shown} and {more} more" if more > 0 else shown
