"""The commands about a finished corpus: a smaller one like it, is it whole, what has changed."""

from __future__ import annotations

import json
import sys

import click

from pipelines.cli_options import BEAM, JSON, QUIET, RECIPE, SET, job_of


@click.command()
@RECIPE
@BEAM
@SET
@click.option("--tokens", type=click.IntRange(1), required=True, help="Tokens of the proxy corpus.")
@click.option("--out", type=click.Path(), help="Its folder.  [default: proxies/ in the workdir]")
@JSON
@QUIET
def proxy(
    recipe: str,
    beam_args: tuple[str, ...],
    overrides: tuple[str, ...],
    tokens: int,
    out: str | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """A small corpus that repeats as much as the whole one of RECIPE does.

    Every domain is cut down to the same part of its documents, by hash, so that a proxy run sees
    them as often as the target run will. Needs the stages of RECIPE up to score.
    """
    job = job_of(recipe, overrides, beam_args, quiet)
    from pipelines.proxy import render_proxy, run_proxy

    made = run_proxy(job, tokens, out)
    click.echo(json.dumps(made, indent=2) if as_json else render_proxy(made))


@click.command()
@click.argument("corpus", type=click.Path())
@click.option("--tokens", is_flag=True, help="Also look at every id in the shards of tokens.")
@JSON
def verify(corpus: str, tokens: bool, as_json: bool) -> None:
    """Check CORPUS against its manifest; exit 1 on any difference."""
    from mixcurate.io.verify import verify_corpus

    problems = verify_corpus(corpus)
    if tokens:
        from mixcurate.io.verify_tokens import check_tokens

        problems += check_tokens(corpus)
    if as_json:
        click.echo(json.dumps({"corpus": corpus, "ok": not problems, "problems": problems}))
    else:
        click.echo("\n".join(problems) if problems else f"{corpus}: agrees with its manifest")
    if problems:
        sys.exit(1)


@click.command()
@click.argument("a", type=click.Path())
@click.argument("b", type=click.Path())
@click.option("--exit-code", is_flag=True, help="Exit 1 when something differs.")
@JSON
def diff(a: str, b: str, exit_code: bool, as_json: bool) -> None:
    """What differs between two corpora, or two plans: settings, shares, documents."""
    from pipelines.diff import compare, render_diff

    found = compare(a, b)
    click.echo(json.dumps(found, indent=2) if as_json else render_diff(found))
    if exit_code and found["different"]:
        sys.exit(1)
