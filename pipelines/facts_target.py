"""Texts that the corpus shall be like, for the strategy ``target``: read, and made into vectors."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from mixcurate.errors import InputError
from mixcurate.io import partfiles, storage
from mixcurate.io.encoder_match import require_same_encoder
from mixcurate.io.readers import InputParams, ReadTask, list_tasks, read
from mixcurate.kernels.hashing import fingerprint
from mixcurate.kernels.nearest import assign, normalise, usable
from mixcurate.kernels.repair import repair
from mixcurate.kernels.strategies.facts import Facts
from mixcurate.models.encoders import EncodeStats
from mixcurate.models.extract import extractor
from mixcurate.models.resolve import load, resolve
from mixcurate.transforms.cells import CellsOf
from pipelines.job import Job
from pipelines.labelled_vectors import run_encoder

VERSION = "1"

#: More texts are no small set: they cost the time of a run, and say no more about where it is.
MAX_TEXTS = 100_000

Float32Array = npt.NDArray[np.float32]


def gather(job: Job, facts: Facts, _cells: CellsOf) -> Facts:
    """Add the texts' vectors, and how many are nearest to each unit that has documents.

    Args:
        job: whose stage embed has run, with ``mixture.target``.
        facts: of the units, with centroids.

    Raises:
        InputError: as ``target_vectors``.
    """
    assert facts.centroids is not None
    vectors = target_vectors(job)
    counted = np.zeros(len(facts.names))
    have = np.flatnonzero(facts.tokens > 0)
    if len(have):
        near = have[assign(vectors, facts.centroids[have]).cluster]
        counted = np.bincount(near, minlength=len(facts.names)).astype(np.float64)
    return dataclasses.replace(facts, target_vectors=vectors, target_documents=counted)


def target_vectors(job: Job) -> Float32Array:
    """Unit vectors of the texts of ``mixture.target``, by the run's encoder, or kept of before.

    Returns:
        float32 ``[m, d]``, m >= 1.

    Raises:
        InputError: no file, one that cannot be read, no text, too many, or an encoder that is not
            the one that made the run's vectors.
        RequestError: the run has no vectors.
    """
    target, embedded = job.recipe.mixture.target, job.require("embed")
    assert target.path is not None
    # no field is taken out of the row as a URL or a licence: it may be the text
    source = InputParams(
        path=target.path, text_field=target.text_field, url_field="", licence_field=""
    )
    tasks = list_tasks(0, source, base=job.base, task_bytes=1 << 62)
    ingest = job.recipe.ingest
    mark = fingerprint(
        "target", VERSION, target.text_field, str(ingest.repair), ingest.extractor,
        str(int(ingest.max_document_bytes)), repr(sorted(embedded.details["encoder"].items())),
        *(storage.etag(task.path) for task in tasks),
    )  # fmt: skip
    path = job.workdir.path("_stages", "target", "vectors.npy")
    note = job.workdir.path("_stages", "target", "note.json")
    if storage.exists(note) and storage.exists(path):
        if storage.read_json(note)["mark"] == mark:
            kept: Float32Array = partfiles.read_array(path)
            return kept
        storage.remove(note)
    texts, skipped = _read(job, tasks, source)
    vectors = normalise(_embedded(job, texts, embedded.details["encoder"]))
    good = usable(vectors)
    if not good.any():
        raise InputError(f"mixture.target: no text of {target.path} has a usable vector")
    if bad := int((~good).sum()):
        skipped["no usable vector"] += bad
    left = "".join(f", {count:,} left out: {reason}" for reason, count in sorted(skipped.items()))
    job.reporter.say(f"plan: {int(good.sum()):,} target texts of {target.path}{left}")
    partfiles.write_array(path, vectors[good])
    storage.write_json(note, {"mark": mark, "texts": int(good.sum()), "left_out": dict(skipped)})
    found: Float32Array = vectors[good]
    return found


def _read(
    job: Job, tasks: list[ReadTask], source: InputParams
) -> tuple[list[str], collections.Counter[str]]:
    """All texts, as ingest would read them, and records without one by reason."""
    ingest, path = job.recipe.ingest, source.path
    most = int(ingest.max_document_bytes)
    texts: list[str] = []
    skipped: collections.Counter[str] = collections.Counter()
    first = ""
    extract = extractor(ingest.extractor)
    for task in tasks:
        for batch in read(task, source, extract=extract):
            for rejection in batch.rejected:
                first = first or f"{task.shown_path}: {rejection.reason}: {rejection.detail}"
                skipped[rejection.reason] += 1
            found = _repaired(batch.documents.column("text"), repairs=ingest.repair)
            sizes = pc.binary_length(found).to_numpy(zero_copy_only=False)
            skipped["empty"] += int((sizes == 0).sum())
            skipped["too_large"] += int((sizes > most).sum())
            texts += found.filter(pa.array((sizes > 0) & (sizes <= most))).to_pylist()
            if len(texts) > MAX_TEXTS:
                raise InputError(
                    f"mixture.target.path: {path} holds more than {MAX_TEXTS:,} texts; take a "
                    "sample of them: some hundred are enough to say what a corpus shall be like"
                )
    if not texts:
        why = f" ({first})" if first else ""
        raise InputError(
            f"mixture.target.path: {path} holds no text in field {source.text_field!r}{why}; set "
            "mixture.target.text_field"
        )
    return texts, +skipped


def _repaired(texts: pa.Array, *, repairs: bool) -> pa.Array:
    trimmed = pc.utf8_trim_whitespace(texts)
    return pc.utf8_trim_whitespace(repair(trimmed).text) if repairs else trimmed


def _embedded(job: Job, texts: list[str], theirs: dict[str, Any]) -> Float32Array:
    """Vectors by the encoder that made those of the run."""
    spec = resolve(run_encoder(job.workdir))
    ours = {
        "model": spec.name,
        "weights_sha256": spec.weights,
        "max_tokens": spec.max_tokens,
        "long_documents": spec.long_documents,
        "dimension": theirs["dimension"],  # which the weights tell
    }
    require_same_encoder(job.workdir.root, theirs, ours, "run again: mixcurate embed RECIPE")
    encoder = load(spec, job.threads(float(len(texts))))

    def windows() -> Iterator[list[str]]:
        for start in range(0, len(texts), encoder.window):
            yield texts[start : start + encoder.window]

    return np.concatenate(list(encoder.encode(windows(), EncodeStats()))).astype(np.float32)
