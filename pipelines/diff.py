"""What differs between two corpora, or two plans."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from mixcurate.errors import RequestError
from mixcurate.io import lineage, storage
from mixcurate.io.corpus import MANIFEST
from mixcurate.kernels.hashing import UInt64Array, uniform_keys
from mixcurate.kernels.id_sets import Overlap, overlap
from pipelines.diff_table import render_diff

__all__ = ["compare", "render_diff"]

#: Copies whose hashes are held at once, of both corpora: 8 bytes each, and as much again to sort.
_HELD = 1 << 26

#: What was asked for and what with; a change of any may change every document.
_SETTINGS = (
    "name",
    "mixcurate_version",
    "recipe_fingerprint",
    "seed",
    "strategy",
    "by",
    "tokenizer",
    "encoder",
    "mixture",
    "budget_tokens",
    "notes",
)

_TOTALS = ("n_documents", "n_tokens", "documents", "tokens", "bytes", "shards")

#: Lists of shares, and the keys by which their entries are matched, best first.
_SHARES = {
    "domains": ("domain_id", "name"),
    "cells": ("name",),
    "sources": ("name",),
    "licences": ("name",),
    "languages": ("name",),
    "ranges": ("phase",),
}

#: Under which number a domain is listed, and what follows from the seed.
_UNIMPORTANT = {
    *("domain", "cell", "path", "range", "tokens_by_domain", "tokens_by_cell"),
    *("thresholds", "largest_document"),
}


@dataclasses.dataclass(frozen=True)
class _Side:
    """One of the two: what it is, where, and what is told of it."""

    kind: str
    path: str
    told: dict[str, Any]
    has_files: bool


def compare(a: str, b: str) -> dict[str, Any]:
    """What differs between two corpora or two plans.

    Args:
        a: folder of a corpus, its ``manifest.json``, a workdir, or its ``plan.json``.
        b: another of the same kind.

    Returns:
        ``kind``, ``a``, ``b``, ``different``, ``settings`` and ``totals`` that differ, by kind of
        share the entries that differ, and of corpora ``documents`` (by split, from their lineage)
        and ``shards``.

    Raises:
        RequestError: one of them is neither, or they are not of one kind.
    """
    first, second = _read(a), _read(b)
    if first.kind != second.kind:
        raise RequestError(
            f"{a} is a {first.kind} and {b} is a {second.kind}; give two of the same kind"
        )
    found: dict[str, Any] = {
        "kind": first.kind,
        "a": a,
        "b": b,
        "settings": _settings(first.told, second.told),
        "totals": _changed(first.told, second.told, _TOTALS),
    }
    for name, keys in _SHARES.items():
        found[name] = _shares(first.told.get(name, []), second.told.get(name, []), keys)
    if first.kind == "corpus":
        found["shards"] = _shards(first.told, second.told)
        found["documents"] = _documents(first, second)
    found["different"] = _is_different(found)
    return found


def _is_different(found: dict[str, Any]) -> bool:
    if any(found[name] for name in ("settings", "totals", *_SHARES)):
        return True
    if any(count for name, count in found.get("shards", {}).items() if name != "same"):
        return True
    splits = (found.get("documents") or {}).values()
    return any(count for split in splits for name, count in split.items() if name != "both")


def _read(path: str) -> _Side:
    for kind, name in (("corpus", MANIFEST), ("plan", "plan.json")):
        inside = storage.join(path, name)
        if storage.exists(inside):
            return _Side(kind, path, dict(storage.read_json(inside)), has_files=True)
    try:
        told = storage.read_json(path)
    except (OSError, ValueError):
        told = None
    if isinstance(told, dict) and "manifest_version" in told:
        return _Side("corpus", path, told, has_files=False)
    if isinstance(told, dict) and {"strategy", "domains"} <= told.keys():
        return _Side("plan", path, told, has_files=False)
    raise RequestError(
        f"{path} is no corpus (a folder with {MANIFEST}) and no plan (plan.json, or a workdir that "
        f"has one)"
    )


def _settings(a: dict[str, Any], b: dict[str, Any]) -> list[dict[str, Any]]:
    flat_a, flat_b = (dict(_flat({k: x[k] for k in _SETTINGS if k in x})) for x in (a, b))
    return _changed(flat_a, flat_b, [*flat_a, *(key for key in flat_b if key not in flat_a)])


def _flat(value: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """``{"mixture": {"by": x}}`` as ``mixture.by``."""
    for key, inner in value.items():
        if isinstance(inner, dict) and inner:
            yield from _flat(inner, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", inner


def _changed(a: dict[str, Any], b: dict[str, Any], keys: Iterable[str]) -> list[dict[str, Any]]:
    return [
        {"key": key, "a": a.get(key), "b": b.get(key)} for key in keys if a.get(key) != b.get(key)
    ]


def _shares(
    a: list[dict[str, Any]], b: list[dict[str, Any]], keys: tuple[str, ...]
) -> list[dict[str, Any]]:
    """Entries whose numbers differ, and those of one side; the greatest change of share first."""
    partner = _match(a, b, keys)
    found = [
        _pair(mine, partner.get(place))
        for place, mine in enumerate(a)
        if place not in partner or _numbers(mine) != _numbers(partner[place])
    ]
    taken = {id(other) for other in partner.values()}
    found += [_pair(None, other) for other in b if id(other) not in taken]
    return sorted(found, key=lambda entry: (-abs(entry["change"]), entry["name"]))


def _match(
    a: list[dict[str, Any]], b: list[dict[str, Any]], keys: tuple[str, ...]
) -> dict[int, dict[str, Any]]:
    """By place in ``a`` the entry of ``b`` for the same thing, by the first key that tells."""
    partner: dict[int, dict[str, Any]] = {}
    taken: set[int] = set()
    for key in keys:
        others = {e[key]: e for e in b if e.get(key) is not None and id(e) not in taken}
        for place, mine in enumerate(a):
            if place not in partner and mine.get(key) in others:
                partner[place] = others.pop(mine[key])
                taken.add(id(partner[place]))
    return partner


def _numbers(entry: dict[str, Any]) -> dict[str, Any]:
    """What counts of an entry."""
    return {key: value for key, value in entry.items() if key not in _UNIMPORTANT}


def _pair(a: dict[str, Any] | None, b: dict[str, Any] | None) -> dict[str, Any]:
    one = a or b or {}
    sides = {
        name: None if entry is None else {"share": _share(entry), "tokens": _tokens(entry)}
        for name, entry in (("a", a), ("b", b))
    }
    share_a, share_b = (_share(entry) if entry else 0.0 for entry in (a, b))
    return {
        "name": one.get("name", one.get("phase", "?")),
        "domain_id": one.get("domain_id"),
        **sides,
        "change": (share_b or 0.0) - (share_a or 0.0),
    }


def _share(entry: dict[str, Any]) -> float | None:
    share: float | None = entry.get("achieved_share", entry.get("share"))
    return share


def _tokens(entry: dict[str, Any]) -> int | None:
    for key in ("achieved_tokens", "n_tokens", "tokens"):
        if key in entry:
            return int(entry[key])
    return None


def _shards(a: dict[str, Any], b: dict[str, Any]) -> dict[str, int]:
    """Files of shards by what became of their bytes."""
    mine, others = ({s["path"]: s["sha256"] for s in side["shards"]} for side in (a, b))
    both = mine.keys() & others.keys()
    same = sum(mine[path] == others[path] for path in both)
    return {
        "same": same,
        "changed": len(both) - same,
        "only_a": len(mine) - len(both),
        "only_b": len(others) - len(both),
    }


def _documents(a: _Side, b: _Side) -> dict[str, dict[str, int]] | None:
    """Documents of each split in one corpus or both; None where one has no lineage."""
    if not all(side.has_files and side.told.get("lineage") for side in (a, b)):
        return None
    rows = sum(entry["rows"] for side in (a, b) for entry in side.told["lineage"])
    passes = -(-rows // _HELD) or 1
    splits = sorted({e["split"] for side in (a, b) for e in side.told["lineage"]}, reverse=True)
    found: dict[str, dict[str, int]] = {}
    for split in splits:
        total = Overlap()
        for turn in range(passes):
            total += overlap(*(_hashes(side.path, split, turn, passes) for side in (a, b)))
        found[split] = dataclasses.asdict(total)
    return found


def _hashes(corpus: str, split: str, turn: int, passes: int) -> UInt64Array:
    """Hashes of the ids of a split, as far as it is their turn."""
    pieces = [np.zeros(0, np.uint64)]
    for batch in lineage.read_lineage(corpus, ["id", "split"]):
        if batch.num_rows and batch.column("split")[0].as_py() == split:
            keys = uniform_keys(batch.column("id"), 0, "diff")
            pieces.append(keys[keys % np.uint64(passes) == turn] if passes > 1 else keys)
    return np.concatenate(pieces)
