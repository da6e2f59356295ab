"""What embed need not compute: vectors of other workdirs, of parts that have changed, of copies."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence

from mixcurate.errors import InputError
from mixcurate.io import storage
from mixcurate.io.workdir import Part, TaskResult, Workdir
from mixcurate.kernels.hashing import fingerprint
from mixcurate.transforms.embed import COMPUTE, EMBED
from mixcurate.transforms.reuse import (
    FindCopies,
    Origin,
    computed_folder,
    copies_folder,
    found_path,
    hashes_folder,
    hashes_path,
)
from pipelines.job import Job, resolve

#: Hashes that one core reads and compares in a second, measured; only decides about processes.
_HASHES_PER_SECOND = 2e5


@dataclasses.dataclass(frozen=True)
class Reuse:
    """Which rows of the own run are copied; what each part copies is in a file of its own.

    ``origins`` is what the numbers in those files mean, and empty when nothing is copied.
    """

    origins: tuple[Origin, ...] = ()
    waiting: frozenset[str] = frozenset()  # open parts with rows of other own parts
    copied: int = 0  # rows of open parts from other origins
    repeated: int = 0  # rows of open parts that repeat one of the own run


def other_origins(job: Job, identity: str, dimension: int | None, model: str) -> list[Origin]:
    """The workdirs of ``embed.reuse``, with those of their parts that this job may use.

    Args:
        job: the run.
        identity: names model and parameters; only vectors of the same are used.
        dimension: numbers in a vector, or None when the model is loaded elsewhere.
        model: the model and its parameters for people, as in a task's ``details["model"]``.

    Raises:
        InputError: what cannot be used, each with its path, the reason and the fix.
    """
    origins: dict[str, Origin] = {}
    problems = []
    for path in job.recipe.embed.reuse:
        root = resolve(job.base, path)
        if storage.is_local(root):
            root = os.path.normpath(root)
        if _same_folder(root, job.workdir.root):
            problems.append(
                f"embed.reuse: {root} is this job's own workdir; remove it: what it "
                "holds is used anyway"
            )
            continue
        try:
            origins[root] = _origin_of(Workdir(root), identity, dimension, model)
        except InputError as error:
            problems.append(f"embed.reuse: {root} {error}, or remove it from embed.reuse")
    if problems:
        raise InputError("\n".join(problems))
    return list(origins.values())


def _same_folder(first: str, second: str) -> bool:
    if storage.is_local(first) and storage.is_local(second):
        return os.path.realpath(first) == os.path.realpath(second)
    return first.rstrip("/") == second.rstrip("/")


def _origin_of(workdir: Workdir, identity: str, dimension: int | None, model: str) -> Origin:
    """One workdir as an origin; what keeps it from being one continues a line that names it."""
    if not storage.exists(workdir.path("recipe.yaml")):
        raise InputError(
            "is no workdir: it has no recipe.yaml that a run has left. Name a folder that is the "
            "`workdir` of a recipe"
        )
    results = workdir.committed(EMBED)
    if not results:
        raise InputError("has no embeddings. Run `mixcurate embed` with its recipe first")
    fitting = {
        name: result
        for name, result in results.items()
        if result.details.get("encoder") == identity
    }
    if not fitting:
        _refuse(next(iter(results.values())), dimension, model)
    usable = _whole(workdir, fitting)
    if not usable:
        raise InputError(
            f"has lost its embeddings: of {len(fitting):,} parts none has all its files. Run "
            "`mixcurate embed` with its recipe again"
        )
    return Origin(
        vectors=workdir.path("embeddings"),
        hashes=hashes_folder(workdir.root),
        parts=tuple(sorted(usable)),
        documents=sum(result.documents_out for result in usable.values()),
        seal=fingerprint(
            workdir.root, *(f"{name} {usable[name].fingerprint}" for name in sorted(usable))
        ),
    )


def _refuse(result: TaskResult, dimension: int | None, model: str) -> None:
    """Say why embeddings of another identity cannot be used."""
    details = result.details
    if "encoder" not in details:
        raise InputError(
            "was embedded by an older version, which kept no hashes of the content. Run "
            "`mixcurate embed` with its recipe again"
        )
    theirs = f"{details['model']}. Use the same embed settings"
    if dimension is not None and details["dimension"] != dimension:
        raise InputError(
            f"has embeddings of dimension {details['dimension']}, but this recipe's model gives "
            f"{dimension}: here {model}, there {theirs}"
        )
    raise InputError(
        f"has embeddings of another model or other parameters: here {model}, there {theirs}"
    )


def _whole(workdir: Workdir, results: Mapping[str, TaskResult]) -> dict[str, TaskResult]:
    """Those whose vectors and hashes are there with their sizes; lists each folder once."""
    sizes = {
        os.path.basename(found.path): found.size
        for folder in (workdir.path("embeddings"), hashes_folder(workdir.root))
        for found in storage.glob(folder)
    }
    whole = {}
    for name, result in results.items():
        outputs = {os.path.basename(output.path): output.bytes for output in result.outputs}
        hashed = os.path.basename(hashes_path(workdir.root, name)) in sizes
        if hashed and all(sizes.get(file) == size for file, size in outputs.items()):
            whole[name] = result
    return whole


def _previous_folder(workdir: Workdir) -> str:
    return workdir.path("_stages", EMBED, "previous")


def set_aside(workdir: Workdir, identity: str, wanted: Mapping[str, str]) -> None:
    """Keep the vectors of parts that are about to be discarded; their content may come again.

    Each goes by its fingerprint, so that runs that change parts again and again do not collide.
    Its note is written last: what a kill leaves without one does not count.

    Args:
        workdir: the job's.
        identity: names model and parameters; vectors of others are left to be discarded.
        wanted: fingerprints by part name, of the parts that will stay.
    """
    folder = _previous_folder(workdir)
    for name, result in workdir.committed(EMBED).items():
        hashes = hashes_path(workdir.root, name)
        if (
            wanted.get(name) == result.fingerprint
            or result.details.get("encoder") != identity
            or not workdir.is_whole(result)
            or not storage.exists(hashes)
        ):
            continue
        target = storage.join(folder, f"part-{result.fingerprint}")
        storage.link(workdir.part(EMBED, name), f"{target}.arrow")
        storage.link(hashes, f"{target}.npy")
        storage.write_json(
            f"{target}.json", {"encoder": identity, "documents": result.documents_out}
        )
        workdir.discard(EMBED, result)


def previous_origin(workdir: Workdir, identity: str) -> Origin | None:
    """What has been set aside under this identity, or None."""
    folder = _previous_folder(workdir)
    documents = {}
    for name in storage.list_names(folder):
        if name.startswith("part-") and name.endswith(".json"):
            note = storage.read_json(storage.join(folder, name))
            if note["encoder"] == identity:
                documents[name.removeprefix("part-").removesuffix(".json")] = note["documents"]
    if not documents:
        return None
    parts = tuple(sorted(documents))
    seal = fingerprint("previous", *parts)
    return Origin(folder, folder, parts, sum(documents.values()), seal)


def find(
    job: Job, mark: str, identity: str, parts: Sequence[Part], others: Sequence[Origin]
) -> Reuse:
    """Find what need not be computed, unless that is known from a run that was cut short.

    Call it when stale parts have been discarded: what is committed then is done, and the first
    choice among the own parts.

    Args:
        job: the run.
        mark: names what the stage makes, the digests of its parts included.
        identity: names model and parameters.
        parts: every part of the stage's input.
        others: other workdirs that may be used.
    """
    workdir = job.workdir
    previous = previous_origin(workdir, identity)
    origins = [*others, previous] if previous else list(others)
    dedup = job.recipe.ingest.dedup
    if not origins and dedup is not None and dedup.exact:
        _clear(workdir)
        return Reuse()
    done, documents = _done(workdir), sum(part.documents for part in parts)
    mark = fingerprint("copies", mark, *(origin.seal for origin in origins))
    path = found_path(workdir)
    if not storage.exists(path) or storage.read_json(path)["mark"] != mark:
        _clear(workdir)
        names = sorted((part.name for part in parts), key=lambda name: (name not in done, name))
        own = _own_origin(workdir, names, documents)
        stage = FindCopies(workdir, (own, *origins), mark)
        hashes = sum(origin.documents for origin in stage.origins)
        job.run_pipeline(EMBED, stage.build, work_seconds=hashes / _HASHES_PER_SECOND)
    return _read_found(job, done, documents, origins)


def _done(workdir: Workdir) -> set[str]:
    """Names of the parts that are committed; their manifests need not be read for it."""
    names = storage.list_names(workdir.tasks_folder(EMBED))
    return {
        name.removesuffix(".json")
        for name in names
        if name.endswith(".json") and not name.startswith(".")
    }


def _own_origin(workdir: Workdir, names: Sequence[str], documents: int) -> Origin:
    return Origin(
        vectors=workdir.path("embeddings"),
        hashes="",
        parts=tuple(names),
        documents=documents,
        seal="",
        computed=computed_folder(workdir),
    )


def _read_found(job: Job, done: set[str], documents: int, origins: Sequence[Origin]) -> Reuse:
    """What was found, as far as it concerns parts that are still open."""
    found = storage.read_json(found_path(job.workdir))
    counts = {part: count for part, count in found["counts"].items() if part not in done}
    # a part that waited in an earlier run and is done now is read from where it ended
    waiting = frozenset(part for part, count in counts.items() if count["later"])
    own = _own_origin(job.workdir, found["parts"], documents)
    return Reuse(
        origins=(dataclasses.replace(own, waiting=waiting), *origins),
        waiting=waiting,
        copied=sum(count["others"] for count in counts.values()),
        repeated=sum(count["within"] + count["later"] for count in counts.values()),
    )


def forget(workdir: Workdir) -> None:
    """Remove what was set aside and found: the stage has ended."""
    storage.remove(_previous_folder(workdir))
    _clear(workdir)


def _clear(workdir: Workdir) -> None:
    """Remove what was found, first what makes it count, and what was computed because of it."""
    storage.remove(found_path(workdir))
    storage.remove(copies_folder(workdir))
    storage.remove(workdir.path("_stages", COMPUTE))
    storage.remove(computed_folder(workdir))
