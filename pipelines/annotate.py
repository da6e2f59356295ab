"""Labels of quality: a language model judges a sample of a workdir's documents by a rubric.

The sample is uniform over the documents, as in SampleMix (arXiv 2503.01506, section 2.2.2). What
comes out is what ``mixcurate train-quality`` learns from.
"""

from __future__ import annotations

import collections
import dataclasses
import os
import shlex
import tempfile
import threading
from collections.abc import Iterable
from typing import Any

import numpy as np
import orjson

from mixcurate.errors import AccountingError, JobError, OutputError, RequestError
from mixcurate.io import labels_file, storage
from mixcurate.io.answers import AnswerFiles
from mixcurate.io.workdir import Heartbeat, Workdir
from mixcurate.models.chat import ChatClient
from mixcurate.params import AnnotatorParams
from mixcurate.transforms.annotate import Prompts, choose
from pipelines.job import Job
from pipelines.judging import ATTEMPTS, Judged, Judging

#: Keys of a line of labels that no dimension can have, for they are read as something else.
_OTHER_KEYS = labels_file.KNOWN | {"model"}
#: Bytes of text of a token, as a rule.
_BYTES_PER_TOKEN = 4

_MISSING = """\
the recipe has no score.annotator: which model is to judge the documents? For example:
score:
  annotator: {endpoint: "http://localhost:8000/v1", model: NAME, documents: 2000}"""


@dataclasses.dataclass(frozen=True)
class Annotated:
    """What ``annotate`` did: documents = labelled + rejected + left."""

    documents: int
    """In the sample."""
    dimensions: list[str]
    """Each with its least and most points, as ``train-quality --dimension`` takes them."""
    workdir: str
    """Of the run that has the documents."""
    labelled: int
    """That have points now."""
    rejected: dict[str, int]
    """Documents without a usable answer, by reason."""
    rejected_path: str | None
    """Where these are listed, if there are any."""
    left: int
    """Documents that the budget did not suffice for."""
    mean_points: dict[str, float]
    """Of each dimension."""
    distribution: dict[str, list[int]]
    """Documents with 0, 1, 2, ... points in each dimension, and in ``total``."""
    requests: int = 0
    """Sent in this run, repeated ones included."""
    tokens: int = 0
    """Of prompts and answers of this run's requests."""
    from_cache: int = 0
    """Answers that were there already."""


def annotate(job: Job, out: str) -> Annotated:
    """Ask for the points of a sample of the documents, and write them as JSON lines.

    The sample are the documents with the smallest hashes of seed and id, whatever parts they are
    in. One that gets no usable answer is listed in ``OUT.rejected`` with the reason. Answers are
    kept in the workdir as they come, so that another run asks only for what is missing.

    Args:
        job: a run whose ingest has finished, with ``score.annotator`` in its recipe.
        out: the file to write, in the order of the hashes; an older one is replaced.

    Raises:
        RequestError: no annotator, no documents, or key, model or address are wrong.
        OutputError: ``out`` cannot be written.
        JobError: the endpoint is down, or no document got a label; ``out`` stays as it is.
    """
    params = job.recipe.score.annotator
    if params is None:
        raise RequestError(_MISSING)
    _check(out, params)
    success = job.require("ingest")
    if not success.documents_out:
        raise RequestError(f"{job.workdir.root} has no documents that could be judged")
    parts = sorted(success.rows)
    sample = choose(job.workdir, parts, job.recipe.seed, params.documents)
    with tempfile.TemporaryFile(prefix="mixcurate-") as stream:
        prompts = Prompts(stream, sample, params)
        prompts.fill(job.workdir, parts)
        _say_estimate(job, prompts, params, success.documents_out)
        progress = _Progress(job.workdir)
        with (
            ChatClient(params, progress) as client,
            job.reporter.watch(
                job.workdir, "annotate", stage="annotate", done=0, tasks=1, documents=len(sample)
            ),
        ):
            try:
                judged = Judging(client, prompts, params).run()
            finally:
                progress.stop()
    _write(out, sample.column("id").to_pylist(), judged, params)
    usage = client.usage
    return dataclasses.replace(
        _summary(out, judged, params, job.workdir.root),
        requests=usage.requests,
        tokens=usage.tokens,
        from_cache=usage.from_cache,
    )


def render(done: Annotated, out: str) -> str:
    """What there is to say of it, for people."""
    width = max(map(len, done.distribution))
    lines = [f"{'points':<{width}}    mean  documents with 0, 1, 2, ... points"]
    for name, counts in done.distribution.items():
        shown = " ".join(f"{count:,}" for count in counts)
        lines.append(f"{name:<{width}}  {done.mean_points[name]:6.2f}  {shown}")
    lines += [
        f"{done.labelled:,} documents in {out}",
        f"{done.requests:,} requests, {done.tokens:,} tokens; {done.from_cache:,} answers were "
        f"there already",
    ]
    if done.rejected_path:
        count = sum(done.rejected.values())
        lines.append(f"{count:,} documents without a usable answer: {done.rejected_path}")
    if done.left:
        lines.append(
            f"{done.left:,} documents are left: the budget of the recipe is spent "
            f"(score.annotator.max_requests, max_tokens). Run again to go on; what is answered "
            f"is not paid for again"
        )
    ranges = [part for dimension in done.dimensions for part in ("--dimension", dimension)]
    train = ["train-quality", out, "--workdir", done.workdir, "--out", "heads.safetensors"]
    return "\n".join([*lines, f"To learn from them: {shlex.join(['mixcurate', *train, *ranges])}"])


def _check(out: str, params: AnnotatorParams) -> None:
    """Fail before anything is paid for."""
    taken = sorted(_OTHER_KEYS & params.rubric.keys())
    if taken:
        raise RequestError(
            f"score.annotator.rubric has a dimension {taken[0]!r}, which in a file of labels is "
            f"something else; give it another name"
        )
    if storage.is_local(out):
        if os.path.isdir(out):
            raise OutputError(f"{out} is a folder; name the file to write")
        storage.require_writable(os.path.dirname(out) or ".")


def _say_estimate(job: Job, prompts: Prompts, params: AnnotatorParams, documents: int) -> None:
    count, most = len(prompts), prompts.most_tokens
    likely = most // _BYTES_PER_TOKEN
    job.reporter.say(
        f"annotate: {params.model} is shown {count:,} of {documents:,} documents: {count:,} "
        f"requests and about {likely:,} tokens; at most {ATTEMPTS * count:,} requests and "
        f"{ATTEMPTS * most:,} tokens if no answer is of use, and more only where requests fail. "
        f"Answers that are there already cost nothing. It stops at {params.max_requests:,} "
        f"requests or {params.max_tokens:,} tokens"
    )
    if count > params.max_requests or likely > params.max_tokens:
        job.reporter.say(
            "annotate: warning: that will likely end it before all documents are judged; raise "
            "score.annotator.max_requests or max_tokens, or run again"
        )


class _Progress:
    """The answers' files; tells on the way how many there are, answer by answer."""

    def __init__(self, workdir: Workdir) -> None:
        self._files = AnswerFiles(workdir.path("_stages", "annotate", "answers"))
        self._heartbeat = Heartbeat(workdir, "annotate", "annotate")
        self._lock = threading.Lock()

    def get(self, key: str) -> bytes | None:
        data = self._files.get(key)
        if data is not None:
            self._beat()
        return data

    def put(self, key: str, data: bytes) -> None:
        self._files.put(key, data)
        self._beat()

    def _beat(self) -> None:
        with self._lock:
            self._heartbeat.beat(1, 0)

    def stop(self) -> None:
        with self._lock:
            self._heartbeat.stop()


def _write(out: str, ids: list[str], judged: Judged, params: AnnotatorParams) -> None:
    """Write the labels, and the list of what has none."""
    refused = f"{out}.rejected"
    if judged.rejected:
        why = sorted(judged.rejected.items())
        _write_lines(refused, [{"id": ids[p]} | dataclasses.asdict(reason) for p, reason in why])
    else:
        storage.remove(refused)
    if not judged.labelled:
        raise JobError(_nothing(judged, refused, params))
    accounted = judged.labelled + len(judged.rejected) + judged.left
    if accounted != len(ids):
        raise AccountingError(f"annotate: {len(ids):,} documents asked, {accounted:,} accounted")
    rows = []
    for place in np.flatnonzero(judged.points[:, 0] >= 0).tolist():
        points = judged.points[place].tolist()
        line = {"id": ids[place]} | dict(zip(params.rubric, points, strict=True))
        rows.append(line | {"total": sum(points), "model": params.model})
    _write_lines(out, rows)


def _summary(out: str, judged: Judged, params: AnnotatorParams, root: str) -> Annotated:
    """What was done, but for what it took."""
    points = judged.points[judged.points[:, 0] >= 0].astype(np.int64)
    columns = dict(zip(params.rubric, points.T, strict=True)) | {"total": points.sum(axis=1)}
    most = [dimension.most for dimension in params.rubric.values()]
    counted = zip(columns.items(), [*most, sum(most)], strict=True)
    return Annotated(
        documents=len(judged.points),
        dimensions=[f"{name}=0:{asked.most}" for name, asked in params.rubric.items()],
        workdir=root,
        labelled=judged.labelled,
        rejected=dict(collections.Counter(why.reason for why in judged.rejected.values())),
        rejected_path=f"{out}.rejected" if judged.rejected else None,
        left=judged.left,
        mean_points={name: round(float(column.mean()), 4) for name, column in columns.items()},
        distribution={
            name: np.bincount(column, minlength=top + 1).tolist() for (name, column), top in counted
        },
    )


def _write_lines(path: str, rows: Iterable[dict[str, Any]]) -> None:
    with storage.open_atomic(path) as lines:
        for row in rows:
            lines.write(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE))


def _nothing(judged: Judged, refused: str, params: AnnotatorParams) -> str:
    """Why no document has a label."""
    if not judged.rejected:
        return (
            f"no document is judged: the budget does not suffice for one. Raise "
            f"score.annotator.max_tokens, now {params.max_tokens:,}, or max_requests"
        )
    first = judged.rejected[min(judged.rejected)]
    said = f" It said: {first.excerpt[:80]!r}." if first.excerpt else ""
    if "(length)" in first.detail or "thinks" in first.detail:
        said += " A model that thinks before it answers takes too long here; switch that off."
    return (
        f"{params.model} gave none of the first {len(judged.rejected):,} documents a usable "
        f"answer; of the first, {first.detail}.{said} All of them are listed in {refused}"
    )
