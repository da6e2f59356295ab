"""The files of quality heads: where they are, and the list of what heads could not be fitted on."""

from __future__ import annotations

import os

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa

from mixcurate.errors import OutputError
from mixcurate.io import storage
from mixcurate.io.labels_file import Labels, lines_at


def card_path(out: str) -> str:
    """Where the card of a file of heads is."""
    return out.removesuffix(".safetensors") + ".md"


def rejected_path(out: str) -> str:
    """Where documents are listed that heads could not be fitted on."""
    return f"{out}.rejected"


def check_folder(out: str) -> None:
    """Fail before any work.

    Raises:
        OutputError: ``out`` is a folder, or its folder cannot be written.
    """
    if storage.is_local(out):
        if os.path.isdir(out):
            raise OutputError(f"{out} is a folder; name the file to write")
        storage.require_writable(os.path.dirname(out) or ".")


def check_apart(out: str, labels: Labels) -> None:
    """Fail before anything is written.

    Raises:
        OutputError: one of the files to write holds the labels.
    """
    outputs = {os.path.realpath(path) for path in (out, card_path(out), rejected_path(out))}
    for task in labels.tasks:
        if os.path.realpath(task.path) in outputs:
            raise OutputError(f"{task.shown_path} holds the labels; choose another file for --out")


def write_rejected(
    path: str, labels: Labels, known: npt.NDArray[np.bool_], good: npt.NDArray[np.bool_]
) -> None:
    """List the documents that heads cannot be fitted on, with their lines; none removes the file.

    Args:
        path: where.
        labels: of the documents.
        known: bool ``[n]``, whether the run has a document.
        good: bool ``[n]``, whether its vector is of use.
    """
    rows = np.flatnonzero(~good).tolist()
    if not rows:
        storage.remove(path)
        return
    keys = dict(zip(rows, labels.keys.take(pa.array(rows)).to_pylist(), strict=True))
    with storage.open_atomic(path) as lines:
        for number, task in enumerate(labels.tasks):
            mine = [row for row in rows if labels.places[row][0] == number]
            places = lines_at(task, [labels.places[row][1] for row in mine])
            for row, line in zip(mine, places, strict=True):
                reason = "invalid_embedding" if known[row] else "unknown_id"
                told = {"id": keys[row], "path": task.shown_path, "line": line, "reason": reason}
                lines.write(orjson.dumps(told, option=orjson.OPT_APPEND_NEWLINE))
