"""Exact duplicates: only hashes meet in a shuffle, and parts that lose rows are rewritten."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Any

import apache_beam as beam
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mixcurate.io import partfiles, storage
from mixcurate.io.workdir import Heartbeat, Output, TaskResult, Workdir
from mixcurate.kernels import dedup
from mixcurate.kernels.hashing import content_hashes, fingerprint
from mixcurate.tables import EXCERPT
from mixcurate.transforms.tasks import Task

EXTRACT = "extract"

INGEST = "ingest"


def extracted_path(workdir: Workdir, part: str) -> str:
    """Where Extract leaves a part before duplicates are known."""
    return workdir.path("_stages", EXTRACT, "parts", f"part-{part}.parquet")


#: A part's rows to drop: which row, why, and the id of the document that stays.
_DROP = np.dtype([("row", "<u4"), ("same_id", "?"), ("high", "<u8"), ("low", "<u8")])


class ReadKeys(beam.DoFn):
    """Emit the packed keys of each part, cut into buckets of the hash; text stays on disk."""

    def __init__(self, workdir: Workdir, buckets: int, own_ids: bool) -> None:
        self._workdir, self._buckets, self._own_ids = workdir, buckets, own_ids

    def process(self, part: str) -> Iterator[tuple[tuple[bool, int], tuple[str, bytes]]]:
        """Yield ((by id?, bucket), (part, ``KEY`` records as bytes))."""
        table = partfiles.read_table(
            extracted_path(self._workdir, part), ["content_hash", "id", "path", "position"]
        ).combine_chunks()
        hashes = table.column("content_hash").combine_chunks()
        ids = self._id_words(table.column("id").combine_chunks())
        yield from self._cut(part, False, dedup.pack_keys(hashes, ids, 0))
        if self._own_ids:
            places = pa.array(
                [
                    f"{path}\0{position:020d}"
                    for path, position in zip(
                        table.column("path").to_pylist(),
                        table.column("position").to_pylist(),
                        strict=True,
                    )
                ]
            )
            yield from self._cut(part, True, dedup.pack_keys(ids, content_hashes(places), 0))

    def _id_words(self, ids: pa.Array) -> pa.Array:
        """16 bytes per id that sort as ids do; own ids have any length and go by their hash."""
        if self._own_ids:
            return content_hashes(ids)
        return pa.array([bytes.fromhex(value) for value in ids.to_pylist()], pa.binary(16))

    def _cut(
        self, part: str, by_id: bool, keys: dedup.KeyArray
    ) -> Iterator[tuple[tuple[bool, int], tuple[str, bytes]]]:
        bucket = (keys["hash_high"] % np.uint64(self._buckets)).astype(np.int64)
        for number in np.unique(bucket).tolist():
            yield (by_id, number), (part, keys[bucket == number].tobytes())


class FindDuplicates(beam.DoFn):
    """Emit, per part, the rows that repeat a document with a smaller id."""

    def process(
        self, element: tuple[tuple[bool, int], Iterable[tuple[str, bytes]]]
    ) -> Iterator[tuple[str, bytes]]:
        """Yield (part, ``_DROP`` records as bytes)."""
        (by_id, _), pieces = element
        by_part = sorted(pieces)
        keys = []
        for number, (_, data) in enumerate(by_part):
            piece = np.frombuffer(data, dedup.KEY).copy()
            piece["part"] = number
            keys.append(piece)
        dropped, survivors = dedup.duplicates(np.concatenate(keys))
        for number in np.unique(dropped["part"]).tolist():
            mine = dropped["part"] == number
            drops = np.zeros(int(mine.sum()), _DROP)
            drops["row"], drops["same_id"] = dropped["row"][mine], by_id
            drops["high"] = survivors["id_high"][mine]
            drops["low"] = survivors["id_low"][mine]
            yield by_part[number][0], drops.tobytes()


@dataclasses.dataclass(frozen=True)
class WriteDocuments:
    """Write one part of ``documents/`` without its duplicates."""

    workdir: Workdir
    own_ids: bool
    stage: str = INGEST

    def run(self, task: Task, heartbeat: Heartbeat) -> TaskResult:
        """Link the part as it is, or rewrite it without the dropped rows."""
        drops = np.frombuffer(task.payload["drops"], _DROP)
        source = extracted_path(self.workdir, task.name)
        target = self.workdir.part(INGEST, task.name)
        reasons: dict[str, int] = {}
        outputs: list[Output] = []
        documents, tokens = task.payload["documents"], task.payload["tokens"]
        if len(drops):
            table = partfiles.read_table(source)
            rejected = _rejected_rows(table, drops, self.own_ids)
            for row in rejected:
                reasons[str(row["reason"])] = reasons.get(str(row["reason"]), 0) + 1
            path = self.workdir.rejected(INGEST, task.name)
            partfiles.write_rejected(path, rejected)
            outputs.append(self.workdir.output(path))
            keep = np.ones(table.num_rows, bool)
            keep[drops["row"]] = False
            table = table.filter(pa.array(keep))
            tokens = int(np.sum(table.column("n_tokens").to_numpy(), dtype=np.int64))
            if table.num_rows:
                partfiles.write_table(target, table)
            kept = table.num_rows
        else:
            storage.link(source, target)
            kept = documents
        if kept:
            outputs.append(self.workdir.output(target))
        heartbeat.beat(documents, tokens)
        return TaskResult(
            task=task.name,
            fingerprint=task.fingerprint,
            outputs=outputs,
            documents_in=documents,
            documents_out=kept,
            tokens=tokens,
            rejected=reasons,
        )


def _rejected_rows(
    table: pa.Table, drops: npt.NDArray[np.void], own_ids: bool
) -> list[dict[str, object]]:
    """One rejected row per dropped document, naming the document that stays where ids allow it."""
    first = np.unique(drops["row"], return_index=True)[1]  # a row can repeat both text and id
    drops = drops[first]
    picked = table.select(["id", "source", "path", "position", "text"]).take(drops["row"])
    rows: list[dict[str, object]] = []
    for drop, document in zip(drops, picked.to_pylist(), strict=True):
        text = document.pop("text")
        survivor = "" if own_ids else f" {int(drop['high']):016x}{int(drop['low']):016x}"
        reason, detail = "exact_duplicate", f"the same text as document{survivor}, which is kept"
        if drop["same_id"]:
            reason, detail = "duplicate_id", "another document has this id and is kept"
        rows.append(
            document
            | {"stage": INGEST, "reason": reason, "detail": detail, "excerpt": text[:EXCERPT]}
        )
    return rows


@dataclasses.dataclass(frozen=True)
class PlanWrites:
    """Turn a part and its drops into a task, unless it is already committed."""

    exact: bool
    own_ids: bool

    def __call__(self, element: tuple[str, dict[str, list[Any]]]) -> Task:
        """The task of one part."""
        name, joined = element
        part = joined["part"][0]
        pieces = [np.frombuffer(piece, _DROP) for piece in joined["drops"]]
        drops = np.concatenate(pieces) if pieces else np.zeros(0, _DROP)
        if not self.exact:
            drops = drops[drops["same_id"]]
        drops = drops[np.lexsort((drops["same_id"], drops["row"]))]
        data = drops.tobytes()
        mark = fingerprint("documents", name, part["fingerprint"], data.hex())
        payload = {"drops": data, "documents": part["documents"], "tokens": part["tokens"]}
        return Task(name, mark, payload)
