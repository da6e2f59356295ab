"""Which clusters are kept and which domain each belongs to: decided once, kept for later runs."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt

from mixcurate.io import partfiles, storage
from mixcurate.io.workdir import Workdir
from mixcurate.kernels import hashing
from mixcurate.transforms.cluster_files import CLUSTER, grouping_path, groups_path
from mixcurate.transforms.label import domain_of_group_path, domain_of_path

Int32Array = npt.NDArray[np.int32]


@dataclasses.dataclass(frozen=True)
class Decision:
    """Which clusters stay, and which domain each belongs to.

    Attributes:
        reasons: why a cluster is dropped, and None for a kept one.
        details: the numbers behind it.
        domain: int32 ``[k]``, -1 where a cluster is not kept.
        names: of the domains.
        keywords: of the domains.
        ids: of the domains.
        automatic: domains as they were before a person's file, for that file.
        notes: what is worth telling.
    """

    reasons: list[str | None]
    details: list[str | None]
    domain: Int32Array
    names: list[str]
    keywords: list[list[str]]
    ids: list[str]
    automatic: list[dict[str, Any]]
    notes: list[str]


@dataclasses.dataclass(frozen=True)
class Tiered:
    """Domains after each is divided by quality; number = domain * tiers + tier.

    Attributes:
        bounds: of quality between tiers; empty without tiers.
        names: of all domains, a tier each.
        ids: of all domains.
        base: the undivided domain of each.
    """

    bounds: tuple[float, ...]
    names: list[str]
    ids: list[str]
    base: list[int]


def divide(decision: Decision, bounds: tuple[float, ...]) -> Tiered:
    """Two-axis domains: cluster by tier of quality, the lowest tier first."""
    if not bounds:
        return Tiered((), decision.names, decision.ids, list(range(len(decision.names))))
    edges = ["0", *(f"{bound:g}" for bound in bounds), "1"]
    tiers = [f"quality {low} to {high}" for low, high in zip(edges, edges[1:], strict=False)]
    pairs = [(base, tier) for base in range(len(decision.names)) for tier in tiers]
    return Tiered(
        bounds,
        [f"{decision.names[base]} ({tier})" for base, tier in pairs],
        [hashing.fingerprint(decision.ids[base], tier) for base, tier in pairs],
        [base for base, _ in pairs],
    )


def write_domain_of(workdir: Workdir, decision: Decision, tiered: Tiered) -> str:
    """Write the domain of each cluster and tier; its path."""
    tiers = len(tiered.bounds) + 1
    base = decision.domain[:, None]
    domain_of = np.where(base >= 0, base * tiers + np.arange(tiers), -1).astype(np.int32)
    path = domain_of_path(workdir)
    partfiles.write_array(path, domain_of)
    if storage.exists(groups_path(workdir)):
        groups = partfiles.read_array(groups_path(workdir))
        count = partfiles.read_array(grouping_path(workdir)).shape[1]  # some may have no cluster
        of_group = np.full((count, tiers), -1, np.int32)
        kept = decision.domain >= 0  # the clusters of a group that are kept are in one domain
        of_group[groups[kept]] = domain_of[kept]
        partfiles.write_array(domain_of_group_path(workdir), of_group)
    return path


def decision_path(workdir: Workdir) -> str:
    """Where the decision is kept."""
    return workdir.path("_stages", CLUSTER, "decision.json")


def write_decision(workdir: Workdir, decision: Decision, tiered: Tiered) -> None:
    """Keep a decision for later runs."""
    value = dataclasses.asdict(decision) | {
        "domain": decision.domain.tolist(),
        "bounds": tiered.bounds,
    }
    storage.write_json(decision_path(workdir), value)


def read_decision(workdir: Workdir) -> tuple[Decision, tuple[float, ...]]:
    """The decision of an earlier run, and its bounds of quality between tiers."""
    value = storage.read_json(decision_path(workdir))
    bounds = tuple(value.pop("bounds"))
    domain = np.array(value.pop("domain"), np.int32)
    return Decision(domain=domain, **value), bounds
