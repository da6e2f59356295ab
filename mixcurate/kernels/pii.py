"""Personal data in texts: emails, public IP addresses, phone numbers, keys, accounts and cards.

Rows that may hold a kind are found by one expression over the batch; only those are looked at one
by one. Masks are always the same: no address is invented, and the same text gives the same result.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from typing import Literal

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
from pydantic import Field, field_validator

from mixcurate.errors import nearest
from mixcurate.kernels.pii_patterns import FINDERS, SCREENS, Span
from mixcurate.kernels.replace import replace_rows
from mixcurate.params import Params

Kind = Literal["keys", "emails", "ips", "ibans", "cards", "phones"]
Action = Literal["keep", "mask", "drop"]

#: What a mask is unless the recipe says otherwise.
MASKS: dict[Kind, str] = {
    "keys": "<KEY>",
    "emails": "<EMAIL>",
    "ips": "<IP>",
    "ibans": "<IBAN>",
    "cards": "<CARD>",
    "phones": "<PHONE>",
}

_INTERNATIONAL = r"\+[ (]{0,2}[0-9]"
_NATIONAL = r"[0-9]{2,5}\)?[ ./-]{1,2}[0-9]{2}"
#: A number as it may be written: it is checked by the rules of its country.
_PHONE = re.compile(
    r"(?<![\w.,/:=$€£#-])\+?[ (]{0,2}\d(?:[ ()./-]{0,2}\d){6,16}(?![\w%]|[.,:/-]\d)"
)


class PiiParams(Params):
    """What happens to personal data: `keep` it, `mask` it, or `drop` the document."""

    emails: Action = "keep"
    """Addresses such as `ann@web.de`; not those of example.com or `git@`."""
    ips: Action = "keep"
    """IPv4 and IPv6 addresses that are routed publicly; private and reserved ones stay."""
    phones: Action = "keep"
    """Numbers that are valid in their country, with `+` and the country's code; of countries in
    `phone_regions` also as they are written inside the country."""
    keys: Action = "keep"
    """Private keys and access tokens (AWS, GitHub, GitLab, Google, Slack, Stripe, OpenAI, …, and
    JSON web tokens)."""
    cards: Action = "keep"
    """Numbers of payment cards with a valid check digit."""
    ibans: Action = "keep"
    """International bank account numbers with valid check digits."""
    phone_regions: list[str] = Field(default=[])
    """Countries (ISO 3166, `US`) whose national numbers are searched too. Each makes the search
    slower and finds more numbers that are none."""
    masks: dict[Kind, str] = Field(default={})
    """Other text for a mask; by default `<EMAIL>`, `<IP>`, `<PHONE>`, `<KEY>`, `<CARD>`, `<IBAN>`.
    FineWeb wrote `email@example.com`."""

    @field_validator("phone_regions")
    @classmethod
    def _known(cls, regions: list[str]) -> list[str]:
        from phonenumbers import SUPPORTED_REGIONS

        for region in regions:
            if region not in SUPPORTED_REGIONS:
                close = nearest(region.upper(), SUPPORTED_REGIONS) if len(region) == 2 else ""
                raise ValueError(f"{region!r} is no country code of two capital letters; {close}")
        return regions

    def actions(self) -> dict[Kind, Action]:
        """What is done with each kind that is not kept, in the order in which it is done."""
        wanted: dict[Kind, Action] = {kind: getattr(self, kind) for kind in MASKS}
        return {kind: action for kind, action in wanted.items() if action != "keep"}


@dataclasses.dataclass(frozen=True)
class Masked:
    """A batch after the search for personal data."""

    text: pa.Array
    """large_string ``[n]``: texts without a find are the same bytes."""
    counts: dict[Kind, npt.NDArray[np.int32]]
    """int32 ``[n]`` for each kind that is not kept: how many were found."""
    drop: npt.NDArray[np.bool_]
    """bool ``[n]``: the text holds what its documents are dropped for."""


def mask_pii(text: pa.Array, params: PiiParams) -> Masked:
    """Mask personal data in a batch, and count it.

    Kinds are searched one after the other: what is masked as one is not found as another.

    Args:
        text: large_string ``[n]`` without nulls.
    """
    counts: dict[Kind, npt.NDArray[np.int32]] = {}
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


def _screen(kind: Kind, params: PiiParams) -> str:
    if kind != "phones":
        return SCREENS[kind]
    return f"{_INTERNATIONAL}|{_NATIONAL}" if params.phone_regions else _INTERNATIONAL


def _find(kind: Kind, text: str, params: PiiParams) -> Iterator[Span]:
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
