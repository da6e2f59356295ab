"""The one shape of every stage: plan tasks, skip the committed ones, run, commit each.

What flows through Beam is a ``Task`` or a ``TaskResult``; the data stays in files.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterable, Iterator
from typing import Any, Protocol

import apache_beam as beam
from apache_beam.metrics import Metrics

from mixcurate.errors import AccountingError
from mixcurate.io.workdir import Heartbeat, Part, Success, TaskResult, Workdir


@dataclasses.dataclass(frozen=True)
class Task:
    """A piece of work: one part file, input range or output shard."""

    name: str
    fingerprint: str
    payload: dict[str, Any] = dataclasses.field(default_factory=dict)


class Work(Protocol):
    """What is done with one task. Implementations are frozen dataclasses of plain fields."""

    @property
    def workdir(self) -> Workdir:
        """Where the task's files are."""
        ...

    @property
    def stage(self) -> str:
        """The stage under which the task is committed."""
        ...

    def run(self, task: Task, heartbeat: Heartbeat) -> TaskResult:
        """Do the task and return what was done; the caller commits it."""
        ...


def run_task(work: Work, task: Task) -> TaskResult:
    """Run one task, check its accounting, and commit it.

    Raises:
        AccountingError: documents in != documents out + rejected.
    """
    started = time.perf_counter()
    heartbeat = Heartbeat(work.workdir, work.stage, task.name)
    try:
        result = work.run(task, heartbeat)
    finally:
        heartbeat.stop()
    check_accounting(f"{work.stage}, task {task.name}", result)
    result = dataclasses.replace(result, seconds=round(time.perf_counter() - started, 6))
    work.workdir.commit(work.stage, result)
    return result


def check_accounting(what: str, result: TaskResult | Success) -> None:
    """Every document that went in came out or was rejected.

    Raises:
        AccountingError: with the three numbers.
    """
    rejected = sum(result.rejected.values())
    if result.documents_in != result.documents_out + rejected:
        raise AccountingError(
            f"{what}: {result.documents_in:,} documents in, but {result.documents_out:,} out + "
            f"{rejected:,} rejected. This is a bug; please report it."
        )


class RunTask(beam.DoFn):
    """Run a ``Work`` on each task."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._documents = Metrics.counter(f"mixcurate.{work.stage}", "documents")
        self._tokens = Metrics.counter(f"mixcurate.{work.stage}", "tokens")
        self._rejected = Metrics.counter(f"mixcurate.{work.stage}", "rejected")

    def work_of(self, task: Task) -> Work:  # noqa: ARG002
        """What is done with ``task``."""
        return self._work

    def process(self, task: Task, after: object = None) -> Iterator[TaskResult]:  # noqa: ARG002
        """Emit the task's result; ``after`` is a side input that only orders the work."""
        result = run_task(self.work_of(task), task)
        self._documents.inc(result.documents_in)
        self._tokens.inc(result.tokens)
        self._rejected.inc(sum(result.rejected.values()))
        yield result


class SkipCommitted(beam.DoFn):
    """Pass on the tasks that are still to do."""

    def __init__(self, committed: dict[str, str]) -> None:
        self._committed = committed

    def process(self, task: Task) -> Iterator[Task]:
        """Yield the task unless it is committed under its fingerprint."""
        if self._committed.get(task.name) != task.fingerprint:
            yield task


def task_name(result: TaskResult) -> str:
    """All that goes on from a task that ends a stage."""
    return result.task


def create(
    pipeline: beam.Pipeline | beam.pvalue.PBegin, label: str, elements: Iterable[Any]
) -> beam.PCollection:
    """A collection of small elements, spread over the workers."""
    spread = pipeline | f"{label}: create" >> beam.Create(list(elements), reshuffle=False)
    return spread | f"{label}: spread" >> beam.Reshuffle()


@dataclasses.dataclass(frozen=True)
class Split:
    """Tasks of a stage that are done, and those that are still to do."""

    done: list[TaskResult]
    todo: list[Task]


def split(workdir: Workdir, stage: str, tasks: list[Task]) -> Split:
    """Tell finished tasks from open ones; what belongs to neither is removed from disk."""
    committed = workdir.committed(stage)
    wanted = {task.name: task for task in tasks}
    done: list[TaskResult] = []
    for name, result in committed.items():
        task = wanted.get(name)
        if task and task.fingerprint == result.fingerprint and workdir.is_whole(result):
            done.append(result)
            del wanted[name]
        else:
            workdir.discard(stage, result)
    return Split(done, [task for task in tasks if task.name in wanted])


def summarise(
    fingerprint: str,
    results: list[TaskResult],
    *,
    parts: list[Part],
    details: dict[str, Any] | None = None,
) -> Success:
    """The ``_SUCCESS`` of a stage from its tasks."""
    rejected: dict[str, int] = {}
    sizes: dict[str, list[int]] = {}
    for result in results:
        for reason, count in result.rejected.items():
            rejected[reason] = rejected.get(reason, 0) + count
        for reason, (n_bytes, tokens) in result.rejected_sizes.items():
            before = sizes.get(reason, [0, 0])
            sizes[reason] = [before[0] + n_bytes, before[1] + tokens]
    return Success(
        fingerprint=fingerprint,
        parts=sorted(parts, key=lambda part: part.name),
        documents_in=sum(result.documents_in for result in results),
        documents_out=sum(result.documents_out for result in results),
        tokens=sum(result.tokens for result in results),
        rejected=dict(sorted(rejected.items())),
        rejected_sizes=dict(sorted(sizes.items())),
        seconds=round(sum(result.seconds for result in results), 3),
        details=details or {},
    )
