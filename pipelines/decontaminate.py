"""The evaluation sets that ingest searches for, indexed before any work."""

from __future__ import annotations

import dataclasses

from mixcurate.errors import RequestError
from mixcurate.io import storage
from mixcurate.io.evalsets import read_set, write_index
from mixcurate.kernels.cleaning import ContaminationParams
from mixcurate.kernels.contamination_index import (
    SetReport,
    build_index,
    gather_items,
    require_searchable,
)
from mixcurate.kernels.hashing import content_hashes, fingerprint
from pipelines.job import Job


@dataclasses.dataclass(frozen=True)
class EvaluationIndex:
    """Where the index is, and what names its content."""

    folder: str
    seal: str


def index_of(job: Job) -> EvaluationIndex | None:
    """The index of the recipe's evaluation sets, made unless it is there.

    Raises:
        InputError: a set that matches no file, cannot be read, or has nothing to search for.
        RequestError: two sets have one name.
    """
    params = job.recipe.ingest.decontaminate
    if params is None:
        return None
    tables = [read_set(one.path, one.fields, base=job.base) for one in params.sets]
    names = [one.name or one.path for one in params.sets]
    for name in names:
        if names.count(name) > 1:
            raise RequestError(
                f"ingest.decontaminate: two sets are called {name!r}; give each a `name` of its own"
            )
    items, files = gather_items(tables)
    words = (params.ngram, params.min_words, params.template_items, params.template_share)
    hashes = content_hashes(items.text).cast("binary").to_pylist()
    seal = fingerprint(
        repr(words),
        *(f"{name} {table.num_rows}" for name, table in zip(names, tables, strict=True)),
        *files,
        *(value.hex() for value in hashes),
    )
    folder = job.workdir.path("_stages", "ingest", "evaluation", seal)
    if not storage.exists(storage.join(folder, "index.json")):
        index = build_index(
            items,
            names,
            files,
            ngram=params.ngram,
            min_words=params.min_words,
            template_items=params.template_items,
            template_share=params.template_share,
        )
        require_searchable(index)
        write_index(folder, *index.parts())
        for report in index.reports:
            job.reporter.say(f"ingest: {describe(report, params)}")
    return EvaluationIndex(folder, seal)


def describe(report: SetReport, params: ContaminationParams) -> str:
    """How many items of a set are searched, and why the others are not."""
    searched = report.by_ngrams + report.whole
    why = {
        f"have fewer than {params.min_words} words": report.too_short,
        "are only template": report.template,
        "repeat others": report.duplicates,
    }
    rest = ", ".join(f"{count:,} {reason}" for reason, count in why.items() if count)
    return f"evaluation set {report.name}: {searched:,} of {report.items:,} items are searched" + (
        f" ({rest})" if rest else ""
    )
