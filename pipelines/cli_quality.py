"""Commands about the quality of documents: labels, heads, and why a document counts as it does."""

from __future__ import annotations

import dataclasses
import json
import os
import shlex
import sys
from typing import Literal

import click

from pipelines.cli_options import BEAM, JSON, QUIET, RECIPE, SET, job_of


@click.command()
@RECIPE
@BEAM
@SET
@click.option("--out", required=True, type=click.Path(), help="JSON lines to write.")
@JSON
@QUIET
def annotate(
    recipe: str,
    beam_args: tuple[str, ...],
    overrides: tuple[str, ...],
    out: str,
    as_json: bool,
    quiet: bool,
) -> None:
    """Let a language model judge a sample of RECIPE's documents (score.annotator).

    Ingest must have run. What comes out is for train-quality.
    """
    job = job_of(recipe, overrides, beam_args, quiet)
    from pipelines.annotate import annotate as annotate_sample
    from pipelines.annotate import render

    done = annotate_sample(job, out)
    click.echo(json.dumps(dataclasses.asdict(done), indent=2) if as_json else render(done, out))


@click.command("train-quality")
@click.argument("labels", type=click.Path())
@click.option("--out", required=True, type=click.Path(), help="File of heads to write.")
@click.option("--workdir", type=click.Path(), help="Run that has the documents of labels by id.")
@click.option(
    "--dimension",
    "dimensions",
    multiple=True,
    metavar="NAME[=LEAST:MOST]",
    help="Field of the labels that is a dimension.  [default: all that hold numbers]",
)
@click.option("--hidden", type=click.IntRange(1), help="Units of a hidden layer.")
@click.option(
    "--held-out",
    type=click.FloatRange(0, 0.5, min_open=True),
    default=0.2,
    show_default=True,
    help="Share of the documents that the heads are measured on.",
)
@click.option("--group", metavar="FIELD", help="Documents of one value are held out together.")
@click.option("--seed", type=click.IntRange(0), default=0, help="What is held out.")
@click.option("--model", default="embedded", help="Model that embeds texts, without --workdir.")
@click.option(
    "--inputs",
    type=click.Choice(["both", "vectors", "signals"]),
    default="both",
    show_default=True,
    help="What the heads read of a document.",
)
@JSON
def train_quality(  # noqa: PLR0913, PLR0917 - an argument per option
    labels: str,
    out: str,
    workdir: str | None,
    dimensions: tuple[str, ...],
    hidden: int | None,
    held_out: float,
    group: str | None,
    seed: int,
    model: str,
    inputs: Literal["both", "vectors", "signals"],
    as_json: bool,
) -> None:
    """Fit quality heads on embeddings and signals from LABELS, and say how good they are.

    A row of LABELS has a number for each dimension, and the id of a document of WORKDIR or a text.
    """
    from pipelines.train_quality import TrainOptions, render, train

    options = TrainOptions(
        dimensions=dimensions,
        hidden=hidden,
        held_out=held_out,
        group=group,
        seed=seed,
        model=model,
        inputs=inputs,
        command=shlex.join(["mixcurate", *sys.argv[1:]]),
    )
    done = train(labels, out, workdir=workdir, options=options, threads=os.cpu_count() or 1)
    click.echo(json.dumps(dataclasses.asdict(done), indent=2) if as_json else render(done))


@click.command()
@click.argument("workdir", type=click.Path())
@click.argument("document", metavar="ID")
@JSON
def explain(workdir: str, document: str, as_json: bool) -> None:
    """Why the document ID of WORKDIR was dropped, or is drawn as often as it is."""
    from pipelines.explain import explain as explain_document
    from pipelines.explain_table import render

    found = explain_document(workdir, document)
    click.echo(json.dumps(found, indent=2) if as_json else render(found))
