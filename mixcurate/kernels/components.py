"""Groups of linked documents: links from equal keys, and connected components of all links.

A document is a number below 2^32. A link is one uint64, ``smaller << 32 | larger``. Documents of
one key become a star around the smallest, so that a key of n documents costs n - 1 links.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

UInt64Array = npt.NDArray[np.uint64]
UInt32Array = npt.NDArray[np.uint32]

_Unsigned = TypeVar("_Unsigned", np.uint32, np.uint64)

_HALF = np.uint64(32)
_LOW = np.uint64(0xFFFFFFFF)

#: Links that wait until they are merged: what few links cost is nothing.
_WAITING = 1 << 22


def star_links(keys: UInt64Array, documents: UInt32Array, own: int) -> UInt64Array:
    """A link from the smallest document of each key to every other one.

    Args:
        keys: uint64 ``[n]``.
        documents: uint32 ``[n]``, the document that has each key.
        own: documents below it are the own ones; a key that no own document has gives no link.

    Returns:
        uint64 ``[m]`` links.
    """
    order = np.argsort(keys)
    same = np.zeros(len(keys) + 1, bool)  # whether a key is that of the one before
    same[1:-1] = keys[order[1:]] == keys[order[:-1]]
    repeated = order[same[1:] | same[:-1]]
    keys, documents = keys[repeated], documents[repeated]
    order = np.lexsort((documents, keys))
    keys, documents = keys[order], documents[order]
    first = np.ones(len(keys), bool)
    first[1:] = keys[1:] != keys[:-1]
    starts = np.flatnonzero(first)
    sizes = np.diff(np.append(starts, len(keys)))
    centres = np.repeat(documents[starts], sizes)
    links = (centres.astype(np.uint64) << _HALF) | documents
    kept: UInt64Array = links[(centres != documents) & (centres < own)]
    return kept


def ends(links: UInt64Array) -> tuple[UInt32Array, UInt32Array]:
    """The two documents of each link: uint32 ``[m]`` twice."""
    return (links >> _HALF).astype(np.uint32), (links & _LOW).astype(np.uint32)


def merge(pieces: Iterable[UInt64Array]) -> UInt64Array:
    """Connected components of all links, each again as a star around its smallest document.

    Links are merged as they arrive, whenever they outnumber what is left of the earlier ones: a
    component of n documents is n - 1 links, however many keys have linked it. So memory goes with
    the documents that have a duplicate, not with links: some 80 bytes each (two sorted copies,
    scipy's graph and its transpose), measured with 20 million links among 10 million documents,
    which took 15 s. At least 4 million links are merged at once.

    Args:
        pieces: uint64 ``[m]`` links, in any order and any number of times.

    Returns:
        uint64 ``[documents - components]`` links, sorted.
    """
    forest = np.zeros(0, np.uint64)
    waiting: list[UInt64Array] = []
    count = 0
    for piece in pieces:
        waiting.append(piece)
        count += len(piece)
        if count > max(_WAITING, len(forest)):
            forest = _stars(np.concatenate([forest, *waiting]))
            waiting, count = [], 0
    return _stars(np.concatenate([forest, *waiting])) if waiting else forest


def _stars(links: UInt64Array) -> UInt64Array:
    links = _sorted_set(links)
    if len(links) == 0:
        return links
    first, second = ends(links)
    documents = _sorted_set(np.concatenate([first, second]))
    places = [np.searchsorted(documents, end).astype(np.int32) for end in (first, second)]
    shape = (len(documents), len(documents))
    graph = csr_array((np.ones(len(links), np.int8), tuple(places)), shape=shape)
    del links, first, second, places
    count, labels = connected_components(graph, directed=False)
    smallest = np.zeros(count, np.uint32)
    smallest[labels[::-1]] = documents[::-1]  # of repeated places the last is kept
    centres = smallest[labels]
    others = centres != documents
    return np.sort((centres[others].astype(np.uint64) << _HALF) | documents[others])


def _sorted_set(values: npt.NDArray[_Unsigned]) -> npt.NDArray[_Unsigned]:
    values = np.sort(values)
    first = np.ones(len(values), bool)
    first[1:] = values[1:] != values[:-1]
    kept: npt.NDArray[_Unsigned] = values[first]
    return kept
