"""Arguments and options that several commands share."""

from __future__ import annotations

from typing import Any

import click


def job_of(recipe: str, overrides: tuple[str, ...], beam_args: tuple[str, ...], quiet: bool) -> Any:
    """The checked job of a recipe."""
    from pipelines.start import start_job

    return start_job(recipe, overrides, beam_args, quiet=quiet)


RECIPE = click.argument("recipe", type=click.Path())
SET = click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a key of the recipe."
)
JSON = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON on stdout.")
QUIET = click.option("--quiet", is_flag=True, help="No progress on stderr.")
BEAM = click.argument("beam_args", nargs=-1, type=click.UNPROCESSED, metavar="[-- BEAM_OPTIONS]")
