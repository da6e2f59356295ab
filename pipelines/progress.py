"""Progress on stderr: a live bar per stage on a terminal, plain lines otherwise.

Workers may be other processes or other machines, so progress is read from what tasks leave in the
workdir: their manifests when they are done, their heartbeats while they run.
"""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Iterator

from rich.console import Console

from mixcurate.io import storage
from mixcurate.io.workdir import Workdir

_POLL_SECONDS = 0.5
_LINE_SECONDS = 10.0


class Reporter:
    """Writes messages and the progress of stages to stderr."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._console = Console(file=sys.stderr, quiet=quiet, highlight=False, soft_wrap=True)

    def say(self, message: str) -> None:
        """One line."""
        self._console.print(message, markup=False)

    @contextlib.contextmanager
    def watch(
        self,
        workdir: Workdir,
        label: str,
        *,
        stage: str,
        done: int,
        tasks: int,
        documents: int | None = None,
    ) -> Iterator[None]:
        """Show the progress of a stage while the block runs.

        Args:
            workdir: where its tasks leave their traces.
            label: what the user knows the stage by.
            stage: whose task manifests count.
            done: tasks that were finished before.
            tasks: tasks in all.
            documents: documents still to do, if known; time left is told from them, else from
                tasks.
        """
        watcher = _Watcher(workdir, stage, done, tasks, documents)
        stop = threading.Event()
        show = self._bar if self._console.is_terminal else self._lines
        thread = threading.Thread(target=show, args=(watcher, label, stop), daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    def _bar(self, watcher: _Watcher, label: str, stop: threading.Event) -> None:
        # here: every command would wait for it, and only a terminal shows a bar
        from rich.progress import (
            BarColumn,
            Progress,
            SpinnerColumn,
            TextColumn,
            TimeElapsedColumn,
        )

        columns = (
            SpinnerColumn(),
            TextColumn("{task.description:<12}"),
            BarColumn(),
            TextColumn("{task.fields[state]}"),
            TimeElapsedColumn(),
        )
        with Progress(*columns, console=self._console, transient=True) as progress:
            bar = progress.add_task(label, total=1.0, state="")
            while not stop.wait(_POLL_SECONDS):
                state = watcher.look()
                progress.update(bar, completed=watcher.share, state=state)

    def _lines(self, watcher: _Watcher, label: str, stop: threading.Event) -> None:
        last = time.monotonic()
        while not stop.wait(_POLL_SECONDS):
            if time.monotonic() - last >= _LINE_SECONDS:
                last = time.monotonic()
                self.say(f"{label}: {watcher.look()}")


class _Watcher:
    """Counts what the tasks of a stage have done since it was made."""

    def __init__(
        self, workdir: Workdir, stage: str, done: int, tasks: int, documents: int | None
    ) -> None:
        self._workdir, self._stage = workdir, stage
        self._before = self._done = done
        self._tasks, self._expected = tasks, documents
        self._seen = set(storage.list_names(workdir.tasks_folder(stage)))
        self._documents = self._tokens = 0
        self._started = time.monotonic()
        self.share = 0.0

    def look(self) -> str:
        """Read the traces; say how far the stage is, how fast, and how long it will take."""
        self._read_manifests()
        running_documents, running_tokens = self._read_heartbeats()
        documents = self._documents + running_documents
        tokens = self._tokens + running_tokens
        seconds = max(time.monotonic() - self._started, 1e-3)
        if self._expected:
            self.share = documents / self._expected
        else:
            self.share = (self._done - self._before) / max(self._tasks - self._before, 1)
        left = ""
        if 0 < self.share < 1:
            rest = seconds * (1 - self.share) / self.share
            left = f", {int(rest // 60)}:{int(rest % 60):02d} left"
        return (
            f"{self._done}/{self._tasks} tasks, {documents:,} documents, "
            f"{documents / seconds:,.0f} documents/s, {tokens / seconds:,.0f} tokens/s{left}"
        )

    def _read_manifests(self) -> None:
        folder = self._workdir.tasks_folder(self._stage)
        for name in storage.list_names(folder):
            if name.endswith(".json") and not name.startswith(".") and name not in self._seen:
                self._seen.add(name)
                self._done += 1
                result = storage.read_json(storage.join(folder, name))
                self._documents += result["documents_in"]
                self._tokens += result["tokens"]

    def _read_heartbeats(self) -> tuple[int, int]:
        """Documents and tokens of the tasks that are running."""
        documents = tokens = 0
        folder = self._workdir.path("_stages", self._stage, "progress")
        for name in storage.list_names(folder):
            if name.startswith("."):
                continue
            with contextlib.suppress(FileNotFoundError):  # the task ended just now
                beat = storage.read_json(storage.join(folder, name))
                documents += beat["documents"]
                tokens += beat["tokens"]
        return documents, tokens
