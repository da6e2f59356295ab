"""The materialize stage: the drawn documents to the corpus."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Any

from mixcurate.errors import CorpusError, OutputError
from mixcurate.io import corpus as corpus_io
from mixcurate.io import partfiles, storage
from mixcurate.io.manifest import build_manifest, share_errors
from mixcurate.io.shard_formats.base import TokenOptions
from mixcurate.io.shard_formats.token_rows import facts
from mixcurate.io.workdir import Success, TaskResult
from mixcurate.kernels.hashing import fingerprint
from mixcurate.kernels.shards import ShardRange
from mixcurate.kernels.spdx import licence_table
from mixcurate.transforms.exchange import EXCHANGE, ExchangeParts, groups
from mixcurate.transforms.materialize import Materialize
from mixcurate.transforms.select import SELECT
from mixcurate.transforms.tasks import Task, split, summarise
from mixcurate.transforms.tokens import token_options
from mixcurate.transforms.write_shard import MATERIALIZE, WriteShard
from pipelines.job import Job, finish, recipe_fingerprint, resolve, say_resumed, up_to_date

VERSION = "3"

#: Formats that hold tokens, not texts.
TOKEN_FORMATS = {"megatron", "nanotron", "litdata_tokens"}

#: Bytes of text that one core moves in a second; only decides about processes.
_BYTES_PER_SECOND = 6e7


def run(job: Job) -> Success:
    """Materialize, or say that it is up to date."""
    started = time.perf_counter()
    planned = job.require("plan")
    check_output(job)
    plan = storage.read_json(job.workdir.path("plan.json"))
    mark = fingerprint(
        MATERIALIZE,
        VERSION,
        planned.fingerprint,
        job.recipe.output.model_dump_json(),
        _token_digest(job),
        job.corpus,
        *(part.digest for part in planned.parts),
    )
    manifest_path = storage.join(job.corpus, corpus_io.MANIFEST)
    if success := up_to_date(job, MATERIALIZE, mark, [manifest_path]):
        return success
    corpus_io.claim(job.corpus, job.recipe.name)
    _run_pipeline(job, planned, plan, mark)
    results = list(job.workdir.committed(MATERIALIZE).values())
    manifest = _manifest(job, plan, results)
    corpus_io.finish_corpus(job.corpus, manifest)
    summary = summarise(mark, results, parts=[], details={"corpus": job.corpus})
    success = finish(job, MATERIALIZE, summary, started)
    storage.remove(job.workdir.path("_stages", EXCHANGE))
    off = share_errors(manifest)
    if off:
        raise CorpusError("the corpus is off its plan:\n" + "\n".join(off))
    return success


def _manifest(job: Job, plan: dict[str, Any], results: list[TaskResult]) -> dict[str, Any]:
    """The manifest of the shards that are committed."""
    results = sorted(results, key=lambda result: int(result.details["part"]))
    manifest = build_manifest(
        name=job.recipe.name,
        recipe_fingerprint=recipe_fingerprint(job.recipe),
        tokenizer=job.recipe.ingest.tokenizer,
        encoder=job.require("embed").details["encoder"],
        inputs=job.require("ingest").details["inputs"],
        plan=plan,
        shards=[result.details for result in results],
        asked={
            "mixture": job.recipe.mixture.model_dump(mode="json"),
            "token_files": _token_files(job),
        },
    )
    known = licence_table([entry["name"] for entry in manifest["licences"]])
    for entry, about in zip(manifest["licences"], known, strict=True):
        entry.update(about)
    return manifest


def check_output(job: Job) -> None:
    """Refuse a corpus folder that holds something else, before any work.

    Raises:
        OutputError: the folder has files, and they are not this recipe's corpus.
    """
    owner = corpus_io.owner(job.corpus)
    if owner is None and storage.list_names(job.corpus):
        found = ", ".join(storage.list_names(job.corpus)[:3])
        raise OutputError(
            f"output folder {job.corpus} already holds something else ({found}, …); choose another "
            f"output.path or empty it"
        )
    if owner is not None and owner != job.recipe.name:
        raise OutputError(
            f"output folder {job.corpus} holds the corpus {owner!r}, not {job.recipe.name!r}; "
            f"choose another output.path or remove it"
        )
    storage.require_writable(job.corpus)
    if options := _tokens(job):
        options()  # a tokenizer that is wrong is no news for after all other stages


def _tokenizer(job: Job, name: str) -> str:
    return name if name == "embedded" else resolve(job.base, name)


def _tokens(job: Job) -> Callable[[], TokenOptions] | None:
    """Makes what formats of tokens need, on a worker; None if there are none of these."""
    output, ingest = job.recipe.output, job.recipe.ingest
    if not TOKEN_FORMATS & set(output.formats):
        return None
    params = output.tokens
    name = params.tokenizer or ingest.tokenizer  # as the recipe has it: no folder of this machine
    if params.tokenizer is not None:
        path = _tokenizer(job, params.tokenizer)
        params = params.model_copy(update={"tokenizer": path})
    return functools.partial(token_options, params, _tokenizer(job, ingest.tokenizer), 1, name)


def _token_digest(job: Job) -> str:
    """Names the content of the tokenizer for formats of tokens."""
    name = job.recipe.output.tokens.tokenizer
    if not _tokens(job) or name in {None, "embedded"}:
        return ""
    return storage.digest(_tokenizer(job, str(name)))


def _token_files(job: Job) -> dict[str, Any] | None:
    """What the manifest says of these formats; the tokenizer as the recipe names it."""
    if not (options := _tokens(job)):
        return None
    name = job.recipe.output.tokens.tokenizer or job.recipe.ingest.tokenizer
    return facts(options()) | {"tokenizer": name}


def shard_ranges(plan: dict[str, Any]) -> tuple[ShardRange, ...]:
    """The runs of shards of a plan; a range without documents has no shards."""
    return tuple(
        ShardRange(one["split"], one["phase"], min(one["shards"], one["documents"]))
        for one in plan["ranges"]
    )


def _run_pipeline(job: Job, planned: Success, plan: dict[str, Any], mark: str) -> None:
    names = [part.name for part in planned.parts]
    ranges = shard_ranges(plan)
    n_shards = sum(one.shards for one in ranges)
    exchanged = split(job.workdir, EXCHANGE, _exchange_tasks(job, mark, n_shards))
    committed = _kept_shards(job, mark)
    n_tasks = len(exchanged.done) + len(exchanged.todo) + n_shards
    say_resumed(job, MATERIALIZE, len(exchanged.done) + len(committed), n_tasks)
    formats = tuple(job.recipe.output.formats)
    write = WriteShard(job.workdir, job.corpus, formats, mark, _tokens(job))
    tokenizer = _tokenizer(job, job.recipe.ingest.tokenizer)
    domains = partfiles.read_table(job.workdir.path("domains.parquet"), ["name"])
    names_of_domains = tuple(domains.column("name").to_pylist())
    stage = Materialize(
        exchange=ExchangeParts(job.workdir, ranges, names_of_domains, tokenizer),
        write=write,
        parts=names,
        exchanged=exchanged,
        committed=committed,
    )
    _warn_of_space(job, plan)
    with job.reporter.watch(
        job.workdir, MATERIALIZE, stage=MATERIALIZE, done=len(committed), tasks=n_shards
    ):
        seconds = plan["bytes"] / _BYTES_PER_SECOND
        job.run_pipeline(MATERIALIZE, stage.build, work_seconds=seconds)


def _exchange_tasks(job: Job, mark: str, n_shards: int) -> list[Task]:
    """Groups of parts; what a group is depends on the draw alone, not on who runs it."""
    selected = job.workdir.committed(SELECT)
    n_bytes = {name: sum(one[2] for one in r.details["ranges"]) for name, r in selected.items()}
    return [
        Task(f"from-{parts[0]}", fingerprint(EXCHANGE, mark, *parts), {"parts": parts})
        for parts in groups(n_bytes, n_shards)
    ]


def _warn_of_space(job: Job, plan: dict[str, Any]) -> None:
    """Say beforehand that a disk will not do; a compressed format may still fit."""
    needed = sum(one["bytes"] for one in plan["ranges"]) * len(job.recipe.output.formats)
    free = storage.free_bytes(job.corpus)
    if free is not None and needed > free:
        job.reporter.say(
            f"materialize: warning: {job.corpus} has {free:,} bytes free, and the corpus takes "
            f"about {needed:,}"
        )


def _kept_shards(job: Job, mark: str) -> dict[str, str]:
    """Fingerprints of the shards that an interrupted run of this very stage has finished.

    Other shards in our folder are removed; a corpus that was written elsewhere stays whole.
    """
    kept: dict[str, str] = {}
    for name, result in job.workdir.committed(MATERIALIZE).items():
        if result.details["mark"] == mark and job.workdir.is_whole(result):
            kept[name] = result.fingerprint
        elif result.details["corpus"] == job.corpus:
            job.workdir.discard(MATERIALIZE, result)
        else:
            job.workdir.forget(MATERIALIZE, result)
    return kept
