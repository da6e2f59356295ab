"""The order in which documents are drawn, before the plan: a step inside it, with its own files."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mixcurate.errors import PlanError
from mixcurate.io import partfiles, storage
from mixcurate.io.host_table import read_host_links, read_host_scores
from mixcurate.kernels.hashing import UInt64Array, fingerprint
from mixcurate.kernels.host_graph import HostGraph, centrality
from mixcurate.kernels.hosts import host_keys, look_reversed, normal_hosts
from mixcurate.kernels.mixture import CentralityParams
from mixcurate.kernels.target_likeness import distinct
from mixcurate.transforms.preference import (
    PREFERENCE,
    Prefer,
    PreferencePlan,
    PreferPart,
    stage_path,
)
from mixcurate.transforms.tasks import Task, split
from pipelines.facts_target import target_vectors
from pipelines.job import Job, resolve, say_resumed

VERSION = "2"

#: What one core does in a second; only decides about processes.
_DOCUMENTS_PER_SECOND = 100_000
_PRODUCTS_PER_SECOND = 2e10

#: Names that tell how all of a table are written.
_LOOKED_AT = 10_000


def run_preference(job: Job) -> None:
    """Leave side and preference of each document, unless that is done.

    ``transforms.preference.preference_path`` is what is left.

    Args:
        job: whose stage score has run, with the strategy ``centrality``, or ``target`` by rds.

    Raises:
        InputError: a table of hosts, or target texts, that cannot be used.
        PlanError: no document is of a host that has a score.
    """
    params, scored = job.recipe.mixture, job.require("score")
    by_host = "centrality" in params.strategies
    if by_host:
        given, with_parents = _leave_scores(job, params.centrality)
    else:
        given, with_parents = _leave_texts(job), False
    plan = PreferencePlan(
        by="centrality" if by_host else "likeness",
        central_share=params.centrality.central_share,
        with_quality=params.centrality.with_quality and by_host,
        with_parents=with_parents,
        seed=job.recipe.seed,
    )
    seen = [job.require("cluster"), job.require("ingest" if by_host else "embed")]
    seals = [
        part.digest for stage in [*seen, *[scored] * plan.with_quality] for part in stage.parts
    ]
    mark = fingerprint(PREFERENCE, VERSION, repr(plan), given, *seals)
    names = [part.name for part in scored.parts]
    tasks = split(job.workdir, PREFERENCE, [Task(n, fingerprint(mark, n)) for n in names])
    if tasks.todo:
        say_resumed(job, "plan: preference", len(tasks.done), len(names))
        stage = Prefer(PreferPart(job.workdir, plan), names, tasks.todo)
        with job.reporter.watch(
            job.workdir, "plan", stage=PREFERENCE, done=len(tasks.done), tasks=len(names)
        ):
            seconds = _seconds(job, scored.documents_out, by_host=by_host)
            job.run_pipeline("plan-preference", stage.build, work_seconds=seconds)
        storage.remove(stage_path(job.workdir, "gathered"))
    if by_host:
        _tell(job, params.centrality)


def _leave_texts(job: Job) -> str:
    """Leave the target's vectors for the workers; their digest."""
    path = stage_path(job.workdir, "texts.npy")
    partfiles.write_array(path, distinct(target_vectors(job)))
    return storage.digest(path)


def _leave_scores(job: Job, params: CentralityParams) -> tuple[str, bool]:
    """Leave hosts and their scores for the workers.

    Returns:
        what names them, and whether they are of registered domains.
    """
    given = params.scores or params.links
    assert given is not None
    path, note = resolve(job.base, given), stage_path(job.workdir, "hosts.json")
    what = params.column if params.scores else params.measure
    keys_path, scores_path = (stage_path(job.workdir, n) for n in ("hosts.npy", "scores.npy"))
    kept = storage.exists(note) and storage.exists(keys_path) and storage.exists(scores_path)
    mark = fingerprint("hosts", VERSION, given, str(what), _etag(path))
    if kept and (about := storage.read_json(note))["mark"] == mark:
        return mark, about["of_domains"]
    storage.remove(note)
    of_domains = False
    if params.scores:
        table = read_host_scores(path, params.column)
        names, scores, of_domains = table.names, table.scores, table.of_domains
        names = normal_hosts(names, is_reversed=look_reversed(names.slice(0, _LOOKED_AT)))
        told = f"{table.column} of {len(names):,} {'domains' if of_domains else 'hosts'}"
    else:
        ends = read_host_links(path)
        turned = look_reversed(ends[0].slice(0, _LOOKED_AT))
        graph = HostGraph.of(*(normal_hosts(end, is_reversed=turned) for end in ends))
        names, scores = graph.names, centrality(graph, params.measure)
        told = f"{params.measure} of {len(names):,} hosts with {graph.links.nnz // 2:,} links"
    job.reporter.say(f"plan: centrality: {told} in {given}")
    named = names.is_valid().to_numpy(zero_copy_only=False)
    keys, best = _lookup(host_keys(names.drop_null()), scores[named])
    partfiles.write_array(keys_path, keys)
    partfiles.write_array(scores_path, best)
    storage.write_json(note, {"mark": mark, "of_domains": of_domains})
    return mark, of_domains


def _etag(path: str) -> str:
    """What names a file's content; one that is not there is told by its reader."""
    return storage.etag(path) if storage.exists(path) else ""


def _lookup(
    keys: UInt64Array, scores: npt.NDArray[np.float64]
) -> tuple[UInt64Array, npt.NDArray[np.float64]]:
    """Rising keys with the greatest score of each."""
    order = np.lexsort((-scores, keys))
    keys, scores = keys[order], scores[order]
    first = np.ones(len(keys), bool)
    first[1:] = keys[1:] != keys[:-1]
    return keys[first], scores[first]


def _tell(job: Job, params: CentralityParams) -> None:
    """How much of the pool has a score.

    Raises:
        PlanError: nothing.
    """
    about = storage.read_json(stage_path(job.workdir, "sides.json"))
    tokens, none = about["tokens"], about["without_score"]
    if tokens and none == tokens:
        raise PlanError(
            f"mixture.centrality: no document of the pool is of a host that has a score in "
            f"{params.scores or params.links}; documents need a URL (inputs[].url_field)"
        )
    share = none / max(tokens, 1)
    job.reporter.say(f"plan: centrality: {share:.1%} of the pool's tokens have no score, so 0")


def _seconds(job: Job, documents: int, *, by_host: bool) -> float:
    """Rough cost on one core."""
    seconds = documents / _DOCUMENTS_PER_SECOND
    if not by_host:
        texts = partfiles.read_array(stage_path(job.workdir, "texts.npy"))
        seconds += documents * texts.size / _PRODUCTS_PER_SECOND
    return seconds
