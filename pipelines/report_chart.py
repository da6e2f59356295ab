"""The report's map as a page of its own, for a sandboxed frame: Bokeh draws it.

Bokeh's model of the chart holds no word of any document: texts are data that the page's script
hands over, so that they are never part of a markup or of a program. What Bokeh shows of them, in
tooltips, it escapes; and the policy of the page runs no script but the two whose hashes it has.
"""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import importlib.metadata
import importlib.resources
import json
import re
from collections.abc import Callable
from typing import Any

import jinja2
import numpy as np
from jinja2.utils import htmlsafe_json_dumps
from markupsafe import Markup, escape

from mixcurate.io import partfiles, storage
from mixcurate.io.workdir import Workdir
from mixcurate.kernels.hashing import fingerprint
from mixcurate.transforms.cluster_files import map_path

#: Colours that people who are blind to some can tell apart (Okabe & Ito, 2008; Wong, Nature Methods
#: 8:441, 2011), without black, which a dark page swallows. Domains beyond seven get other markers.
_COLOURS = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442"]
_DROPPED = "#98a1ab"

#: Bokeh's markers, and their outlines for the legend, in a box from -8 to 8.
_MARKERS = {
    "circle": "M-6 0a6 6 0 1 0 12 0a6 6 0 1 0-12 0",
    "triangle": "M0-7L7 6H-7Z",
    "square": "M-5.5-5.5h11v11h-11Z",
    "diamond": "M0-8L6 0L0 8L-6 0Z",
    "inverted_triangle": "M0 7L7-6H-7Z",
    "plus": "M-2-7h4v5h5v4h-5v5h-4v-5h-5v-4h5Z",
    "hex": "M-7 0L-3.5-6h7L7 0L3.5 6h-7Z",
}

#: First version of Bokeh whose tooltips can be limited to one document.
_OLDEST = (3, 8)

#: Characters of all texts together: with more documents each has fewer, down to the least.
_CHARACTERS = 800_000
_LEAST = 100
_LONGEST_URL = 200

_TOOLTIP = (
    '<div style="max-width:360px;font:13px/1.4 system-ui,sans-serif;overflow-wrap:anywhere">'
    '<b dir="auto">@domain_name</b>'
    '<div dir="auto" style="margin:4px 0;white-space:pre-line">@excerpt</div>'
    '<div style="opacity:.75"><bdi>@source</bdi> &middot; <bdi>@language</bdi> &middot; '
    'quality @quality{0.00}</div><div style="opacity:.75"><bdi>@url</bdi></div></div>'
)


@dataclasses.dataclass(frozen=True)
class Chart:
    """What the report says of the map, and the map itself.

    Attributes:
        documents: drawn on it.
        page: the frame's page, escaped for an attribute; None without a Bokeh to draw it.
        policy: directives to add to the report's content security policy.
    """

    documents: int
    page: Markup | None
    policy: str


def chart(
    workdir: Workdir,
    domains: list[dict[str, Any]],
    environment: jinja2.Environment,
    clean: Callable[[str], str],
) -> Chart | None:
    """The map of a workdir, or None where it has none.

    Args:
        workdir: of a job.
        domains: rows of ``domains.parquet``.
        environment: renders ``report_map.html.j2`` and ``report_map.js.j2``.
        clean: makes a text harmless to read (``inert``).
    """
    if not storage.exists(map_path(workdir)):
        return None
    rows = partfiles.read_table(map_path(workdir)).to_pydict()
    count = len(rows["x"])
    if count == 0:
        return None
    if not _drawable():
        return Chart(count, None, "")
    library = _library()
    script = environment.get_template("report_map.js.j2").render()
    legend = _legend(domains, rows["domain"])
    page = environment.get_template("report_map.html.j2").render(
        library=Markup(library),
        script=Markup(script),
        data=htmlsafe_json_dumps(_data(rows, _kept_model(workdir), legend, clean), dumps=_compact),
        legend=legend,
        documents=count,
    )
    policy = f"script-src {_hash(library)} {_hash(script)}; img-src data:"
    return Chart(count, Markup(escape(page)), policy)


def _drawable() -> bool:
    """Whether there is a Bokeh that knows what is asked of it."""
    try:
        version = importlib.metadata.version("bokeh")
    except importlib.metadata.PackageNotFoundError:
        return False
    return tuple(int(number) for number in version.split(".")[:2]) >= _OLDEST


def _compact(value: Any, **_: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _hash(script: str) -> str:
    """A script's name in a content security policy."""
    digest = hashlib.sha256(script.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def _library() -> str:
    """Bokeh's own program."""
    from bokeh.resources import Resources

    found = "\n".join(Resources("inline", components=["bokeh"], log_level="warn").js_raw)
    text = found.replace("\r\n", "\n")  # as a browser reads it: its hash must be the same
    if re.search(r"<!--|<(/)?script", text, re.IGNORECASE):
        raise ValueError("this version of Bokeh cannot be put into a page as it is")
    return text


def _legend(domains: list[dict[str, Any]], drawn: list[int]) -> list[dict[str, Any]]:
    """Name, colour and marker of each domain, and of what is not in the pool, if there is any."""
    numbers, counts = np.unique(drawn, return_counts=True)
    count = dict(zip(numbers.tolist(), counts.tolist(), strict=True))
    shapes = list(_MARKERS)
    entries = [
        {
            "domain": domain["domain"],
            "name": domain["name"],
            "colour": _COLOURS[domain["domain"] % len(_COLOURS)],
            "marker": shapes[domain["domain"] // len(_COLOURS) % len(shapes)],
        }
        for domain in domains
    ]
    if -1 in count:
        entries.append({"domain": -1, "name": "dropped", "colour": _DROPPED, "marker": "circle"})
    return [
        entry | {"count": count.get(entry["domain"], 0), "path": _MARKERS[entry["marker"]]}
        for entry in entries
    ]


def _data(
    rows: dict[str, list[Any]],
    model: dict[str, Any],
    legend: list[dict[str, Any]],
    clean: Callable[[str], str],
) -> dict[str, Any]:
    """What the script needs: the chart's model, and the columns of its points."""
    most = max(_LEAST, _CHARACTERS // len(rows["x"]))
    place = {entry["domain"]: number for number, entry in enumerate(legend)}
    return {
        "chart": model,
        "legend": [
            {"name": clean(e["name"]), "colour": e["colour"], "marker": e["marker"]} for e in legend
        ],
        "x": [round(value, 4) for value in rows["x"]],
        "y": [round(value, 4) for value in rows["y"]],
        "entry": [place[number] for number in rows["domain"]],
        "excerpt": [clean(_cut(text, most)) for text in rows["excerpt"]],
        "url": [clean(_cut(url or "", _LONGEST_URL)) for url in rows["url"]],
        "source": [clean(source) for source in rows["source"]],
        "language": [clean(language) for language in rows["language"]],
        "quality": [round(value, 3) for value in rows["quality"]],
    }


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[:most].rstrip() + " …"


def _kept_model(workdir: Workdir) -> dict[str, Any]:
    """The chart's model as the last report left it: Bokeh takes a second to make it again."""
    path = storage.join(workdir.root, "_stages", "report", "chart.json")
    maker = importlib.resources.files("pipelines").joinpath("report_chart.py").read_text()
    mark = fingerprint(maker, importlib.metadata.version("bokeh"))
    kept = storage.read_json(path) if storage.exists(path) else {}
    if kept.get("fingerprint") != mark:
        # as text: a report is the same bytes whether its model was kept or made
        kept = {"fingerprint": mark, "model": json.dumps(_model())}
        storage.write_json(path, kept)
    model: dict[str, Any] = json.loads(kept["model"])
    return model


def _model() -> dict[str, Any]:
    """The chart without its points, as Bokeh's JSON; the same for any corpus."""
    from bokeh import models
    from bokeh.embed import json_item
    from bokeh.plotting import figure

    pan, wheel = models.PanTool(), models.WheelZoomTool(modifiers={"ctrl": True})
    buttons = [models.BoxZoomTool(), models.ZoomInTool(), models.ZoomOutTool(), models.ResetTool()]
    plot = figure(
        x_range=models.Range1d(start=-1.06, end=1.06),
        y_range=models.Range1d(start=-1.06, end=1.06),
        tools=[pan, wheel, *buttons],
        active_scroll=wheel,
        active_drag=pan,
        sizing_mode="stretch_both",
        background_fill_color=None,
        border_fill_color=None,
        outline_line_color=None,
        toolbar_location="above",
    )
    plot.toolbar.logo = None
    plot.axis.visible = False
    plot.grid.visible = False
    names = ["x", "y", "colour", "marker", "domain_name", "excerpt", "url", "source", "language"]
    source = models.ColumnDataSource({name: [] for name in [*names, "quality"]}, name="points")
    points = plot.scatter(
        "x",
        "y",
        source=source,
        view=models.CDSView(filter=models.AllIndices()),
        marker="marker",
        size=8,
        fill_color="colour",
        fill_alpha=0.8,
        line_color="#76808c",
        line_alpha=0.7,
        line_width=0.6,
        nonselection_fill_alpha=0.06,
        nonselection_line_alpha=0.06,
        name="scatter",
    )
    plot.add_tools(models.HoverTool(renderers=[points], tooltips=_TOOLTIP, limit=1))
    text = json.dumps(json_item(plot))
    # Bokeh numbers its models by a counter of the process; a report must not tell how many it made
    numbers: dict[str, str] = {}
    text = re.sub(r'"p\d+"', lambda m: numbers.setdefault(m[0], f'"m{len(numbers)}"'), text)
    model: dict[str, Any] = json.loads(text)
    return model
