"""The ``mixcurate`` command.

Imports are inside the commands: ``--help`` must not wait for Beam.
"""

from __future__ import annotations

import atexit
import contextlib
import dataclasses
import json
import os
import sys
from typing import Any

import click

import mixcurate
from mixcurate.errors import MixcurateError
from pipelines.cli_corpus import diff, proxy, verify
from pipelines.cli_options import BEAM, JSON, QUIET, RECIPE, SET, job_of
from pipelines.cli_quality import annotate, explain, train_quality

_STAGES = ("ingest", "embed", "cluster", "score", "plan", "materialize")


class _Group(click.Group):
    """Prints our errors without a traceback, with their own exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except MixcurateError as error:
            click.echo(f"error: {error}", err=True)
            ctx.exit(error.exit_code)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(mixcurate.__version__)
def main() -> None:
    """Raw web text in, training shards at the mixture that was asked for out."""


_MAX_DROP = click.option(
    "--max-drop",
    type=click.FloatRange(0, 1),
    help="Stop if ingest drops a larger share of the records, such as 0.6.",
)


@main.command()
@RECIPE
@BEAM
@SET
@_MAX_DROP
@click.option("--until", type=click.Choice(_STAGES), help="Stop after this stage.")
@JSON
@QUIET
def run(
    recipe: str,
    beam_args: tuple[str, ...],
    overrides: tuple[str, ...],
    max_drop: float | None,
    until: str | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Run all stages of RECIPE; what is finished is not done again."""
    job = job_of(recipe, overrides + _drop_guard(max_drop), beam_args, quiet)
    from pipelines.start import run_stages

    stop = _STAGES.index(until) + 1 if until else len(_STAGES)
    click.echo(run_stages(job, _STAGES[:stop], as_json=as_json))


def _drop_guard(max_drop: float | None) -> tuple[str, ...]:
    return () if max_drop is None else (f"ingest.max_drop={max_drop}",)


@main.command()
@RECIPE
@BEAM
@SET
@_MAX_DROP
@JSON
@QUIET
def ingest(
    recipe: str,
    beam_args: tuple[str, ...],
    overrides: tuple[str, ...],
    max_drop: float | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Raw inputs of RECIPE to clean documents."""
    job = job_of(recipe, overrides + _drop_guard(max_drop), beam_args, quiet)
    from pipelines.start import run_stages

    click.echo(run_stages(job, ("ingest",), as_json=as_json))


def _add_stage(name: str, what: str) -> None:
    @main.command(name, help=what)
    @RECIPE
    @BEAM
    @SET
    @JSON
    @QUIET
    def _stage(
        recipe: str,
        beam_args: tuple[str, ...],
        overrides: tuple[str, ...],
        as_json: bool,
        quiet: bool,
    ) -> None:
        job = job_of(recipe, overrides, beam_args, quiet)
        from pipelines.start import run_stages

        click.echo(run_stages(job, (name,), as_json=as_json))


_add_stage("embed", "Documents to vectors.")
_add_stage("cluster", "Vectors to clusters and named domains.")


@main.command()
@RECIPE
@BEAM
@SET
@click.option("--onto", metavar="WORKDIR", help="Earlier run; instead of cluster.onto.")
@JSON
@QUIET
def update(
    recipe: str,
    beam_args: tuple[str, ...],
    overrides: tuple[str, ...],
    onto: str | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """A new crawl onto the domains of an earlier run, and whether they still fit it.

    Ingest, embed and cluster of RECIPE, with nothing fitted anew.
    """
    if onto is not None:
        place = onto if "://" in onto else os.path.abspath(onto)
        overrides += (f"cluster.onto={json.dumps(place)}",)
    job = job_of(recipe, overrides, beam_args, quiet)
    if job.recipe.cluster.onto is None:
        raise click.UsageError(
            "which earlier run? Give --onto WORKDIR, or cluster.onto in the recipe"
        )
    from pipelines.start import run_stages

    click.echo(run_stages(job, ("ingest", "embed", "cluster"), as_json=as_json))


@main.command()
@click.argument("workdir", type=click.Path())
@click.argument("files", nargs=-1, required=True, type=click.Path())
@click.option("--out", required=True, type=click.Path(), help="JSON lines to write.")
@click.option("--text-field", metavar="NAME", help="Field that holds the text.  [default: text]")
@JSON
def label(
    workdir: str, files: tuple[str, ...], out: str, text_field: str | None, as_json: bool
) -> None:
    """Domain of each text in FILES by the classifier of WORKDIR (cluster.topics.classifier)."""
    from mixcurate.io.readers import InputParams
    from pipelines.label import label as label_files

    field = {} if text_field is None else {"text_field": text_field}
    inputs = [InputParams.model_validate({"path": path} | field) for path in files]
    done = label_files(workdir, inputs, out, threads=os.cpu_count() or 1)
    if as_json:
        click.echo(json.dumps(dataclasses.asdict(done), indent=2))
        return
    for name, count in done.by_domain.items():
        click.echo(f"{count:>12,}  {name}")
    click.echo(f"{done.documents:,} documents in {out}")
    if done.rejected_path:
        click.echo(f"{sum(done.rejected.values()):,} without a domain: {done.rejected_path}")


_add_stage("score", "Quality, diversity and weight of each document.")
_add_stage("materialize", "Write the corpus and its manifest.")


@main.command()
@RECIPE
@BEAM
@SET
@click.option("--stage", type=click.Choice(["embed"]), help="Predict what this stage will take.")
@click.option("--rates", type=click.Path(), help="Table of devices; without it, a probe is run.")
@click.option("--device", metavar="NAME", help="Device in the table, such as nvidia-l4.")
@click.option("--price-per-hour", type=float, help="Price of one machine, instead of the table's.")
@click.option("--probe-seconds", type=float, help="How long to probe this machine.  [default: 10]")
@JSON
@QUIET
def plan(  # noqa: PLR0913, PLR0917 - an argument per option
    recipe: str,
    beam_args: tuple[str, ...],
    overrides: tuple[str, ...],
    stage: str | None,
    rates: str | None,
    device: str | None,
    price_per_hour: float | None,
    probe_seconds: float | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Token targets per domain, and which documents meet them.

    With --stage embed instead: tokens, hours and cost of embedding, before it runs.
    """
    asked = (rates, device, price_per_hour, probe_seconds)
    if stage is None and any(value is not None for value in asked):
        options = "--rates, --device, --price-per-hour and --probe-seconds"
        raise click.UsageError(f"{options} go with --stage embed")
    job = job_of(recipe, overrides, beam_args, quiet)
    if stage is None:
        from pipelines.start import run_stages

        click.echo(run_stages(job, ("plan",), as_json=as_json))
        return
    from pipelines.estimate import Asked, estimate_embed
    from pipelines.estimate_table import render_estimate

    seconds = 10.0 if probe_seconds is None else probe_seconds
    found = estimate_embed(job, Asked(rates, device, price_per_hour, seconds))
    click.echo(json.dumps(found, indent=2) if as_json else render_estimate(found))


@main.command()
@click.argument("folder", type=click.Path())
def init(folder: str) -> None:
    """Write a commented recipe to start from into FOLDER."""
    from pipelines.start import init_recipe

    click.echo(init_recipe(folder))


@main.command()
@click.argument("path", type=click.Path())
@JSON
def inspect(path: str, as_json: bool) -> None:
    """Show what is in any workdir, corpus or part file: schema, counts, proportions."""
    from pipelines.inspect import inspect_path, render

    info = inspect_path(path)
    click.echo(json.dumps(info, indent=2, default=str) if as_json else render(info))


@main.command()
@click.argument("workdir", type=click.Path())
@click.argument("out", type=click.Path())
def export(workdir: str, out: str) -> None:
    """Write the embeddings of WORKDIR with their documents' ids as Parquet into OUT."""
    from pipelines.export import export_embeddings

    rows = export_embeddings(workdir, out)
    click.echo(f"{rows:,} rows in {out}")


@main.command()
@click.argument("workdir", type=click.Path())
def report(workdir: str) -> None:
    """Write report.html of WORKDIR: one self-contained file."""
    from pipelines.start import report_of

    click.echo(report_of(workdir))


@main.command()
@JSON
def doctor(as_json: bool) -> None:
    """Show what is installed, what is missing, and the exact line that installs it."""
    from pipelines.doctor import diagnose, render_doctor

    rows, complete = diagnose()
    click.echo(json.dumps(rows, indent=2) if as_json else render_doctor(rows))
    if not complete:
        sys.exit(1)


for added in (annotate, train_quality, explain, proxy, verify, diff):
    main.add_command(added)


@main.command()
def schema() -> None:
    """Print the JSON schema of the recipe."""
    from mixcurate.recipe_file import recipe_schema

    click.echo(json.dumps(recipe_schema(), indent=2))


def command() -> None:
    """The console script: ``main``, and an end that says what came of it.

    Threads that Beam, gRPC or Arrow leave behind can abort the tearing down of the interpreter,
    after all work is done, with exit code 134: a scheduler would take the job for failed. So after
    a pipeline what is registered for the end is run, and the process is left as it stands.
    """
    try:
        main()
    except SystemExit as end:
        if "apache_beam" not in sys.modules:
            raise
        atexit._run_exitfuncs()
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):  # who reads it has gone
                stream.flush()
        os._exit(end.code if isinstance(end.code, int) else int(end.code is not None))


if __name__ == "__main__":
    command()
