"""The ``mixcurate`` command.

Imports are inside the commands: ``--help`` must not wait for Beam.
"""

from __future__ import annotations

import sys
from typing import Any

import click

import mixcurate
from mixcurate.errors import MixcurateError

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


def _job(recipe: str, overrides: tuple[str, ...], beam_args: tuple[str, ...], quiet: bool) -> Any:
    from pipelines.start import start_job

    return start_job(recipe, overrides, beam_args, quiet=quiet)


_RECIPE = click.argument("recipe", type=click.Path())
_SET = click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a key of the recipe."
)
_JSON = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON on stdout.")
_QUIET = click.option("--quiet", is_flag=True, help="No progress on stderr.")
_BEAM = click.argument("beam_args", nargs=-1, type=click.UNPROCESSED, metavar="[-- BEAM_OPTIONS]")


@main.command()
@_RECIPE
@_BEAM
@_SET
@click.option("--until", type=click.Choice(_STAGES), help="Stop after this stage.")
@_JSON
@_QUIET
def run(
    recipe: str,
    beam_args: tuple[str, ...],
    overrides: tuple[str, ...],
    until: str | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Run all stages of RECIPE; what is finished is not done again."""
    job = _job(recipe, overrides, beam_args, quiet)
    from pipelines.start import run_stages

    stop = _STAGES.index(until) + 1 if until else len(_STAGES)
    click.echo(run_stages(job, _STAGES[:stop], as_json=as_json))


def _add_stage(name: str, what: str) -> None:
    @main.command(name, help=what)
    @_RECIPE
    @_BEAM
    @_SET
    @_JSON
    @_QUIET
    def _stage(
        recipe: str,
        beam_args: tuple[str, ...],
        overrides: tuple[str, ...],
        as_json: bool,
        quiet: bool,
    ) -> None:
        job = _job(recipe, overrides, beam_args, quiet)
        from pipelines.start import run_stages

        click.echo(run_stages(job, (name,), as_json=as_json))


_add_stage("ingest", "Raw inputs of RECIPE to clean documents.")
_add_stage("embed", "Documents to vectors.")
_add_stage("cluster", "Vectors to clusters and named domains.")
_add_stage("score", "Quality, diversity and weight of each document.")
_add_stage("plan", "Token targets per domain, and which documents meet them.")
_add_stage("materialize", "Write the corpus and its manifest.")

if __name__ == "__main__":
    sys.exit(main())
