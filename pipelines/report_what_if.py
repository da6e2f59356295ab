"""What the report says of other settings of alpha and tau, from the sketch of the pool."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import numpy.typing as npt

from mixcurate.kernels import what_if
from mixcurate.kernels.allocation import CopyRule
from mixcurate.kernels.what_if import Draw, Plane

Float64Array = npt.NDArray[np.float64]

#: What is tried beside the current setting: alpha and tau.
_ALPHAS = (0.0, 0.2, 0.5, 0.8, 1.0)
_TAUS = (0.05, 0.1, 0.2, 0.5, 1.0)

#: Domains in the table of shares before the others are added up.
_MOST_SHARES = 12


def what_if_tables(
    columns: dict[str, npt.NDArray[Any]], pool: dict[str, Any], names: list[str]
) -> dict[str, Any]:
    """What other settings would draw, and which of these are the current ones.

    Args:
        columns: of ``plane.parquet``.
        pool: ``pool.json``.
        names: of the domains.
    """
    plane = Plane(
        domain=columns["domain"],
        quality_bin=columns["quality_bin"],
        diversity_bin=columns["diversity_bin"],
        documents=columns["n_documents"],
        tokens=columns["n_tokens"],
    )
    cap = pool["max_epochs"] if pool["max_epochs"] is not None else float("inf")
    exact = pool["exact"]
    draw = Draw(
        rule=CopyRule(pool["method"], pool["penalty"], cap),
        target=float(pool[f"target_{exact}"]),
        exact=exact,
        within=pool["within"],
    )
    alpha, tau = float(pool["alpha"]), float(pool["tau"])
    tried = sorted({(alpha, tau), *itertools.product(_ALPHAS, _TAUS)})
    axes = {
        "alpha": [(one, tau) for one in sorted({alpha, *_ALPHAS})],
        "tau": [(alpha, one) for one in sorted({tau, *_TAUS})],
    }
    asked = sorted({*tried, *axes["alpha"], *axes["tau"]})
    found = dict(zip(asked, what_if.what_if(plane, draw, asked, len(names)), strict=True))
    now = found[alpha, tau]
    along = {axis: [found[pair] for pair in pairs] for axis, pairs in axes.items()}
    natural = np.bincount(plane.domain, plane.tokens, len(names)) / max(plane.tokens.sum(), 1)
    return {
        "rows": [_what_if_row(found[pair], now, names) for pair in tried],
        "alpha": alpha,
        "tau": tau,
        "resolution": now.resolution,
        "along": along,
        "shares": _shares(natural, now, along, names),
    }


def _what_if_row(
    outcome: what_if.Outcome, now: what_if.Outcome, names: list[str]
) -> dict[str, Any]:
    change = outcome.shares - now.shares
    most = int(np.argmax(np.abs(change)))
    return {
        "outcome": outcome,
        "current": outcome is now,
        "worth": outcome.effective_tokens / outcome.tokens if outcome.tokens else None,
        "change": None if outcome is now else float(change[most]),
        "domain": names[most] if names else "",
    }


def _shares(
    natural: Float64Array,
    now: what_if.Outcome,
    along: dict[str, list[what_if.Outcome]],
    names: list[str],
) -> list[dict[str, Any]]:
    """Shares of tokens by domain along each axis, the largest now first."""
    order = np.argsort(-now.shares, kind="stable").tolist()
    groups = [(names[i], [i]) for i in order[:_MOST_SHARES]]
    if rest := order[_MOST_SHARES:]:
        groups.append((f"{len(rest):,} other" + "s" * (len(rest) > 1), rest))
    return [
        {
            "name": name,
            "pool": float(natural[rows].sum()),
            "now": float(now.shares[rows].sum()),
        }
        | {axis: [float(o.shares[rows].sum()) for o in found] for axis, found in along.items()}
        for name, rows in groups
    ]
