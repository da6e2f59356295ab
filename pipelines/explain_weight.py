"""The weight of a document, and the hash that rounds its copies."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mixcurate.io import partfiles, storage
from mixcurate.io.workdir import Workdir
from mixcurate.kernels import hashing
from mixcurate.kernels.allocation import CopyRule, Scale
from mixcurate.kernels.weights import RANK_BINS

Float64Array = npt.NDArray[np.float64]

#: What the hash is for, as score and plan name it.
PURPOSE = "draw"

Section = dict[str, Any]


def weight_of(workdir: Workdir, pool: Section, scores: Section, domain: int) -> Section:
    """p and the weight, from where quality and diversity lie in the pool or the domain.

    Args:
        workdir: of the job.
        pool: ``pool.json``.
        scores: of the document: quality, diversity, weight.
        domain: of the document.
    """
    group = next(g for g in pool["groups"] if g["group"] in {-1, domain})
    alpha, tau = pool["alpha"], pool["tau"]
    names = ("quality", "diversity")
    units = {name: _unit(np.array(scores[name]), group[name]) for name in names}
    if pool["normalise"] == "rank":
        units = _ranks(workdir, units, group)
    plain = {name: float(value) for name, value in units.items()}
    p = alpha * plain["diversity"] + (1 - alpha) * plain["quality"]
    return {
        "alpha": alpha,
        "tau": tau,
        "normalise": pool["normalise"],
        "within": pool["within"],
        "ranges": {name: group[name] for name in names},
        "values": {name: scores[name] for name in names},
        "units": plain,
        "p": p,
        "mean": group["mean"],
        "scale": group["scale"],
        "whole": group.get("whole", 0),
        "computed": math.exp((p - 1) / tau) / group["mean"] if group["mean"] > 0 else None,
        "stored": scores["weight"],
    }


def _unit(values: Float64Array, limits: list[float]) -> Float64Array:
    least, most = limits
    return (values - least) / (most - least) if most > least else np.full(values.shape, 0.5)


def _ranks(workdir: Workdir, units: dict[str, Float64Array], group: Section) -> dict[str, Any]:
    """The share of the group that each score is above, ties counting half.

    Ranks are not kept: the two columns of all scores are read, which takes less than finding an id.
    """
    below, same, documents = dict.fromkeys(units, 0), dict.fromkeys(units, 0), 0
    own = {name: int(_bins(value)) for name, value in units.items()}
    for name in storage.list_names(workdir.path("scores")):
        if not name.startswith("part-"):
            continue
        table = partfiles.read_table(workdir.path("scores", name), [*units, "weight"])
        mine = table.column("weight").to_numpy() > 0
        if group["group"] >= 0:
            assigned = partfiles.read_table(workdir.path("assignments", name), ["domain"])
            mine &= assigned.column("domain").to_numpy() == group["group"]
        documents += int(mine.sum())
        for score in units:
            values = table.column(score).to_numpy()[mine].astype(np.float64)
            bins = _bins(_unit(values, group[score]))
            below[score] += int((bins < own[score]).sum())
            same[score] += int((bins == own[score]).sum())
    return {name: (below[name] + same[name] / 2) / max(documents, 1) for name in units}


def _bins(units: Float64Array) -> npt.NDArray[np.int64]:
    return np.minimum((units * RANK_BINS).astype(np.int64), RANK_BINS - 1)


def copies_of(pool: Section, weight: Section, whole_id: str, seed: int, stored: int) -> Section:
    """Expected copies, and how the document's hash rounds them.

    Args:
        pool: ``pool.json``.
        weight: the section on the weight.
        whole_id: id of the document.
        seed: of the recipe.
        stored: copies in ``scores/``.
    """
    rule = rule_of(pool)
    key = hashing.uniform_keys(pa.array([whole_id]), seed, PURPOSE)
    scale = Scale(weight["scale"], weight["whole"])
    expected = rule.expected(np.array([weight["stored"]]), scale)
    floor = math.floor(expected[0])
    return {
        "method": pool["method"],
        "penalty": pool["penalty"],
        "max_epochs": pool["max_epochs"],
        "scale": scale.value,
        "whole": scale.whole,
        "weight": weight["stored"],
        "expected": float(expected[0]),
        "floor": floor,
        "rest": float(expected[0]) - floor,
        "hash": float(hashing.unit_interval(key)[0]),
        "computed": int(rule.copies(expected, key)[0]),
        "stored": stored,
    }


def rule_of(pool: Section) -> CopyRule:
    """How the score stage made copies of weights."""
    cap = pool["max_epochs"]
    return CopyRule(pool["method"], pool["penalty"], math.inf if cap is None else float(cap))
