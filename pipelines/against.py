"""The earlier runs that ingest deduplicates against, checked before any work."""

from __future__ import annotations

import os

from mixcurate.errors import InputError
from mixcurate.io import storage
from mixcurate.io.workdir import Workdir
from mixcurate.kernels.hashing import fingerprint
from mixcurate.transforms.keyfiles import INGEST, Earlier
from pipelines.job import Job, resolve


def earlier_runs(job: Job) -> tuple[Earlier, ...]:
    """The workdirs of ``ingest.dedup.against``, each once, in the order of the recipe.

    Raises:
        InputError: what cannot be used, each with its path, the reason and the fix.
    """
    dedup = job.recipe.ingest.dedup
    if dedup is None or not dedup.against:
        return ()
    found: dict[str, Earlier] = {}
    problems = []
    if not (dedup.exact or dedup.url or dedup.near):
        problems.append(
            "ingest.dedup.against: exact, url and near are all off, so that nothing is compared; "
            "turn one on or remove against"
        )
    for path in dedup.against:
        root = resolve(job.base, path)
        if storage.is_local(root):
            root = os.path.normpath(root)
        try:
            found[root] = _earlier(job, root, path)
        except InputError as error:
            problems.append(f"ingest.dedup.against: {root} {error}")
    if problems:
        raise InputError("\n".join(problems))
    return tuple(found.values())


def _earlier(job: Job, root: str, shown: str) -> Earlier:
    """One workdir; what keeps it from being used continues a line that names it."""
    if _same_folder(root, job.workdir.root):
        raise InputError("is this job's own workdir; remove it")
    workdir = Workdir(root)
    if not storage.exists(workdir.path("recipe.yaml")):
        raise InputError(
            "is no workdir: it has no recipe.yaml that a run has left. Name a folder that is the "
            "`workdir` of a recipe, or remove it"
        )
    success = workdir.success(INGEST)
    if success is None:
        raise InputError(
            "has no finished documents. Run `mixcurate ingest` with its recipe first, or remove it"
        )
    there = set(storage.list_names(workdir.path("documents")))
    lost = [part.name for part in success.parts if f"part-{part.name}.parquet" not in there]
    if lost:
        raise InputError(
            f"has lost its documents: of {len(success.parts):,} parts {len(lost):,} are gone, the "
            f"first is part-{lost[0]}.parquet. Run `mixcurate ingest` with its recipe again, or "
            "remove it"
        )
    return Earlier(
        root=root,
        shown=shown,
        parts=tuple((part.name, part.documents) for part in success.parts),
        seal=fingerprint(shown, *(f"{part.name} {part.digest}" for part in success.parts)),
    )


def _same_folder(first: str, second: str) -> bool:
    if storage.is_local(first) and storage.is_local(second):
        return os.path.realpath(first) == os.path.realpath(second)
    return first.rstrip("/") == second.rstrip("/")
