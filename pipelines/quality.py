"""The quality step: every dimension of every document, for cluster's pruning and for score."""

from __future__ import annotations

import collections

from mixcurate.errors import RequestError, nearest
from mixcurate.io import storage
from mixcurate.io.head_file import HeadFile, read_head_file
from mixcurate.kernels import quality
from mixcurate.kernels.hashing import fingerprint
from mixcurate.kernels.head_signals import check_signals
from mixcurate.kernels.quality import Dimension
from mixcurate.kernels.scoring import QualityParams
from mixcurate.transforms.quality import QUALITY, JudgeQuality, QualityPart
from mixcurate.transforms.quality_columns import write_dimensions
from mixcurate.transforms.tasks import Task, split
from pipelines import classify
from pipelines.job import Job, resolve, say_resumed

VERSION = "1"

#: Documents that one core judges in a second, reading included; only decides about processes.
_DOCUMENTS_PER_SECOND = 200_000


def check(job: Job) -> None:
    """Find what is wrong with the dimensions that are asked for, before any stage runs.

    Raises:
        RequestError: a classifier cannot be used, a dimension has two origins, a weight none.
        InputError: a file is no head.
    """
    classify.check(job)
    dimensions_of(job)


def run_quality(job: Job) -> str:
    """Judge all documents, unless that is done; a fingerprint of what was judged and how.

    Raises:
        InputError: a head is for another encoder, or a document lacks a dimension.
        RequestError: as of ``check``.
    """
    ingested, embedded = job.require("ingest"), job.require("embed")
    params = job.recipe.score.quality
    dimensions = dimensions_of(job)
    heads = _heads(job)
    for path, head in heads.items():
        head.require_encoder(path, embedded.details["encoder"])
    classified = classify.run_classifiers(job)
    mark = fingerprint(
        QUALITY, VERSION, repr(dimensions), params.missing,
        *(storage.digest(path) for path in heads),
        *(f"{name} {classified[name]}" for name in sorted(classified)),
    )  # fmt: skip
    tasks = [
        Task(document.name, fingerprint(mark, document.digest, vector.digest if heads else ""))
        for document, vector in zip(ingested.parts, embedded.parts, strict=True)
    ]
    work = split(job.workdir, QUALITY, tasks)
    write_dimensions(job.workdir, dimensions)
    if work.todo:
        say_resumed(job, QUALITY, len(work.done), len(tasks))
        stage = JudgeQuality(
            QualityPart(job.workdir, tuple(dimensions), tuple(heads), params.missing), work.todo
        )
        seconds = ingested.documents_out / _DOCUMENTS_PER_SECOND
        job.run_pipeline(QUALITY, stage.build, work_seconds=seconds)
    return fingerprint(mark, *(task.fingerprint for task in tasks))


def dimensions_of(job: Job) -> list[Dimension]:
    """The quality dimensions that a recipe asks for, in the order of their columns.

    Raises:
        RequestError: two have one name, a weight is of none, or none counts.
        InputError: a file is no head.
    """
    params = job.recipe.score.quality
    found = list(quality.HEURISTICS) if params.heuristics else []
    for path, file in _heads(job).items():
        found += [
            Dimension(name, least, most, most - least, "head", path)
            for name, least, most in file.dimensions
        ]
    ranges = classify.classifier_ranges(job)
    for classifier in params.classifiers:
        least, most = ranges[classifier.name]
        found.append(Dimension(classifier.name, least, most, 1.0, "classifier", classifier.model))
    for name, (least, most) in params.carried.items():
        if not least < most:
            raise RequestError(
                f"score.quality.carried.{name}: [{least:g}, {most:g}] must go from a lower to a "
                f"higher number"
            )
        found.append(Dimension(name, least, most, 1.0, "carried", "a field of the inputs"))
    _check_names(found, params)
    return [
        Dimension(**(vars(dimension) | {"weight": params.weights[dimension.name]}))
        if dimension.name in params.weights
        else dimension
        for dimension in found
    ]


def _check_names(found: list[Dimension], params: QualityParams) -> None:
    names = [dimension.name for dimension in found]
    for name, count in collections.Counter(names).items():
        if count > 1:
            origins = " and ".join(
                f"{d.origin} {d.source}".strip() for d in found if d.name == name
            )
            raise RequestError(f"two quality dimensions are named {name!r}: {origins}; rename one")
    for name in params.weights:
        if name not in names:
            raise RequestError(
                f"score.quality.weights: there is no dimension {name!r}; {nearest(name, names)}"
            )
    if not any(params.weights.get(d.name, d.weight) > 0 for d in found):
        raise RequestError(
            "score.quality: no dimension counts; switch heuristics on, or give heads, classifiers "
            "or carried numbers a weight above 0"
        )


def _heads(job: Job) -> dict[str, HeadFile]:
    """The heads that are asked for, by their path."""
    paths = [resolve(job.base, name) for name in job.recipe.score.quality.heads]
    files = {path: read_head_file(path) for path in paths}
    for path, file in files.items():
        check_signals(file.signals, path)
    return files
