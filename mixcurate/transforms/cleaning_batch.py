"""A batch of documents on its way through cleaning: what is left of it, and what it has lost."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from mixcurate.io.records import Rejection
from mixcurate.tables import EXCERPT

Mask = npt.NDArray[np.bool_]


class CleaningBatch:
    """Documents of one file, a row for each that was dropped, a count for each that was changed."""

    def __init__(self, table: pa.RecordBatch, *, source: str, path: str, stage: str) -> None:
        self.table = table
        self.rejected: list[dict[str, object]] = []
        self.changed: dict[str, int] = {}
        self._place = {"source": source, "path": path}
        self._stage = stage

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def column(self, name: str) -> pa.Array:
        """A column of the documents that are left."""
        return self.table.column(name)

    def add(self, name: str, column: pa.Array) -> None:
        """Append a column, or put it in the place of one of that name."""
        index = self.table.schema.get_field_index(name)
        if index < 0:
            self.table = self.table.append_column(name, column)
        else:
            self.table = self.table.set_column(index, name, column)

    def change_text(self, step: str, text: pa.Array) -> None:
        """Take over the texts that a step has made, and count those that differ."""
        changed = pc.sum(pc.not_equal(self.column("text"), text)).as_py() or 0
        if changed:
            self.changed[step] = self.changed.get(step, 0) + changed
            self.add("text", text)

    def drop(self, rows: Mask, reason: str, detail: str | Sequence[str]) -> None:
        """Move the marked rows to ``rejected``; a sequence has a detail for every row."""
        if not rows.any():
            return
        texts, ids, positions = (self.column(name) for name in ("text", "id", "position"))
        for row in np.flatnonzero(rows).tolist():
            text = texts[row]
            self._reject(
                document=ids[row].as_py(),
                position=positions[row].as_py(),
                reason=reason,
                detail=detail if isinstance(detail, str) else detail[row],
                excerpt=pc.utf8_slice_codeunits(text, 0, EXCERPT).as_py(),
                n_bytes=pc.binary_length(text).as_py(),
            )
        self.table = self.table.filter(pa.array(~rows))

    def drop_empty(self, detail: str) -> None:
        """Drop documents without text."""
        self.drop(self.sizes() == 0, "empty", detail)

    def sizes(self) -> npt.NDArray[np.int64]:
        """UTF-8 bytes of each text: int64 ``[n]``."""
        lengths: npt.NDArray[np.int64] = pc.binary_length(self.column("text")).to_numpy(
            zero_copy_only=False
        )
        return lengths

    def reject_record(self, rejection: Rejection) -> None:
        """Note a record that its reader could not turn into a document."""
        self._reject(
            document=None,
            position=rejection.position,
            reason=rejection.reason,
            detail=rejection.detail,
            excerpt=rejection.excerpt,
            n_bytes=None,
        )

    def _reject(
        self,
        *,
        document: str | None,
        position: int,
        reason: str,
        detail: str,
        excerpt: str,
        n_bytes: int | None,
    ) -> None:
        self.rejected.append(
            self._place
            | {
                "id": document,
                "position": position,
                "stage": self._stage,
                "reason": reason,
                "detail": detail,
                "excerpt": excerpt,
                "n_bytes": n_bytes,
                "n_tokens": None,
            }
        )
