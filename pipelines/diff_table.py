"""What differs between two corpora or two plans, as text for a terminal."""

from __future__ import annotations

import json
from typing import Any

#: Entries of a list before the rest is only counted.
_ROWS = 20

#: Characters of a name, and of a value.
_NAME, _VALUE = 40, 60


def render_diff(found: dict[str, Any]) -> str:
    """What ``compare`` found, in lines of text."""
    lines = [f"A  {_visible(found['a'])}", f"B  {_visible(found['b'])}"]
    if not found["different"]:
        shards = found.get("shards")
        files = f": {shards['same']:,} files of shards are the same" if shards else ""
        return "\n".join([*lines, f"no difference between these two {_plural(found)}{files}"])
    for name in ("settings", "totals"):
        lines += _values(name, found[name])
    for name in ("domains", "cells", "sources", "licences", "languages", "ranges"):
        lines += _shares(name, found[name])
    if found["kind"] == "corpus":
        lines += _documents(found)
    return "\n".join(lines)


def _plural(found: dict[str, Any]) -> str:
    return "corpora" if found["kind"] == "corpus" else "plans"


def _values(title: str, changed: list[dict[str, Any]]) -> list[str]:
    if not changed:
        return []
    rows = [f"  {entry['key']}: {_value(entry['a'])} -> {_value(entry['b'])}" for entry in changed]
    return ["", title, *_most(rows)]


def _shares(title: str, changed: list[dict[str, Any]]) -> list[str]:
    if not changed:
        return []
    head = f"  {'':<{_NAME}}{'A':>9}{'B':>9}{'change':>10}{'tokens A':>18}{'tokens B':>18}"
    rows = [
        f"  {_name(entry['name'])}{_share(entry['a'])}{_share(entry['b'])}"
        f"{entry['change']:>+10.3%}{_tokens(entry['a'])}{_tokens(entry['b'])}"
        for entry in changed
    ]
    return ["", title, head, *_most(rows)]


def _documents(found: dict[str, Any]) -> list[str]:
    shards = found["shards"]
    lines = [
        "",
        "files of shards",
        f"  {shards['same']:,} the same, {shards['changed']:,} changed, "
        f"{shards['only_a']:,} only in A, {shards['only_b']:,} only in B",
    ]
    if found["documents"] is None:
        return [*lines, "", "documents", "  not compared: one of the two has no lineage"]
    for split, counts in found["documents"].items():
        lines += [
            "",
            f"documents of {split}",
            f"  {counts['both']:,} in both ({counts['copies_changed']:,} of them more or less "
            f"often), {counts['only_a']:,} only in A, {counts['only_b']:,} only in B",
        ]
    return lines


def _most(rows: list[str]) -> list[str]:
    rest = len(rows) - _ROWS
    return rows if rest <= 0 else [*rows[:_ROWS], f"  and {rest:,} more (--json shows all)"]


def _name(name: object) -> str:
    text = _visible(str(name))
    return f"{text if len(text) < _NAME else text[: _NAME - 2] + '…':<{_NAME}}"


def _share(side: dict[str, Any] | None) -> str:
    return f"{'-':>9}" if side is None or side["share"] is None else f"{side['share']:>9.3%}"


def _tokens(side: dict[str, Any] | None) -> str:
    return f"{'-':>18}" if side is None or side["tokens"] is None else f"{side['tokens']:>18,}"


def _value(value: object) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    text = _visible(value if isinstance(value, str) else json.dumps(value, sort_keys=True))
    return text if len(text) <= _VALUE else text[: _VALUE - 1] + "…"


def _visible(text: str) -> str:
    """Text in which no character moves the cursor or turns the direction of what follows."""
    return "".join(c if c.isprintable() else " " if c.isspace() else "\ufffd" for c in text)
