"""Quality: all dimensions of each document, from its signals, its vector, its text's classifiers
and its own fields, as one narrow file a part."""

from __future__ import annotations

import dataclasses
from typing import Literal

import apache_beam as beam
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mixcurate.errors import InputError
from mixcurate.io import embeddings, partfiles
from mixcurate.io.head_file import read_head_file
from mixcurate.io.workdir import Heartbeat, TaskResult, Workdir
from mixcurate.kernels import heads, quality
from mixcurate.kernels.head_signals import check_signals
from mixcurate.kernels.heads import Head
from mixcurate.kernels.quality import Dimension
from mixcurate.transforms.classify import read_classified
from mixcurate.transforms.quality_columns import PREFIX, columns_path, read_carried
from mixcurate.transforms.tasks import RunTask, Task, create

QUALITY = "quality"

Float32Array = npt.NDArray[np.float32]


@dataclasses.dataclass(frozen=True)
class QualityPart:
    """Write the quality columns of one part.

    Attributes:
        dimensions: all of them, in the order of their columns.
        heads: files of heads, whose dimensions are among these.
        missing: what a document without one of its dimensions is to be.
    """

    workdir: Workdir
    dimensions: tuple[Dimension, ...]
    heads: tuple[str, ...]
    missing: Literal["fail", "least", "skip"]
    stage: str = QUALITY

    def run(self, task: Task, heartbeat: Heartbeat) -> TaskResult:
        """Judge the part's documents.

        Raises:
            InputError: a document lacks a dimension, and that is not to be.
        """
        values = self._values(task.name)
        if self.missing == "fail":
            self._require_all(task.name, values)
        overall = quality.combine(self.dimensions, values, skip=self.missing == "skip")
        columns = {PREFIX + dimension.name: values[dimension.name] for dimension in self.dimensions}
        table = pa.table({name: pa.array(v, pa.float32()) for name, v in columns.items()})
        path = columns_path(self.workdir, task.name)
        partfiles.write_table(path, table.append_column("quality", pa.array(overall)))
        heartbeat.beat(len(overall), 0)
        return TaskResult(
            task=task.name,
            fingerprint=task.fingerprint,
            outputs=[self.workdir.output(path)],
            documents_in=len(overall),
            documents_out=len(overall),
        )

    def _values(self, part: str) -> dict[str, Float32Array]:
        """Each dimension's values, in its own range."""
        values: dict[str, Float32Array] = {}
        of = {origin: self._named(origin) for origin in ("heuristic", "classifier", "carried")}
        judges = [head_of(path) for path in self.heads]
        read = {name for head in judges for name in head.signals}
        signals = self._signals(part, read.union(quality.INPUTS if of["heuristic"] else ()))
        if of["heuristic"]:
            values |= quality.heuristic_quality(signals)
        for head in judges:
            values |= self._heads(part, head, signals)
        for name in of["classifier"]:
            values[name] = read_classified(self.workdir, name, part)
        values |= read_carried(self.workdir, part, of["carried"])
        return values

    def _named(self, origin: str) -> list[str]:
        return [dimension.name for dimension in self.dimensions if dimension.origin == origin]

    def _signals(self, part: str, wanted: set[str]) -> dict[str, Float32Array]:
        """Signals of the part's documents by name."""
        if not wanted:
            return {}
        names = {f"signal_{name}": name for name in sorted(wanted)}
        table = partfiles.read_table(self.workdir.part("ingest", part), list(names))
        return {name: table.column(column).to_numpy() for column, name in names.items()}

    def _heads(
        self, part: str, head: Head, signals: dict[str, Float32Array]
    ) -> dict[str, Float32Array]:
        found = np.zeros((0, len(head.dimensions)), np.float32)
        batches = [found]
        start = 0
        for vectors in embeddings.iter_embeddings(self.workdir.part("embed", part)):
            end = start + len(vectors)
            shown = [signals[name][start:end] for name in head.signals]
            beside = np.stack(shown, axis=1) if shown else None
            batches.append(heads.predict(head, vectors, beside))
            start = end
        found = np.concatenate(batches)
        return {
            dimension.name: np.ascontiguousarray(found[:, column])
            for column, dimension in enumerate(head.dimensions)
        }

    def _require_all(self, part: str, values: dict[str, Float32Array]) -> None:
        """Every document has every dimension; one whose vector is of no use is dropped later."""
        for dimension in self.dimensions:
            lacking = np.flatnonzero(np.isnan(values[dimension.name]))
            if dimension.origin == "head" or len(lacking) == 0:
                continue
            place = partfiles.read_table(self.workdir.part("ingest", part), ["path", "position"])
            row = place.slice(int(lacking[0]), 1).to_pylist()[0]
            raise InputError(
                f"quality dimension {dimension.name!r} is missing in {len(lacking):,} of "
                f"{place.num_rows:,} documents of part {part}, the first at {row['path']}, "
                f"position {row['position']}; give it to all, or set score.quality.missing: "
                f"least | skip"
            )


def head_of(path: str) -> Head:
    """The head in a file.

    Raises:
        InputError: there is none, or it reads a signal that this version does not compute.
    """
    file = read_head_file(path)
    check_signals(file.signals, path)
    return Head(
        dimensions=tuple(heads.HeadDimension(*dimension) for dimension in file.dimensions),
        layers=file.layers,
        mean=file.mean,
        scale=file.scale,
        signals=file.signals,
    )


@dataclasses.dataclass(frozen=True)
class JudgeQuality:
    """The step as one pipeline."""

    work: QualityPart
    todo: list[Task]

    def build(self, pipeline: beam.Pipeline) -> None:
        """Wire it into ``pipeline``."""
        tasks = create(pipeline, "Quality parts", self.todo)
        _ = tasks | "Judge quality" >> beam.ParDo(RunTask(self.work))
