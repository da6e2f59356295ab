"""The workdir: where each stage keeps its files, and how a finished task is told from a broken one.

A stage's work is cut into tasks. A task writes its outputs (each atomically) and then commits by
writing one small manifest, ``_stages/<stage>/tasks/<task>.json``, that holds the fingerprint, the
counts, and the hash of every output. A task whose manifest has the fingerprint that is asked
for is done; anything else is done again. A stage ends with ``_SUCCESS``, which holds the stage's
fingerprint and the list of its parts.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import time
from typing import Any

from mixcurate.io import storage
from mixcurate.io.storage import join

#: Folder of the data a stage writes; it also holds the stage's ``_SUCCESS``.
DATA_FOLDERS = {
    "ingest": "documents",
    "embed": "embeddings",
    "cluster": "assignments",
    "score": "scores",
    "plan": "_stages/plan",
    "materialize": "_stages/materialize",
}

#: Folder of the rows that stages reject.
_REJECTED = "rejected"

#: Says that there is a workdir below.
_BELOW = "_stages/below.json"

#: What the stages up to score leave, besides what is in ``_stages``.
_EARLIER = frozenset(
    {"documents", "embeddings", "assignments", "scores", "contamination", "centroids.npy"}
    | {"clusters.parquet", "domains.parquet", "domains.yaml", "domain_map.parquet"}
    | {"map.parquet", "drift.json", "classifier.safetensors"}
)

#: Folders of ``_stages`` that the stages after score write.
_LATER_STAGES = frozenset({"plan", "select", "exchange", "materialize", "preference", "target"})


@dataclasses.dataclass(frozen=True)
class Output:
    """One file that a task wrote."""

    path: str  # relative to the workdir
    bytes: int
    digest: str


@dataclasses.dataclass(frozen=True)
class TaskResult:
    """What a task did: committed as its manifest."""

    task: str
    fingerprint: str
    outputs: list[Output]
    documents_in: int
    documents_out: int
    tokens: int = 0
    rejected: dict[str, int] = dataclasses.field(default_factory=dict)  # documents by reason
    rejected_sizes: dict[str, list[int]] = dataclasses.field(default_factory=dict)
    """Bytes of text and tokens by reason; tokens are 0 where they were not counted."""
    seconds: float = 0.0
    details: dict[str, Any] = dataclasses.field(default_factory=dict)

    @staticmethod
    def from_json(value: dict[str, Any]) -> TaskResult:
        """Back from the manifest."""
        outputs = [Output(**output) for output in value.pop("outputs")]
        return TaskResult(outputs=outputs, **value)


@dataclasses.dataclass(frozen=True)
class Part:
    """One part of a stage's output, as its successors see it."""

    name: str
    documents: int
    tokens: int
    digest: str


@dataclasses.dataclass(frozen=True)
class Success:
    """The content of ``_SUCCESS``."""

    fingerprint: str
    parts: list[Part]
    documents_in: int
    documents_out: int
    tokens: int
    rejected: dict[str, int]  # documents by reason
    seconds: float
    details: dict[str, Any] = dataclasses.field(default_factory=dict)
    rejected_sizes: dict[str, list[int]] = dataclasses.field(default_factory=dict)
    """Bytes of text and tokens by reason."""

    @property
    def rows(self) -> dict[str, int]:
        """Documents of each part: stages that work row by row fit together if these are equal."""
        return {part.name: part.documents for part in self.parts}

    @staticmethod
    def from_json(value: dict[str, Any]) -> Success:
        """Back from the file."""
        parts = [Part(**part) for part in value.pop("parts")]
        return Success(parts=parts, **value)


@dataclasses.dataclass(frozen=True)
class Workdir:
    """Paths and commits under one workdir. Plain strings, so that it can travel to workers.

    Attributes:
        root: its folder.
        below: the folder of another workdir whose stages up to score count as this one's: all that
            they have left is found there, and is only read.
    """

    root: str
    below: str | None = None

    @staticmethod
    def open(root: str) -> Workdir:
        """The workdir that a run has left in ``root``, on the one below it if there is one."""
        note = join(root, _BELOW)
        if not storage.exists(note):
            return Workdir(root)
        up = int(storage.read_json(note)["up"])
        if storage.is_local(root):
            return Workdir(root, os.path.normpath(os.path.join(root, *[".."] * up)))
        return Workdir(root, root.rstrip("/").rsplit("/", up)[0])

    def write_below(self) -> None:
        """Leave what ``open`` goes by. Both workdirs may be moved together afterwards.

        Raises:
            ValueError: the workdir is not inside the one below.
        """
        above = "" if self.below is None else self.below.rstrip("/")
        inside = self.root.removeprefix(f"{above}/")
        if not above or inside == self.root:
            raise ValueError(f"{self.root} is not inside {self.below}")
        storage.write_json(join(self.root, _BELOW), {"up": len(inside.split("/"))})

    def path(self, *parts: str) -> str:
        """A path inside the workdir, or inside the one below if a stage up to score writes it."""
        if self.below is not None and _is_earlier(join(*parts).split("/")):
            return join(self.below, *parts)
        return join(self.root, *parts)

    @property
    def centroids(self) -> str:
        """The centroids, float32 ``[k, d]``."""
        return self.path("centroids.npy")

    def part(self, stage: str, name: str) -> str:
        """The data file of part ``name`` that ``stage`` writes."""
        suffix = "arrow" if stage == "embed" else "parquet"
        return self.path(DATA_FOLDERS[stage], f"part-{name}.{suffix}")

    def rejected(self, stage: str, name: str) -> str:
        """The file of rows that ``stage`` rejected in its task ``name``."""
        return self.path(_REJECTED, f"part-{stage}-{name}.parquet")

    def rejected_files(self) -> list[str]:
        """Paths of the files of rejected rows; of the workdir below those of stages up to score."""
        files = [(self.root, n) for n in storage.list_names(join(self.root, _REJECTED))]
        if self.below is not None:
            below = storage.list_names(join(self.below, _REJECTED))
            files = [(self.below, n) for n in below if not _is_later(n)] + files
        return [join(root, _REJECTED, n) for root, n in files if n.startswith("part-")]

    def tasks_folder(self, stage: str) -> str:
        """Folder of the stage's task manifests."""
        return self.path("_stages", stage, "tasks")

    def output(self, path: str) -> Output:
        """Describe a file that was just written; ``path`` is absolute."""
        relative = path[len(self.root) :].lstrip("/")
        return Output(relative, storage.size(path), storage.digest(path))

    def commit(self, stage: str, result: TaskResult) -> None:
        """Make a task's outputs count."""
        path = join(self.tasks_folder(stage), f"{result.task}.json")
        storage.write_json(path, dataclasses.asdict(result))

    def committed(self, stage: str) -> dict[str, TaskResult]:
        """All committed tasks of a stage by name."""
        folder = self.tasks_folder(stage)
        names = [name for name in storage.list_names(folder) if name.endswith(".json")]
        results = [TaskResult.from_json(storage.read_json(join(folder, name))) for name in names]
        return {result.task: result for result in results if not result.task.startswith(".")}

    def is_whole(self, result: TaskResult) -> bool:
        """Whether every output of a committed task is still there with its size."""
        for output in result.outputs:
            path = self.path(output.path)
            if not storage.exists(path) or storage.size(path) != output.bytes:
                return False
        return True

    def discard(self, stage: str, result: TaskResult) -> None:
        """Remove a committed task and its outputs; the manifest goes first."""
        self.forget(stage, result)
        for output in result.outputs:
            storage.remove(self.path(output.path))

    def forget(self, stage: str, result: TaskResult) -> None:
        """Remove the manifest of a committed task, and leave its outputs."""
        storage.remove(join(self.tasks_folder(stage), f"{result.task}.json"))

    def success_path(self, stage: str) -> str:
        """Where the stage's ``_SUCCESS`` is."""
        return self.path(DATA_FOLDERS[stage], "_SUCCESS")

    def success(self, stage: str) -> Success | None:
        """The stage's ``_SUCCESS``, or None when it has not ended."""
        path = self.success_path(stage)
        return Success.from_json(storage.read_json(path)) if storage.exists(path) else None

    def write_success(self, stage: str, success: Success) -> None:
        """End a stage."""
        storage.write_json(self.success_path(stage), dataclasses.asdict(success))

    def clear_success(self, stage: str) -> None:
        """Take back that a stage has ended, and clear what a killed run left behind."""
        storage.remove(self.success_path(stage))
        for folder in (DATA_FOLDERS[stage], _REJECTED, f"_stages/{stage}/tasks", "_stages"):
            storage.remove_temporaries(self.path(folder))


def _is_later(rejected: str) -> bool:
    """Whether a stage after score has left this file of rejected rows."""
    return rejected.removeprefix("part-").split("-")[0] in _LATER_STAGES


def _is_earlier(names: list[str]) -> bool:
    """Whether a stage up to score writes this path."""
    if names[0] == "_stages" and len(names) > 1:
        return names[1] not in _LATER_STAGES
    return names[0] in _EARLIER


class Heartbeat:
    """Lets a running task say how far it is, at most twice a second, in a file of its own.

    Only on a local workdir: elsewhere the runner's own monitoring shows it.
    """

    def __init__(self, workdir: Workdir, stage: str, task: str) -> None:
        self._path = workdir.path("_stages", stage, "progress", f"{task}.json")
        self._active = storage.is_local(workdir.root)
        self._documents = self._tokens = 0
        self._last = time.monotonic()

    def beat(self, documents: int, tokens: int) -> None:
        """Add to what the task has done so far."""
        self._documents += documents
        self._tokens += tokens
        now = time.monotonic()
        if self._active and now - self._last >= 0.5:
            self._last = now
            storage.write_json(self._path, {"documents": self._documents, "tokens": self._tokens})

    def stop(self) -> None:
        """The task is over; what a killed run of it has left goes too."""
        if self._active:
            with contextlib.suppress(FileNotFoundError):
                os.remove(self._path)
