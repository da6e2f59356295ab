"""Domains for text that is new to a corpus, by the classifier that its run has left."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import os
from collections.abc import Iterator, Sequence
from typing import IO

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from mixcurate.errors import OutputError, RequestError
from mixcurate.io import storage
from mixcurate.io.classifier_file import ClassifierFile, read_classifier_file
from mixcurate.io.readers import InputParams, ReadTask, list_tasks, read
from mixcurate.io.records import RawBatch
from mixcurate.io.workdir import Workdir
from mixcurate.kernels.classifier import Classifier, predict
from mixcurate.kernels.hashing import document_ids
from mixcurate.kernels.repair import repair
from mixcurate.models.encoder import Encoder
from mixcurate.models.encoders import EncodeStats
from mixcurate.models.extract import extractor
from mixcurate.models.resolve import load, resolve
from mixcurate.recipe import Recipe
from mixcurate.recipe_file import load_recipe
from pipelines.labelled_vectors import run_encoder


@dataclasses.dataclass(frozen=True)
class Labelled:
    """What ``label`` did."""

    documents: int
    """That have a domain now."""
    by_domain: dict[str, int]
    """Documents by the name of their domain, the largest first."""
    rejected: dict[str, int]
    """Documents and records without one, by reason."""
    rejected_path: str | None
    """Where these are listed, if there are any."""


def classifier_path(workdir: Workdir) -> str:
    """The classifier that the cluster stage leaves."""
    return workdir.path("classifier.safetensors")


def label(workdir: str, inputs: Sequence[InputParams], out: str, *, threads: int) -> Labelled:
    """Write id, domain, domain_name and probability of each document as a line of JSON.

    Documents are read as ingest reads them and repaired if the run's recipe repairs; no other step
    of cleaning is made, and no duplicate is looked for. Ids are those that ingest would give. What
    cannot be labelled is listed in ``OUT.rejected`` with its place and the reason.

    Args:
        workdir: of the run whose classifier labels.
        inputs: what to read; paths are relative to the current folder.
        out: the file to write; an older one is replaced.
        threads: CPU threads to use.

    Raises:
        RequestError: the run has left no classifier.
        InputError: an input, the classifier's file, or a model that is not the run's.
        OutputError: ``out`` is one of the inputs, or cannot be written.
    """
    home = Workdir(workdir)
    path = classifier_path(home)
    if not storage.exists(path):
        raise RequestError(
            f"{workdir} has no classifier; set cluster: {{topics: {{classifier: true}}}} in its "
            f"recipe and run: mixcurate cluster RECIPE"
        )
    file = read_classifier_file(path)
    recipe = load_recipe(home.path("recipe.yaml"))
    base = os.getcwd()
    tasks = [
        task
        for number, source in enumerate(inputs)
        for task in list_tasks(number, source, base=base, task_bytes=1 << 62)
    ]
    _check_out(out, tasks)
    spec = resolve(run_encoder(home))
    encoder = load(spec, threads)
    identity = {
        "model": spec.name,
        "weights_sha256": spec.weights,
        "max_tokens": spec.max_tokens,
        "long_documents": spec.long_documents,
        "dimension": encoder.dimension,
    }
    file.require_encoder(path, identity)
    refused = f"{out}.rejected"
    with storage.open_atomic(out) as lines, storage.open_atomic(refused) as rejects:
        labels = _Labels(file, lines, rejects)
        labels.run(encoder, _texts(tasks, inputs, recipe, labels))
    if not labels.rejected:
        storage.remove(refused)
    return Labelled(
        documents=sum(labels.documents.values()),
        by_domain=dict(labels.documents.most_common()),
        rejected=dict(labels.rejected),
        rejected_path=refused if labels.rejected else None,
    )


class _Labels:
    """Writes the lines of documents, and of what is no document."""

    def __init__(self, file: ClassifierFile, lines: IO[bytes], rejects: IO[bytes]) -> None:
        self.documents: collections.Counter[str] = collections.Counter()
        self.rejected: collections.Counter[str] = collections.Counter()
        self._lines, self._rejects = lines, rejects
        self._names = dict(zip(file.domains.tolist(), file.names, strict=True))
        figures = (file.accuracy, file.macro_f1, file.n_train, file.n_held_out)
        self._classifier = Classifier(file.domains, file.weight, file.bias, *figures)

    def run(self, encoder: Encoder, documents: Iterator[_Documents]) -> None:
        """Embed and label all documents, in their order."""
        waiting: collections.deque[_Documents] = collections.deque()

        def texts() -> Iterator[list[str]]:
            for batch in documents:
                for start in range(0, len(batch.texts), encoder.window):
                    part = batch.slice(start, encoder.window)
                    waiting.append(part)
                    yield part.texts.to_pylist()

        for vectors in encoder.encode(texts(), EncodeStats()):
            found, probability = predict(self._classifier, vectors)
            self._write(waiting.popleft(), found.tolist(), np.round(probability, 6).tolist())

    def _write(self, batch: _Documents, found: list[int], probability: list[float]) -> None:
        rows = zip(batch.ids.to_pylist(), batch.positions.to_pylist(), found, strict=True)
        for (one, position, domain), sure in zip(rows, probability, strict=True):
            if domain < 0:
                self.reject(batch.path, position, "invalid_embedding", "no usable vector", one)
                continue
            name = self._names[domain]
            self.documents[name] += 1
            line = {"id": one, "domain": domain, "domain_name": name, "probability": sure}
            self._lines.write(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))

    def reject(
        self, path: str, position: int, reason: str, detail: str, one: str | None = None
    ) -> None:
        """List what has no domain."""
        self.rejected[reason] += 1
        line = {"id": one, "path": path, "position": position, "reason": reason, "detail": detail}
        self._rejects.write(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))


@dataclasses.dataclass(frozen=True)
class _Documents:
    """Documents of one batch that can be embedded."""

    path: str
    ids: pa.Array
    positions: pa.Array
    texts: pa.Array

    def slice(self, start: int, count: int) -> _Documents:
        columns = (self.ids, self.positions, self.texts)
        return _Documents(self.path, *(column.slice(start, count) for column in columns))


def _texts(
    tasks: Sequence[ReadTask], inputs: Sequence[InputParams], recipe: Recipe, labels: _Labels
) -> Iterator[_Documents]:
    """Documents of all files, and on the way what is none."""
    most = int(recipe.ingest.max_document_bytes)
    for task in tasks:
        source = inputs[task.input]
        extract = extractor(source.extractor or recipe.ingest.extractor)
        for raw in read(task, source, extract=extract):
            for rejection in raw.rejected:
                labels.reject(
                    task.shown_path, rejection.position, rejection.reason, rejection.detail
                )
            batch = _documents(raw, source, task.shown_path, repairs=recipe.ingest.repair)
            sizes = pc.binary_length(batch.texts).to_numpy(zero_copy_only=False)
            for row in np.flatnonzero((sizes == 0) | (sizes > most)).tolist():
                reason = "too_large" if sizes[row] else "empty"
                detail = f"{sizes[row]:,} bytes of text"
                one, place = batch.ids[row].as_py(), batch.positions[row].as_py()
                labels.reject(task.shown_path, place, reason, detail, one)
            keep = pa.array((sizes > 0) & (sizes <= most))
            columns = (batch.ids, batch.positions, batch.texts)
            yield _Documents(task.shown_path, *(column.filter(keep) for column in columns))


def _documents(raw: RawBatch, source: InputParams, path: str, *, repairs: bool) -> _Documents:
    """A batch with the ids and the texts that ingest would give."""
    positions = raw.documents.column("position")
    hashed = document_ids(source.source, path, positions.to_numpy(zero_copy_only=False))
    texts = pc.utf8_trim_whitespace(raw.documents.column("text"))
    if repairs:
        texts = pc.utf8_trim_whitespace(repair(texts).text)
    ids = pc.coalesce(raw.documents.column("own_id"), hashed)
    return _Documents(path, ids, positions, texts)


def _check_out(out: str, tasks: Sequence[ReadTask]) -> None:
    """Fail before any work.

    Raises:
        OutputError: the output is an input, or its folder cannot be written.
    """
    if storage.is_local(out):
        storage.require_writable(os.path.dirname(out) or ".")
    for task in tasks:
        same = task.path == out
        with contextlib.suppress(OSError):
            same = same or os.path.samefile(task.path, out)
        if same:
            raise OutputError(f"{out} is one of the inputs; choose another file for --out")
