"""How often a document is drawn: its weight, the hash that rounds its copies, the plan's draw."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mixcurate.io import partfiles, storage
from mixcurate.io.workdir import Workdir
from mixcurate.kernels import draw, hashing, licences
from mixcurate.kernels.allocation import CopyRule, Scale
from mixcurate.kernels.draw import Pool, Threshold
from mixcurate.kernels.weights import RANK_BINS
from pipelines.explain_find import Place

Float64Array = npt.NDArray[np.float64]

#: What the hash is for, as score and plan name it.
PURPOSE = "draw"

#: Most copies of a document where only its weight bounds them, as in the plan.
_NO_LIMIT = 1 << 30

#: Copies whose keys are shown.
_MOST = 12

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
    rule = _rule(pool)
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


def _rule(pool: Section) -> CopyRule:
    cap = pool["max_epochs"]
    return CopyRule(pool["method"], pool["penalty"], math.inf if cap is None else float(cap))


def drawn_of(
    workdir: Workdir, place: Place, found: Section, plan: Section, mixture: Section
) -> Section:
    """The plan's draw: the keys of the document's copies against its domain's threshold.

    Args:
        workdir: of the job.
        place: of the document.
        found: the sections before.
        plan: ``plan.json``.
        mixture: of the recipe.
    """
    domain = plan["domains"][found["cluster"]["domain"]]
    weighted = plan["strategy"] == "samplemix"
    pool = None if found["weight"] is None else found["copies"]
    rule = _rule(pool) if weighted and pool is not None else CopyRule()
    weight = found["weight"]["stored"] if weighted and pool is not None else 1.0
    key = hashing.uniform_keys(pa.array([place.id]), plan["seed"], PURPOSE)
    factor = 1.0
    if mixture.get("licences"):
        licence = pa.array([found["document"]["licence"]], pa.string())
        factors = licences.factors(licence, mixture["licences"])
        key, factor = draw.prefer(key, factors), float(factors[0])
    limit = Threshold(**domain["threshold"])
    one = Pool(np.zeros(1, np.int32), np.ones(1, np.int64), np.array([weight]), key, rule)
    most = _NO_LIMIT if weighted else math.ceil(mixture.get("max_epochs") or 1)
    drawn = len(draw.drawn(one, [limit], most)[0])
    keys = [
        {"copy": copy, "key": float(rule.keys_of_copies(one.weight, key, copy)[0][0])}
        | {"drawn": copy <= drawn}
        for copy in range(1, min(drawn + 1, most, _MOST) + 1)
    ]
    return {
        "strategy": plan["strategy"],
        "weighted": weighted,
        "domain": domain["name"],
        "share": domain["share"],
        "target_tokens": domain["target_tokens"],
        "tokens": domain["tokens"],
        "epochs": domain["epochs"],
        "threshold": limit.key,
        "weight": weight,
        "hash": float(hashing.unit_interval(key)[0]),
        "licence_factor": factor,
        "method": rule.method,
        "penalty": rule.penalty,
        "keys": keys,
        "computed": drawn,
        "stored": _selected(workdir, place),
    }


def _selected(workdir: Workdir, place: Place) -> int:
    """How many copies of the document the plan has selected."""
    path = workdir.path("_stages", "select", "selection", f"part-{place.part}.parquet")
    if not storage.exists(path):
        return 0
    rows = partfiles.read_table(path, ["row"]).column("row").to_numpy()
    return int((rows == place.row).sum())
