"""Packed sequences, laid out for tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from mixcurate.kernels.packing import Packing

T = TypeVar("T")


def laid_out(found: Packing, piece: Callable[[int, int, int], list[T]]) -> list[list[T]]:
    """The tokens of each sequence.

    Args:
        found: how documents are packed.
        piece: the tokens of a document from a start, so many.
    """
    each = zip(found.documents.tolist(), found.starts.tolist(), found.lengths.tolist(), strict=True)
    pieces = [piece(*one) for one in each]
    bounds = found.bounds.tolist()
    return [
        [token for piece in pieces[a:b] for token in piece]
        for a, b in zip(bounds, bounds[1:], strict=False)
    ]
