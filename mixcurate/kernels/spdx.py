"""Licences for a manifest and a dataset card: SPDX identifiers, and the Hub's names for them.

Every name has an identifier: what SPDX does not list, or what is not recognised, gets one of the
form ``LicenseRef-``, as SPDX wants it (specification 2.3, annex D), and no licence at all is
``NOASSERTION``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import pyarrow as pa

from mixcurate.kernels.licences import licence_classes, spdx

#: What a column without a value is counted under.
UNKNOWN = "unknown"

#: Identifiers that ``spdx`` gives and SPDX does not have: Creative Commons without a version.
_UNVERSIONED = re.compile(r"CC-BY(?:-NC)?(?:-ND|-SA)?")

#: A character that an identifier must not have.
_OUTSIDE = re.compile(r"[^A-Za-z0-9.-]+")

#: Names of the Hub that are no lower-case SPDX identifier.
_HUB = {
    "ODC-By-1.0": "odc-by",
    "ODbL-1.0": "odbl",
    "PDDL-1.0": "pddl",
    "GFDL-1.1-only": "gfdl",
    "GFDL-1.2-only": "gfdl",
    "GFDL-1.3-only": "gfdl",
    "AGPL-3.0-only": "agpl-3.0",
    "GPL-2.0-only": "gpl-2.0",
    "GPL-3.0-only": "gpl-3.0",
    "LGPL-2.1-only": "lgpl-2.1",
    "LGPL-3.0-only": "lgpl-3.0",
}

#: Those that are.
_HUB_LOWER = re.compile(
    r"CC0-1\.0|CC-BY-(?:2\.0|2\.5|3\.0|4\.0)|CC-BY-SA-(?:3\.0|4\.0)|CC-BY-NC-(?:2\.0|3\.0|4\.0)"
    r"|CC-BY-ND-4\.0|CC-BY-NC-ND-(?:3\.0|4\.0)|CC-BY-NC-SA-(?:2\.0|3\.0|4\.0)"
    r"|MIT|Apache-2\.0|BSD-2-Clause|BSD-3-Clause|BSL-1\.0|ISC|Unlicense|WTFPL|MPL-2\.0|etalab-2\.0"
)


def licence_table(names: Sequence[str]) -> list[dict[str, str]]:
    """What each name of a licence is.

    Args:
        names: as the documents have them, ``[n]``; ``unknown`` stands for none.

    Returns:
        For each name its ``spdx`` identifier, its ``class`` (``LicenceClass``) and, for a dataset
        card, its name on the ``hub``: ``[n]``.
    """
    given = [None if name == UNKNOWN else name for name in names]
    identifiers = spdx(pa.array(given, pa.string()))
    classes = licence_classes(identifiers).to_pylist()
    return [
        {"spdx": _reference(name, kind), "class": kind, "hub": _on_hub(name)}
        for name, kind in zip(identifiers.to_pylist(), classes, strict=True)
    ]


def _reference(name: str | None, kind: str) -> str:
    if name is None:
        return "NOASSERTION"
    listed = kind != "unknown" and not _UNVERSIONED.fullmatch(name)
    if listed or name.startswith("LicenseRef-"):
        return name
    return "LicenseRef-" + (_OUTSIDE.sub("-", name).strip("-") or UNKNOWN)


def _on_hub(name: str | None) -> str:
    if name is None:
        return UNKNOWN
    if _HUB_LOWER.fullmatch(name):
        return name.lower()
    return _HUB.get(name, "other")
