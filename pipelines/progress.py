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
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

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
        self, workdir: Workdir, label: str, *, stage: str, done: int, tasks: int
    ) -> Iterator[None]:
        """Show the progress of a stage while the block runs.

        Args:
            workdir: where its tasks leave their traces.
            label: what the user knows the stage by.
            stage: whose task manifests count.
            done: tasks that were finished before.
            tasks: tasks in all.
        """
        watcher = _Watcher(workdir, stage, done, tasks)
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
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description:<12}"),
            BarColumn(),
            TextColumn("{task.fields[state]}"),
            TimeElapsedColumn(),
        )
        with Progress(*columns, console=self._console, transient=True) as progress:
            bar = progress.add_task(label, total=watcher.tasks, state="")
            while not stop.wait(_POLL_SECONDS):
                state = watcher.look()
                progress.update(bar, completed=watcher.completed, state=state)

    def _lines(self, watcher: _Watcher, label: str, stop: threading.Event) -> None:
        last = time.monotonic()
        while not stop.wait(_POLL_SECONDS):
            if time.monotonic() - last >= _LINE_SECONDS:
                last = time.monotonic()
                self.say(f"{label}: {watcher.look()}")


class _Watcher:
    """Counts what the tasks of a stage have done since it was made."""

    def __init__(self, workdir: Workdir, stage: str, done: int, tasks: int) -> None:
        self._workdir, self._stage, self._done = workdir, stage, done
        self.tasks = tasks
        self.completed = self._before = float(done)
        self._seen = set(storage.list_names(workdir.tasks_folder(stage)))
        self._documents = self._tokens = 0
        self._started = time.monotonic()

    def look(self) -> str:
        """Read the traces; say how far the stage is, how fast, and how long it will take."""
        folder = self._workdir.tasks_folder(self._stage)
        for name in storage.list_names(folder):
            if name.endswith(".json") and not name.startswith(".") and name not in self._seen:
                self._seen.add(name)
                self._done += 1
                result = storage.read_json(storage.join(folder, name))
                self._documents += result["documents_in"]
                self._tokens += result["tokens"]
        documents, tokens, running = self._documents, self._tokens, 0
        beats = self._workdir.path("_stages", self._stage, "progress")
        for name in storage.list_names(beats):
            if name.startswith("."):
                continue
            with contextlib.suppress(FileNotFoundError):  # the task ended just now
                beat = storage.read_json(storage.join(beats, name))
                documents += beat["documents"]
                tokens += beat["tokens"]
                running += 1
        seconds = max(time.monotonic() - self._started, 1e-3)
        self.completed = min(self._done + 0.5 * running, self.tasks)
        rate = f"{documents / seconds:,.0f} documents/s, {tokens / seconds:,.0f} tokens/s"
        return (
            f"{self._done}/{self.tasks} tasks, {documents:,} documents, {rate}{self._left(seconds)}"
        )

    def _left(self, seconds: float) -> str:
        """Time left, from the tasks finished since the stage was started this time."""
        new = self.completed - self._before
        if new <= 0 or self.completed >= self.tasks:
            return ""
        left = seconds * (self.tasks - self.completed) / new
        return f", {int(left // 60)}:{int(left % 60):02d} left"
