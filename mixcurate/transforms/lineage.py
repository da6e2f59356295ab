"""Beside each shard, where its documents come from; and what only that tells of the shard."""

from __future__ import annotations

import dataclasses

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mixcurate.io import exchange, lineage, storage
from mixcurate.io.workdir import Heartbeat, Output, TaskResult, Workdir
from mixcurate.transforms.exchange import trace_path
from mixcurate.transforms.tasks import Task
from mixcurate.transforms.write_shard import WriteShard

#: What a shard's documents and tokens are added up by, beside what ``WriteShard`` adds up.
_GROUPS = ("cell", "language")


@dataclasses.dataclass(frozen=True)
class WriteTraced:
    """Write a shard, then its lineage: both are committed together.

    Takes the payload of ``WriteShard``, and ``traces`` (part, extent in the part's traces) and
    ``part`` (number of the shard over all splits).

    Attributes:
        write: writes the shard.
    """

    write: WriteShard

    @property
    def workdir(self) -> Workdir:
        """Where the exchange is."""
        return self.write.workdir

    @property
    def stage(self) -> str:
        """The stage of the tasks."""
        return self.write.stage

    @property
    def mark(self) -> str:
        """Fingerprint of the stage."""
        return self.write.mark

    def run(self, task: Task, heartbeat: Heartbeat) -> TaskResult:
        """Write one shard and its lineage.

        Raises:
            JobError: the disk is full.
        """
        needed = sum(length for _, (_, length) in task.payload["segments"])
        with storage.tells_full_disk(self.write.corpus, needed):
            return self._write(task, heartbeat)

    def _write(self, task: Task, heartbeat: Heartbeat) -> TaskResult:
        result = self.write.run(task, heartbeat)
        traces = [(trace_path(self.workdir, part), at) for part, at in task.payload["traces"]]
        with exchange.open_segments(traces, exchange.TRACE) as batches:
            rows = pa.Table.from_batches(batches, exchange.TRACE).combine_chunks()
        # the same rule as for the shard itself, so that row i is row i
        order = np.argsort(rows.column("shuffle").to_numpy(), kind="stable")
        rows = rows.take(pa.array(order))
        corpus = self.write.corpus
        part, split, shard = (task.payload[key] for key in ("part", "split", "shard"))
        written = lineage.write_lineage(corpus, part, rows, split, shard)
        full = storage.join(corpus, written["path"])
        name = full.removeprefix(self.workdir.root.rstrip("/") + "/")
        output = Output(name, written["bytes"], f"sha256:{written['sha256']}")
        details = result.details | {"lineage": written, "phase": task.payload["phase"]}
        details |= {"split": split, "part": part, **_sums(rows)}
        return dataclasses.replace(result, outputs=[*result.outputs, output], details=details)


def _sums(rows: pa.Table) -> dict[str, dict[str, list[int]]]:
    """Per cell and language: copies, tokens, tokens of first copies; per cell what was cut."""
    tokens = rows.column("n_tokens").to_numpy().astype(np.int64)
    first = tokens * (rows.column("copy").to_numpy() == 0)
    result: dict[str, dict[str, list[int]]] = {"cut": _cuts(rows)}
    for by in _GROUPS:
        values = rows.column(by).combine_chunks().dictionary_encode()
        codes, names = values.indices.to_numpy(), values.dictionary.to_pylist()
        sums = np.zeros((len(names), 3), np.int64)
        for column, amount in enumerate((np.ones(len(codes), np.int64), tokens, first)):
            np.add.at(sums[:, column], codes, amount)
        result[by] = {str(name): row for name, row in zip(names, sums.tolist(), strict=True)}
    return result


def _cuts(rows: pa.Table) -> dict[str, list[int]]:
    """Per cell: copies that were cut, tokens that the cuts have missed."""
    cut = rows.filter(pc.is_valid(rows.column("missed")))
    cells, missed = (cut.column(name).to_numpy() for name in ("cell", "missed"))
    return {
        str(cell): [int((cells == cell).sum()), int(missed[cells == cell].sum())]
        for cell in np.unique(cells).tolist()
    }
