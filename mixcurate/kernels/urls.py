"""The normal form of a URL: what two addresses of one page usually have in common."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

#: Query parameters that tell where a visitor came from, and nothing about the page.
TRACKERS = frozenset(
    [
        "_ga",
        "_gl",
        "_hsenc",
        "_hsmi",
        "dclid",
        "fbclid",
        "gad_source",
        "gbraid",
        "gclid",
        "gclsrc",
        "igshid",
        "mc_cid",
        "mc_eid",
        "mkt_tok",
        "msclkid",
        "oly_anon_id",
        "oly_enc_id",
        "srsltid",
        "ttclid",
        "twclid",
        "vero_id",
        "wbraid",
        "yclid",
    ]
)

_ESCAPE = re.compile("%[0-9a-fA-F]{2}")


def normal_url(url: str) -> str:
    """A URL in normal form: host, path and what is left of the query.

    The scheme (http and https), ``www.``, the default ports, case of the host, a final dot of it,
    slashes at the end of the path, the fragment (but not ``#!``) and the order of the parameters
    do not count, nor do empty parameters, names that begin with ``utm_``, and ``TRACKERS``.

    Args:
        url: any text; what is no URL is given back without the blanks around it.
    """
    plain = url.strip()
    try:
        parts = urlsplit(plain if "://" in plain else f"http://{plain}")
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return plain
    host = host.removesuffix(".").removeprefix("www.")
    if port not in (None, 80, 443):
        host = f"{host}:{port}"
    scheme = "" if parts.scheme in ("http", "https") else f"{parts.scheme}://"
    given = (part.strip() for part in parts.query.split("&"))
    query = "&".join(sorted(part for part in given if part and _counts(part)))
    path = parts.path
    while (shorter := path.rstrip().rstrip("/")) != path:
        path = shorter
    normal = f"{scheme}{host}{path}"
    if query:
        normal = f"{normal}?{query}"
    if parts.fragment.startswith("!"):
        normal = f"{normal}#{parts.fragment}"
    return _ESCAPE.sub(lambda found: found[0].upper(), normal) if "%" in normal else normal


def _counts(part: str) -> bool:
    """Whether a parameter of the query says which page is meant."""
    name = part.split("=", 1)[0].lower()
    return name not in TRACKERS and not name.startswith("utm_")
