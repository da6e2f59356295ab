"""Classify: one model per worker, shared by its threads; a part of documents in, scores out."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Iterator
from typing import Any

import apache_beam as beam
import numpy as np
import numpy.typing as npt
import pyarrow as pa
from apache_beam.metrics import Metrics

from mixcurate.io import partfiles
from mixcurate.io.workdir import Heartbeat, TaskResult, Workdir
from mixcurate.models.text_classifier import load
from mixcurate.models.text_classifiers import ClassifierSpec, ClassifyStats, TextClassifier
from mixcurate.transforms.tasks import RunTask, Task, create, task_name

Float32Array = npt.NDArray[np.float32]

_LOADED: dict[tuple[ClassifierSpec, int], TextClassifier] = {}
_LOADING = threading.Lock()


def stage_of(name: str) -> str:
    """The stage under which the classifier of a dimension commits its parts."""
    return f"classify/{name}"


def classified_path(workdir: Workdir, name: str, part: str) -> str:
    """Scores of a part by the classifier ``name``."""
    return workdir.path("_stages", stage_of(name), f"part-{part}.parquet")


def read_classified(workdir: Workdir, name: str, part: str) -> Float32Array:
    """Scores of a part's documents, float32 ``[n]``; NaN where one could not be judged."""
    table = partfiles.read_table(classified_path(workdir, name, part), ["score"])
    scores: Float32Array = table.column("score").to_numpy()
    return scores


def shared_classifier(spec: ClassifierSpec, threads: int) -> TextClassifier:
    """The process's one copy of the model, loaded by whichever thread comes first."""
    with _LOADING:
        if (spec, threads) not in _LOADED:
            _LOADED[spec, threads] = load(spec, threads)
        return _LOADED[spec, threads]


def release_classifiers() -> None:
    """Let go of the models of this process, which are of no more use."""
    with _LOADING:
        _LOADED.clear()


@dataclasses.dataclass(frozen=True)
class ClassifyPart:
    """Score the documents of one part.

    Attributes:
        spec: the classifier.
        threads: CPU threads to use; 0 for as many as the worker has.
    """

    workdir: Workdir
    spec: ClassifierSpec
    threads: int

    @property
    def stage(self) -> str:
        """The stage under which parts are committed: one for each classifier."""
        return stage_of(self.spec.name)

    def run(self, task: Task, heartbeat: Heartbeat) -> TaskResult:
        """Read texts window by window, and write scores aligned with the documents."""
        classifier = shared_classifier(self.spec, self.threads)
        stats = ClassifyStats()
        texts = self._texts(task.name, classifier.window)
        found = list(classifier.score(texts, stats, heartbeat.beat))
        scores = np.concatenate([np.zeros(0, np.float32), *found])
        path = classified_path(self.workdir, self.spec.name, task.name)
        partfiles.write_table(path, pa.table({"score": pa.array(scores, pa.float32())}))
        details: dict[str, Any] = {
            **dataclasses.asdict(stats),
            "load_seconds": classifier.load_seconds,
        }
        return TaskResult(
            task=task.name,
            fingerprint=task.fingerprint,
            outputs=[self.workdir.output(path)],
            documents_in=len(scores),
            documents_out=len(scores),
            tokens=stats.tokens,
            details=details,
        )

    def _texts(self, part: str, window: int) -> Iterator[list[str]]:
        path = self.workdir.part("ingest", part)
        for batch in partfiles.iter_batches(path, ["text"], rows=window):
            yield [text or "" for text in batch.column("text").to_pylist()]


class ClassifyTask(RunTask):
    """``RunTask`` that also loads the model before the first part and reports its own metrics."""

    def __init__(self, work: ClassifyPart) -> None:
        super().__init__(work)
        self._classify = work
        space = f"mixcurate.{work.stage}"
        self._padding = Metrics.counter(space, "padding_tokens")
        self._not_judged = Metrics.counter(space, "not_judged_documents")
        self._device = Metrics.distribution(space, "device_milliseconds")

    def setup(self) -> None:
        """Load the model once per worker."""
        shared_classifier(self._classify.spec, self._classify.threads)

    def process(self, task: Task, after: object = None) -> Iterator[TaskResult]:
        """Emit the task's result."""
        for result in super().process(task, after):
            details = result.details
            self._padding.inc(details["padded_tokens"] - details["tokens"])
            self._not_judged.inc(details["not_judged"])
            self._device.update(int(1000 * details["forward_seconds"]))
            yield result


@dataclasses.dataclass(frozen=True)
class Classify:
    """The step of one classifier as one pipeline.

    Attributes:
        work: what is done with a part.
        todo: the parts.
        hints: resource hints of the step; only Dataflow is given any, for a local runner would run
            a hinted step in workers of its own.
    """

    work: ClassifyPart
    todo: list[Task]
    hints: dict[str, str]

    def build(self, pipeline: beam.Pipeline) -> None:
        """Wire the step into ``pipeline``; the hints sit on it alone, between two fusion breaks."""
        classify = beam.ParDo(ClassifyTask(self.work))
        if self.hints:
            classify = classify.with_resource_hints(**self.hints)
        results = create(pipeline, "Parts", self.todo) | "Classify" >> classify
        _ = results | "Results" >> beam.Map(task_name) | "Release the GPU" >> beam.Reshuffle()
