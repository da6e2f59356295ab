"""The card of quality heads: what they are, what they are worth, and what they are not for."""

from __future__ import annotations

import html
import re

import jinja2

import mixcurate
from pipelines.report import inert
from pipelines.trained import Trained

#: Characters that Markdown may take for markup.
_MARKUP = re.compile(r"([\\`*_\[\]|#~])")


def head_card(trained: Trained) -> str:
    """The card as Markdown; what comes from labels and the command line is plain text in it."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("pipelines", "."),
        autoescape=False,  # it is Markdown: `plain` escapes
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
    )
    environment.filters |= {"n": whole, "f": figure, "cell": plain, "line": on_one_line}
    command = f"mixcurate train-quality {trained.labels} --out {trained.head}"
    return environment.get_template("head_card.md.j2").render(
        trained=trained,
        encoder=trained.encoder,
        names=", ".join(dimension.name for dimension in trained.dimensions),
        command=trained.options.command or command,
        version=mixcurate.__version__,
    )


def whole(value: float) -> str:
    """A number of documents or points."""
    return f"{value:,.0f}"


def figure(value: float | None, digits: int = 3) -> str:
    """A measured figure; a dash for one that is not defined."""
    return "–" if value is None else f"{value:.{digits}f}"


def on_one_line(text: object) -> str:
    """Text from outside without line ends and what changes how text reads, for a code block."""
    return " ".join(str(inert(str(text))).split())


def plain(text: object) -> str:
    """The same with nothing that Markdown or HTML takes for markup."""
    return _MARKUP.sub(r"\\\1", html.escape(on_one_line(text), quote=False))
