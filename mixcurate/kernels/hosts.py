"""Hosts of URLs, in the one form in which tables of hosts and documents meet.

Small letters, without ``www.`` in front, without a final dot, a port or a user, and in the ASCII
form of international names (punycode), as Common Crawl's web graph has them.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from mixcurate.kernels.hashing import UInt64Array, uniform_keys

#: Scheme, user and host of a URL; what has no scheme begins with the host, as in ``normal_url``.
_HOST = (
    r"^\s*(?:(?:[A-Za-z][A-Za-z0-9+.\-]*:)?//)?(?:[^/?#@\\\s]*@)?"
    r"(?P<host>\[[^\]/?#\s]*\]|[^/?#:\\\s]*)"
)

#: Last labels of most hosts: where they come first, names are written from right to left.
_TOP_LEVEL = [
    *(
        "com",
        "org",
        "net",
        "edu",
        "gov",
        "mil",
        "info",
        "biz",
        "io",
        "co",
        "me",
        "tv",
        "app",
        "dev",
    ),
    *("ai", "ar", "at", "au", "be", "br", "ca", "ch", "cl", "cn", "cz", "de", "dk", "es", "eu"),
    *("fi", "fr", "gr", "hu", "id", "ie", "il", "in", "ir", "it", "jp", "kr", "mx", "my", "nl"),
    *("no", "nz", "pl", "pt", "ro", "ru", "se", "sg", "th", "tr", "tw", "ua", "uk", "us", "vn"),
]


def hosts_of(urls: pa.Array) -> pa.Array:
    """The host of each URL.

    Args:
        urls: string ``[n]``.

    Returns:
        string ``[n]``; null where there is no URL or no host in it.
    """
    found = pc.extract_regex(urls.cast(pa.string()), _HOST)
    return normal_hosts(pc.struct_field(found, "host"))


def normal_hosts(names: pa.Array, *, is_reversed: bool = False) -> pa.Array:
    """Names of hosts in the normal form.

    Args:
        names: string ``[n]``.
        is_reversed: whether they are written as ``com.example``.

    Returns:
        string ``[n]``; null where nothing is left.
    """
    plain = pc.utf8_lower(pc.utf8_trim_whitespace(names.cast(pa.string())))
    plain = _ascii(pc.utf8_rtrim(pc.utf8_ltrim(plain, "."), "."))
    if is_reversed:
        plain = _turned(plain)
    plain = pc.replace_substring_regex(plain, r"^www\.", "")
    return pc.if_else(pc.equal(plain, ""), pa.scalar(None, pa.string()), plain)


def look_reversed(names: pa.Array) -> bool:
    """Whether most names begin with a top-level domain, and fewer end with one.

    Args:
        names: string ``[n]``; some thousand are enough.
    """
    lower = pc.utf8_lower(names.drop_null())
    known = pa.array(_TOP_LEVEL, pa.string())
    first = pc.is_in(pc.replace_substring_regex(lower, r"\..*$", ""), value_set=known)
    last = pc.is_in(pc.replace_substring_regex(lower, r"^.*\.", ""), value_set=known)
    return (pc.sum(first).as_py() or 0) > (pc.sum(last).as_py() or 0)


def host_keys(names: pa.Array) -> UInt64Array:
    """A 64-bit hash of each name, by which hosts are looked up: uint64 ``[n]``."""
    return uniform_keys(names, 0, "host")


def scores_of(
    hosts: pa.Array,
    keys: UInt64Array,
    scores: npt.NDArray[np.float64],
    *,
    with_parents: bool,
) -> npt.NDArray[np.float64]:
    """The score of each host in a table.

    Args:
        hosts: string ``[n]`` in normal form; nulls have no host.
        keys: uint64 ``[k]``, hashes of the table's names, rising.
        scores: float64 ``[k]``.
        with_parents: whether a host that is not there has the score of the nearest one above it:
            ``en.example.org`` that of ``example.org``. For tables of domains.

    Returns:
        float64 ``[n]``; 0 where the table has none.
    """
    coded = hosts.dictionary_encode()
    names = coded.dictionary
    found = np.zeros(len(names) + 1)  # the last for nulls
    pending = np.arange(len(names))
    while len(pending) and len(keys):
        mine = host_keys(names)
        place = np.minimum(np.searchsorted(keys, mine), len(keys) - 1)
        hit = keys[place] == mine
        found[pending[hit]] = scores[place[hit]]
        parents = pc.replace_substring_regex(names, r"^[^.]*\.", "")
        further = ~hit & pc.match_substring(parents, ".").to_numpy(zero_copy_only=False)
        further &= pc.not_equal(parents, names).to_numpy(zero_copy_only=False)
        if not with_parents:
            break
        pending, names = pending[further], parents.filter(pa.array(further))
    codes = coded.indices.fill_null(len(coded.dictionary)).to_numpy(zero_copy_only=False)
    each: npt.NDArray[np.float64] = found[codes]
    return each


def _turned(names: pa.Array) -> pa.Array:
    """Labels in the opposite order."""
    labels = pc.split_pattern(names, ".")
    turned = [None if row is None else ".".join(row[::-1]) for row in labels.to_pylist()]
    return pa.array(turned, pa.string())


def _ascii(names: pa.Array) -> pa.Array:
    """International names in punycode; one that has no such form stays as it is."""
    odd = pc.invert(pc.string_is_ascii(names)).fill_null(False)
    if not pc.any(odd).as_py():
        return names
    turned = [_punycode(name) for name in names.filter(odd).to_pylist()]
    return pc.replace_with_mask(names, odd, pa.array(turned, pa.string()))


def _punycode(name: str) -> str:
    try:
        return name.encode("idna").decode("ascii")
    except UnicodeError:
        return name
