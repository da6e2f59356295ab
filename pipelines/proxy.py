"""A proxy: a small corpus that repeats as much as the whole one does.

A proxy run with a thousandth of the tokens sees a small domain once that the whole run sees a
thousand times as often, and so finds that more of it is better. If every domain has the same part
of its documents, both runs see each as often ("Repetition mismatch", arXiv 2606.07597).
"""

from __future__ import annotations

import dataclasses
import io
import os
from typing import Any

from rich.console import Console
from rich.table import Table

from mixcurate.errors import RequestError
from mixcurate.io import storage
from mixcurate.io.workdir import Workdir
from mixcurate.kernels.mixture import DomainTarget, MixtureParams
from mixcurate.recipe import Recipe
from pipelines import materialize, plan
from pipelines.job import Job
from pipelines.summary import shown

#: Folder of the proxies in a workdir.
_PROXIES = "proxies"


def run_proxy(job: Job, tokens: int, out: str | None = None) -> dict[str, Any]:
    """Plan and write the proxy of a corpus, on the stages of ``job`` up to score.

    Of the documents there are ``tokens / budget_tokens``, chosen by hash, so that a smaller proxy
    has a part of those of a larger one. Targets in tokens are scaled; shares, epochs, weights,
    phases and the share of the holdout stay. As the documents are chosen one by one, a domain of n
    documents comes out within about 1 / sqrt(n) of its part; where it comes out small, it repeats
    that much more, even beyond ``max_epochs``.

    Args:
        job: whose stage score has run.
        tokens: of the proxy.
        out: folder of its corpus; None is ``proxies/TOKENS/corpus`` in the workdir.

    Returns:
        For ``--json``: ``workdir``, ``corpus``, ``tokens`` (asked), ``budget_tokens`` (of the
        whole), ``fraction`` of the documents, ``planned_tokens``, ``documents``, ``shards``, and
        per domain ``domain``, ``name``, ``share``, ``available_tokens``, ``tokens``, ``epochs`` and
        ``whole_epochs`` (None if the whole corpus is not planned).

    Raises:
        RequestError: no budget, one that is no larger than ``tokens``, or score has not run.
        OutputError: the folder holds something else.
        PlanError: the mixture cannot be made.
    """
    recipe = proxy_recipe(job.recipe, tokens)
    job.require("score")
    root = job.workdir.path(_PROXIES, str(tokens))
    if out is not None and storage.is_local(out):
        out = os.path.abspath(out)
    output = recipe.output.model_copy(update={"path": out})
    recipe = recipe.model_copy(update={"workdir": root, "output": output})
    workdir = Workdir(root, below=job.workdir.root)
    proxy = dataclasses.replace(job, recipe=recipe, workdir=workdir)
    storage.require_writable(root)
    materialize.check_output(proxy)
    workdir.write_below()
    plan.run(proxy)
    _note(proxy, job.recipe)
    materialize.run(proxy)
    whole = job.workdir.path("plan.json")
    return _summary(
        proxy,
        tokens,
        budget=job.recipe.mixture.budget_tokens or tokens,
        whole=storage.read_json(whole) if storage.exists(whole) else None,
    )


def proxy_recipe(recipe: Recipe, tokens: int) -> Recipe:
    """The recipe of a proxy of ``tokens`` tokens.

    Raises:
        RequestError: as ``run_proxy``.
    """
    mixture = recipe.mixture
    budget = mixture.budget_tokens
    if budget is None:
        raise RequestError(
            "a proxy needs 'mixture.budget_tokens': it is what --tokens is a part of; set it in "
            "the recipe"
        )
    if tokens >= budget:
        raise RequestError(
            f"--tokens {tokens:,} is no less than mixture.budget_tokens {budget:,}; a proxy is a "
            f"part of the corpus: give fewer, or write the corpus itself (mixcurate run)"
        )
    fraction = tokens / budget
    changed: dict[str, Any] = {
        "budget_tokens": tokens,
        "subsample": mixture.subsample * fraction,
        "domains": _scaled(mixture.domains, fraction),
        "targets": _scaled(mixture.targets, fraction),
        "phases": [
            phase.model_copy(update={"targets": _scaled(phase.targets, fraction)})
            for phase in mixture.phases
        ],
    }
    if (
        mixture.on_short == "fail"
    ):  # what the whole corpus can give, its proxy can give but for luck
        changed["on_short"] = "repeat"
    smaller: MixtureParams = mixture.model_copy(update=changed)
    return recipe.model_copy(update={"name": f"{recipe.name}-proxy-{tokens}", "mixture": smaller})


def _scaled(
    targets: dict[int | str, DomainTarget], fraction: float
) -> dict[int | str, DomainTarget]:
    """Targets with their tokens, if they are in tokens, cut down."""
    return {
        key: target
        if target.tokens is None
        else target.model_copy(update={"tokens": round(target.tokens * fraction)})
        for key, target in targets.items()
    }


def _note(proxy: Job, whole: Recipe) -> None:
    """Say in the proxy's plan what it is."""
    path = proxy.workdir.path("plan.json")
    planned = storage.read_json(path)
    tokens, budget = proxy.recipe.mixture.budget_tokens, whole.mixture.budget_tokens
    assert tokens is not None
    assert budget is not None
    note = (
        f"proxy of {whole.name}: {tokens / budget:.6g} of its documents, by hash, for {tokens:,} "
        f"of {budget:,} tokens, so that each repeats as often"
    )
    if note not in planned["notes"]:
        proxy.reporter.say(f"plan: {note}")
        storage.write_json(path, planned | {"notes": [note, *planned["notes"]]})


def _summary(
    proxy: Job, tokens: int, *, budget: int, whole: dict[str, Any] | None
) -> dict[str, Any]:
    """What there is to say of a finished proxy."""
    planned = storage.read_json(proxy.workdir.path("plan.json"))
    epochs = {d["domain"]: d["epochs"] for d in whole["domains"]} if whole else {}
    names = ("domain", "name", "share", "available_tokens", "tokens", "epochs")
    return {
        "workdir": proxy.workdir.root,
        "corpus": proxy.corpus,
        "tokens": tokens,
        "budget_tokens": budget,
        "fraction": tokens / budget,
        "planned_tokens": planned["tokens"],
        "documents": planned["documents"],
        "shards": planned["shards"],
        "domains": [
            {name: domain[name] for name in names} | {"whole_epochs": epochs.get(domain["domain"])}
            for domain in planned["domains"]
        ],
    }


def render_proxy(made: dict[str, Any]) -> str:
    """What ``run_proxy`` has made, for people."""
    table = Table(title=f"proxy: {made['tokens']:,} of {made['budget_tokens']:,} tokens")
    table.add_column("domain", justify="right")
    table.add_column("name")
    for title in ("available", "tokens", "share", "epochs", "of the whole"):
        table.add_column(title, justify="right")
    for d in made["domains"]:
        whole = d["whole_epochs"]
        table.add_row(
            str(d["domain"]),
            d["name"],
            f"{d['available_tokens']:,}",
            f"{d['tokens']:,}",
            f"{d['share']:.3%}",
            f"{d['epochs']:.3f}",
            "" if whole is None else f"{whole:.3f}",
        )
    out = io.StringIO()
    Console(file=out, width=120).print(table)
    return "\n".join(
        [
            f"{out.getvalue()}{made['documents']:,} documents, {made['planned_tokens']:,} tokens, "
            f"{made['shards']} shards, from {made['fraction']:.4%} of the documents",
            f"corpus: {shown(made['corpus'])}",
        ]
    )
