"""What the embed stage will take: tokens, hours and cost, before it runs.

Tokens come from a sample of documents, the rate from a short probe on this machine or from a table
of devices. Nothing is written to the workdir.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mixcurate.errors import RequestError
from mixcurate.io import partfiles
from mixcurate.io.workdir import Part
from mixcurate.kernels import estimate as kernel
from mixcurate.kernels.estimate import Interval
from mixcurate.kernels.hashing import uniform_keys
from mixcurate.models.encoder import Encoder
from mixcurate.models.encoders import EncoderSpec, EncodeStats
from mixcurate.models.resolve import resolve as resolve_encoder
from mixcurate.transforms.embed import EMBED, reuse_identity, shared_encoder
from pipelines.embed import embed_tasks, encoder_spec, resolved_params
from pipelines.job import Job
from pipelines.rates import TableRow, read_row

#: Documents and parts that are looked at; parts, so that most text is never read.
_SAMPLE_DOCUMENTS = 1_024
_SAMPLE_PARTS = 32

#: Documents per thread in a chunk of the probe on a CPU: both sides of a chunk's end stay busy, and
#: ten seconds hold enough chunks to tell how sure the rate is.
_CHUNK_DOCUMENTS = 16

#: Chunks that a rate is told from at least; one before them warms up.
_CHUNKS = 2


@dataclasses.dataclass(frozen=True)
class Asked:
    """What the command line asks for.

    Attributes:
        rates: file of devices and their speeds; None to probe this machine.
        device: name of a device in it.
        price_per_hour: of one machine; goes before the file's.
        probe_seconds: how long to probe.
    """

    rates: str | None = None
    device: str | None = None
    price_per_hour: float | None = None
    probe_seconds: float = 10.0

    def check(self) -> None:
        """Find contradictions before work begins.

        Raises:
            RequestError: what is wrong, and the fix.
        """
        for option in ("price_per_hour", "probe_seconds"):
            number = getattr(self, option)
            if number is not None and not 0 < number < math.inf:
                name = option.replace("_", "-")
                raise RequestError(f"--{name} must be a positive number, got {number}")
        if self.device is not None and self.rates is None:
            raise RequestError(
                "--device names a row of a table; give the table: --rates configs/rates.yaml"
            )


def estimate_embed(job: Job, asked: Asked) -> dict[str, Any]:
    """Predict tokens, hours and cost of what the embed stage has still to do.

    Returns:
        What ``--json`` prints; intervals as value, low and high, 95 % unless a table's rate is in.

    Raises:
        RequestError: ingest has not run, or the request cannot be met.
    """
    asked.check()
    ingested = job.require("ingest")
    row = read_row(asked.rates, asked.device) if asked.rates else None
    spec = _spec(job, row)
    speed = row.speed(spec) if row else None
    left = _parts_left(job, spec)
    documents = sum(part.documents for part in left)
    _say_what_counts(job, ingested.documents_out, documents)
    found = _what(spec, ingested.documents_out, left)
    if not documents:
        nothing = Interval(0.0, 0.0, 0.0)
        found |= {"documents_sampled": 0, "tokens": nothing._asdict(), "rate": None}
        return found | _priced(job, nothing, asked, row)
    encoder = _encoder_here(job, spec, row)
    texts, samples, lengths = _sample(job, encoder, left)
    tokens = kernel.total_tokens(samples, parts=len(left), documents=documents)
    found |= {"documents_sampled": len(texts), "tokens": tokens._asdict()}
    if speed:
        rate, source = speed.rate(lengths), speed.name
        job.reporter.say(f"rate: {speed.tflops.source} ({speed.tflops.date})")
    else:
        rate, source = _probe(job, encoder, texts, asked.probe_seconds), _probed(encoder, spec)
    found |= {"rate": rate._asdict(), "rate_source": source}
    found |= {"measured": speed.tflops.measured if speed else True}
    return found | _priced(job, tokens.over(rate.times(3600)), asked, row)


def _what(spec: EncoderSpec, documents: int, left: list[Part]) -> dict[str, Any]:
    """What is predicted: the first keys of the result."""
    return {
        "stage": EMBED,
        "model": spec.name,
        "runs": spec.description,
        "documents": documents,
        "documents_left": sum(part.documents for part in left),
        "parts_left": len(left),
    }


def _spec(job: Job, row: TableRow | None) -> EncoderSpec:
    """The model as it will run: on the device of the table if one is asked for."""
    if row is None:
        return encoder_spec(job)
    return resolve_encoder(resolved_params(job), elsewhere=row.device.kind)


def _encoder_here(job: Job, spec: EncoderSpec, row: TableRow | None) -> Encoder:
    """The model on this machine, which the stage may run elsewhere: it tokenises alike."""
    params = resolved_params(job)
    if row is not None:
        here = {"device": "auto", "backend": "auto", "precision": "auto"}
        spec = resolve_encoder(params.model_copy(update=here))
    elif not job.runner.is_local:
        spec = resolve_encoder(params)
        job.reporter.say(
            f"the probe runs here, the stage on {job.runner.runner}: the rate is that of this "
            f"machine; --rates with --device gives that of another"
        )
    if row is None:
        job.reporter.say(f"embed: {spec.description}" + f" ({spec.reason})" * bool(spec.reason))
    return shared_encoder(spec, job.runner.workers)


def _parts_left(job: Job, spec: EncoderSpec) -> list[Part]:
    """Parts that the stage has not embedded yet with this model."""
    ingested = job.require("ingest")
    committed = job.workdir.committed(EMBED)
    tasks = embed_tasks(ingested, reuse_identity(spec, job.recipe.embed.store))
    left = []
    for part, task in zip(ingested.parts, tasks, strict=True):
        result = committed.get(task.name)
        done = result is not None and result.fingerprint == task.fingerprint
        if part.documents and not (done and result and job.workdir.is_whole(result)):
            left.append(part)
    return left


def _say_what_counts(job: Job, documents: int, left: int) -> None:
    if left < documents:
        job.reporter.say(
            f"{documents - left:,} of {documents:,} documents are embedded already with this "
            f"model; {left:,} are left"
        )
    if job.recipe.embed.reuse and left:
        job.reporter.say(
            "which of them are in the workdirs of embed.reuse is only found by the stage itself: "
            "all are counted, so that this is the most it can take"
        )


def _sample(
    job: Job, encoder: Encoder, left: list[Part]
) -> tuple[list[str], list[kernel.PartSample], npt.NDArray[np.int64]]:
    """Documents by the hash of their id, in parts by the hash of their name.

    Returns:
        Their texts in an order of chance, tokens of each per part, and lengths of all sequences.
    """
    names = pa.array([part.name for part in left], pa.string())
    picked = np.argsort(uniform_keys(names, job.recipe.seed, "estimate parts"))[:_SAMPLE_PARTS]
    parts = [left[i] for i in picked.tolist()]
    texts: list[str] = []
    samples: list[kernel.PartSample] = []
    lengths: list[npt.NDArray[np.int64]] = []
    counts = kernel.allocate([part.documents for part in parts], _SAMPLE_DOCUMENTS)
    for part, count in zip(parts, counts, strict=True):
        found = _read_texts(job, part.name, count)
        read = encoder.tokenize(found)
        tokens = np.zeros(read.documents, np.int64)
        np.add.at(tokens, read.owners, read.lengths)
        texts += found
        samples.append(kernel.PartSample(part.documents, tokens))
        lengths.append(read.lengths)
    order = np.random.default_rng(job.recipe.seed).permutation(len(texts)).tolist()
    return [texts[i] for i in order], samples, np.concatenate(lengths)


def _read_texts(job: Job, part: str, count: int) -> list[str]:
    """Texts of the ``count`` documents of a part that have the smallest hashes."""
    path = job.workdir.part("ingest", part)
    ids = partfiles.read_table(path, ["id"]).column("id").combine_chunks()
    keys = uniform_keys(ids, job.recipe.seed, "estimate documents")
    rows = np.sort(np.argsort(keys, kind="stable")[:count])
    texts: list[str] = []
    start = 0
    for batch in partfiles.iter_batches(path, ["text"]):
        here = rows[(rows >= start) & (rows < start + batch.num_rows)] - start
        texts += batch.column("text").take(pa.array(here)).to_pylist()
        start += batch.num_rows
        if len(texts) == count:
            break
    return texts


def _probe(job: Job, encoder: Encoder, texts: list[str], seconds: float) -> Interval:
    """Tokens a second of this machine, as the stage works: tokenising while the model computes.

    Chunks are timed from one result to the next. The first, which warms up, is not counted, nor is
    what is under way at the end: just so much was under way at the beginning.
    """
    size = encoder.window
    if encoder.spec.device == "cpu" and encoder.spec.backend != "static":
        size = min(size, _CHUNK_DOCUMENTS * job.runner.workers)
    job.reporter.say(f"probing for {seconds:g} s with {size:,} documents at a time")
    stats = EncodeStats()
    ends: list[float] = []
    tokens: list[int] = []
    started = time.perf_counter()
    for _ in encoder.encode(_chunks(texts, size), stats):
        ends.append(time.perf_counter())
        tokens.append(stats.tokens)
        if len(ends) > _CHUNKS and ends[-1] - started >= seconds:
            break
    return kernel.probed_rate(np.diff(tokens).tolist(), np.diff(ends).tolist())


def _probed(encoder: Encoder, spec: EncoderSpec) -> str:
    """What was probed, and how it ran if the stage will run it otherwise."""
    here = encoder.spec
    how = f": {here.backend} {here.precision} on {here.device}"
    return "probe on this machine" + how * (here.identity != spec.identity)


def _chunks(texts: list[str], size: int) -> Iterator[list[str]]:
    """The texts over and over, in chunks."""
    endless = itertools.cycle(texts)
    while True:
        yield list(itertools.islice(endless, size))


def _priced(job: Job, hours: Interval, asked: Asked, row: TableRow | None) -> dict[str, Any]:
    """Hours of one machine, and what they cost if a price is known."""
    price, currency = asked.price_per_hour, None
    if price is None and row and row.device.price:
        price, currency = row.device.price.per_hour, row.device.price.currency
        job.reporter.say(f"price: {row.device.price.source} ({row.device.price.date})")
    return {
        "hours": hours._asdict(),
        "price_per_hour": price,
        "currency": currency,
        "cost": hours.times(price)._asdict() if price is not None else None,
    }
