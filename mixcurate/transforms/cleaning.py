"""From a batch of raw records to clean documents and rejected rows: the function of ingest.

Whatever changes a text comes before its signals, so that these speak of the text that is kept; what
is cheap and drops much comes early.
"""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mixcurate.io.evalsets import read_index
from mixcurate.io.readers import InputParams
from mixcurate.io.records import RawBatch
from mixcurate.kernels import contamination, filters, hashing, licences, lines, pii
from mixcurate.kernels.cleaning import IngestParams
from mixcurate.kernels.contamination_index import ContaminationIndex
from mixcurate.kernels.filters import Bounds
from mixcurate.kernels.repair import repair
from mixcurate.kernels.signals import SIGNALS, text_signals
from mixcurate.models import language
from mixcurate.models.tokenizer import token_counter
from mixcurate.tables import documents_schema
from mixcurate.transforms.cleaning_batch import CleaningBatch

#: Least probability of a language that nobody asked for, to look for its stop words.
_CERTAIN = 0.9


@dataclasses.dataclass(frozen=True)
class Cleaned:
    """Documents that stay, and what happened to the others."""

    documents: pa.RecordBatch
    """Of the schema of ``documents/``."""
    rejected: list[dict[str, object]]
    """Rows of ``REJECTED``."""
    changed: dict[str, int]
    """Documents whose text a step has changed, by step."""
    hits: pa.RecordBatch | None
    """What of the evaluation sets was found, if anything was searched."""


def params_for(params: IngestParams, source: InputParams) -> IngestParams:
    """The parameters of ingest for one input, which may have some of its own."""
    names = ("languages", "filters", "extractor")
    own = {name: value for name in names if (value := getattr(source, name)) is not None}
    return params.model_copy(update=own)


@dataclasses.dataclass(frozen=True)
class Cleaner:
    """Cleans the batches of one file."""

    source: str
    licence: str | None
    path: str
    params: IngestParams
    threads: int
    index: str | None = None
    """Where the index of the evaluation sets is."""

    def clean(self, raw: RawBatch, *, stage: str) -> Cleaned:
        """All steps of cleaning, in their order."""
        batch = CleaningBatch(
            self._with_ids(raw.documents), source=self.source, path=self.path, stage=stage
        )
        for rejection in raw.rejected:
            batch.reject_record(rejection)
        self._by_size(batch)
        if self.params.repair:
            batch.change_text("repair", repair(batch.column("text")).text)
            batch.drop_empty("nothing is left when the text is repaired")
        self._by_language(batch)
        self._by_licence(batch)
        self._without_boilerplate(batch)
        hits = self._without_contamination(batch)
        self._without_pii(batch)
        signals = self._by_rules(batch)
        return Cleaned(self._finish(batch, signals), batch.rejected, batch.changed, hits)

    @functools.cached_property
    def bounds(self) -> dict[str, Bounds]:
        """The rules, by signal."""
        return filters.rules(self.params.filters, self.params.thresholds)

    def _with_ids(self, documents: pa.RecordBatch) -> pa.RecordBatch:
        position = documents.column("position").to_numpy(zero_copy_only=False)
        hashed = hashing.document_ids(self.source, self.path, position)
        columns = {"id": pc.coalesce(documents.column("own_id"), hashed)}
        columns |= {name: documents.column(name) for name in documents.schema.names}
        columns["text"] = pc.utf8_trim_whitespace(columns["text"])
        return pa.RecordBatch.from_pydict(columns)

    def _by_size(self, batch: CleaningBatch) -> None:
        batch.drop_empty("no text but whitespace")
        limit = int(self.params.max_document_bytes)
        batch.drop(batch.sizes() > limit, "too_large", f"above max_document_bytes {limit:,}")

    def _by_language(self, batch: CleaningBatch) -> None:
        codes, scores = language.identify(batch.column("text").to_pylist())
        batch.add("language", pa.array(codes, pa.string()))
        batch.add("language_score", pa.array(scores, pa.float32()))
        if not self.params.languages:
            return
        wanted = np.isin(np.array(codes, object), self.params.languages)
        sure = scores >= np.float32(self.params.min_language_score)
        found = [
            f"identified as {code} with probability {score:.2f}"
            for code, score in zip(codes, scores.tolist(), strict=True)
        ]
        batch.drop(~(wanted & sure), "language", found)

    def _by_licence(self, batch: CleaningBatch) -> None:
        """What a page or record declares counts, else what the input says; in SPDX's names."""
        found = batch.column("licence")
        if self.licence is not None:
            found = pc.fill_null(found, self.licence)
        found = licences.spdx(found)
        batch.add("licence", found)
        if self.params.licences:
            allowed = licences.allowed(found, self.params.licences)
            why = [
                f"licence {name or 'unknown'} ({kind}) is not in ingest.licences"
                for name, kind in zip(
                    found.to_pylist(), licences.licence_classes(found).to_pylist(), strict=True
                )
            ]
            batch.drop(~allowed, "licence", why)

    def _without_boilerplate(self, batch: CleaningBatch) -> None:
        rules = self.params.boilerplate
        if rules is None:
            rules = list(lines.PRESET_LINES[self.params.filters or "none"])
        if rules:
            batch.change_text("boilerplate", lines.clean_lines(batch.column("text"), rules))
        if self.params.dedup is not None and self.params.dedup.paragraphs:
            text = lines.drop_repeated_paragraphs(batch.column("text"))
            batch.change_text("paragraphs", text)
        batch.drop_empty("all lines are boilerplate")

    def _without_contamination(self, batch: CleaningBatch) -> pa.RecordBatch | None:
        wanted = self.params.decontaminate
        if wanted is None or self.index is None:
            return None
        index = _loaded_index(self.index)
        text = batch.column("text")
        found = contamination.find(text, index, wanted.min_overlap)
        who = {name: batch.column(name) for name in ("id", "position")} | {
            "source": pa.array([self.source] * len(batch), pa.string()),
            "path": pa.array([self.path] * len(batch), pa.string()),
        }
        hits = contamination.hit_table(text, found, index, pa.RecordBatch.from_pydict(who))
        rows = found.rows(len(batch))
        if wanted.action == "span":
            batch.change_text("decontaminate", contamination.cut(text, found))
            rows &= batch.sizes() == 0
        sets = dict(zip(hits.column("id").to_pylist(), hits.column("set").to_pylist(), strict=True))
        why = [f"holds items of {sets.get(name)}" for name in batch.column("id").to_pylist()]
        batch.drop(rows, "contaminated", why)
        return hits

    def _without_pii(self, batch: CleaningBatch) -> None:
        if self.params.pii is None:
            return
        found = pii.mask_pii(batch.column("text"), self.params.pii)
        batch.change_text("pii", found.text)
        batch.drop(found.drop, "pii", "holds personal data of a kind that ingest.pii drops")

    def _by_rules(self, batch: CleaningBatch) -> pa.RecordBatch:
        """The signals of the documents that pass."""
        languages = batch.column("language")
        signals = text_signals(batch.column("text"), languages, words=self.params.words)
        scores = batch.column("language_score").to_numpy(zero_copy_only=False)
        asked = np.isin(np.array(languages.to_pylist(), object), self.params.languages)
        certain = asked | (scores >= _CERTAIN)
        failed = filters.first_failures(signals, languages, self.bounds, certain)
        kept = signals.filter(pa.array(failed < 0))
        for index, (name, bounds) in enumerate(self.bounds.items()):
            mine = failed == index
            if not mine.any():
                continue
            values = signals.column(name).to_numpy()
            details = [
                filters.describe(name, value, bounds) if bad else ""
                for value, bad in zip(values.tolist(), mine.tolist(), strict=True)
            ]
            batch.drop(mine, f"filter_{name}", details)
            signals, failed = signals.filter(pa.array(~mine)), failed[~mine]
        return kept

    def _finish(self, batch: CleaningBatch, signals: pa.RecordBatch) -> pa.RecordBatch:
        n, text = len(batch), batch.column("text")
        tokens = token_counter(self.params.tokenizer, self.threads).count(text.to_pylist())
        columns = {name: batch.column(name) for name in batch.table.schema.names}
        columns |= {
            "source": pa.array([self.source] * n, pa.string()),
            "path": pa.array([self.path] * n, pa.string()),
            "n_tokens": pa.array(tokens, pa.int32()),
            "n_bytes": pa.array(batch.sizes(), pa.int64()),
            "content_hash": hashing.content_hashes(text),
        }
        columns |= {f"signal_{name}": signals.column(name) for name in SIGNALS}
        schema = documents_schema(list(SIGNALS))
        arrays = [columns[field.name] for field in schema]
        return pa.RecordBatch.from_arrays(arrays, schema=schema)


@functools.lru_cache(maxsize=2)
def _loaded_index(path: str) -> ContaminationIndex:
    """The index, read once by a process."""
    return ContaminationIndex.from_parts(*read_index(path))
