"""The plan's table: cells, phases, the holdout, and only the largest of many."""

from __future__ import annotations

from typing import Any

import pytest

from pipelines.inspect import render
from pipelines.summary import plan_table


def plan_of(n: int, by: list[str], ranges: list[str]) -> dict[str, Any]:
    cells = [
        {"cell": i, "name": f"name-{i}", "available_tokens": 50, "target_tokens": 10 * i}
        | {"tokens": 10 * i, "share": 0.1, "epochs": 0.2 * i, "effective_tokens": 9 * i}
        | {"documents": i}
        for i in range(n)
    ]
    sizes = {"documents": 7, "tokens": 70, "shards": 2}
    return {
        "strategy": "uniform", "by": by, "budget_tokens": 1_000, "documents": 12, "tokens": 1_005,
        "shards": 4, "cells": cells,
        "ranges": [{"range": i, "phase": name} | sizes for i, name in enumerate(ranges)],
    }  # fmt: skip


def test_domains_are_told_with_what_repeats_are_worth() -> None:
    text = plan_table(plan_of(3, ["domain"], ["main"]))
    assert " domain " in text
    assert "name-2" in text
    last = text.splitlines()[-1]
    assert last == (
        "12 documents, 1,005 tokens in 4 shards; with repeats worth 27 tokens that are seen once"
    )


@pytest.mark.parametrize("n", [60, 5_000])
def test_of_many_cells_the_largest_are_shown(n: int) -> None:
    text = plan_table(plan_of(n, ["source", "tier"], ["stable", "anneal", "holdout"]))
    assert " source:tier " in text
    assert text.count("name-") == 60
    assert f"name-{n - 1} " in text
    assert (f"and {n - 60:,} smaller cells" in text) == (n > 60)
    assert "holdout: 7 documents, 70 tokens in 2 shards" in text.splitlines()[-1]


def test_inspect_shows_the_same() -> None:
    plan = plan_of(150, ["source"], ["stable", "anneal"])
    text = render(
        {"kind": "workdir", "path": "w", "stages": [], "rejected": [], "plan": plan, "corpus": None}
    )
    assert "and 50 smaller cells" in text
    assert "anneal" in text
    assert "name-149" in text
