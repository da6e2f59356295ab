"""From a batch of raw records to clean documents and rejected rows: the function of ingest."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from mixcurate.io.records import RawBatch
from mixcurate.kernels import filters, hashing
from mixcurate.kernels.cleaning import IngestParams
from mixcurate.kernels.filters import Bounds
from mixcurate.kernels.signals import SIGNALS, text_signals
from mixcurate.models import language
from mixcurate.models.tokenizer import token_counter
from mixcurate.tables import EXCERPT, documents_schema


@dataclasses.dataclass(frozen=True)
class Cleaned:
    """Documents that stay, and rows for ``rejected/``."""

    documents: pa.RecordBatch
    rejected: list[dict[str, object]]


@dataclasses.dataclass(frozen=True)
class Cleaner:
    """Cleans the batches of one file."""

    source: str
    licence: str | None
    path: str
    params: IngestParams
    bounds: dict[str, Bounds]
    threads: int

    def clean(self, raw: RawBatch, *, stage: str) -> Cleaned:
        """Strip, identify the language, compute signals, apply the rules, count tokens."""
        rejected = [
            self._row(None, item.position, stage, item.reason, item.detail, item.excerpt)
            for item in raw.rejected
        ]
        batch = raw.documents
        text = pc.utf8_trim_whitespace(batch.column("text"))
        batch = batch.set_column(batch.schema.get_field_index("text"), "text", text)
        ids = self._ids(batch)
        columns = {"id": ids} | {name: batch.column(name) for name in batch.schema.names}
        table = pa.RecordBatch.from_pydict(columns)

        sizes = pc.binary_length(text).to_numpy(zero_copy_only=False)
        limit = int(self.params.max_document_bytes)
        table = self._drop(table, sizes == 0, stage, "empty", "no text but whitespace", rejected)
        sizes = sizes[sizes > 0]
        table = self._drop(
            table,
            sizes > limit,
            stage,
            "too_large",
            f"above max_document_bytes {limit:,}",
            rejected,
        )
        languages, scores = language.identify(table.column("text").to_pylist())
        table = table.append_column("language", pa.array(languages, pa.string()))
        table = table.append_column("language_score", pa.array(scores, pa.float32()))
        table = self._by_language(table, stage, rejected)
        table, signals = self._by_rules(table, stage, rejected)
        return Cleaned(self._finish(table, signals), rejected)

    def _ids(self, batch: pa.RecordBatch) -> pa.Array:
        hashed = hashing.document_ids(
            self.source, self.path, batch.column("position").to_numpy(zero_copy_only=False)
        )
        return pc.coalesce(batch.column("own_id"), hashed)

    def _by_language(
        self, table: pa.RecordBatch, stage: str, rejected: list[dict[str, object]]
    ) -> pa.RecordBatch:
        if not self.params.languages:
            return table
        wanted = pc.is_in(table.column("language"), pa.array(self.params.languages))
        sure = pc.greater_equal(
            table.column("language_score"), pa.scalar(self.params.min_language_score, pa.float32())
        )
        drop = pc.invert(pc.and_(wanted, sure)).to_numpy(zero_copy_only=False)
        found = [
            f"identified as {code} with probability {score:.2f}"
            for code, score in zip(
                table.column("language").to_pylist(),
                table.column("language_score").to_pylist(),
                strict=True,
            )
        ]
        return self._drop(table, drop, stage, "language", found, rejected)

    def _by_rules(
        self, table: pa.RecordBatch, stage: str, rejected: list[dict[str, object]]
    ) -> tuple[pa.RecordBatch, pa.RecordBatch]:
        signals = text_signals(table.column("text"))
        failed = filters.first_failures(signals, table.column("language"), self.bounds)
        for index, (name, bounds) in enumerate(self.bounds.items()):
            mine = failed == index
            if not mine.any():
                continue
            values = signals.column(name).to_numpy()
            details = [
                filters.describe(name, value, bounds) if bad else ""
                for value, bad in zip(values.tolist(), mine.tolist(), strict=True)
            ]
            self._reject(table, mine, stage, f"filter_{name}", details, rejected)
        keep = pa.array(failed < 0)
        return table.filter(keep), signals.filter(keep)

    def _finish(self, table: pa.RecordBatch, signals: pa.RecordBatch) -> pa.RecordBatch:
        n = table.num_rows
        text = table.column("text")
        tokens = token_counter(self.params.tokenizer, self.threads).count(text.to_pylist())
        licence = table.column("licence")
        if self.licence is not None:
            licence = pc.fill_null(licence, self.licence)
        columns = {
            "id": table.column("id"),
            "text": text,
            "url": table.column("url"),
            "source": pa.array([self.source] * n, pa.string()),
            "path": pa.array([self.path] * n, pa.string()),
            "position": table.column("position"),
            "language": table.column("language"),
            "language_score": table.column("language_score"),
            "n_tokens": pa.array(tokens, pa.int32()),
            "n_bytes": pc.binary_length(text).cast(pa.int64()),
            "licence": licence,
            "content_hash": hashing.content_hashes(text),
            "metadata": table.column("metadata"),
        } | {f"signal_{name}": signals.column(name) for name in SIGNALS}
        schema = documents_schema(list(SIGNALS))
        arrays = [columns[field.name] for field in schema]
        return pa.RecordBatch.from_arrays(arrays, schema=schema)

    def _drop(
        self,
        table: pa.RecordBatch,
        drop: npt.NDArray[np.bool_],
        stage: str,
        reason: str,
        detail: str | list[str],
        rejected: list[dict[str, object]],
    ) -> pa.RecordBatch:
        """Move the rows marked in ``drop`` to ``rejected``."""
        if not drop.any():
            return table
        self._reject(table, drop, stage, reason, detail, rejected)
        return table.filter(pa.array(~drop))

    def _reject(
        self,
        table: pa.RecordBatch,
        rows: npt.NDArray[np.bool_],
        stage: str,
        reason: str,
        detail: str | list[str],
        rejected: list[dict[str, object]],
    ) -> None:
        texts, ids, positions = (table.column(name) for name in ("text", "id", "position"))
        for row in np.flatnonzero(rows).tolist():
            why = detail if isinstance(detail, str) else detail[row]
            excerpt = pc.utf8_slice_codeunits(texts[row], 0, EXCERPT).as_py()
            rejected.append(
                self._row(ids[row].as_py(), positions[row].as_py(), stage, reason, why, excerpt)
            )

    def _row(
        self,
        document: str | None,
        position: int,
        stage: str,
        reason: str,
        detail: str,
        excerpt: str,
    ) -> dict[str, object]:
        return {
            "id": document,
            "source": self.source,
            "path": self.path,
            "position": position,
            "stage": stage,
            "reason": reason,
            "detail": detail,
            "excerpt": excerpt,
        }
