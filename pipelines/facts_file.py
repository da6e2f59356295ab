"""What a file of shares says, for the strategy ``file``."""

from __future__ import annotations

import dataclasses

from mixcurate.io.mixture_file import read_shares
from mixcurate.kernels.hashing import fingerprint
from mixcurate.kernels.strategies.facts import Facts
from mixcurate.transforms.cells import CellsOf
from pipelines.job import Job, resolve


def gather(job: Job, facts: Facts, _cells: CellsOf) -> Facts:
    """Add the weights of the file, by its names.

    Raises:
        InputError: it cannot be read.
        RequestError: it has no such format, run or name.
    """
    return dataclasses.replace(facts, given=_read(job))


def mark(job: Job) -> str:
    """Names what the file says: the plan is another one if that changes.

    Raises:
        InputError, RequestError: as ``gather``.
    """
    return fingerprint(repr(sorted(_read(job).items())))


def _read(job: Job) -> dict[str, float]:
    asked = job.recipe.mixture.file
    assert asked is not None
    path = resolve(job.base, asked.path)
    return read_shares(path, kind=asked.format, run=asked.run, names=asked.names)
