"""Why a document is drawn so often: the keys of its copies against the thresholds of its cell.

Where documents are drawn by a preference, the thresholds are also told as preferences.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pyarrow as pa

from mixcurate.io import partfiles, storage
from mixcurate.io.workdir import Workdir
from mixcurate.kernels import draw, hashing, licences
from mixcurate.kernels.allocation import CopyRule
from mixcurate.kernels.cells import SIDES, UNKNOWN, Membership
from mixcurate.kernels.draw import Pool, Thresholds
from mixcurate.kernels.tiers import tiers
from pipelines.explain_find import Place
from pipelines.explain_weight import PURPOSE, rule_of

#: Copies whose keys are shown.
_MOST = 12

Section = dict[str, Any]


def drawn_of(
    workdir: Workdir, place: Place, found: Section, plan: Section, mixture: Section
) -> Section:
    """The plan's draw: the keys of the document's copies against its cell's thresholds.

    Args:
        workdir: of the job.
        place: of the document.
        found: the sections before.
        plan: ``plan.json``.
        mixture: of the recipe.
    """
    ranges = _selected(workdir, place)
    phases = [one["phase"] for one in plan["ranges"] if one["split"] == "train"]
    stored = sum(number < len(phases) for number in ranges)
    section: Section = {"strategy": plan["strategy"], "by": plan["by"], "stored": stored}
    outside = _outside(place, plan, mixture)
    if outside is not None:
        return section | {"outside": outside, "held_out": bool(ranges), "computed": 0}
    preference = None
    if plan["draw"]["method"] == "top":
        from mixcurate.transforms.preference import preference_path

        preference = _row(preference_path(workdir, str(place.part)), place)
    cell = _cell(plan, found, preference)
    drawn = _draw(place, found, plan, mixture, cell, preference)
    about = {key: cell[key] for key in ("name", "share", "target_tokens", "tokens", "epochs")}
    if preference is not None:
        drawn |= {"preference": _preferred(plan, found, mixture, preference)}
        drawn["thresholds"] = [
            limit | _as_preference(limit["key"]) for limit in drawn["thresholds"]
        ]
    return section | {"outside": None, "held_out": False, "cell": about} | drawn


def _preferred(plan: Section, found: Section, mixture: Section, preference: Section) -> Section:
    """What the document's preference is made of, as ``transforms.preference`` makes it."""
    value, side = float(preference["preference"]), SIDES[preference["side"]]
    told = {"value": value, "side": side, "cosine": None, "rank": None, "quality": None}
    if plan["strategy"] == "target":
        return told | {"by": "likeness", "cosine": 2 * value - 1}
    told["by"], central = "centrality", side == "central"
    if not mixture["centrality"]["with_quality"]:
        return told | {"rank": value if central else 1 - value}
    quality = min(max(found["quality"]["stored"], 0.0), 1.0)
    if quality > 0:
        told["rank"] = value / quality if central else quality * (1 - value) / value
    return told | {"quality": quality}


def _as_preference(key: float) -> Section:
    """The last copy that a threshold reaches, and from which preference on a document has it."""
    copy = math.ceil(key)
    return {"copy": copy, "preference": copy - key if copy else None}


def _outside(place: Place, plan: Section, mixture: Section) -> str | None:
    """Why the document cannot be drawn at all."""
    members = Membership(plan["seed"], mixture.get("holdout", 0.0), mixture.get("subsample", 1.0))
    ids = pa.array([place.id])
    if members.left_out(ids)[0]:
        return f"mixture.subsample {members.subsample:g} leaves it out"
    if members.held_out(ids)[0]:
        return f"it is in the holdout, mixture.holdout {members.holdout:g}"
    return None


def _cell(plan: Section, found: Section, preference: Section | None) -> Section:
    """The document's cell: that of its own value on each level."""
    values = found["document"] | found["cluster"] | (preference or {})
    if "tier" in plan["by"]:
        quality = np.array([found["quality"]["stored"]], np.float32)
        values |= {"tier": int(tiers(quality, plan["tier_cuts"])[0])}
    own = {level: UNKNOWN if values[level] is None else values[level] for level in plan["by"]}
    cell: Section = next(cell for cell in plan["cells"] if cell["path"] == own)
    return cell


def _draw(
    place: Place,
    found: Section,
    plan: Section,
    mixture: Section,
    cell: Section,
    preference: Section | None,
) -> Section:
    """The keys of the document's copies, and which of them are drawn in which phase."""
    method = plan["draw"]["method"]
    weighted = method not in {"alike", "top"}
    rule, weight = CopyRule(), 1.0
    if preference is not None:
        rule, weight = CopyRule(method="top"), float(preference["preference"])
    elif weighted and found["weight"] is not None:
        rule, weight = rule_of(found["copies"]), found["weight"]["stored"]
    key = hashing.uniform_keys(pa.array([place.id]), plan["seed"], PURPOSE)
    factor = np.ones(1)
    if mixture.get("licences"):
        licence = pa.array([found["document"]["licence"]], pa.string())
        factor = licences.factors(licence, mixture["licences"])
    one = Pool(
        *(np.zeros(1, np.int32), np.ones(1, np.int64), np.array([weight]), key, rule),
        factor=factor,
        fresh=not weighted,
    )
    limits = Thresholds(
        np.array([[limit["key"] for limit in cell["thresholds"]]]),
        np.array([[limit["tie"] for limit in cell["thresholds"]]], np.uint64),
        np.zeros((1, len(cell["thresholds"])), np.int64),
    )
    most = plan["draw"]["max_copies"]
    drawn = draw.drawn(one, limits, most).phase.tolist()
    names = [phase["phase"] for phase in cell["phases"]]
    shown = min(len(drawn) + 1, most, _MOST)
    every = draw.copies(one, np.array([math.inf]), shown)
    keys = [
        {"copy": copy, "key": float(keys[0]), "hash": float(hashing.unit_interval(ties)[0])}
        | {"drawn": copy <= len(drawn)}
        | {"phase": names[drawn[copy - 1]] if copy <= len(drawn) else None}
        for copy, (_, keys, ties) in enumerate(every, 1)
    ]
    return {
        "weighted": weighted,
        "thresholds": [
            {"phase": phase, "key": float(limit)}
            for phase, limit in zip(names, limits.key[0], strict=True)
        ],
        "weight": weight,
        "hash": float(hashing.unit_interval(key)[0]),
        "licence_factor": float(factor[0]),
        "method": "alike" if method == "alike" else rule.method,
        "penalty": rule.penalty,
        "keys": keys,
        "computed": len(drawn),
    }


def _row(path: str, place: Place) -> Section:
    row: Section = partfiles.read_table(path).slice(int(place.row or 0), 1).to_pylist()[0]
    return row


def _selected(workdir: Workdir, place: Place) -> list[int]:
    """The range of shards of each copy of the document that the plan has selected."""
    path = workdir.path("_stages", "select", "selection", f"part-{place.part}.arrow")
    if not storage.exists(path):
        return []
    table = partfiles.read_batch(path)
    mine = table.column("row").to_numpy() == place.row
    ranges: list[int] = table.column("range").to_numpy()[mine].tolist()
    return ranges
