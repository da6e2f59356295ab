"""The parts whose documents the report reads: all of a small pool, a sample of a large one.

What stages have added up is shown exactly. Only what has to be read from documents comes from these
parts, so that the time of a report does not go with the size of the pool.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from mixcurate.io.workdir import Part
from mixcurate.kernels.hashing import uniform_keys

#: Most documents and most parts that are read; of a part that alone has more, all are.
MOST_DOCUMENTS = 200_000
MOST_PARTS = 100


@dataclasses.dataclass(frozen=True)
class PartSample:
    """Some parts of a pool.

    Attributes:
        parts: their names, in the order of the pool.
        documents: in them.
        of_parts: parts of the pool.
        of_documents: documents of the pool.
    """

    parts: list[str]
    documents: int
    of_parts: int
    of_documents: int

    @property
    def whole(self) -> bool:
        """Whether these are all parts there are."""
        return len(self.parts) == self.of_parts


def sample_parts(parts: Sequence[Part], seed: int) -> PartSample:
    """The parts that the report reads, by a hash of seed and name: in whatever order they come.

    Args:
        parts: of the pool; no two have the same name.
        seed: of the job.
    """
    keys = uniform_keys(pa.array([part.name for part in parts], pa.string()), seed, "report")
    chosen: list[int] = []
    documents = 0
    for number in np.argsort(keys, kind="stable").tolist():
        documents += parts[number].documents
        if chosen and (documents > MOST_DOCUMENTS or len(chosen) == MOST_PARTS):
            documents -= parts[number].documents
            break
        chosen.append(number)
    total = sum(part.documents for part in parts)
    names = [parts[number].name for number in sorted(chosen)]
    return PartSample(names, documents, len(parts), total)
