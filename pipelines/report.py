"""The report of a workdir: one HTML file with nothing outside it, and no script but the map's.

Everything that comes from documents is data: jinja escapes it, and characters that could change
how the text around them reads (controls, direction overrides) are replaced before that. The map is
a page in a sandboxed frame, and scripts run by their hashes alone.
"""

from __future__ import annotations

import unicodedata
from typing import Any

import jinja2
from markupsafe import Markup

from mixcurate.errors import RequestError
from mixcurate.io import storage
from mixcurate.io.workdir import DATA_FOLDERS, Workdir
from pipelines.report_chart import chart
from pipelines.report_data import gather

_NAME = "report.html"

#: Categories of characters that are not shown as they are, and those of them that only join words.
_HIDDEN = {"Cc", "Cf", "Cs", "Co", "Cn"}
_HARMLESS = "\n\t\u00ad\u200c\u200d"


def write_report(workdir: Workdir, corpus: str) -> str:
    """Write ``report.html`` into the workdir from whatever stages have finished.

    Args:
        workdir: of a job.
        corpus: its corpus folder; read only when the job has written it.

    Returns:
        Path of the report.

    Raises:
        RequestError: no stage has finished.
    """
    if not any(storage.exists(workdir.success_path(stage)) for stage in DATA_FOLDERS):
        raise RequestError(
            f"there is nothing to report: no stage has finished in {workdir.root}; run it first: "
            f"mixcurate run RECIPE"
        )
    path = workdir.path(_NAME)
    environment, found = _environment(), gather(workdir, corpus)
    drawn = chart(workdir, found["domains"], environment, inert) if found["domains"] else None
    text = environment.get_template("report.html.j2").render(found, map=drawn)
    storage.write_bytes(path, text.encode())
    return path


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("pipelines", "."),
        autoescape=True,
        finalize=inert,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = number
    environment.filters["percent"] = percent
    return environment


def inert(value: Any) -> Any:
    """Text with every control, override and unassigned character made visible as U+FFFD.

    Tabs, line ends and joiners stay. It runs on whatever the template prints, before the escaping.
    """
    if not isinstance(value, str) or isinstance(value, Markup) or value.isprintable():
        return value
    return "".join(
        c if c in _HARMLESS or unicodedata.category(c) not in _HIDDEN else "\ufffd" for c in value
    )


def number(value: float | None, digits: int = 0) -> str:
    """With thousands separators."""
    return "–" if value is None else f"{value:,.{digits}f}"


def percent(share: float, digits: int = 2) -> str:
    """A share as a percentage."""
    return f"{share:.{digits}%}"
