"""Ingest: raw files to clean documents, without losing sight of a single one.

Extract reads one input file (or a range of it) and writes parts of cleaned documents, and beside
each the hashes that duplicates share; then only those meet in a shuffle, and each part that holds a
duplicate is rewritten without it.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa

from mixcurate.io import partfiles, readers, storage
from mixcurate.io.readers import InputParams, ReadTask
from mixcurate.io.workdir import Heartbeat, Output, TaskResult, Workdir
from mixcurate.kernels.cleaning import IngestParams
from mixcurate.kernels.signals import SIGNALS
from mixcurate.models.extract import extractor
from mixcurate.tables import documents_schema
from mixcurate.transforms.cleaning import Cleaned, Cleaner, params_for
from mixcurate.transforms.documents import WriteDocuments, plan_write
from mixcurate.transforms.duplicates import FindDuplicates
from mixcurate.transforms.keyfiles import (
    EXTRACT,
    INGEST,
    Earlier,
    KeyMaker,
    extracted_keys_path,
    extracted_path,
)
from mixcurate.transforms.tasks import RunTask, SkipCommitted, Split, Task, create


class _PartWriter:
    """Cuts cleaned batches into parts of bounded size."""

    def __init__(self, workdir: Workdir, task: str, params: IngestParams, maker: KeyMaker) -> None:
        self._workdir, self._task, self._params = workdir, task, params
        self._maker = maker
        self._batches: list[pa.RecordBatch] = []
        self._rows = self._bytes = self.total_bytes = 0
        self.parts: list[dict[str, Any]] = []
        self.outputs: list[Output] = []

    def add(self, batch: pa.RecordBatch) -> None:
        """Append documents; a full part is written."""
        ends = np.cumsum(batch.column("n_bytes").to_numpy())
        start = 0
        while start < batch.num_rows:
            before = int(ends[start - 1]) if start else 0
            room = int(self._params.part_bytes) - self._bytes
            fitting = int(np.searchsorted(ends, before + room, side="left")) + 1 - start
            count = min(fitting, self._params.part_documents - self._rows, batch.num_rows - start)
            self._batches.append(batch.slice(start, count))
            self._rows += count
            added = int(ends[start + count - 1]) - before
            self._bytes, self.total_bytes = self._bytes + added, self.total_bytes + added
            start += count
            full = self._bytes >= int(self._params.part_bytes)
            if full or self._rows >= self._params.part_documents:
                self.close()

    def close(self) -> None:
        """Write what is left, if anything."""
        if not self._batches:
            return
        name = f"{self._task}-{len(self.parts):05d}"
        path = extracted_path(self._workdir, name)
        table = pa.Table.from_batches(self._batches)
        partfiles.write_table(path, table)
        tokens = int(np.sum(table.column("n_tokens").to_numpy(), dtype=np.int64))
        self.parts.append({"name": name, "documents": table.num_rows, "tokens": tokens})
        self.outputs.append(self._workdir.output(path))
        if self._maker.any:
            path = extracted_keys_path(self._workdir, name)
            partfiles.write_array(path, self._maker.make(table))
            self.outputs.append(self._workdir.output(path))
        self._batches, self._rows, self._bytes = [], 0, 0


@dataclasses.dataclass(frozen=True)
class Extract:
    """Read one task's records and write cleaned documents as parts."""

    workdir: Workdir
    inputs: list[InputParams]
    params: IngestParams
    threads: int
    index: str | None = None
    """Where the index of the evaluation sets is, if documents are searched for any."""
    stage: str = EXTRACT

    def keys(self, earlier: tuple[Earlier, ...] = ()) -> KeyMaker:
        """The keys that documents are compared by; ids count where an input has its own."""
        own_ids = any(source.id_field for source in self.inputs)
        return KeyMaker.of(self.workdir, earlier, self.params.dedup, own_ids)

    def run(self, task: Task, heartbeat: Heartbeat) -> TaskResult:
        """Extract one input file or range."""
        read_task = ReadTask(**task.payload)
        source = self.inputs[read_task.input]
        params = params_for(self.params, source)
        cleaner = Cleaner(
            source=source.source,
            licence=source.licence,
            path=read_task.shown_path,
            params=params,
            threads=self.threads,
            index=self.index,
        )
        writer = _PartWriter(self.workdir, task.name, self.params, self.keys())
        losses = _Losses()
        rows_in = tokens = bytes_in = 0
        for raw in readers.read(read_task, source, extract=extractor(params.extractor)):
            rows_in += raw.documents.num_rows + len(raw.rejected)
            bytes_in += raw.documents.column("text").nbytes
            cleaned = cleaner.clean(raw, stage=INGEST)
            losses.add(cleaned)
            writer.add(cleaned.documents)
            found = int(np.sum(cleaned.documents.column("n_tokens").to_numpy(), dtype=np.int64))
            tokens += found
            heartbeat.beat(raw.documents.num_rows, found)
        writer.close()
        reasons, sizes = partfiles.tally(losses.rejected)
        return TaskResult(
            task=task.name,
            fingerprint=task.fingerprint,
            outputs=writer.outputs + losses.write(self.workdir, task.name),
            documents_in=rows_in,
            documents_out=sum(part["documents"] for part in writer.parts),
            tokens=tokens,
            rejected=reasons,
            rejected_sizes=sizes,
            details={
                "parts": writer.parts,
                "text_bytes": bytes_in,
                "document_bytes": writer.total_bytes,
                "changed": dict(losses.changed),
                "etag": storage.etag(read_task.path) if read_task.start == 0 else None,
            },
        )


class _Losses:
    """What cleaning took away from the documents of one task."""

    def __init__(self) -> None:
        self.rejected: list[dict[str, object]] = []
        self.changed: Counter[str] = Counter()
        self._hits: list[pa.RecordBatch] = []

    def add(self, cleaned: Cleaned) -> None:
        """Collect the losses of a batch."""
        self.rejected += cleaned.rejected
        self.changed.update(cleaned.changed)
        if cleaned.hits is not None and cleaned.hits.num_rows:
            self._hits.append(cleaned.hits)

    def write(self, workdir: Workdir, task: str) -> list[Output]:
        """Write the rejected rows, and what of the evaluation sets was found."""
        outputs = []
        if self.rejected:
            path = workdir.rejected(EXTRACT, task)
            partfiles.write_rejected(path, self.rejected)
            outputs.append(workdir.output(path))
        if self._hits:
            path = workdir.path("contamination", f"part-{task}.parquet")
            partfiles.write_table(path, pa.Table.from_batches(self._hits))
            outputs.append(workdir.output(path))
        return outputs


@dataclasses.dataclass(frozen=True)
class Ingest:
    """The whole stage as one pipeline."""

    extract: Extract
    split: Split
    committed: dict[str, str]
    earlier: tuple[Earlier, ...] = ()

    def build(self, pipeline: beam.Pipeline) -> None:
        """Wire the stage into ``pipeline``."""
        dedup = self.extract.params.dedup
        maker = self.extract.keys(self.earlier)
        search = FindDuplicates(maker, dedup.keep if dedup else "longest")
        fresh = create(pipeline, "Files", self.split.todo) | "Extract" >> beam.ParDo(
            RunTask(self.extract)
        )
        done = pipeline | "Extracted before" >> beam.Create(self.split.done, reshuffle=False)
        parts = (fresh, done) | beam.Flatten() | "Parts" >> beam.FlatMap(_parts_of)
        drops = search.build(pipeline, parts | "Sizes" >> beam.MapTuple(_size_of))
        _ = (
            {"part": parts, "drops": drops}
            | "Join drops" >> beam.CoGroupByKey()
            | "Plan writes" >> beam.Map(plan_write)
            | "Skip committed" >> beam.ParDo(SkipCommitted(self.committed))
            | "Write documents" >> beam.ParDo(RunTask(WriteDocuments(maker.workdir, maker.any)))
        )


def _size_of(name: str, part: dict[str, Any]) -> tuple[str, int]:
    """A part's name and number of documents."""
    return name, part["documents"]


def _parts_of(result: TaskResult) -> Iterator[tuple[str, dict[str, Any]]]:
    """(name, what is known of it) for each part that an Extract task wrote."""
    for part in result.details["parts"]:
        yield part["name"], part | {"fingerprint": result.fingerprint}


def schema() -> pa.Schema:
    """Schema of the documents that ingest writes."""
    return documents_schema(list(SIGNALS))
