"""Licences as SPDX identifiers, and what they allow, from whatever a source wrote.

Inputs write a licence as the address of its deed, as words, or as an identifier in some spelling.
Each different value of a column is read once. What is not recognised stays as it is: a licence is
a fact about a document that is not to be lost.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from mixcurate.errors import RequestError, nearest

#: What a licence allows, from free to closed. The order is that of MixtureVitae's tiers (arXiv
#: 2509.25531): public domain and permissive first, then what binds whoever passes the text on.
LicenceClass = Literal[
    "public_domain",
    "permissive",
    "share_alike",
    "no_derivatives",
    "non_commercial",
    "restricted",
    "unknown",
]
CLASSES: tuple[LicenceClass, ...] = get_args(LicenceClass)

_CC_URL = re.compile(
    r"creativecommons\.org/(licen[cs]es|publicdomain)/([a-z0-9+-]+)(?:/(\d\.\d)(?:/([a-z]{2,3})\b)?)?"
)
_CC_WORDS = re.compile(
    r"^(?:creative commons|cc)[ :-]*((?:by|attribution)?(?:[ -]*(?:nc|nd|sa|by|non-?commercial"
    r"|no-?deriv(?:ative|atives|s)?|share-?alike|attribution))*)"
    r"(?:[ -]*(?:licen[cs]e|international|generic|unported|public|version|v))*[ -]*(\d(?:\.\d)?)?"
    r"(?:[ -]*([a-z]{2}))?(?:[ ,-]*(?:international|unported|generic|licen[cs]e|public|intl?)\.?)*"
    r"(?: *\([^)]*\))?$"
)
_CC_PARTS = (("nc", r"nc|non-?comm"), ("nd", r"nd|no-?deriv"), ("sa", r"sa|share-?alike"))

#: Ports of the versions 1.0 to 3.0 that have identifiers of their own.
_PORTED = re.compile(
    r"CC-BY-(?:2\.5-AU|3\.0-(?:AT|AU|DE|IGO|NL|US)|NC-SA-2\.0-(?:DE|FR|UK)|NC-SA-3\.0-(?:DE|IGO)"
    r"|NC-3\.0-DE|NC-ND-3\.0-(?:DE|IGO)|ND-3\.0-DE|SA-2\.0-UK|SA-2\.1-JP|SA-3\.0-(?:AT|DE|IGO))"
)

#: Other licences: what an address holds, or the whole of the words, and the identifier.
_KNOWN: list[tuple[str, str]] = [
    (r"opensource\.org/licen[cs]es?/mit|mit-license\.org|^(?:the )?(?:mit|expat)$", "MIT"),
    (
        r"apache\.org/licen[cs]es/license-2|opensource\.org/licen[cs]es?/apache-2"
        r"|^apache[ -]*(?:software)?[ ,-]*(?:version|v)?[ .-]*2(?:\.0)?$",
        "Apache-2.0",
    ),
    (
        r"opensource\.org/licen[cs]es?/bsd-3|^(?:(?:new|modified|revised)[ -])?bsd[ -]*3"
        r"(?:[ -]clause)?$|^3[ -]clause[ -]bsd$|^(?:new|modified|revised)[ -]bsd$",
        "BSD-3-Clause",
    ),
    (
        r"opensource\.org/licen[cs]es?/bsd-2|^bsd[ -]*2(?:[ -]clause)?$"
        r"|^(?:2[ -]clause|simplified)[ -]bsd$",
        "BSD-2-Clause",
    ),
    (r"opensource\.org/licen[cs]es?/isc|^isc$", "ISC"),
    (r"unlicense\.org|^(?:the )?unlicense$", "Unlicense"),
    (r"wtfpl\.net|^wtfpl$", "WTFPL"),
    (r"^0bsd$", "0BSD"),
    (r"boost\.org/license_1_0|^bsl[ -]1\.0$|^boost software(?: 1\.0)?$", "BSL-1.0"),
    (
        r"mozilla\.org/(?:en-us/)?mpl/2|^mpl[ -]?(?:v)?2(?:\.0)?$"
        r"|^mozilla public(?: version)? 2\.0$",
        "MPL-2.0",
    ),
    (
        r"open-government-licence/version/3|^ogl[ -](?:uk[ -])?(?:v)?3(?:\.0)?$"
        r"|^open government(?: v| version )?3(?:\.0)?$",
        "OGL-UK-3.0",
    ),
    (
        r"open-government-licence/version/2|^ogl[ -](?:uk[ -])?(?:v)?2(?:\.0)?$"
        r"|^open government(?: v| version )?2(?:\.0)?$",
        "OGL-UK-2.0",
    ),
    (r"open-government-licence/version/1|^ogl[ -](?:uk[ -])?(?:v)?1(?:\.0)?$", "OGL-UK-1.0"),
    (r"open\.canada\.ca/[a-z/-]*open-government-licen[cs]e|^ogl[ -]canada", "OGL-Canada-2.0"),
    (r"opendatacommons\.org/licen[cs]es/by|^odc[ -]by(?:[ -]?1\.0)?$", "ODC-By-1.0"),
    (r"opendatacommons\.org/licen[cs]es/odbl|^odbl(?:[ -]?1\.0)?$", "ODbL-1.0"),
    (r"opendatacommons\.org/licen[cs]es/pddl|^pddl(?:[ -]?1\.0)?$", "PDDL-1.0"),
    (r"etalab-?2\.0|licence-ouverte[a-z0-9-]*2", "etalab-2.0"),
    (r"govdata\.de/dl-de/by-2-0|^dl-de[ /-]by[ -]2[.-]0$", "DL-DE-BY-2.0"),
    (r"govdata\.de/dl-de/zero-2-0|^dl-de[ /-]zero[ -]2[.-]0$", "DL-DE-ZERO-2.0"),
    (r"^nlod[ -]2\.0$|data\.norge\.no/nlod/(?:[a-z]{2}/)?2", "NLOD-2.0"),
    (r"^cc0|^cc[ -]zero|^creative commons zero", "CC0-1.0"),
    (r"^cc[ -]pdm|^public domain mark", "CC-PDM-1.0"),
    (r"^(?:in the )?public[ -]domain$|^pd$", "LicenseRef-public-domain"),
    (
        r"^u\.?s\.?(?: federal)? government(?: works?)?$"
        r"|usa\.gov/(?:publicdomain|government-works)",
        "LicenseRef-US-Government-Works",
    ),
    (
        r"\ball[ -]rights[ -]reserved\.?$|^(?:proprietary|copyrighted)$"
        r"|rightsstatements\.org/vocab/inc",
        "LicenseRef-all-rights-reserved",
    ),
]
_OTHERS = [(re.compile(pattern), name) for pattern, name in _KNOWN]

_GNU = re.compile(
    r"^(?:gnu[ -]*)?(agpl|lgpl|gpl|fdl|gfdl)[ -]*(?:v|version)?[ -]*(\d(?:\.\d)?)"
    r"[ -]*(\+|or[ -]later|only)?$"
)
_GNU_URL = re.compile(
    r"gnu\.org/(?:licen[cs]es|copyleft)/(?:old-licenses/)?(agpl|lgpl|gpl|fdl)"
    r"[a-z-]*(\d\.\d)?"
)
_GNU_WORDS = {
    "affero general public": "agpl",
    "lesser general public": "lgpl",
    "general public": "gpl",
    "free documentation": "fdl",
}
_GNU_NEWEST = {"AGPL": "3.0", "LGPL": "3.0", "GPL": "3.0", "GFDL": "1.3"}

#: Class by the beginning of an identifier; the first that fits counts.
_CLASSES: list[tuple[str, LicenceClass]] = [
    (
        r"CC0|CC-PDM|PDDL|Unlicense|WTFPL|0BSD|LicenseRef-public-domain|LicenseRef-US-Gov|DL-DE-ZERO",
        "public_domain",
    ),
    (r"CC-BY-NC", "non_commercial"),
    (r"CC-BY-ND", "no_derivatives"),
    (r"CC-BY-SA|GFDL|GPL|LGPL|AGPL|ODbL|MPL", "share_alike"),
    (r"CC-BY|MIT|Apache|BSD|BSL|ISC|OGL|ODC-By|etalab|DL-DE-BY|NLOD", "permissive"),
    (r"LicenseRef-all-rights-reserved", "restricted"),
]
_BY_CLASS = [(re.compile(pattern), kind) for pattern, kind in _CLASSES]
_IDENTIFIER = re.compile(
    r"(?:CC0?|MIT|Apache|[0A]?BSD|BSL|ISC|OGL|ODC|ODbL|PDDL|MPL|GFDL|[AL]?GPL|Unlicense|WTFPL|NLOD"
    r"|etalab|DL-DE|LicenseRef)(?:-[A-Za-z0-9.+-]+)?"
)


def spdx(column: pa.Array) -> pa.Array:
    """SPDX identifiers of licences; what is not recognised stays, without blanks around it.

    Of a Creative Commons licence without a version the identifier has none (``CC-BY-SA``), and a
    port without an identifier of its own (``by-sa/3.0/fr``) is named by the version. ``CC-PDM-1.0``
    and names with ``LicenseRef-`` stand for what has a mark or words and no licence.

    Args:
        column: string ``[n]``; null and blank values become null.

    Returns:
        string ``[n]``.
    """
    return _each(column, lambda value: _identify(value) if value.strip() else None)


def licence_classes(column: pa.Array) -> pa.Array:
    """The ``LicenceClass`` of each licence, string ``[n]``; null is ``unknown``.

    Non-commercial counts before no-derivatives and share-alike: ``CC-BY-NC-SA`` is
    ``non_commercial``.

    Args:
        column: string ``[n]`` of identifiers as ``spdx`` gives them.
    """
    classes = _each(column, _class_of)
    return pc.fill_null(classes, "unknown")


def check_allowed(allow: list[str], key: str = "ingest.licences") -> None:
    """Refuse a list of licences with a name that is neither a class nor an identifier.

    Args:
        allow: classes, and licences in any spelling.
        key: of the recipe, to name in the message.

    Raises:
        RequestError: names the entry and the nearest valid one.
    """
    for name in allow:
        if name not in CLASSES and _class_of(_identify(name)) == "unknown":
            raise RequestError(
                f"{key}: {name!r} is no class of licences and no licence that is known;"
                f" {nearest(name, CLASSES)} Or give an SPDX identifier, such as CC-BY-4.0."
            )


def allowed(column: pa.Array, allow: list[str]) -> npt.NDArray[np.bool_]:
    """Which documents have an allowed licence, bool ``[n]``.

    Args:
        column: string ``[n]`` of licences in any spelling.
        allow: classes, and licences in any spelling. An identifier without a version
            (``CC-BY``) allows every version.

    Raises:
        RequestError: as ``check_allowed``.
    """
    check_allowed(allow)
    names = {_identify(name) for name in allow if name not in CLASSES}
    named = spdx(column)
    classes = licence_classes(named)
    fits = [
        kind in allow or name in names or (name is not None and _unversioned(name) in names)
        for name, kind in zip(named.to_pylist(), classes.to_pylist(), strict=True)
    ]
    return np.array(fits, bool)


def factors(column: pa.Array, wanted: dict[str, float]) -> npt.NDArray[np.float64]:
    """The number that ``wanted`` gives each licence, by its name or else by its class: float64
    ``[n]``, 1 for others.

    Args:
        column: string ``[n]`` of identifiers as ``spdx`` gives them.
        wanted: by class, or by licence in any spelling.

    Raises:
        RequestError: as ``check_allowed``.
    """
    check_allowed(list(wanted))
    by_name = {_identify(name): value for name, value in wanted.items() if name not in CLASSES}
    encoded = column.cast(pa.string()).dictionary_encode()
    names = [*encoded.dictionary.to_pylist(), None]
    of_each = [
        by_name.get(name or "", by_name.get(_unversioned(name or ""), wanted.get(kind, 1.0)))
        for name, kind in zip(
            names, licence_classes(pa.array(names, pa.string())).to_pylist(), strict=True
        )
    ]
    places = encoded.indices.fill_null(len(names) - 1).to_numpy(zero_copy_only=False)
    found: npt.NDArray[np.float64] = np.array(of_each, np.float64)[places]
    return found


def _each(column: pa.Array, read: Callable[[str], str | None]) -> pa.Array:
    """Each different value read once."""
    encoded = column.cast(pa.string()).dictionary_encode()
    found = [None if value is None else read(value) for value in encoded.dictionary.to_pylist()]
    return pa.array(found, pa.string()).take(encoded.indices)


def _unversioned(name: str) -> str:
    return re.sub(r"-\d(?:\.\d)?(?:-[A-Z]{2,3}|-only|-or-later)?$", "", name)


def _identify(value: str) -> str:
    """The identifier of one licence, or the value itself."""
    given = value.strip()
    plain = re.sub(r"\s+", " ", given.lower())
    words = re.sub(r"^the |[ ,]*\b(?:licen[cs]e)\b[ ,]*", " ", plain.replace("_", "-")).strip()
    words = re.sub(r" +", " ", words)
    return _creative_commons(plain) or _other(plain, words) or _gnu(plain, words) or given


def _creative_commons(plain: str) -> str | None:
    if found := _CC_URL.search(plain):
        folder, kind, version, port = found.groups()
        if folder == "publicdomain":
            names = {"zero": "CC0-1.0", "mark": "CC-PDM-1.0"}
            return names.get(kind, "LicenseRef-public-domain")
        if kind == "publicdomain":
            return "LicenseRef-public-domain"
        return _cc_name(kind, version, port)
    if found := _CC_WORDS.match(plain.replace("_", "-")):
        kinds, version, port = found.groups()
        if kinds.strip(" -"):
            return _cc_name(kinds, version, port)
    return None


def _cc_name(kind: str, version: str | None, port: str | None) -> str | None:
    """``CC-BY-NC-SA-4.0`` from ``by-nc-sa`` and ``4.0``, in the order that SPDX has."""
    if not re.search(r"by|attribution", kind):
        return None  # the few licences without attribution are long withdrawn
    parts = ["CC", "BY", *(name.upper() for name, spelt in _CC_PARTS if re.search(spelt, kind))]
    if "ND" in parts and "SA" in parts:
        return None
    if version:
        parts.append(version if "." in version else f"{version}.0")
    name = "-".join(parts)
    if port and _PORTED.fullmatch(f"{name}-{port.upper()}"):
        return f"{name}-{port.upper()}"
    return name


def _other(plain: str, words: str) -> str | None:
    for pattern, name in _OTHERS:
        if pattern.search(plain) or pattern.search(words):
            return name
    return None


def _gnu(plain: str, words: str) -> str | None:
    if found := _GNU_URL.search(plain):
        family, version = found.groups()
        later = False
    else:
        for spelt, short in _GNU_WORDS.items():
            words = words.replace(spelt, short)
        words = re.sub(r" \(?(?:agpl|lgpl|gpl|fdl)\)", "", words)
        if not (found := _GNU.match(words)):
            return None
        family, version = found[1], found[2]
        later = bool(found[3]) and found[3] != "only"
    name = {"fdl": "GFDL", "gfdl": "GFDL"}.get(family, family.upper())
    number = version or _GNU_NEWEST[name]
    number = number if "." in number else f"{number}.0"
    return f"{name}-{number}-{'or-later' if later else 'only'}"


def _class_of(name: str) -> LicenceClass:
    if _IDENTIFIER.fullmatch(name):
        for pattern, kind in _BY_CLASS:
            if pattern.match(name):
                return kind
    return "unknown"
