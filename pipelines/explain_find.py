"""Where a document is: by its id, or the beginning of one, over the ids of all parts alone."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mixcurate.errors import RequestError
from mixcurate.io import partfiles, storage
from mixcurate.io.workdir import DATA_FOLDERS, Workdir

#: Shortest beginning of an id that is looked for.
_SHORTEST = 6

#: Ids that are shown where several begin alike.
_SHOWN = 5

#: Ids that are compared at once.
_ROWS = 65_536


@dataclasses.dataclass(frozen=True)
class Place:
    """Where a document is.

    Attributes:
        id: its whole id.
        part: its part in ``documents/``; None if ingest dropped it.
        row: its row there.
        rejected: its rows in ``rejected/``: at most one of each stage.
    """

    id: str
    part: str | None
    row: int | None
    rejected: list[dict[str, Any]]


@dataclasses.dataclass(frozen=True)
class _At:
    """A row of a file."""

    path: str
    row: int


@dataclasses.dataclass
class _Search:
    """An id, or the beginning of one, and what was found on the way."""

    workdir: Workdir
    wanted: str
    alike: dict[str, _At] = dataclasses.field(default_factory=dict)
    near: set[str] = dataclasses.field(default_factory=set)
    ids: int = 0

    def among(self, paths: list[str]) -> _At | None:
        """Look through files up to the one that has the id as a whole."""
        for path in paths:
            if at := self._in(path):
                return at
        return None

    def _in(self, path: str) -> _At | None:
        start = 0
        for batch in partfiles.iter_batches(path, ["id"], _ROWS):
            ids = batch.column(0)
            row = pc.index(ids, pa.scalar(self.wanted, ids.type)).as_py()
            if row >= 0:
                return _At(path, start + row)
            if len(self.wanted) >= _SHORTEST and len(self.alike) <= _SHOWN:
                for place, one in _beginning(ids, self.wanted):
                    self.alike.setdefault(one, _At(path, start + place))
            if len(self.wanted) > _SHORTEST and not self.alike and len(self.near) < _SHOWN:
                self.near.update(one for _, one in _beginning(ids, self.wanted[:_SHORTEST]))
            start += len(ids)
        self.ids += start
        return None

    def result(self) -> tuple[str, _At]:
        """The one id that begins so, and where it is.

        Raises:
            RequestError: there is none, or there are several.
        """
        if len(self.alike) == 1:
            return next(iter(self.alike.items()))
        root = self.workdir.root
        if self.alike:
            shown = ", ".join(sorted(self.alike)[:_SHOWN])
            more = ", ..." if len(self.alike) > _SHOWN else ""
            raise RequestError(
                f"{self.wanted!r} begins several ids in {root}: {shown}{more}; give more of it"
            )
        if not self.ids:
            raise RequestError(
                f"there are no documents in {root}: ingest has not run; run it first: "
                f"mixcurate ingest RECIPE"
            )
        short = len(self.wanted) < _SHORTEST
        near = ", ".join(sorted(self.near)[:_SHOWN])
        raise RequestError(
            f"no document {self.wanted!r} among {self.ids:,} rows of documents/ and rejected/ in "
            f"{root}"
            + (f"; ids that begin alike: {near}" if near else "")
            + (f"; the beginning of an id takes {_SHORTEST} characters" if short else "")
            + ". Ids stand in the column id of these parts and of the corpus"
        )


def find(workdir: Workdir, wanted: str) -> Place:
    """Find a document, in the parts that ingest kept and then among what was rejected.

    An id that is there as a whole ends the search; a beginning has to be that of one id only, so
    that it takes all parts.

    Raises:
        RequestError: there is no such document, or several ids begin so.
    """
    search = _Search(workdir, wanted)
    folder = workdir.path(DATA_FOLDERS["ingest"])
    names = [name for name in storage.list_names(folder) if name.startswith("part-")]
    kept, dropped = [storage.join(folder, name) for name in names], workdir.rejected_files()
    at = search.among(kept) or search.among(dropped)
    whole, at = (wanted, at) if at else search.result()
    if at.path not in kept:
        return Place(whole, None, None, _rejected([at.path], whole))
    part = at.path.rsplit("/", 1)[-1].removeprefix("part-").removesuffix(".parquet")
    later = [path for path in dropped if path.endswith(f"-{part}.parquet")]
    return Place(whole, part, at.row, _rejected(later, whole))


def _beginning(ids: pa.Array, stem: str) -> Iterator[tuple[int, str]]:
    """The first few ids that begin so, and their rows."""
    mask = pc.fill_null(pc.starts_with(ids, pattern=stem), False)
    for row in np.flatnonzero(mask.to_numpy(zero_copy_only=False))[: _SHOWN + 1].tolist():
        yield row, ids[row].as_py()


def _rejected(paths: list[str], whole: str) -> list[dict[str, Any]]:
    """Rows of a document in some files of rejected ones, in the order of the stages."""
    rows: list[dict[str, Any]] = []
    for path in paths:
        for batch in partfiles.iter_batches(path, rows=_ROWS):
            rows += batch.filter(pc.equal(batch.column("id"), whole)).to_pylist()
    order = list(DATA_FOLDERS)
    return sorted(rows, key=lambda row: order.index(row["stage"]) if row["stage"] in order else 0)
