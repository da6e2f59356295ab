"""Personal data in texts: emails, public IP addresses, phone numbers, keys, accounts and cards.

Rows that may hold a kind are found by one expression over the batch; only those are looked at one
by one. Masks are always the same: no address is invented, and the same text gives the same result.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from mixcurate.kernels.cleaning import MASKS, PiiKind, PiiParams
from mixcurate.kernels.pii_patterns import FINDERS, SCREENS, Span
from mixcurate.kernels.replace import replace_rows

_INTERNATIONAL = r"\+[ (]{0,2}[0-9]"
_NATIONAL = r"[0-9]{2,5}\)?[ ./-]{1,2}[0-9]{2}"
#: A number as it may be written: it is checked by the rules of its country.
_PHONE = re.compile(
    r"(?<![\w.,/:=$€£#-])\+?[ (]{0,2}\d(?:[ ()./-]{0,2}\d){6,16}(?![\w%]|[.,:/-]\d)"
)


@dataclasses.dataclass(frozen=True)
class Masked:
    """A batch after the search for personal data."""

    text: pa.Array
    """large_string ``[n]``: texts without a find are the same bytes."""
    counts: dict[PiiKind, npt.NDArray[np.int32]]
    """int32 ``[n]`` for each kind that is not kept: how many were found."""
    drop: npt.NDArray[np.bool_]
    """bool ``[n]``: the text holds what its documents are dropped for."""


def mask_pii(text: pa.Array, params: PiiParams) -> Masked:
    """Mask personal data in a batch, and count it.

    Kinds are searched one after the other: what is masked as one is not found as another.

    Args:
        text: large_string ``[n]`` without nulls.
    """
    counts: dict[PiiKind, npt.NDArray[np.int32]] = {}
    drop = np.zeros(len(text), bool)
    for kind, action in params.actions().items():
        counts[kind] = np.zeros(len(text), np.int32)
        screen = _screen(kind, params)
        maybe = pl.Series(pl.from_arrow(text)).str.contains(screen).to_numpy()
        changed: dict[int, str] = {}
        for row in np.flatnonzero(maybe).tolist():
            original = text[row].as_py()
            spans = _apart(_find(kind, original, params))
            counts[kind][row] = len(spans)
            if spans and action == "mask":
                changed[row] = _replace(original, spans, params.masks.get(kind, MASKS[kind]))
        if action == "drop":
            drop |= counts[kind] > 0
        text = replace_rows(text, changed)
    return Masked(text, counts, drop)


def _screen(kind: PiiKind, params: PiiParams) -> str:
    if kind != "phones":
        return SCREENS[kind]
    return f"{_INTERNATIONAL}|{_NATIONAL}" if params.phone_regions else _INTERNATIONAL


def _find(kind: PiiKind, text: str, params: PiiParams) -> Iterator[Span]:
    return find_phones(text, params.phone_regions) if kind == "phones" else FINDERS[kind](text)


def find_phones(text: str, regions: list[str]) -> Iterator[Span]:
    """Phone numbers that Google's libphonenumber takes for valid, grouped as their country does."""
    from phonenumbers import Leniency, PhoneNumberMatcher

    for match in _PHONE.finditer(text):
        number = match[0]
        if number.lstrip("( ").startswith("+"):
            tried: list[str | None] = [None]
        else:  # digits alone are anything
            tried = list(regions) if re.search(r"\d[ ()./-]", number) else []
        for region in tried:
            found = PhoneNumberMatcher(number, region, Leniency.STRICT_GROUPING)
            if found.has_next():
                first = found.next()
                yield match.start() + first.start, match.start() + first.end
                break


def _apart(spans: Iterator[Span]) -> list[Span]:
    """In order, and without those that begin inside of another."""
    kept: list[Span] = []
    for span in sorted(spans):
        if not kept or span[0] >= kept[-1][1]:
            kept.append(span)
    return kept


def _replace(text: str, spans: list[Span], mask: str) -> str:
    pieces: list[str] = []
    done = 0
    for start, end in spans:
        pieces += (text[done:start], mask)
        done = end
    return "".join([*pieces, text[done:]])
