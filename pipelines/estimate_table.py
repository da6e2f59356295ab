"""How a prediction of a stage is shown to people."""

from __future__ import annotations

import io
from typing import Any

from rich.console import Console
from rich.table import Table

from mixcurate.kernels.estimate import Interval

#: Numbers of machines to show the hours for.
_MACHINES = (1, 4, 16, 64)


def render_estimate(found: dict[str, Any]) -> str:
    """The numbers of ``estimate_embed`` for people."""
    table = Table(title=f"plan: embed with {found['model']}", show_header=False)
    table.add_column()
    table.add_column(justify="right")
    table.add_column()
    table.add_row("runs as", "", found["runs"])
    left, documents = found["documents_left"], found["documents"]
    table.add_row("documents", f"{left:,}", f"left of {documents:,}" if left < documents else "")
    if left:
        tokens, rate, hours = (Interval(**found[name]) for name in ("tokens", "rate", "hours"))
        sampled = f"{found['documents_sampled']:,} documents sampled"
        table.add_row("tokens", f"{tokens.value:,.0f}", f"{_error(tokens)}, {sampled}")
        source = found["rate_source"]
        table.add_row("tokens/s", f"{rate.value:,.0f}", f"{_error(rate)}, {source}")
        for machines in [n for n in _MACHINES if n <= found["parts_left"]]:
            name = f"time on {machines} machine" + "s" * (machines > 1)
            table.add_row(name, *_time(hours.times(1 / machines)))
        if found["cost"]:
            cost = Interval(**found["cost"])
            unit = found["currency"] or ""
            at = f"{_range(cost)}, {found['price_per_hour']:g} an hour each"
            table.add_row(f"cost {unit}".strip(), _number(cost.value), at)
    out = io.StringIO()
    Console(file=out, width=120).print(table)
    return out.getvalue().rstrip("\n")


def _error(interval: Interval) -> str:
    """How far off the value may be, if about the same both ways, else its bounds."""
    up, down = interval.high - interval.value, interval.value - interval.low
    if up == down == 0:
        return "exact"
    if up > 1.5 * down:
        return f"{interval.low:,.0f} to {interval.high:,.0f}"
    return f"± {interval.relative:.1%}"


def _time(hours: Interval) -> tuple[str, str]:
    """A time and its bounds in a unit that suits it."""
    unit, per_hour = "h", 1
    if hours.value < 2:
        unit, per_hour = ("min", 60) if hours.value > 2 / 60 else ("s", 3600)
    time = hours.times(per_hour)
    return f"{_number(time.value)} {unit}", f"{_range(time)} {unit}"


def _range(interval: Interval) -> str:
    return f"{_number(interval.low)} to {_number(interval.high)}"


def _number(value: float) -> str:
    """Three digits of any size."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
