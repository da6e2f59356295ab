"""The last step of ingest: each part of ``documents/`` without the rows that are duplicates."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pyarrow as pa

from mixcurate.io import partfiles, storage
from mixcurate.io.workdir import Heartbeat, Output, TaskResult, Workdir
from mixcurate.kernels import dedup
from mixcurate.kernels.hashing import fingerprint
from mixcurate.tables import EXCERPT
from mixcurate.transforms.duplicates import Drops
from mixcurate.transforms.keyfiles import INGEST, extracted_keys_path, extracted_path, keys_path
from mixcurate.transforms.tasks import Task


def plan_write(element: tuple[str, dict[str, list[Any]]]) -> Task:
    """Turn a part and its drops into a task."""
    name, joined = element
    part = joined["part"][0]
    found: list[Drops] = joined["drops"]
    drops = sorted(
        drop for some in found for drop in zip(some.rows, some.kinds, some.survivors, strict=True)
    )
    known = [f"{row} {kinds} {survivor}" for row, kinds, survivor in drops]
    mark = fingerprint("documents", name, part["fingerprint"], *known)
    payload = {"drops": drops, "documents": part["documents"], "tokens": part["tokens"]}
    return Task(name, mark, payload)


@dataclasses.dataclass(frozen=True)
class WriteDocuments:
    """Write one part of ``documents/`` without its duplicates, and its keys beside it."""

    workdir: Workdir
    with_keys: bool
    stage: str = INGEST

    def run(self, task: Task, heartbeat: Heartbeat) -> TaskResult:
        """Link the part as it is, or rewrite it without the dropped rows."""
        drops = task.payload["drops"]
        source = extracted_path(self.workdir, task.name)
        target = self.workdir.part(INGEST, task.name)
        reasons: dict[str, int] = {}
        sizes: dict[str, list[int]] = {}
        outputs: list[Output] = []
        kept, tokens = task.payload["documents"], task.payload["tokens"]
        if drops:
            table = partfiles.read_table(source)
            rejected = _rejected_rows(table, drops)
            reasons, sizes = partfiles.tally(rejected)
            path = self.workdir.rejected(INGEST, task.name)
            partfiles.write_rejected(path, rejected)
            outputs.append(self.workdir.output(path))
            keep = np.ones(table.num_rows, bool)
            keep[[row for row, _, _ in drops]] = False
            table = table.filter(pa.array(keep))
            kept = table.num_rows
            tokens = int(np.sum(table.column("n_tokens").to_numpy(), dtype=np.int64))
            if kept:
                outputs += self._write_keys(task.name, keep)
                partfiles.write_table(target, table)
        else:
            outputs += self._write_keys(task.name, None)
            storage.link(source, target)
        if kept:
            outputs.append(self.workdir.output(target))  # last: it stands for the part
        heartbeat.beat(task.payload["documents"], tokens)
        return TaskResult(
            task=task.name,
            fingerprint=task.fingerprint,
            outputs=outputs,
            documents_in=task.payload["documents"],
            documents_out=kept,
            tokens=tokens,
            rejected=reasons,
            rejected_sizes=sizes,
        )

    def _write_keys(
        self, part: str, keep: np.ndarray[Any, np.dtype[np.bool_]] | None
    ) -> list[Output]:
        """Leave the keys of the rows that are kept, for later runs."""
        if not self.with_keys:
            return []
        source, target = extracted_keys_path(self.workdir, part), keys_path(self.workdir.root, part)
        if keep is None:
            storage.link(source, target)
        else:
            partfiles.write_array(target, partfiles.read_array(source)[keep])
        return [self.workdir.output(target)]


def _rejected_rows(table: pa.Table, drops: list[tuple[int, int, str]]) -> list[dict[str, object]]:
    """One rejected row per dropped document, naming the document that stays."""
    columns = ["id", "source", "path", "position", "n_bytes", "n_tokens", "text"]
    picked = table.select(columns)
    picked = picked.take([row for row, _, _ in drops])
    rows: list[dict[str, object]] = []
    for (_, kinds, survivor), document in zip(drops, picked.to_pylist(), strict=True):
        reason, detail = dedup.why(kinds, survivor)
        excerpt = document.pop("text")[:EXCERPT]
        known = {"stage": INGEST, "reason": reason, "detail": detail, "excerpt": excerpt}
        rows.append(document | known)
    return rows
