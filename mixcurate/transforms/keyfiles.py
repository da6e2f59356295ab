"""The keys of documents beside them: written when text is read, so that nobody reads it again."""

from __future__ import annotations

import dataclasses

import numpy as np
import pyarrow as pa

from mixcurate.io import partfiles, storage
from mixcurate.io.workdir import Workdir
from mixcurate.kernels import dedup
from mixcurate.kernels.cleaning import DedupParams

EXTRACT = "extract"

INGEST = "ingest"

#: Documents of an earlier run that are read at once when their keys have to be made anew.
_BATCH_ROWS = 500


@dataclasses.dataclass(frozen=True)
class Earlier:
    """The documents that an earlier run has kept; ``seal`` changes with them."""

    root: str
    shown: str  # as the recipe names it
    parts: tuple[tuple[str, int], ...]  # name and number of documents
    seal: str


@dataclasses.dataclass(frozen=True)
class Place:
    """A part of this run (``dedup.OWN``) or of an earlier one, which goes by its number."""

    origin: int
    name: str
    documents: int


def extracted_path(workdir: Workdir, part: str) -> str:
    """Where Extract leaves a part before duplicates are known."""
    return workdir.path("_stages", EXTRACT, "parts", f"part-{part}.parquet")


def extracted_keys_path(workdir: Workdir, part: str) -> str:
    """Where Extract leaves the keys of that part."""
    return workdir.path("_stages", EXTRACT, "parts", f"part-{part}.npy")


def keys_path(root: str, part: str) -> str:
    """Where the workdir at ``root`` keeps the keys of a part of its documents, row by row."""
    return storage.join(root, "_stages", INGEST, "keys", f"part-{part}.npy")


def chunk_path(workdir: Workdir, chunk: int) -> str:
    """Where the keys of a chunk of parts wait to be compared, by column and bucket."""
    return workdir.path("_stages", EXTRACT, "parts", f"keys-{chunk:06d}.bin")


def links_path(workdir: Workdir, column: int, bucket: int) -> str:
    """Where the links that one bucket of keys makes wait to be joined."""
    return workdir.path("_stages", EXTRACT, "parts", f"links-{column:03d}-{bucket:06d}.npy")


@dataclasses.dataclass(frozen=True)
class KeyMaker:
    """Which keys a recipe asks for, and how they are had."""

    workdir: Workdir
    earlier: tuple[Earlier, ...]
    kind: np.dtype[np.void]
    ngram: int

    @staticmethod
    def of(
        workdir: Workdir,
        earlier: tuple[Earlier, ...],
        params: DedupParams | None,
        own_ids: bool,
    ) -> KeyMaker:
        """The keys that the parameters need."""
        ngram = params.near.ngram if params and params.near else 1
        return KeyMaker(workdir, earlier, dedup.key_type(params, own_ids), ngram)

    @property
    def any(self) -> bool:
        """Whether there is anything to compare."""
        return bool(self.kind.names)

    def make(self, documents: pa.Table) -> dedup.KeyArray:
        """The keys of documents, records ``[n]``."""
        return dedup.document_keys(documents, self.kind, self.ngram)

    def read(self, place: Place) -> dedup.KeyArray:
        """The keys of one part, records ``[n]``.

        Those of an earlier run are made anew where it has none, or has made them otherwise. Its
        ids are not compared: another run may mean another document by the same id.
        """
        if place.origin == dedup.OWN:
            own: dedup.KeyArray = partfiles.read_array(
                extracted_keys_path(self.workdir, place.name)
            )
            return own
        keys = np.zeros(place.documents, self.kind)
        root = self.earlier[place.origin].root
        path = keys_path(root, place.name)
        there = partfiles.read_array(path) if storage.exists(path) else keys[[]]
        wanted = [name for name in self.kind.names or () if name != "id"]
        known = [name for name in wanted if _has(there, name, keys)]
        for name in known:
            keys[name] = there[name]
        missing = [name for name in wanted if name not in known]
        if missing:
            kind = np.dtype([(name, self.kind[name]) for name in missing])
            text = Workdir(root).part(INGEST, place.name)
            start = 0
            for batch in partfiles.iter_batches(text, ["text", "url"], _BATCH_ROWS):
                made = dedup.document_keys(pa.Table.from_batches([batch]), kind, self.ngram)
                for name in missing:
                    keys[name][start : start + len(made)] = made[name]
                start += len(made)
        return keys


def _has(there: dedup.KeyArray, name: str, keys: dedup.KeyArray) -> bool:
    """Whether the keys of a file have a field as it is wanted, for every document."""
    fields = there.dtype.names or ()
    return name in fields and there.dtype[name] == keys.dtype[name] and len(there) == len(keys)
