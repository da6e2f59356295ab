"""Entropies of cells by the steps of the pass, one part after another, without Beam."""

from __future__ import annotations

from mixcurate.io.workdir import Workdir
from mixcurate.transforms.entropy import (
    EntropyPlan,
    KeepSmallest,
    SampleTexts,
    SampleVectors,
    measure,
)


def measured(workdir: Workdir, plan: EntropyPlan, parts: list[str]) -> dict[int, list[float]]:
    """What is measured of each cell."""
    vectors = plan.kind == "von_neumann"
    sample = (SampleVectors if vectors else SampleTexts)(workdir, plan)
    keep = KeepSmallest(plan.size, vectors)
    totals: dict[int, bytes] = {}
    for part in parts:
        for number, data in sample.process(part):
            totals[number] = keep.add_input(totals.get(number, b""), data)
    return dict(measure((n, data), plan.kind, plan.size) for n, data in totals.items())
